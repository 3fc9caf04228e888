"""Writes expected.json, what the tiny sweeps must give: `python -m experiments.expected`."""

import json
import tempfile
from pathlib import Path

from experiments.presets import TASKS
from experiments.rows import read
from experiments.sweep import run_sweep

FILE = Path(__file__).with_suffix(".json")
CHECKED = ("held_out_loss", "full_max", "full_mean", "hidden_max", "hidden_mean", "seen_max", "measured_slope")


def tiny(task: str) -> list[dict[str, float]]:
    """The checked numbers, a row per network and epoch."""
    with tempfile.TemporaryDirectory() as folder:
        file = run_sweep(task, "tiny", workers=1, runs=Path(folder) / "runs", results=Path(folder))
        return [{name: float(row[name]) for name in CHECKED} for row in read(file)]


if __name__ == "__main__":
    FILE.write_text(json.dumps({task: tiny(task) for task in TASKS}, indent=1) + "\n")
