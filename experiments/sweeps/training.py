"""Every network of a sweep, trained and read after every epoch: `python -m experiments.sweeps text --preset small`.

Networks are dealt out to processes, one thread each. After every epoch the record is appended and then the checkpoint replaced,
in runs/experiments/<sweep>/<number>; a process that dies at any moment loses at most the epoch it was at, and the same command
goes on to the same numbers. Finished networks are gathered in experiments/results/<sweep>.csv, a row per epoch, and
their whole spectra in <sweep>.safetensors, named network/epoch/linearization.
"""

import json
import os
import platform
import time
import warnings
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from rich.progress import Progress
from safetensors.torch import load_file, save_file

import lyapunov
from experiments.commands import SCRATCH, results_in
from experiments.rows import read, shown, write
from experiments.sweeps.presets import Preset, Sweep, sweep
from experiments.sweeps.readouts import readouts
from lyapunov import InvalidInput
from lyapunov.tasks import Learner
from lyapunov.training import History

RUNS = Path("runs") / "experiments"
Record = dict[str, Any]


def run_network(task: str, preset: Preset, number: int, runs: Path = RUNS, device: str = "cpu") -> Path:
    """One network from where it was left to the end; its folder."""
    torch.set_num_threads(1)
    chosen = sweep(task, preset)
    directory = runs / chosen.label / f"{number:03d}"
    history, checkpoint = History(directory), directory / "checkpoint.safetensors"
    learner = Learner(chosen.build(), chosen.recipes[number], device, chosen.dtype)
    if checkpoint.exists():
        learner.load(checkpoint)
    if not records(directory):
        _look(learner, chosen, history, {"train_loss": float("nan"), "train_seconds": 0.0})
    while learner.epoch < chosen.epochs:
        start = time.perf_counter()
        loss = learner.train()
        _look(learner, chosen, history, {"train_loss": loss, "train_seconds": time.perf_counter() - start})
        learner.save(checkpoint)
    return directory


def _look(learner: Learner, chosen: Sweep, history: History, trained: dict[str, float]) -> None:
    """Reads the network and appends what was read."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", lyapunov.LyapunovWarning)  # tails below the floor are marked in the spectra
        try:
            found = readouts(learner, chosen, whole=learner.epoch in chosen.whole)
        except lyapunov.LyapunovError as error:  # a network that broke is a result, too
            found = {"failure": str(error), "spectra": {}}
    record = {"epoch": learner.epoch, **trained, "held_out_loss": learner.held_out_loss(), **found}
    history.append(record)


def records(directory: Path) -> list[Record]:
    """What was read, by epoch; of an epoch that was made twice, the later record."""
    file = directory / "history.jsonl"
    lines = [json.loads(line) for line in file.read_text().splitlines()] if file.exists() else []
    by_epoch = {line["epoch"]: line for line in lines if "epoch" in line}
    return [by_epoch[epoch] for epoch in sorted(by_epoch)]


def run_sweep(
    task: str, preset: Preset, *, workers: int, runs: Path = RUNS, results: Path = SCRATCH, device: str = "cpu"
) -> Path:
    """Every network that is not finished, with progress; the CSV. What is in the results already is not run again.

    Into SCRATCH what is recorded counts as finished, too.
    """
    chosen = sweep(task, preset)
    numbers = range(len(chosen.recipes))
    done = set(finished(chosen, runs, results)[0])
    todo = [number for number in numbers if number not in done]
    with Progress() as progress, ProcessPoolExecutor(workers) as pool:
        bar = progress.add_task(f"{chosen.label}: networks", total=len(numbers), completed=len(done))
        for ready in as_completed([pool.submit(run_network, task, preset, number, runs, device) for number in todo]):
            ready.result()
            progress.advance(bar)
            gather(chosen, runs, results)
    return gather(chosen, runs, results)


def finished(chosen: Sweep, runs: Path, results: Path) -> tuple[dict[int, list[Record]], dict[str, torch.Tensor]]:
    """Rows of every finished network, by its number, and spectra by name: from this machine's runs, else from the results."""
    rows: dict[int, list[Record]] = {}
    file = results / f"{chosen.label}.csv"
    if results == SCRATCH and not file.exists():
        file = results_in(file.name)
    spectra = load_file(file.with_suffix(".safetensors")) if file.exists() else {}
    for row in read(file) if file.exists() else ():
        rows.setdefault(int(row["network"]), []).append(row)
    for number, recipe in enumerate(chosen.recipes):
        found = records(runs / chosen.label / f"{number:03d}")
        if len(found) > chosen.epochs:
            rows[number] = []
            for record in found:
                place = f"{number:03d}/{record['epoch']:02d}"
                spectra |= {f"{place}/{name}": _tensor(values) for name, values in record.pop("spectra").items()}
                rows[number].append({"network": number, **asdict(recipe), **record})
    for number, mine in rows.items():
        expected = {name: _text(value) for name, value in asdict(chosen.recipes[number]).items()}
        if any(_text(row[name]) != value for row in mine for name, value in expected.items()):
            raise InvalidInput(
                f"Expected results of the networks that {chosen.label} has now, got others in {file}, network {number}. Move "
                "the file away."
            )
    return {number: mine for number, mine in sorted(rows.items()) if len(mine) > chosen.epochs}, spectra


def gather(chosen: Sweep, runs: Path, results: Path) -> Path:
    """The finished networks' records as one CSV, their whole spectra as one safetensors file, and what made them."""
    results.mkdir(parents=True, exist_ok=True)
    by_network, spectra = finished(chosen, runs, results)
    file = results / f"{chosen.label}.csv"
    save_file(spectra, file.with_suffix(".safetensors.partial"))
    file.with_suffix(".safetensors.partial").replace(file.with_suffix(".safetensors"))
    write(file, [row for mine in by_network.values() for row in mine])
    file.with_suffix(".json").write_text(json.dumps(_made_by(chosen), indent=1) + "\n")
    return file


def _tensor(values: list[float | str]) -> torch.Tensor:
    """float32; infinities are strings in JSON."""
    return torch.tensor([float(value) for value in values], dtype=torch.float32)


def _made_by(chosen: Sweep) -> dict[str, Any]:
    """Command, versions and machine."""
    return {
        "command": f"python -m experiments.sweeps {chosen.name} --preset {chosen.preset}",
        "lyapunov": lyapunov.__version__,
        "torch": torch.__version__,
        "python": platform.python_version(),
        "machine": f"{platform.machine()}, {os.cpu_count()} cores",
        "networks": len(chosen.recipes),
        "epochs": chosen.epochs,
    }


def _text(value: Any) -> str:
    """As it is read back from the CSV."""
    return "" if value is None else str(shown(value))
