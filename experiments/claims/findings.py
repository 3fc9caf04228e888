"""Writes the numbers of findings.md, all of them: `python -m experiments.claims.findings --record`.

From results/*-small.csv; what the paper's authors published is read again where the shared data are there (LYAPUNOV_DATA_DIR),
and left as it stands where they are not.
"""

import os
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from experiments.cells import chapter as cells
from experiments.claims import answers, published_grid
from experiments.claims.signals import CHAIN_AT, LEADING, Addition, Line, additions, chain, lines, pruning, tables
from experiments.commands import arguments, run
from experiments.force import claims as force
from experiments.pages import replaced
from experiments.sweeps.presets import Preset
from experiments.sweeps.table import READOUTS, Table
from experiments.task_scales import answer as task_scales
from lyapunov.tasks import DATA_DIR

PAGE, PRESET = Path(__file__).parent.parent / "findings.md", "small"
EARLY_LOSS = "early validation loss"


@dataclass(frozen=True)
class Tested:
    """A table, and what the statistics say of it."""

    table: Table
    lines: tuple[Line, ...]
    additions: tuple[Addition, ...]

    @classmethod
    def of(cls, table: Table) -> "Tested":
        """Everything that is asked of a table."""
        return cls(table, tuple(lines(table)), tuple(additions(table)))

    @property
    def heading(self) -> str:
        """Which networks, and what is predicted."""
        points = len(set(self.table.groups.tolist()))
        return f"{self.table.name}: {self.table.target}; {len(self.table.final)} networks at {points} points"

    @property
    def clear(self) -> list[Line]:
        """Readouts whose interval leaves zero out, given the early loss and all settings."""
        return [line for line in self.lines if line.given_all is not None and line.given_all.is_clear]

    @property
    def looked_at(self) -> int:
        """How many readouts there are, at all epochs."""
        return sum(line.given_all is not None for line in self.lines)


def blocks(preset: Preset) -> Iterator[tuple[str, list[str]]]:
    """By the name of its markers, the lines of every part that can be written here."""
    known = [Tested.of(table) for table in tables(preset)]
    yield "verdicts", [line for tested in known for line in verdict(tested)]
    yield "tables", [line for tested in known for line in (*in_words(tested), "")]
    yield "answers", list(answers.paragraphs(preset))
    yield "force", list(force.paragraphs(preset))
    yield "cells", list(cells.paragraphs())
    yield "scales", list(task_scales.paragraphs())
    if os.environ.get(DATA_DIR):
        grid = published_grid.columns(Path(os.environ[DATA_DIR]) / "reference_grid.csv")
        yield "published", [f"- {name}: {value}" for name, value in published_grid.findings(grid).items()]


def verdict(tested: Tested) -> Iterator[str]:
    """One table in short: the early loss, the largest exponents, and what all readouts add, by epoch."""
    found = {(line.epoch, line.signal): line for line in tested.lines}
    yield f"**{tested.heading}**\n"
    yield f"| epoch | {EARLY_LOSS} | {' | '.join(READOUTS[name] for name in LEADING)} | all readouts add |"
    yield "|---" * (3 + len(LEADING)) + "|"
    for added in tested.additions:
        cells = [str(found[added.epoch, "held_out_loss"].alone)]
        for line in (found.get((added.epoch, name)) for name in LEADING):
            cells.append("-" if line is None else f"{line.alone}; given all {line.given_all}")
        without, more = added.to_all
        yield f"| {added.epoch} | {' | '.join(cells)} | {without:+.2f} without, {more} |"
    clear = f"{len(tested.clear)} of {tested.looked_at}"
    rate = found[0, "learning_rate"].alone
    yield f"\nLearning rate: {rate}. Readouts clear of zero given early loss and settings: {clear}.\n"


def in_words(tested: Tested) -> Iterator[str]:
    """The tables of one task, as markdown."""
    table = tested.table
    yield f"### {tested.heading}\n"
    yield "| epoch | signal | alone | given the learning rate | given the early loss | given early loss and settings |"
    yield "|---" * 6 + "|"
    for line in tested.lines:
        shown = (str(one) if one else "-" for one in (line.given_rate, line.given_loss, line.given_all))
        yield f"| {line.epoch} | {_named(line.signal)} | {line.alone} | {' | '.join(shown)} |"
    yield "\nA prediction's rank correlation, cross-validated, and what all readouts add to it:\n"
    yield "| epoch | from the early loss | they add | from early loss and settings | they add |\n|---|---|---|---|---|"
    for epoch, (loss, to_loss), (everything, to_all) in tested.additions:
        yield f"| {epoch} | {loss:+.2f} | {to_loss} | {everything:+.2f} | {to_all} |"
    yield f"\n| link, at epoch {CHAIN_AT} | rank correlation |\n|---|---|"
    yield from (f"| {name} | {found} |" for name, found in chain(table, CHAIN_AT).items())
    yield f"\n| epoch | a quarter kept by | regret in {table.target} |\n|---|---|---|"
    for epoch, signal, lost in pruning(table):
        hindsight = ", the better sign by hindsight" if signal in READOUTS else ""
        yield f"| {epoch} | {_named(signal)}{hindsight} | {lost:.2g} |"


def write(page: Path, preset: Preset = PRESET) -> None:
    """Every part between its markers; those that cannot be written here stay as they are."""
    page.write_text(written(page, preset))


def written(page: Path, preset: Preset = PRESET) -> str:
    """The page as it is to be."""
    text = page.read_text()
    for name, found in blocks(preset):
        text = replaced(text, name, "".join(f"{line}\n" for line in found))
    return text


def main() -> None:
    """Print the page; with --record write it, too."""
    record = arguments(__doc__).parse_args().record

    def show() -> None:
        if record:
            write(PAGE)
        sys.stdout.write(PAGE.read_text() if record else written(PAGE))

    run(show)


def _named(signal: str) -> str:
    return READOUTS.get(signal, EARLY_LOSS if signal == "held_out_loss" else signal.replace("_", " "))


if __name__ == "__main__":
    main()
