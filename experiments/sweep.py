"""Every network of a sweep, trained and read after every epoch: `python -m experiments.sweep text --preset small`.

Networks are dealt out to processes, one thread each. After every epoch the record is appended and then the checkpoint replaced,
in runs/experiments/<sweep>/<number>; a process that dies at any moment loses at most the epoch it was at, and the same command
goes on to the same numbers. Finished networks are gathered in experiments/results/<sweep>.csv, a row per epoch, and
their whole spectra in <sweep>.safetensors, named network/epoch/linearization.
"""

import argparse
import csv
import json
import os
import platform
import time
import warnings
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from rich.progress import Progress
from safetensors.torch import save_file

import lyapunov
from experiments.presets import PRESETS, TASKS, Preset, Sweep, sweep
from experiments.readouts import readouts
from lyapunov.tasks import Learner
from lyapunov.training import History

RUNS, RESULTS = Path("runs") / "experiments", Path(__file__).parent / "results"
DIGITS = 6
"""Significant digits in the CSV."""


def run_network(task: str, preset: Preset, number: int, runs: Path = RUNS) -> Path:
    """One network from where it was left to the end; its folder."""
    torch.set_num_threads(1)
    chosen = sweep(task, preset)
    directory = runs / chosen.name / f"{number:03d}"
    history, checkpoint = History(directory), directory / "checkpoint.safetensors"
    learner = Learner(chosen.build(), chosen.recipes[number])
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
        found = readouts(learner, chosen, whole=learner.epoch in chosen.whole)
    record = {"epoch": learner.epoch, **trained, "held_out_loss": learner.held_out_loss(), **found}
    history.append(record)


def records(directory: Path) -> list[dict[str, Any]]:
    """What was read, by epoch; of an epoch that was made twice, the later record."""
    file = directory / "history.jsonl"
    lines = [json.loads(line) for line in file.read_text().splitlines()] if file.exists() else []
    by_epoch = {line["epoch"]: line for line in lines if "epoch" in line}
    return [by_epoch[epoch] for epoch in sorted(by_epoch)]


def run_sweep(task: str, preset: Preset, *, workers: int, runs: Path = RUNS, results: Path = RESULTS) -> Path:
    """Every network that is not finished, with progress; the CSV."""
    chosen = sweep(task, preset)
    numbers = range(len(chosen.recipes))
    todo = [number for number in numbers if len(records(runs / chosen.name / f"{number:03d}")) <= chosen.epochs]
    with Progress() as progress, ProcessPoolExecutor(workers) as pool:
        bar = progress.add_task(f"{chosen.name}: networks", total=len(numbers), completed=len(numbers) - len(todo))
        for done in as_completed([pool.submit(run_network, task, preset, number, runs) for number in todo]):
            done.result()
            progress.advance(bar)
            gather(chosen, runs, results)
    return gather(chosen, runs, results)


def gather(chosen: Sweep, runs: Path, results: Path) -> Path:
    """The finished networks' records as one CSV, their whole spectra as one safetensors file, and what made them."""
    results.mkdir(parents=True, exist_ok=True)
    rows: list[dict[str, Any]] = []
    spectra: dict[str, torch.Tensor] = {}
    for number, recipe in enumerate(chosen.recipes):
        directory = runs / chosen.name / f"{number:03d}"
        found = records(directory)
        if len(found) <= chosen.epochs:
            continue
        for record in found:
            spectra |= {
                f"{number:03d}/{record['epoch']:02d}/{name}": _tensor(values) for name, values in record.pop("spectra").items()
            }
            rows.append({"network": number, **asdict(recipe), **record})
    file = results / f"{chosen.name}.csv"
    names = list(dict.fromkeys(name for row in rows for name in row))
    with file.with_suffix(".csv.partial").open("w", newline="") as partial:
        writer = csv.DictWriter(partial, names, restval="")
        writer.writeheader()
        writer.writerows({name: _short(value) for name, value in row.items()} for row in rows)
    file.with_suffix(".csv.partial").replace(file)
    save_file(spectra, file.with_suffix(".safetensors"))
    file.with_suffix(".json").write_text(json.dumps(_made_by(chosen), indent=1) + "\n")
    return file


def _tensor(values: list[float | str]) -> torch.Tensor:
    """float32; infinities are strings in JSON."""
    return torch.tensor([float(value) for value in values], dtype=torch.float32)


def _made_by(chosen: Sweep) -> dict[str, Any]:
    """Command, versions and machine."""
    return {
        "command": f"python -m experiments.sweep {chosen.task} --preset {chosen.preset}",
        "lyapunov": lyapunov.__version__,
        "torch": torch.__version__,
        "python": platform.python_version(),
        "machine": f"{platform.machine()}, {os.cpu_count()} cores",
        "networks": len(chosen.recipes),
        "epochs": chosen.epochs,
    }


def _short(value: Any) -> Any:
    return f"{value:.{DIGITS}g}" if isinstance(value, float) else value


def main(say: Callable[[str], None] = print) -> None:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("task", choices=TASKS)
    parser.add_argument("--preset", choices=PRESETS, default="small")
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 1, help="processes (default: one per core)")
    asked = parser.parse_args()
    say(f"written: {run_sweep(asked.task, asked.preset, workers=asked.workers)}")


if __name__ == "__main__":
    main()
