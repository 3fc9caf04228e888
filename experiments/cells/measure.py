"""Reads untrained cells: `python -m experiments.cells.measure benchmark reach` (or fresh; or exponents), at width 40 unless
told.

One row per cell and seed in results/cells-<cells>-<readouts>-<width>.csv, appended as they come; the same command goes on
after a kill. Needs the benchmark's curves (LYAPUNOV_DATA_DIR) for its recipes.
"""

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import torch

from experiments.cells.grammar import fresh
from experiments.cells.readouts import dimension_numbers, exponent_numbers, gradient_numbers, reach_numbers
from experiments.cells.recipes import Recipe, Trained, benchmark
from experiments.cells.variants import variants
from experiments.commands import RECORDED, SCRATCH, arguments, run
from experiments.records import append, shared
from lyapunov._atomic import write_atomically
from lyapunov._progress import progress_bar
from lyapunov.tasks import data_directory

SEEDS, WIDTHS, FRESH, FRESH_SEED = (0, 1, 2), (40, 160), 250, 25
APART = 20
"""Random cells between two variants of known ones."""
READ = {
    "reach": reach_numbers,
    "gradient": gradient_numbers,
    "exponents": exponent_numbers,
    "dimension": dimension_numbers,
}
PLACES = ("benchmark", "fresh")


class Named(NamedTuple):
    """A recipe under the name that its rows have."""

    cell: str
    recipe: Recipe


def cells(place: str, data: Path) -> list[Named]:
    """The benchmark's runs, or the fresh cells in the order in which they are trained."""
    return [Named(one.run, one.recipe) for one in benchmark(data)] if place == "benchmark" else fresh_cells()


def fresh_cells(runs: Sequence[Trained] | None = None, file: Path = RECORDED / "cells-fresh.json") -> list[Named]:
    """The fresh cells as they were drawn once and for all; drawn from the benchmark where the file is not there."""
    if file.exists():
        return [Named(name, Recipe.of(written)) for name, written in json.loads(file.read_text()).items()]
    drawn = fresh([one.recipe for one in runs or benchmark(data_directory())], FRESH, FRESH_SEED)
    named = [Named(f"fresh-{at:03d}", recipe) for at, recipe in enumerate(drawn)]
    for at, (name, recipe) in enumerate(variants().items()):
        named.insert(APART // 2 + at * (APART + 1), Named(f"variant-{name}", recipe))
    lines = ",\n".join(f"{json.dumps(one.cell)}: {json.dumps(one.recipe.written())}" for one in named)
    write_atomically(file, lambda partial: partial.write_text(f"{{\n{lines}\n}}\n"))
    return named


def measured(place: str, what: str, width: int, file: Path, data: Path) -> None:
    """Every cell that has no rows yet."""
    wanted = {(one.cell,): one for one in cells(place, data)}
    with progress_bar(f"{what} of {place} cells", len(wanted), enabled=None) as advance:
        for at, one in enumerate(shared(file, wanted, ("cell",)), start=1):
            rows = READ[what](one.recipe, width, SEEDS)
            append(
                file, [{"cell": one.cell, "structure": one.recipe.structure, **row, "seed": int(row["seed"])} for row in rows]
            )
            advance(at)


def main() -> None:
    """Parse and measure."""
    parser = arguments(__doc__)
    parser.add_argument("cells", choices=PLACES)
    parser.add_argument("readouts", choices=READ)
    parser.add_argument("--width", type=int, choices=WIDTHS, default=WIDTHS[0])
    asked = parser.parse_args()
    torch.set_num_threads(1)
    file = (RECORDED if asked.record else SCRATCH) / f"cells-{asked.cells}-{asked.readouts}-{asked.width}.csv"
    run(lambda: measured(asked.cells, asked.readouts, asked.width, file, data_directory()))
    print(file, file=sys.stderr)


if __name__ == "__main__":
    main()
