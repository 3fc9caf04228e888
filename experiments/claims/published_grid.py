"""The grid that the paper's authors published, read again: `python -m experiments.claims.published_grid` prints what it says.

110 LSTM-512 on War and Peace, 11 dropouts x 10 learning rates; exponents at epochs 4 and 15 (in bits, of another estimator than
the paper describes), validation loss by epoch. reference_grid.csv of the shared data; it is not part of this repository.
"""

import os
from pathlib import Path

import numpy as np

from experiments.association import Numbers, correlation, random_regret, regret
from experiments.commands import run
from experiments.rows import read
from lyapunov import InvalidInput
from lyapunov.tasks import DATA_DIR

EPOCH = 4


def columns(file: Path) -> dict[str, Numbers]:
    """Of the rows at the early epoch."""
    rows = [row for row in read(file) if int(row["le_epoch"]) == EPOCH]
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
        found[f"{name} at epoch {EPOCH}, with the best loss"] = str(correlation(signal, final, points))
        found[f"{name}, given the learning rate"] = str(correlation(signal, final, points, [rate]))
    keep = len(final) // 4
    found["regret, a quarter kept by the validation loss"] = f"{regret(early, final, keep):.4f}"
    found["regret, by the largest exponent (largest kept)"] = f"{regret(-grid['le_max'], final, keep):.4f}"
    found["regret, at random"] = f"{random_regret(final, keep):.4f}"
    return found


def main() -> None:
    """Print what was published, from the shared data."""
    if not os.environ.get(DATA_DIR):
        raise InvalidInput(f"Expected {DATA_DIR} to name the folder of the shared data, got nothing. Set it.")
    for name, value in findings(columns(Path(os.environ[DATA_DIR]) / "reference_grid.csv")).items():
        print(f"{name}: {value}")


if __name__ == "__main__":
    run(main)
