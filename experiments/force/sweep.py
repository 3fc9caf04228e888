"""All networks of a preset, seed after seed, in one process: a row each in results/force-<preset>.csv as soon as it is there.

A run that was ended, however that was, goes on with the network it was at. Exponents are in
force-<preset>.safetensors, named task/rule/seed.
"""

from collections.abc import Iterator
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file

from experiments.figures.outputs import RESULTS
from experiments.force.measure import row
from experiments.force.presets import LONGER, RULES, Plan, plan
from experiments.force.tasks import Task
from experiments.rows import read, shown, write
from experiments.sweeps.presets import Preset
from lyapunov import InvalidInput

Rows = list[dict[str, str]]


def wanted(chosen: Plan) -> Iterator[tuple[int, Task, str]]:
    """Seed by seed, so that what is there at any time is paired; then one seed's spectra over more steps; then the control."""
    yield from ((seed, task, rule) for seed in range(chosen.seeds) for task in chosen.tasks for rule in RULES[:-1])
    yield from ((0, task, rule + LONGER) for task in chosen.tasks for rule in RULES[1:-1])
    yield from ((seed, task, RULES[-1]) for seed in range(chosen.seeds) for task in chosen.tasks)


def run(preset: Preset, results: Path = RESULTS) -> Rows:
    """Trains and reads what is not in the results yet; all rows."""
    chosen = plan(preset)
    rows = known(preset, results)
    done = {(int(one["seed"]), one["task"], one["rule"]) for one in rows}
    for seed, task, rule in wanted(chosen):
        if (seed, task.name, rule) not in done:
            found, exponents = row(rule, task, chosen, seed)
            rows.append({name: str(shown(value)) for name, value in found.items()})
            _keep(results / f"force-{preset}.csv", rows, f"{task.name}/{rule}/{seed}", exponents)
    return rows


def known(preset: Preset, results: Path = RESULTS) -> Rows:
    """Rows that are there; those of other settings are refused."""
    file = results / f"force-{preset}.csv"
    rows = read(file) if file.exists() else []
    chosen = plan(preset)
    if any(one["settings"] != (chosen.longer if one["rule"].endswith(LONGER) else chosen).settings for one in rows):
        raise InvalidInput(
            f"Expected rows made with the settings that {preset} has now, got others in {file}. Move the file away."
        )
    return rows


def _keep(file: Path, rows: Rows, name: str, exponents: torch.Tensor) -> None:
    """Exponents first, each file replaced as a whole: a row is never without its exponents."""
    kept, partial = file.with_suffix(".safetensors"), file.with_suffix(".safetensors.partial")
    spectra = load_file(kept) if kept.exists() else {}
    file.parent.mkdir(parents=True, exist_ok=True)
    save_file({**spectra, name: exponents.float()}, partial)
    partial.replace(kept)
    write(file, rows)
