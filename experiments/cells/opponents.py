"""What predicts how well a cell will do: readouts of the untrained cell and their opponents, `python -m
experiments.cells.opponents`.

Each set of features goes through the same regressors and the same cross-validation, isomorphic cells together; intervals come
from a bootstrap over structures. Only the benchmark's runs that have published proxies are compared: all sets see the same
cells.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from experiments.association import Estimate, Numbers, correlation, difference
from experiments.cells.readouts import R3, S7
from experiments.cells.recipes import OPERATIONS
from experiments.cells.regression import BOUNDED, REGRESSORS, TREES, cross_validated, fitted, with_both
from experiments.cells.tables import Cells, curves, proxy_names, readouts_of, recorded_readouts
from experiments.commands import results_in, write_table
from experiments.rows import Row

EARLY = (1, 2, 3, 5, 10)
PRIMARY, PROXIES, GRADIENT, FIRST = "reach (R3)", "twelve proxies", "gradient norm at initialization", "loss after epoch 1"
LEAST, AHEAD, GRADIENT_BEHIND = 0.60, 0.15, 0.10
"""Mark 1: the least rank correlation, how far ahead of the proxies, and how far behind the gradient norm is to be."""
NAME, WIDE = "cells-opponents.csv", "cells-benchmark-reach-160.csv"


@dataclass(frozen=True)
class Compared:
    """One set of features: rank correlations of its cross-validated predictions with the least validation loss."""

    name: str
    columns: int
    alone: dict[str, float]
    """By regressor."""
    both: Estimate
    """The frozen mean of ranks."""
    bounded: Estimate
    """The mean of ranks with the bounded ridge: descriptive."""
    ahead: Estimate
    """How far R3 is ahead of it; of sets that hold the loss after epoch 1, how far it is ahead of that loss alone."""


def sets(cells: Cells) -> dict[str, Numbers]:
    """Features by the name of the set; those that have not been measured are left out."""
    proxies = proxy_names(cells)
    first = cells.matrix(["epoch_1"])
    squeezed = np.sign(cells.matrix(proxies)) * np.log1p(np.abs(cells.matrix(proxies)))  # they span twenty decades
    found = {PRIMARY: cells.matrix(R3)}
    if "largest" in cells.columns:
        found["reach and exponents (S7)"] = cells.matrix(S7)
        found["largest exponents alone"] = cells.matrix(["first_largest", "last_largest", "largest"])
    if "dimension_0" in cells.columns:
        found["Kaplan-Yorke dimensions"] = cells.matrix([f"dimension_{depth}" for depth in range(3)])
    if "wide gain_1" in cells.columns:
        found["reach (R3) of 160 units"] = cells.matrix([f"wide {name}" for name in R3])
    found[PROXIES] = squeezed
    if "gradient_norm" in cells.columns:
        found[GRADIENT] = cells.matrix(["gradient_norm"])
    found["counts of operations"] = cells.matrix([*OPERATIONS.values(), "states"])
    found["parameters"] = cells.matrix(["parameters"])
    found["statistics of the outputs"] = cells.matrix(["output_mean", "output_size", "output_change", "saturation"])
    found["hidden covariance of three layers"] = squeezed[
        :, [at for at, name in enumerate(proxies) if name.endswith("Hidden Covariance")]
    ]
    found["three random columns"] = np.random.default_rng(0).normal(size=(len(cells.names), 3))
    found |= {name.removeprefix("proxy "): squeezed[:, [at]] for at, name in enumerate(proxies)}
    found |= {f"loss after epoch {at}": cells.matrix([f"epoch_{at}"]) for at in EARLY}
    found["loss after epoch 1 and R3"] = np.hstack([first, cells.matrix(R3)])
    if "largest" in cells.columns:
        found["loss after epoch 1 and S7"] = np.hstack([first, cells.matrix(S7)])
    found["loss after epoch 1 and twelve proxies"] = np.hstack([first, squeezed])
    return found


def split() -> tuple[Cells, Cells]:
    """The runs with proxies, and the others: the weak hold-out."""
    cells = curves().joined(recorded_readouts("benchmark"))
    if results_in(WIDE).exists() and len((wide := readouts_of(results_in(WIDE))).names) == len(cells.names):
        renamed = {f"wide {name}": numbers for name, numbers in wide.columns.items()}
        cells = cells.joined(Cells(wide.names, wide.structures, renamed))
    has = np.isfinite(cells.columns["ptb_loss"])
    return cells.where(has), cells.where(~has)


def compared(cells: Cells) -> Iterator[Compared]:
    """Every set."""
    target, groups, features = cells.columns["best"], cells.groups, sets(cells)

    def predictions(one: Numbers) -> tuple[dict[str, Numbers], dict[str, Numbers]]:
        return tuple(cross_validated(one, target, cells.structures, by) for by in (REGRESSORS, BOUNDED | TREES))

    found = {name: predictions(one) for name, one in features.items()}
    for name, (own, bounded) in found.items():
        other = FIRST if name.startswith(f"{FIRST} and") else PRIMARY
        pair = (own, found[other][0]) if other == FIRST else (found[other][0], own)
        everything = {**bounded, **own}
        alone = {one: correlation(everything[one], target, groups).value for one in everything if one != "both"}
        ahead = difference(pair[0]["both"], pair[1]["both"], target, groups)
        middle = {name: bounded[name] for name in BOUNDED}
        both, robust = (correlation(one["both"], target, groups) for one in (own, with_both(middle)))
        yield Compared(name, features[name].shape[1], alone, both, robust, ahead)


def held_out(known: Cells, others: Cells) -> Estimate:
    """Mark 2: R3 on the runs without proxies, fitted on those with."""
    found = fitted(known.matrix(R3), known.columns["best"], others.matrix(R3), known.structures)
    return correlation(found["both"], others.columns["best"], others.groups)


def rows() -> list[Row]:
    """One per set, and the hold-out."""
    known, others = split()
    found: list[Row] = [
        {
            "set": one.name, "columns": one.columns, "cells": len(known.names), "structures": len(set(known.structures)),
            **{name.replace(" ", "_"): value for name, value in sorted(one.alone.items(), reverse=True)},
            "both": one.both.value, "low": one.both.low, "high": one.both.high,
            "ahead": one.ahead.value, "ahead_low": one.ahead.low, "ahead_high": one.ahead.high,
            "bounded": one.bounded.value, "bounded_low": one.bounded.low, "bounded_high": one.bounded.high,
        }
        for one in compared(known)
    ]  # fmt: skip
    weak = held_out(known, others)
    also = {"both": weak.value, "low": weak.low, "high": weak.high}
    return [
        *found,
        {
            "set": "weak hold-out, R3",
            "columns": len(R3),
            "cells": len(others.names),
            "structures": len(set(others.structures)),
            **also,
        },
    ]


def main() -> None:
    """Parse, compare and write."""
    write_table(__doc__, NAME, rows, lambda row: f"{row['set']:42} {row['both']:+.2f} [{row['low']:+.2f}, {row['high']:+.2f}]")


if __name__ == "__main__":
    main()
