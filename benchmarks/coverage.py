"""How often intervals hold the truth, and how bias, variance and coverage go with sequences, length and warm-up.

    python benchmarks/coverage.py                      # what is missing of both tables (hours: see --jobs, --quick, --only)
    python benchmarks/coverage.py --only "chrono"      # cells whose name holds this; "coverage" for all, "budget" for the other
    python benchmarks/coverage.py --table              # the table of the rows that there are, without running anything
    python benchmarks/coverage.py --against OLD        # and the widths of its intervals over those of other rows
    python benchmarks/coverage.py --truths             # finds the true exponents again (an hour): coverage_truths.json

Rows are kept as they come, by default in runs/coverage/rows: a run that was ended goes on where it was. Trained networks are
kept beside them. LYAPUNOV_DATA_DIR is the folder with War and Peace; without it, the cells of that text are left out.
Writes the tables into docs/budget.md, between its markers, and docs/figures/budget.png, with --write.
"""

import argparse
import sys
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import torch

import _budget as budget
import _coverage_statistics as statistics
import _reference as reference
from _coverage_cells import cells
from _coverage_rows import Rows, lines_of, parsed, run
from _coverage_systems import Cell
from _coverage_trained import CACHE, WAR, available

ROOT = Path(__file__).parent.parent
PAGE, FIGURE = ROOT / "docs" / "budget.md", ROOT / "docs" / "figures" / "budget.png"
QUICK = 0.2
LEGEND = """Of the results whose verdict is *converged*, the table says how many nominal 95 % intervals hold the truth: those of
the largest exponent, of the last one listed, and of the mean of all; then those of all listed exponents (the first eight and
the last). *Beyond* counts values outside their own 99.9 % interval and more than 0.001 off. *Spread / error* is the spread of
the estimates over the error that they report. A system holds with at least 93 % over all its cells, none of which misses more
often than chance explains at 0.01 over all of them. *Unknown*: the truth is not five times sharper than the errors. Truths and
where they come from: `benchmarks/coverage_truths.json`. "10 x 500, 50 + 50 given": 10 sequences of 500 steps,
settle = align = 50."""


def write(marker: str, text: str) -> None:
    """Between the page's markers."""
    page = PAGE.read_text()
    start, end = f"<!-- {marker} -->", f"<!-- end of {marker} -->"
    before, after = page.split(start)[0], page.split(end)[1]
    PAGE.write_text(f"{before}{start}\n\n{text}\n\n{end}{after}")


def chosen(only: str | None) -> list[Cell]:
    """Cells whose name holds this, of the texts that are here."""
    wanted = "" if only in (None, "coverage") else only
    return [cell for cell in cells() if wanted.lower() in cell.name.lower() and (WAR not in cell.system or available(WAR))]


def rows_at(path: Path) -> Callable[[Cell], list[statistics.Row]]:
    """Of a folder of rows, or of one file with all of them."""
    if path.is_dir():
        return Rows(path).of
    if not path.is_file():
        raise SystemExit(f"Expected rows at {path}, found nothing. Run without --table first.")
    found: dict[str, list[statistics.Row]] = {}
    for row in parsed(path.read_text().splitlines()):
        found.setdefault(row["cell"], []).append(row)
    return lambda cell: found.get(cell.name, [])


def cover(arguments: argparse.Namespace) -> None:
    """Runs what is missing, and prints the table and what is to be said of it."""
    wanted, rows = chosen(arguments.only), Rows(arguments.rows)
    if not wanted:
        raise SystemExit(f"Expected --only to name a system or a part of a cell's name, got {arguments.only!r}.")
    if arguments.fresh:
        rows.clear()
    if not arguments.table:
        rows.claim()
        run(wanted, rows, lambda cell: replicates(cell, arguments), arguments.jobs)
    truths = reference.truths({cell.truth_of(seed) for cell in wanted for seed in range(50)})
    lines = lines_of(wanted, rows_at(arguments.rows), truths)
    table = statistics.table(lines)
    listed = "\n".join(f"- {sentence}" for sentence in statistics.verdicts(lines).splitlines())
    print(f"{table}\n\n{listed}")
    if arguments.against:
        print(statistics.widths(lines, lines_of(wanted, rows_at(arguments.against), truths)))
    if arguments.write:
        write("coverage", f"{LEGEND}\n\n{table}\n\n{listed}")


def replicates(cell: Cell, arguments: argparse.Namespace) -> int:
    """Of a cell: all, a fifth of them, or no more than was asked for."""
    count = round(cell.replicates * (QUICK if arguments.quick else 1))
    return min(count, arguments.replicates or count)


def split(arguments: argparse.Namespace) -> None:
    """The budget table and its figure."""
    with ProcessPoolExecutor(arguments.jobs) as pool:
        rows = list(budget.budget_rows(QUICK if arguments.quick else 1.0, pool))
    print(budget.budget_table(rows))
    if arguments.write:
        write("budget", budget.budget_table(rows))
        budget.draw(rows, FIGURE)


def parsed_arguments() -> argparse.Namespace:
    """Of the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", help='"coverage", "budget", or a part of the name of a cell')
    parser.add_argument("--jobs", type=int, default=1, help="processes, of one thread each")
    parser.add_argument("--quick", action="store_true", help="a fifth of the replicates")
    parser.add_argument("--replicates", type=int, help="at most so many in each cell")
    parser.add_argument("--rows", type=Path, default=CACHE / "rows", help="the folder with rows (--table: or a file of them)")
    parser.add_argument("--fresh", action="store_true", help="remove the rows that there are first")
    parser.add_argument("--table", action="store_true", help="run nothing")
    parser.add_argument("--against", type=Path, help="rows of another version, a folder or a file")
    parser.add_argument("--truths", action="store_true", help="find the true exponents and write them to their file")
    parser.add_argument("--write", action="store_true", help="write tables and figure into docs/")
    return parser.parse_args()


def main() -> None:
    """What was asked for."""
    torch.set_num_threads(1)
    arguments = parsed_arguments()
    if arguments.truths:
        reference.make(arguments.only or "")
        return
    if arguments.only != "budget":
        cover(arguments)
    if arguments.only in (None, "budget") and not arguments.table:
        split(arguments)


if __name__ == "__main__":
    sys.exit(main())
