"""The grid that the paper's authors published, read again: `python -m experiments.published` prints what it says.

110 LSTM-512 on War and Peace, 11 dropouts x 10 learning rates; exponents at epochs 4 and 15 (in bits, of another estimator than
the paper describes), validation loss by epoch. reference_grid.csv of the shared data; it is not part of this repository.
"""

import csv
import os
from pathlib import Path

import numpy as np

from experiments.association import Numbers, bootstrapped, partial, random_regret, regret, spearman
from lyapunov.tasks import DATA_DIR

EPOCH = 4


def columns(file: Path) -> dict[str, Numbers]:
    """Of the rows at the early epoch."""
    with file.open(newline="") as lines:
        rows = [row for row in csv.DictReader(lines) if int(row["le_epoch"]) == EPOCH]
    return {name: np.array([float(row[name]) for row in rows]) for name in rows[0]}


def findings(grid: dict[str, Numbers]) -> dict[str, str]:
    """Numbers by what they are."""
    final, rate, early = grid["val_best"], grid["lr"], grid[f"val_after{EPOCH:02d}"]
    points = np.arange(len(final), dtype=np.float64)
    found = {}
    for name, signal in {
        "largest exponent": grid["le_max"],
        "mean exponent": grid["le_mean"],
        "validation loss": early,
    }.items():
        found[f"{name} at epoch {EPOCH}, with the best loss"] = str(
            bootstrapped(lambda at, s=signal: spearman(s[at], final[at]), points)
        )
        found[f"{name}, given the learning rate"] = str(
            bootstrapped(lambda at, s=signal: partial(s[at], final[at], [rate[at]]), points)
        )
    keep = len(final) // 4
    found["regret, a quarter kept by the validation loss"] = f"{regret(early, final, keep):.4f}"
    found["regret, by the largest exponent (largest kept)"] = f"{regret(-grid['le_max'], final, keep):.4f}"
    found["regret, at random"] = f"{random_regret(final, keep):.4f}"
    return found


if __name__ == "__main__":
    for name, value in findings(columns(Path(os.environ[DATA_DIR]) / "reference_grid.csv")).items():
        print(f"{name}: {value}")
