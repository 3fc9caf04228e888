"""Rows of the benchmark: printed as they come, merged into JSON by name, and written as a Markdown page."""

import json
import os
import shutil
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

UNMEASURED = "-"


@dataclass(frozen=True)
class Goal:
    """Ours / against at most `at_most`, or against / ours ("times faster") at least `faster`, or none."""

    at_most: float | None = None
    faster: float | None = None

    def shown(self, ratio: float) -> str:
        """A ratio ours / against in the goal's own terms."""
        if self.faster is not None:
            return f"{_digits(1 / ratio)} x faster"
        return f"{100 * ratio:.3f} %" if self.at_most is not None and self.at_most < 0.1 else f"{_digits(ratio)} x"

    def __str__(self) -> str:
        """In words."""
        if self.faster is not None:
            return f">= {self.faster:g} x faster"
        if self.at_most is None:
            return "none"
        return f"<= {100 * self.at_most:g} %" if self.at_most < 0.1 else f"<= {self.at_most:g} x"

    def reached(self, ratio: float | None) -> bool | None:
        """Whether; None where there is no goal or no ratio."""
        if ratio is None or (self.faster is None and self.at_most is None):
            return None
        return 1 / ratio >= self.faster if self.faster is not None else ratio <= (self.at_most or 0.0)


@dataclass(frozen=True)
class Result:
    """One row as it was measured: medians over pairs; `low` and `high` are the ends of the ratios of single pairs."""

    name: str
    work: str
    against: str
    goal: Goal
    ratio: float | None = None
    low: float | None = None
    high: float | None = None
    ours: float | None = None
    other: float | None = None
    unit: str = "s"
    pairs: int = 0
    note: str = ""
    busy: float | None = None
    elapsed: float = 0.0
    conditions: dict[str, Any] = field(default_factory=dict)

    @property
    def verdict(self) -> str:
        """Reached, in one word."""
        found = self.goal.reached(self.ratio)
        return UNMEASURED if found is None else ("yes" if found else "no")

    def figure(self) -> str:
        """The ratio, in the goal's terms."""
        return "not measured" if self.ratio is None else self.goal.shown(self.ratio)

    def sides(self) -> tuple[str, str]:
        """Both sides with their unit."""
        if self.ours is None or self.other is None:
            return UNMEASURED, UNMEASURED
        return f"{_digits(self.ours)} {self.unit}", f"{_digits(self.other)} {self.unit}"


def _digits(value: float) -> str:
    """Three significant digits, without an exponent from 0.0001 on."""
    return f"{value:.0f}" if value >= 100 else f"{value:.3g}"


class Table:
    """A plain-text table on the terminal, a row as soon as it is done."""

    COLUMNS = (
        ("row", 20),
        ("ratio", 16),
        ("goal", 17),
        ("reached", 8),
        ("ours", 11),
        ("against", 11),
        ("pairs", 6),
        ("elapsed", 9),
    )

    def __init__(self) -> None:
        self._line(*(name for name, _ in self.COLUMNS))

    def add(self, result: Result) -> None:
        """One row, its note below it."""
        elapsed = f"{result.elapsed:.0f} s"
        self._line(result.name, result.figure(), str(result.goal), result.verdict, *result.sides(), str(result.pairs), elapsed)
        if result.busy is not None:
            print(f"    beside a busy core: {result.busy:.2f} times as long", flush=True)
        if result.note:
            print(f"    {result.note}", flush=True)

    def _line(self, *cells: str) -> None:
        print(" ".join(f"{cell:<{width}}" for cell, (_, width) in zip(cells, self.COLUMNS, strict=True)).rstrip(), flush=True)


def load(path: Path) -> dict[str, Result]:
    """The rows measured so far, by name."""
    if not path.exists():
        return {}
    rows = json.loads(path.read_text())["rows"]
    return {name: Result(**{**row, "goal": Goal(**row["goal"])}) for name, row in rows.items()}


def merge(path: Path, result: Result, order: tuple[str, ...]) -> dict[str, Result]:
    """Put one row in its place among the others, in the JSON and the page; a row that was skipped replaces none measured."""
    rows = load(path)
    if result.ratio is not None or result.name not in rows or rows[result.name].ratio is None:
        rows[result.name] = result
    names = [*(name for name in order if name in rows), *(name for name in rows if name not in order)]
    rows = {name: rows[name] for name in names}
    _write(path, json.dumps({"rows": {name: asdict(row) for name, row in rows.items()}}, indent=1) + "\n")
    _write(path.with_suffix(".md"), page(rows))
    return rows


def page(rows: dict[str, Result]) -> str:
    """Markdown: under what conditions, the table, what is beside it, and the notes."""
    lines = [
        "# Speed",
        "",
        "Written by `make bench`. Ratios of two sides measured in one run, in turn: medians over pairs.",
        "",
    ]
    lines += [f"- {_conditions(rows, number)}" for number in range(len(_runs(rows)))]
    lines += [
        "",
        "| work | against | ratio measured | goal | reached | ours, other side | pairs |",
        "|---|---|---|---|---|---|---|",
    ]
    for row in rows.values():
        name = f"`{row.name}`: {row.work}"
        lines.append(
            f"| {name} | {row.against} | {row.figure()} | {row.goal} | {row.verdict} | {', '.join(row.sides())} | {row.pairs} |"
        )
    spread = [row for row in rows.values() if row.ratio is not None]
    lines += ["", "Single pairs, from the least ratio ours / against to the greatest:", ""]
    lines += [f"- `{row.name}`: {row.goal.shown(row.low or 1.0)} to {row.goal.shown(row.high or 1.0)}" for row in spread]
    busy = [row for row in rows.values() if row.busy is not None]
    if busy:
        lines += ["", "Our side while another process keeps one core busy, against itself undisturbed:", ""]
        lines += [f"- `{row.name}`: {row.busy:.2f} times as long" for row in busy]
    notes = [row for row in rows.values() if row.note]
    if notes:
        lines += ["", "Notes:", "", *(f"- `{row.name}`: {row.note}" for row in notes)]
    return "\n".join(lines) + "\n"


def _runs(rows: dict[str, Result]) -> list[dict[str, Any]]:
    """The different conditions under which rows were measured."""
    found: list[dict[str, Any]] = []
    for row in rows.values():
        if row.conditions not in found:
            found.append(row.conditions)
    return found


def _conditions(rows: dict[str, Result], number: int) -> str:
    """One set of conditions in words, with its rows where there are several sets."""
    runs = _runs(rows)
    its = "{cpu}, {cores} cores; Python {python}, PyTorch {torch}, {blas}; threads: {threads}; {date}, commit {commit}"
    names = [f"`{row.name}`" for row in rows.values() if row.conditions == runs[number]]
    return its.format(**runs[number]) + (f": {', '.join(names)}" if len(runs) > 1 else "")


def _write(path: Path, text: str) -> None:
    """Whole or not at all."""
    partial = path.with_name(f"{path.name}.{os.getpid()}.partial")
    partial.write_text(text)
    shutil.move(partial, path)
