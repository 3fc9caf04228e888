"""What a screen of untrained cells saves (mark 4): `python -m experiments.cells.use`, replayed from recorded losses.

A search draws candidates at random and finds the best by successive halving: all are trained for 1/27 of the full training,
the best third of them for 1/9, the best third of those for 1/3, and so on. With the screen three times as many candidates are
drawn, the worst two thirds by the primary are dropped untrained, and the rest goes through the same halving. Halving alone is
given the screen's cost as further candidates, and so are two simpler searches. The cells that trained the predictor are the
benchmark's, long trained and published: their cost is sunk. Regret is the rank, from 0 to 1, of the cell that is found among
all cells.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

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


class Found(NamedTuple):
    """The cell that each search finds at the same cost: halving after a screen and alone, the best early loss, at random.

    The early-loss rule trains many cells for the first rung and the best of them to the end; the random search trains to the
    end as many as can be paid.
    """

    screened: int
    alone: int
    early: int
    random: int


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


def benchmark_pool() -> Pool:
    """The benchmark, predicted out of fold."""
    cells = curves().joined(recorded_readouts("benchmark"))
    primary = cross_validated(cells.matrix(R3), cells.columns["best"], cells.structures)["both"]
    rungs = cells.matrix([f"epoch_{at}" for at in EPOCHS])
    cost = 3 * float(np.mean(cells.columns["seconds"])) / EPOCH_SECONDS / EPOCHS[-1]
    fractions = tuple(at / EPOCHS[-1] for at in EPOCHS)
    return Pool("benchmark", rungs, ranks(cells.columns["best"]), primary, cells.groups, cost, fractions)


def fresh_pools() -> list[Pool]:
    """Fresh cells, predicted before they were trained: those of the first look, and all where more were trained."""
    if not any(row["task"] == "text" for row in known(results_in("cells-training.csv"))):
        return []
    everything = trained("text")
    cost = screen_cost(everything.first.names)
    kinds = {"fresh": everything.first.random}
    if everything.further.names:
        kinds["all fresh"] = everything.random
    found = []
    for name, fresh in kinds.items():
        rungs, groups = np.column_stack([fresh.losses[at] for at in UPDATES]), np.arange(len(fresh.names), dtype=np.float64)
        fractions = tuple(at / UPDATES[-1] for at in UPDATES)
        found.append(Pool(name, rungs, ranks(fresh.best), fresh.predicted["both"], groups, cost, fractions))
    return found


EPOCH_SECONDS = 140.0
"""Of the benchmark's training on its accelerator, by its logs; the screen's seconds are of one processor core."""


def screen_cost(names: Sequence[str]) -> float:
    """Of some fresh cells, three seeds, as a fraction of their training: both on one core, of one machine at the first look."""
    trained_in = {
        row["cell"]: float(row["seconds"])
        for row in known(results_in("cells-training.csv"))
        if row["task"] == "text" and row["seed"] == "0" and row["cell"] in names
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


def budget_of(pool: Pool) -> float:
    """What a screen and the halving after it cost, in full trainings; every other search is given as much."""
    many = min(CANDIDATES * DROPPED_TO, len(pool.final))
    return many * pool.screen + cost_of(many // DROPPED_TO, pool.fractions)


def alone_count(pool: Pool) -> int:
    """How many candidates halving alone can afford."""
    budget = budget_of(pool) + 1e-9
    return max(count for count in range(1, len(pool.final) + 1) if cost_of(count, pool.fractions) <= budget)


def found_by(pool: Pool, order: np.ndarray) -> Found:
    """The cell that each search finds; `order` is that in which candidates are drawn."""
    many, budget = min(CANDIDATES * DROPPED_TO, len(order)), budget_of(pool) + 1e-9
    asked = order[:many]
    kept = asked[np.argsort(pool.predicted[asked], kind="stable")[: many // DROPPED_TO]]
    early = order[: max(1, int((budget - 1) / pool.fractions[0]) + 1)]
    whole = order[: max(1, int(budget))]
    return Found(
        halved(pool.rungs, kept),
        halved(pool.rungs, order[: alone_count(pool)]),
        int(early[np.argmin(pool.rungs[early, 0])]),
        int(whole[np.argmin(pool.final[whole])]),
    )


def replayed(pools: list[Pool], replicates: int = REPLICATES, searches: int = SEARCHES) -> tuple[Numbers, Numbers]:
    """(1 + replicates, pools, searches' kinds): mean regrets, of all cells first, then of resampled structures.

    And likewise, how often the cell that is found is one of the best tenth.
    """
    source = np.random.default_rng(SEED)
    shape = (1 + replicates, len(pools), len(Found._fields))
    regrets, hits = np.empty(shape), np.empty(shape)
    for at in range(1 + replicates):
        for number, pool in enumerate(pools):
            cells = np.arange(len(pool.final)) if at == 0 else _resampled(pool.groups, source)
            orders = (source.permutation(cells) for _ in range(searches * (10 if at == 0 else 1)))
            found = np.array([[pool.final[one] for one in found_by(pool, order)] for order in orders])
            regrets[at, number], hits[at, number] = found.mean(axis=0), (found <= BEST_TENTH).mean(axis=0)
    return regrets, hits


def rows() -> list[Row]:
    """For each pool: regrets, costs to the best tenth, what the screen saves; and pooled, of the first look and of all."""
    first, made, met = benchmark_pool(), [], set()
    for fresh in fresh_pools():
        there = [first, fresh]
        regrets, hits = replayed(there)
        for at, pool in enumerate(there):
            if pool.name not in met:
                met.add(pool.name)
                made.append(_row(pool, regrets[:, at], hits[0, at]))
        sizes = np.array([len(pool.final) for pool in there], dtype=np.float64)
        pooled = _estimate(_saved(regrets) @ sizes / sizes.sum())
        name = "both" if fresh.name == "fresh" else f"benchmark and {fresh.name}"
        made.append({"pool": name, "cells": int(sizes.sum()), "saved": pooled.value, "low": pooled.low, "high": pooled.high})
    return made


def _row(pool: Pool, regrets: Numbers, hits: Numbers) -> Row:
    gain, names = _estimate(_saved(regrets)), Found._fields
    costs = [budget_of(pool) / share if share > 0 else np.inf for share in hits]
    return {
        "pool": pool.name, "cells": len(pool.final), "screen_cost": pool.screen,
        **{name: float(value) for name, value in zip(names, regrets[0], strict=True)},
        "saved": gain.value, "low": gain.low, "high": gain.high,
        **{f"tenth_{name}": float(cost) for name, cost in zip(names, costs, strict=True)},
    }  # fmt: skip


def _saved(regrets: Numbers) -> Numbers:
    """By how much the screen's regret is below that of halving alone."""
    return regrets[..., Found._fields.index("alone")] - regrets[..., Found._fields.index("screened")]


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
