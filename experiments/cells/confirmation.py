"""What was predicted of fresh cells, and what came (mark 3): `python -m experiments.cells.confirmation`.

The predictions were committed before the first fresh cell was trained. Nothing is fitted here. The target is the least
validation loss of a fixed number of updates; a cell that broke is worst.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from experiments.association import Estimate, Numbers, correlation
from experiments.cells.measure import fresh_cells
from experiments.cells.training import CELLS, MEASURED_AT
from experiments.commands import results_in, write_table
from experiments.records import Rows, known
from experiments.rows import Row
from lyapunov import InvalidInput

NAME, PREDICTIONS, TRAINING = "cells-confirmation.csv", "cells-predictions.csv", "cells-training.csv"
LEAST, ENOUGH = 0.30, 120
"""Mark 3: the interval of the rank correlation lies above this; of so many cells at least."""
EARLY = f"loss_{MEASURED_AT[0]}"
SIGNALS = ("both", "nearest_neighbours", "quadratic_ridge")
BOUNDED = {"both_with_bounded_ridge": "both", "bounded_ridge": "bounded_ridge"}
"""Descriptive, as this ridge came after the freeze; and the columns of its own file of predictions."""
VARIANT = "variant"


@dataclass(frozen=True)
class Fresh:
    """Fresh cells that were trained: what was predicted, and what came."""

    names: tuple[str, ...]
    predicted: dict[str, Numbers]
    early: Numbers
    losses: dict[int, Numbers]
    best: Numbers

    def where(self, kept: np.ndarray) -> "Fresh":
        """Some of them."""
        return Fresh(
            tuple(name for name, keep in zip(self.names, kept, strict=True) if keep),
            {name: one[kept] for name, one in self.predicted.items()},
            self.early[kept],
            {at: one[kept] for at, one in self.losses.items()},
            self.best[kept],
        )

    @property
    def random(self) -> "Fresh":
        """Without the variants of known cells."""
        return self.where(np.array([not name.startswith(VARIANT) for name in self.names]))

    @property
    def first(self) -> "Fresh":
        """Those of the first look, which the mark is about."""
        looked_at = {one.cell for one in fresh_cells()[:CELLS]}
        return self.where(np.array([name in looked_at for name in self.names]))

    @property
    def further(self) -> "Fresh":
        """Those that were trained after it."""
        looked_at = set(self.first.names)
        return self.where(np.array([name not in looked_at for name in self.names]))


def trained(task: str, seed: int = 0, training: Path | None = None, predictions: Path | None = None) -> Fresh:
    """All of a task that are there."""
    rows = [row for row in known(training or results_in(TRAINING)) if (row["task"], row["seed"]) == (task, str(seed))]
    told = {row["cell"]: row for row in known(predictions or results_in(PREDICTIONS))}
    if not rows or not told:
        raise InvalidInput(
            "Expected predictions and trained cells, got none. Run `python -m experiments.cells.training text` first."
        )
    rows.sort(key=lambda row: row["cell"])
    losses = {at: _column(rows, f"loss_{at}") for at in MEASURED_AT}
    later = {row["cell"]: row for row in known(results_in(PREDICTIONS.replace(".csv", "-bounded.csv")))}
    predicted = {name: np.array([float(told[row["cell"]][name]) for row in rows]) for name in SIGNALS}
    if later:
        more = {name: np.array([float(later[row["cell"]][column]) for row in rows]) for name, column in BOUNDED.items()}
        predicted |= more
    best = np.min(list(losses.values()), axis=0)
    best[~np.isfinite(losses[MEASURED_AT[-1]])] = np.inf
    return Fresh(tuple(row["cell"] for row in rows), predicted, _column(rows, EARLY), losses, best)


def confirmed(fresh: Fresh, signal: str = SIGNALS[0]) -> tuple[Estimate, Estimate, Estimate]:
    """Of a prediction: its rank correlation with the least loss; given the early loss; and that of the early loss."""
    groups = np.arange(len(fresh.names), dtype=np.float64)
    found = fresh.predicted[signal]
    alone, partial = (correlation(found, fresh.best, groups, given) for given in ((), (fresh.early,)))
    return alone, partial, correlation(fresh.early, fresh.best, groups)


def reliability() -> tuple[int, Estimate]:
    """Of the target: its rank correlation between two seeds of the same cells."""
    first, second = trained("text", 0), trained("text", 1)
    both = [name for name in second.names if name in first.names]
    one, other = (np.array([own.best[own.names.index(name)] for name in both]) for own in (first, second))
    return len(both), correlation(one, other, np.arange(len(both), dtype=np.float64))


def rows() -> list[Row]:
    """For each task, with and without the variants, all predictions; what came after the first look; then the reliability."""
    found: list[Row] = []
    tasks = {row["task"] for row in known(results_in(TRAINING))}
    for task in sorted(tasks, reverse=True):
        everything = trained(task)
        kinds = {"random cells": everything.first.random, "with variants": everything.first}
        if everything.further.names:
            kinds |= {"further random cells": everything.further.random, "all random cells": everything.random}
        for kind, fresh in kinds.items():
            for signal in fresh.predicted:
                alone, partial, early = confirmed(fresh, signal)
                found.append(
                    {
                        "task": task, "cells": len(fresh.names), "which": kind, "prediction": signal.replace("_", " "),
                        "broken": int(np.isinf(fresh.best).sum()), "alone": alone.value, "low": alone.low, "high": alone.high,
                        "given_early": partial.value, "given_low": partial.low, "given_high": partial.high,
                        "early": early.value, "early_low": early.low, "early_high": early.high,
                    }
                )  # fmt: skip
    if any(row["seed"] == "1" for row in known(results_in(TRAINING))):
        count, same = reliability()
        also = {"alone": same.value, "low": same.low, "high": same.high}
        found.append({"task": "text", "cells": count, "which": "two seeds", "prediction": "the target itself", **also})
    return found


def main() -> None:
    """Parse, confirm and write."""
    write_table(
        __doc__,
        NAME,
        rows,
        lambda row: (
            f"{row['task']:5} {row['which']:14} {row['prediction']:20} {row['cells']:4} "
            f"{row['alone']:+.2f} [{row['low']:+.2f}, {row['high']:+.2f}]"
        ),
    )


def _column(rows: Rows, name: str) -> Numbers:
    return np.array([float(row[name]) for row in rows])


if __name__ == "__main__":
    main()
