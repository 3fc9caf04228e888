"""The example with generalised teacher forcing, ten seeds: `python -m experiments.closed_loops.teacher_forcing`.

A row of results/forced.csv per seed, written after each (a minute): the command goes on where it was stopped. At the end it
prints mean and standard error over seeds of the row that papers on this task report.
"""

import runpy
import warnings
from pathlib import Path
from typing import Any

import torch

import lyapunov
from experiments.commands import RECORDED, arguments, run, scratch_of
from experiments.rows import read, write
from experiments.sweeps.table import RESULTS

FILE, EXAMPLE = RESULTS / "forced.csv", Path(__file__).parents[2] / "examples" / "closed_loop.py"
COLUMNS = ("largest", "kaplan_yorke", "distance", "conditional")


def measure(seed: int, updates: int) -> dict[str, Any]:
    """One network."""
    example = runpy.run_path(str(EXAMPLE))
    with warnings.catch_warnings(), torch.random.fork_rng():
        warnings.simplefilter("ignore", lyapunov.LyapunovWarning)
        found = example["measure"](example["train"](seed, updates))
    both = found["both"]
    row: dict[str, Any] = {"seed": seed, "updates": updates}
    row["largest"], row["largest_error"] = both.free.max, float(both.free.standard_errors[0])
    row["kaplan_yorke"] = both.free.kaplan_yorke_dimension
    row["distance"], row["distance_error"] = found["measure"]
    row["conditional"] = both.conditional.max
    row["verdict"] = " ".join(both.free.verdict.kinds) or "converged"
    return row


def main() -> None:
    """Whatever is not yet in the file, and the summary."""
    parser = arguments(__doc__)
    parser.add_argument("--seeds", nargs="*", default=list(range(10)), type=int)
    parser.add_argument("--updates", type=int, default=4000)
    options = parser.parse_args()
    torch.set_num_threads(1)
    file = (RECORDED if options.record else scratch_of("forced")) / FILE.name
    rows: list[dict[str, Any]] = list(read(file)) if file.exists() else []
    for seed in options.seeds:
        if seed not in [int(row["seed"]) for row in rows]:
            rows.append(measure(seed, options.updates))
            write(file, rows)
            print(rows[-1], flush=True)
    for name in COLUMNS:
        values = torch.tensor([float(row[name]) for row in rows])
        print(f"{name}: {float(values.mean()):.3f} ± {float(values.std()) / len(values) ** 0.5:.3f}")


if __name__ == "__main__":
    run(main)
