"""One real search of sixty new cells: `python -m experiments.cells.search --record`.

Sixty random cells that nobody has seen are drawn; each is read untrained, predicted, and trained on the text as the fresh
cells are, to the end, so that one can say afterwards where the cell stands that each kind of search found. A row per cell in
results/cells-search.csv, appended as they come; the same command goes on after a kill.
"""

import math
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch

from experiments.cells.grammar import fresh
from experiments.cells.measure import SEEDS, fresh_cells
from experiments.cells.readouts import R3, reach_numbers
from experiments.cells.recipes import Recipe, benchmark
from experiments.cells.regression import fitted, ranks
from experiments.cells.tables import curves, recorded_readouts
from experiments.cells.training import MEASURED_AT, Text, trained
from experiments.cells.use import UPDATES, Found, Pool, budget_of, found_by
from experiments.commands import RECORDED, SCRATCH, arguments, run
from experiments.records import Rows, append, known, shared
from lyapunov._progress import progress_bar
from lyapunov.tasks import data_directory

COUNT, DRAWN, NAME = 60, 60, "cells-search.csv"
"""Candidates, and the seed that they are drawn by."""


def candidates(data: Path) -> dict[str, Recipe]:
    """In the order in which a search draws them: of no structure of the benchmark's or of the fresh cells'."""
    seen = [one.recipe for one in benchmark(data)]
    met = {one.recipe.structure for one in fresh_cells()}
    drawn = [recipe for recipe in fresh(seen, COUNT + len(met), DRAWN) if recipe.structure not in met]
    return {f"search-{at:02d}": recipe for at, recipe in enumerate(drawn[:COUNT])}


def measure(file: Path, data: Path) -> None:
    """Reads and trains what has no row yet."""
    wanted = {(name,): (name, recipe) for name, recipe in candidates(data).items()}
    task = Text()
    with progress_bar("candidates", len(wanted), enabled=None) as advance:
        for at, (name, recipe) in enumerate(shared(file, wanted, ("cell",)), start=1):
            read = reach_numbers(recipe, 40, SEEDS)
            numbers = {readout: float(np.mean([row[readout] for row in read])) for readout in R3}
            losses = trained(recipe, task, 0)
            screen = sum(row["seconds"] for row in read)
            append(file, [{"cell": name, "structure": recipe.structure, **numbers, "screen_seconds": screen, **losses}])
            advance(at)


def pool_of(rows: Rows) -> Pool:
    """The candidates as a search sees them; what broke is worst."""
    rows = sorted(rows, key=lambda row: row["cell"])
    reference = curves().joined(recorded_readouts("benchmark"))
    asked = np.array([[float(row[name]) for name in R3] for row in rows])
    predicted = fitted(reference.matrix(R3), reference.columns["best"], asked, reference.structures)["both"]
    losses = np.array([[float(row[f"loss_{at}"]) for at in MEASURED_AT] for row in rows])
    best = np.where(np.isfinite(losses[:, -1]), losses.min(axis=1), math.inf)
    rungs = np.array([[float(row[f"loss_{at}"]) for at in UPDATES] for row in rows])
    cost = sum(float(row["screen_seconds"]) for row in rows) / sum(float(row["seconds"]) for row in rows)
    fractions = tuple(at / UPDATES[-1] for at in UPDATES)
    return Pool("search", rungs, ranks(best), predicted, np.arange(len(rows), dtype=np.float64), cost, fractions)


def outcome(rows: Rows, pool: Pool) -> dict[str, tuple[str, float, float]]:
    """By the kind of search: the cell that it found, its rank among all (0 best), and its least loss."""
    names = sorted(row["cell"] for row in rows)
    losses = {row["cell"]: min(float(row[f"loss_{at}"]) for at in MEASURED_AT) for row in rows}
    found = found_by(pool, np.arange(len(rows)))
    return {kind: (names[at], float(pool.final[at]), losses[names[at]]) for kind, at in zip(Found._fields, found, strict=True)}


def paragraphs(results: Path = RECORDED) -> Iterator[str]:
    """A table of what each search found."""
    rows = known(results / NAME)
    if not rows:
        return
    pool = pool_of(rows)
    broke = sum(not math.isfinite(float(row[f"loss_{MEASURED_AT[-1]}"])) for row in rows)
    yield f"\n**One search of {len(rows)} new cells ({broke} broke); {budget_of(pool):.1f} full trainings for each**\n"
    yield "| search | found | rank (0 best) | its loss |\n|---|---|---|---|"
    named = {"screened": "halving after a screen", "alone": "halving", "early": "best early loss", "random": "random"}
    for kind, (cell, rank, loss) in outcome(rows, pool).items():
        yield f"| {named[kind]} | {cell} | {rank:.2f} | {loss:.3f} |"


def main() -> None:
    """Parse and search."""
    asked = arguments(__doc__).parse_args()
    torch.set_num_threads(1)
    file = (RECORDED if asked.record else SCRATCH) / NAME
    run(lambda: measure(file, data_directory()))
    print(file, file=sys.stderr)


if __name__ == "__main__":
    main()
