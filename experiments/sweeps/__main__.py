"""Networks of a sweep, trained and read epoch by epoch: `python -m experiments.sweeps text --preset small`."""

import argparse
import os
from collections.abc import Callable
from pathlib import Path

from experiments.commands import RECORDED, SCRATCH, arguments, run
from experiments.sweeps.presets import PRESETS, SWEEPS
from experiments.sweeps.training import run_sweep
from lyapunov import _checks


def main(say: Callable[[str], None] = print) -> None:
    """The command."""
    parser = arguments(__doc__)
    parser.add_argument("task", choices=SWEEPS)
    parser.add_argument("--preset", choices=PRESETS, default="small")
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 1, help="processes (default: one per core)")
    parser.add_argument("--device", default="cpu", help="of the networks: cuda for the preset paper (with fewer workers)")
    asked = parser.parse_args()
    results = RECORDED if asked.record else SCRATCH
    run(lambda: say(f"written: {_swept(asked, results)}"))


def _swept(asked: argparse.Namespace, results: Path) -> Path:
    workers = _checks.whole_number(asked.workers, "workers", least=1)
    return run_sweep(asked.task, asked.preset, workers=workers, results=results, device=asked.device)


if __name__ == "__main__":
    main()
