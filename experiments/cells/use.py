"""What a screen of untrained cells saves (mark 4): `python -m experiments.cells.use`, replayed from recorded losses.

A search draws candidates at random and finds the best by successive halving: all are trained for 1/27 of the full training,
the best third of them for 1/9, the best third of those for 1/3, and so on. With the screen three times as many candidates are
drawn, the worst two thirds by the primary are dropped untrained, and the rest goes through the same halving. Halving alone is
given the screen's cost as further candidates. The cells that trained the predictor are the benchmark's, long trained and
published: their cost is sunk. Regret is the rank, from 0 to 1, of the cell that is found among all cells.
"""

from dataclasses import dataclass

import numpy as np

from experiments.association import Estimate, Numbers
from experiments.cells.confirmation import trained
from experiments.cells.readouts import R3
from experiments.cells.regression import cross_validated, ranks
from experiments.cells.tables import curves, readouts_of, recorded_readouts
from experiments.commands import results_in, write_table
from experiments.records import known
from experiments.rows import Row

CANDIDATES, DROPPED_TO, THIRD = 27, 3, 3
"""That are trained; how many times as many are screened; what halving divides by."""
EPOCHS, UPDATES = (2, 6, 17, 50), (56, 167, 500, 1500)
"""Rungs: 1/27, 1/9, 1/3 and all of the training, of the benchmark and of fresh cells."""
REPLICATES, SEARCHES, SEED = 400, 40, 0
BEST_TENTH = 0.1
NAME = "cells-use.csv"


@dataclass(frozen=True)
class Pool:
    """Cells that a search may draw: losses at the rungs and at the end, predictions, and what a screen costs.

    `screen`: of one cell, in full trainings. `fractions`: of the training, at which the rungs lie.
    """

    name: str
    rungs: Numbers
    final: Numbers
    predicted: Numbers
    groups: Numbers
    screen: float
    fractions: tuple[float, ...]


def pools() -> list[Pool]:
    """The benchmark, predicted out of fold, and the fresh cells, predicted before they were trained."""
    cells = curves().joined(recorded_readouts("benchmark"))
    primary = cross_validated(cells.matrix(R3), cells.columns["best"], cells.structures)["both"]
    rungs = cells.matrix([f"epoch_{at}" for at in EPOCHS])
    fractions = tuple(at / EPOCHS[-1] for at in EPOCHS)
    seconds = 3 * float(np.mean(cells.columns["seconds"]))
    found = [
        Pool(
            "benchmark",
            rungs,
            ranks(cells.columns["best"]),
            primary,
            cells.groups,
            seconds / EPOCH_SECONDS / EPOCHS[-1],
            fractions,
        )
    ]
    if any(row["task"] == "text" for row in known(results_in("cells-training.csv"))):
        fresh = trained("text").random
        rungs = np.column_stack([fresh.losses[at] for at in UPDATES])
        groups = np.arange(len(fresh.names), dtype=np.float64)
        cost = screen_cost()
        fractions = tuple(at / UPDATES[-1] for at in UPDATES)
        found.append(Pool("fresh", rungs, ranks(fresh.best), fresh.predicted["both"], groups, cost, fractions))
    return found


EPOCH_SECONDS = 140.0
"""Of the benchmark's training on its accelerator, by its logs; the screen's seconds are of one processor core."""


def screen_cost() -> float:
    """Of a fresh cell, three seeds, as a fraction of its training: both on one processor core."""
    trained_in = {
        row["cell"]: float(row["seconds"])
        for row in known(results_in("cells-training.csv"))
        if row["task"] == "text" and row["seed"] == "0"
    }
    read = readouts_of(results_in("cells-fresh-reach-40.csv"))
    read_in = {name: 3 * seconds for name, seconds in zip(read.names, read.columns["seconds"], strict=True)}
    return sum(read_in[name] for name in trained_in) / sum(trained_in.values())


