"""A table in the terminal that grows while a network trains."""

import math
from collections.abc import Collection, Iterable, Mapping, Sequence
from types import TracebackType
from typing import Any

from rich import box
from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from lyapunov.estimate import exponent_unit
from lyapunov.training import Reading

_AROUND = 10
"""Lines of the screen that are not rows: title, frame, heads, caption (two), verdict, status."""
_BARS, _FEWEST = "▁▂▃▄▅▆▇█", 3
"""Heights, and the readings from which on they say anything."""
_NUMBERS = ("largest exponent", "mean exponent", "memory (95 %)", "s training", "s exponents (of them)")
_LEAST = ("s exponents (of them)", "s training", "mean exponent", "epoch")
"""Columns that are left out where the terminal is too narrow, the first one first; they are in the report."""
_BETWEEN = 2
"""Blanks between columns, of which the frame has one."""


class ReadingTable:
    """Live on a terminal (as many rows as fit, all of them at the end); plain lines elsewhere.

    `losses`: names of losses that have a column from the start; others get one when they come. "?" marks what is not converged.
    """

    def __init__(
        self, title: str, *, losses: Iterable[str] = (), unit: str = exponent_unit(), console: Console | None = None
    ) -> None:
        self._title, self._unit, self._console = title, unit, console or Console()
        self._losses = list(losses)
        self._readings: list[Reading] = []
        self._status = ""
        self._live = Live(console=self._console, refresh_per_second=8, get_renderable=self._render, transient=True)

    def __enter__(self) -> "ReadingTable":
        if self._console.is_terminal:
            self._live.start()
        else:
            self._print(self._title)
            self._print("  ".join(self._columns))
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if self._console.is_terminal:
            self._live.stop()
            self._console.print(self._table(self._readings))
            for line in self._trends():
                self._print(line)
            for reading in self._readings[-1:]:
                self._print_verdict(reading)

    def add(self, reading: Reading) -> None:
        """A new reading; one that was made again (a run went back) takes the place of those from its step on."""
        self._readings = [earlier for earlier in self._readings if earlier.step < reading.step] + [reading]
        new = [name for name in reading.losses if name not in self._losses]
        self._losses += new
        if not self._console.is_terminal:
            if new:
                self._print("  ".join(self._columns))
            cells = zip(self._cells(reading), self._columns, strict=True)
            self._print("  ".join(cell.rjust(len(column)) for cell, column in cells))
            before = self._readings[-2].alarms if len(self._readings) > 1 else ()
            for line in alarm_lines(reading, {alarm.kind for alarm in before}):
                self._print(line)
            known = self._readings[-2].kinds if len(self._readings) > 1 else None
            if reading.kinds != known:
                self._print_verdict(reading)

    def status(self, text: str) -> None:
        """The line under the table."""
        self._status = text

    @property
    def _columns(self) -> tuple[str, ...]:
        return ("step", "epoch", *(f"{name.replace('_', '-')} loss" for name in self._losses), *_NUMBERS)

    def _render(self) -> Group:
        alarms = alarm_lines(self._readings[-1]) if self._readings else []
        taken = sum(math.ceil(len(line.strip()) / self._console.width) for line in alarms) + len(self._trends())
        fitting = max(self._console.height - _AROUND - taken, 3)
        verdict = _verdict(self._readings[-1]) if self._readings else ""
        return Group(
            self._table(self._readings[-fitting:]),
            *(Text(line) for line in self._trends()),
            *(Text(line.strip(), style="yellow") for line in alarms),
            *(Text(line, style="yellow", no_wrap=True, overflow="ellipsis") for line in [verdict] if line),
            Text(self._status, style="dim"),
        )

    def _trends(self) -> list[str]:
        """A line of little bars for the largest exponent and for each loss, over all readings."""
        if len(self._readings) < _FEWEST:
            return []
        named = {"largest exponent": [reading.max for reading in self._readings]}
        named |= {f"{name} loss": [one.losses[name] for one in self._readings if name in one.losses] for name in self._losses}
        width = max(map(len, named))
        return [f"{name.rjust(width)}  {bars(values)}" for name, values in named.items() if values]

    def _table(self, readings: Sequence[Reading]) -> Table:
        caption = f"{self._unit}, ± one standard error; memory with its 95 % interval"
        if any(reading.converged is False for reading in readings):
            caption += "; ?: not converged"
        rows = [dict(zip(self._columns, self._cells(reading), strict=True)) for reading in readings]
        shape: Any = {"box": box.SIMPLE_HEAD, "padding": (0, _BETWEEN - 1, 0, 0), "pad_edge": False}
        table = Table(title=self._title, title_justify="left", caption=caption, caption_justify="left", **shape)
        columns = self._fitting(rows)
        for column in columns:
            table.add_column(_head(column), justify="right", no_wrap=True)
        for row in rows:
            table.add_row(*(row[column] for column in columns))
        return table

    def _fitting(self, rows: Sequence[Mapping[str, str]]) -> list[str]:
        """The columns that there is room for."""
        columns = list(self._columns)
        widths = {name: max(map(len, [*_head(name).splitlines(), *(row[name] for row in rows)])) for name in columns}
        for name in _LEAST:
            if sum(widths[column] + _BETWEEN for column in columns) < self._console.width:
                break
            columns.remove(name)
        return columns

    def _cells(self, reading: Reading) -> tuple[str, ...]:
        known = reading.failure is None
        return (
            str(reading.step),
            "-" if reading.epoch is None else str(reading.epoch),
            *(f"{reading.losses[name]:.3f}" if name in reading.losses else "-" for name in self._losses),
            f"{'? ' * (reading.converged is False)}{reading.max:.4f} ± {reading.max_error:.4f}" if known else "failed",
            "-" if reading.mean is None else f"{reading.mean:.3f}",
            reading.timescale.cell.replace(" to ", "-") if known else "-",
            f"{reading.training_seconds:.1f}",
            f"{reading.seconds:.2f} ({reading.taken})",
        )

    def _print_verdict(self, reading: Reading) -> None:
        if _verdict(reading):
            self._print(f"      {_verdict(reading)}")

    def _print(self, text: str) -> None:
        self._console.print(text, highlight=False, soft_wrap=True)


def _head(column: str) -> str:
    """In two lines: the second one has what is in brackets, or the last word."""
    return column.replace(" (", "\n(", 1) if "(" in column else "\n".join(column.rsplit(" ", 1))


def _verdict(reading: Reading) -> str:
    """What speaks against a reading with numbers, in one line."""
    return f"? not converged: {reading.verdict}" if reading.converged is False and reading.failure is None else ""


def bars(values: Sequence[float], width: int = 60) -> str:
    """One character per value, as high as it is between the least and the largest; of more than `width`, evenly spaced ones."""
    finite = [value for value in values if math.isfinite(value)]
    if len(values) > width:
        values = [values[round(at * (len(values) - 1) / (width - 1))] for at in range(width)]
    low, high = min(finite, default=0.0), max(finite, default=0.0)
    scale = (len(_BARS) - 1) / (high - low) if high > low else 0.0
    return "".join(_BARS[round((value - low) * scale)] if math.isfinite(value) else " " for value in values)


def alarm_lines(reading: Reading, known: Collection[str] = ()) -> list[str]:
    """What a reading raised, in words, but for kinds that are `known`."""
    lines = [f"      {alarm.kind}: {alarm.message}" for alarm in reading.alarms if alarm.kind not in known]
    return lines if reading.failure is None or lines else [f"      failed: {reading.failure}"]
