"""Writes expected.json, what the tiny sweeps must give: `python -m experiments.sweeps.expected --record`."""

import json
import tempfile
from pathlib import Path

from experiments.commands import arguments, run
from experiments.rows import read
from experiments.sweeps.presets import TASKS
from experiments.sweeps.training import run_sweep

FILE = Path(__file__).with_suffix(".json")
CHECKED = ("held_out_loss", "full_max", "full_mean", "hidden_max", "hidden_mean", "seen_max", "measured_slope")


def tiny(task: str) -> list[dict[str, float]]:
    """The checked numbers, a row per network and epoch."""
    with tempfile.TemporaryDirectory() as folder:
        file = run_sweep(task, "tiny", workers=1, runs=Path(folder) / "runs", results=Path(folder))
        return [{name: float(row[name]) for name in CHECKED} for row in read(file)]


def main() -> None:
    """Print the numbers; with --record write them, too."""
    record = arguments(__doc__).parse_args().record

    def show() -> None:
        text = json.dumps({task: tiny(task) for task in TASKS}, indent=1) + "\n"
        if record:
            FILE.write_text(text)
        print(text, end="")

    run(show)


if __name__ == "__main__":
    main()