def halved(rungs: Numbers, drawn: np.ndarray) -> int:
    """The cell that successive halving finds among those drawn."""
    kept = drawn
    for at in range(rungs.shape[1]):
        last = at + 1 == rungs.shape[1]
        kept = kept[np.argsort(rungs[kept, at], kind="stable")[: 1 if last else max(1, len(kept) // THIRD)]]
    return int(kept[0])


def cost_of(count: int, fractions: tuple[float, ...]) -> float:
    """Of halving so many candidates, in full trainings."""
    cost, before = 0.0, 0.0
    for fraction in fractions:
        cost, before, count = cost + count * (fraction - before), fraction, max(1, count // THIRD)
    return cost


def alone_count(pool: Pool) -> int:
    """How many candidates halving alone can afford at the cost of a screen and the halving after it."""
    many = min(CANDIDATES * DROPPED_TO, len(pool.final))
    budget = many * pool.screen + cost_of(many // DROPPED_TO, pool.fractions)
    return max(count for count in range(1, len(pool.final) + 1) if cost_of(count, pool.fractions) <= budget + 1e-9)


def search(pool: Pool, order: np.ndarray, count: int) -> tuple[float, float]:
    """Regrets of halving after a screen and of halving `count` candidates; `order` is that in which candidates are drawn."""
    many = min(CANDIDATES * DROPPED_TO, len(order))
    asked = order[:many]
    kept = asked[np.argsort(pool.predicted[asked], kind="stable")[: many // DROPPED_TO]]
    return float(pool.final[halved(pool.rungs, kept)]), float(pool.final[halved(pool.rungs, order[:count])])


def saved(pools: list[Pool], replicates: int = REPLICATES, searches: int = SEARCHES) -> tuple[Numbers, Numbers]:
    """(1 + replicates, pools, 2): mean regrets with the screen and alone, of all cells, then of resampled structures.

    And (1 + replicates,): what the screen saves, pooled by the numbers of cells.
    """
    source = np.random.default_rng(SEED)
    found, counts = np.empty((1 + replicates, len(pools), 2)), [alone_count(pool) for pool in pools]
    for at in range(1 + replicates):
        for number, pool in enumerate(pools):
            cells = np.arange(len(pool.final)) if at == 0 else _resampled(pool.groups, source)
            orders = (source.permutation(cells) for _ in range(searches * (10 if at == 0 else 1)))
            found[at, number] = np.mean([search(pool, order, counts[number]) for order in orders], axis=0)
    sizes = np.array([len(pool.final) for pool in pools], dtype=np.float64)
    pooled = (found[:, :, 1] - found[:, :, 0]) @ sizes / sizes.sum()
    return found, pooled


def rows() -> list[Row]:
    """For each pool and for both together: regrets, and what the screen saves."""
    there = pools()
    found, pooled = saved(there)
    made: list[Row] = []
    for at, pool in enumerate(there):
        gain = _estimate(found[:, at, 1] - found[:, at, 0])
        made.append(
            {
                "pool": pool.name, "cells": len(pool.final), "screen_cost": pool.screen, "screened": found[0, at, 0],
                "alone": found[0, at, 1], "saved": gain.value, "low": gain.low, "high": gain.high,
            }
        )  # fmt: skip
    both = _estimate(pooled)
    made.append(
        {
            "pool": "both",
            "cells": sum(len(pool.final) for pool in there),
            "saved": both.value,
            "low": both.low,
            "high": both.high,
        }
    )
    return made


def main() -> None:
    """Parse, replay and write."""
    write_table(
        __doc__,
        NAME,
        rows,
        lambda row: f"{row['pool']:10} saves {row['saved']:+.3f} [{row['low']:+.3f}, {row['high']:+.3f}] of rank",
    )


def _estimate(values: Numbers) -> Estimate:
    low, high = np.quantile(values[1:], (0.025, 0.975))
    return Estimate(float(values[0]), float(low), float(high))


def _resampled(groups: Numbers, source: np.random.Generator) -> np.ndarray:
    names = np.unique(groups)
    drawn = source.choice(names, len(names))
    return np.concatenate([np.flatnonzero(groups == name) for name in drawn])


if __name__ == "__main__":
    main()
