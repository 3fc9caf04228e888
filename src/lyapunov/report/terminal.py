"""A table in the terminal that grows while a network trains."""

import math
from collections.abc import Collection, Iterable, Mapping, Sequence
from types import TracebackType

from rich import box
from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from lyapunov.estimate import exponent_unit
from lyapunov.training import Reading

_AROUND = 6
"""Lines of a table that are not rows: title, frame, heads."""
_ROWS = 3
"""Rows that are shown before bars and captions are."""
_BARS, _FEWEST, _WIDEST = "▁▂▃▄▅▆▇█", 3, 60
"""Heights, the readings from which on they say anything, and the most of them in a line."""
_NUMBERS = ("largest exponent", "mean exponent", "memory (95 %)", "s training", "s exponents (of them)")
_LEAST = ("s exponents (of them)", "s training", "mean exponent", "epoch")
"""Columns that are left out where the terminal is too narrow, the first one first; they are in the report.

After them losses go, the last one first, and the memory: the step and the largest exponent stay.
"""
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
        """As much as the screen has room for; the newest rows, the alarms and the verdict whole, before anything else."""
        told, status = self._told(), Text(self._status, style="dim", no_wrap=True, overflow="ellipsis")
        trends, caption, rows = self._room(sum(self._lines(line) for line in told) + 1)
        if rows < 1:  # alarms without end: a line each
            told = [Text(str(line), style="yellow", no_wrap=True, overflow="ellipsis") for line in told]
            trends, caption, rows = self._room(len(told) + 1)
        below = [Text(self._caption(self._readings), style="dim italic")] if caption else []
        table = self._table(self._readings[-max(rows, 1) :], caption=False)
        return Group(table, *below, *(Text(line, no_wrap=True) for line in trends), *told, status)

    def _told(self) -> list[Text]:
        """What the last reading says beside its numbers."""
        if not self._readings:
            return []
        last = self._readings[-1]
        against = _verdict(last) or ("verdict: converged" if last.converged and last.failure is None else "")
        alarms = [Text(line.strip(), style="yellow") for line in alarm_lines(last)]
        return [*alarms, *(Text(line, style="yellow" if _verdict(last) else "dim") for line in [against] if line)]

    def _room(self, taken: int) -> tuple[list[str], bool, int]:
        """The bars, whether there is a caption, and how many rows, beside so many lines."""
        trends, named = self._trends(), self._lines(Text(self._caption(self._readings)))
        for bars_shown, caption in ((trends, True), (trends[:1], True), ([], True), ([], False)):
            rows = self._console.height - _AROUND - named * caption - len(bars_shown) - taken
            if rows >= _ROWS:
                return bars_shown, caption, rows
        return [], False, rows

    def _lines(self, text: Text) -> int:
        return max(len(text.wrap(self._console, self._console.width)), 1)

    def _trends(self) -> list[str]:
        """A line of little bars for the largest exponent and for each loss, over all readings."""
        if len(self._readings) < _FEWEST:
            return []
        named = {"largest exponent": [reading.max for reading in self._readings]}
        named |= {f"{name} loss": [one.losses[name] for one in self._readings if name in one.losses] for name in self._losses}
        width = max(map(len, named))
        most = max(min(_WIDEST, self._console.width - width - 3), 1)
        return [f"{name.rjust(width)}  {bars(values, most)}" for name, values in named.items() if values]

    def _caption(self, readings: Sequence[Reading]) -> str:
        unsure = any(reading.converged is False for reading in readings)
        return f"{self._unit}, ± one standard error; memory with its 95 % interval{'; ?: not converged' * unsure}"

    def _table(self, readings: Sequence[Reading], *, caption: bool = True) -> Table:
        rows = [dict(zip(self._columns, self._cells(reading), strict=True)) for reading in readings]
        title = Text(self._title, style="italic", no_wrap=True, overflow="ellipsis")
        below = self._caption(readings) if caption else None
        table = Table(title=title, title_justify="left", caption=below, caption_justify="left", box=box.SIMPLE_HEAD)
        table.padding, table.pad_edge = (0, _BETWEEN - 1, 0, 0), False
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
        losses = [name for name in columns if name.endswith(" loss")]
        for name in (*_LEAST, *losses[:0:-1], "memory (95 %)", *losses[:1]):
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


def bars(values: Sequence[float], width: int = _WIDEST) -> str:
    """One character per value, as high as it is between the least and the largest; of more than `width`, evenly spaced ones."""
    finite = [value for value in values if math.isfinite(value)]
    if len(values) > width:
        values = [values[round(at * (len(values) - 1) / max(width - 1, 1))] for at in range(width)]
    low, high = min(finite, default=0.0), max(finite, default=0.0)
    scale = (len(_BARS) - 1) / (high - low) if high > low else 0.0
    return "".join(_BARS[round((value - low) * scale)] if math.isfinite(value) else " " for value in values)


def alarm_lines(reading: Reading, known: Collection[str] = ()) -> list[str]:
    """What a reading raised, in words, but for kinds that are `known`."""
    lines = [f"      {alarm.kind}: {alarm.message}" for alarm in reading.alarms if alarm.kind not in known]
    return lines if reading.failure is None or lines else [f"      failed: {reading.failure}"]
