"""What the results files hold, as arrays: readouts averaged over seeds, and the benchmark's curves and proxies."""

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from experiments.association import Numbers
from experiments.cells.recipes import OPERATIONS, benchmark, proxies
from experiments.commands import RECORDED, SCRATCH, arguments, results_in, run
from experiments.records import Rows, known
from experiments.rows import write
from lyapunov import InvalidInput
from lyapunov.tasks import data_directory

EPOCHS, PTB = 50, "loss"
NAME = "cells-benchmark.csv"


@dataclass(frozen=True)
class Cells:
    """Cells by row: their names, their structures, and columns of numbers (NaN where there is none)."""

    names: tuple[str, ...]
    structures: tuple[str, ...]
    columns: dict[str, Numbers]

    def matrix(self, names: Sequence[str]) -> Numbers:
        """(cells, columns)."""
        return np.column_stack([self.columns[name] for name in names])

    def joined(self, other: "Cells") -> "Cells":
        """With the columns of another table, for the cells that both have."""
        place = {name: at for at, name in enumerate(other.names)}
        both = [at for at, name in enumerate(self.names) if name in place]
        theirs = [place[self.names[at]] for at in both]
        mine = self.where(both)
        return Cells(
            mine.names, mine.structures, {**mine.columns, **{name: one[theirs] for name, one in other.columns.items()}}
        )

    def where(self, kept: Sequence[int] | np.ndarray) -> "Cells":
        """Some of them, by number or by mask."""
        at = np.arange(len(self.names))[np.asarray(kept)]
        return Cells(
            tuple(self.names[one] for one in at),
            tuple(self.structures[one] for one in at),
            {name: one[at] for name, one in self.columns.items()},
        )

    @property
    def groups(self) -> Numbers:
        """The structures as numbers."""
        return np.unique(np.asarray(self.structures), return_inverse=True)[1].astype(np.float64)


def readouts_of(file: Path) -> Cells:
    """Means over seeds."""
    rows = known(file)
    if not rows:
        raise InvalidInput(f"Expected readouts in {file}, got none. Run `python -m experiments.cells.measure` first.")
    by_cell: dict[str, Rows] = {}
    for row in rows:
        by_cell.setdefault(row["cell"], []).append(row)
    numbers = [name for name in rows[0] if name not in ("cell", "structure", "seed")]
    found = sorted(by_cell.items())
    columns = {name: np.array([np.mean([float(row[name]) for row in own]) for _, own in found]) for name in numbers}
    return Cells(tuple(name for name, _ in found), tuple(own[0]["structure"] for _, own in found), columns)


def recorded_readouts(place: str, width: int = 40) -> Cells:
    """All readouts of a place that are there for every cell; "seconds" are those of the reach, the others "<what> seconds"."""
    found = readouts_of(results_in(f"cells-{place}-reach-{width}.csv"))
    for what in ("gradient", "exponents", "dimension"):
        file = results_in(f"cells-{place}-{what}-{width}.csv")
        if file.exists() and len((more := readouts_of(file)).names) == len(found.names):
            more.columns[f"{what} seconds"] = more.columns.pop("seconds")
            found = found.joined(more)
    return found


def curves(file: Path | None = None) -> Cells:
    """The benchmark's runs: "epoch_1" ... "epoch_50", "best", operations, parameters, and proxies where there are any."""
    rows = known(file or results_in(NAME))
    if not rows:
        raise InvalidInput("Expected the benchmark's curves, got none. Run `python -m experiments.cells.tables --record`.")
    numbers = [name for name in rows[0] if name not in ("run", "cell", "structure")]
    columns = {name: np.array([float(row[name] or "nan") for row in rows]) for name in numbers}
    columns["best"] = np.min([columns[f"epoch_{at}"] for at in range(1, EPOCHS + 1)], axis=0)
    return Cells(tuple(row["run"] for row in rows), tuple(row["structure"] for row in rows), columns)


def proxy_names(cells: Cells) -> list[str]:
    """The twelve published proxies."""
    return [name for name in cells.columns if name.startswith("proxy ")]


def extracted(data: Path) -> list[dict[str, object]]:
    """The rows of `curves`, from the published files."""
    published, rows = proxies(data), []
    names = list(next(iter(published.values())))
    for one in benchmark(data):
        row: dict[str, object] = {
            "run": one.run,
            "cell": one.cell,
            "structure": one.recipe.structure,
            "parameters": one.parameters,
        }
        row |= {kind: one.recipe.counts[kind] for kind in OPERATIONS.values()} | {"states": one.recipe.states}
        row |= {f"epoch_{at}": loss for at, loss in enumerate(one.losses, start=1)}
        theirs = published.get(one.cell, {})
        row |= {("ptb_loss" if name == PTB else f"proxy {name}"): theirs.get(name, "") for name in names}
        rows.append(row)
    return rows


def main() -> None:
    """Extract the benchmark's numbers: `python -m experiments.cells.tables --record`."""
    record = (
        arguments("Extracts the numbers of the benchmark that the tables need, from the published files (LYAPUNOV_DATA_DIR).")
        .parse_args()
        .record
    )
    file = (RECORDED if record else SCRATCH) / NAME
    run(lambda: write(file, extracted(data_directory())))
    print(file, file=sys.stderr)


if __name__ == "__main__":
    main()
