"""A table in the terminal that grows while a network trains."""

from types import TracebackType
from typing import Protocol, runtime_checkable

from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

_HEADER_LINES = 8
"""Lines of the screen that are not rows: title, frame, status."""


@runtime_checkable
class Row(Protocol):
    """What a row shows."""

    @property
    def epoch(self) -> int: ...  # noqa: D102
    @property
    def train_loss(self) -> float | None: ...  # noqa: D102
    @property
    def held_out_loss(self) -> float: ...  # noqa: D102
    @property
    def largest(self) -> float: ...  # noqa: D102
    @property
    def largest_error(self) -> float: ...  # noqa: D102
    @property
    def mean(self) -> float | None: ...  # noqa: D102
    @property
    def memory(self) -> float: ...  # noqa: D102
    @property
    def training_seconds(self) -> float: ...  # noqa: D102
    @property
    def exponent_seconds(self) -> float: ...  # noqa: D102
    @property
    def taken(self) -> int: ...  # noqa: D102


class ReadingTable:
    """Live on a terminal (as many rows as fit, all of them at the end); plain lines elsewhere."""

    COLUMNS = (
        "epoch",
        "train loss",
        "held-out loss",
        "largest exponent",
        "mean exponent",
        "memory (steps)",
        "s training",
        "s exponents (of them)",
    )

    def __init__(self, title: str, *, console: Console | None = None) -> None:
        self._title, self._console = title, console or Console()
        self._rows: list[tuple[str, ...]] = []
        self._status = ""
        self._live = Live(console=self._console, refresh_per_second=8, get_renderable=self._render, transient=True)

    def __enter__(self) -> "ReadingTable":
        if self._console.is_terminal:
            self._live.start()
        else:
            self._print(self._title)
            self._print("  ".join(self.COLUMNS))
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if self._console.is_terminal:
            self._live.stop()
            self._console.print(self._table(self._rows))

    def add(self, row: Row) -> None:
        """A finished epoch."""
        cells = row_cells(row)
        self._rows.append(cells)
        if not self._console.is_terminal:
            widths = [len(column) for column in self.COLUMNS]
            self._print("  ".join(cell.rjust(width) for cell, width in zip(cells, widths, strict=True)))

    def status(self, text: str) -> None:
        """The line under the table."""
        self._status = text

    def _render(self) -> Group:
        fitting = max(self._console.height - _HEADER_LINES, 3)
        return Group(self._table(self._rows[-fitting:]), Text(self._status, style="dim"))

    def _table(self, rows: list[tuple[str, ...]]) -> Table:
        table = Table(
            title=self._title, title_justify="left", caption="losses in nats per character, exponents in nats per step"
        )
        for column in self.COLUMNS:
            table.add_column(column, justify="right")
        for row in rows:
            table.add_row(*row)
        return table

    def _print(self, text: str) -> None:
        self._console.print(text, highlight=False, soft_wrap=True)


def row_cells(row: Row) -> tuple[str, ...]:
    """A row as text, in the order of the columns."""
    return (
        str(row.epoch),
        "-" if row.train_loss is None else f"{row.train_loss:.3f}",
        f"{row.held_out_loss:.3f}",
        f"{row.largest:.4f} ± {row.largest_error:.4f}",
        "-" if row.mean is None else f"{row.mean:.3f}",
        f"{row.memory:.1f}",
        f"{row.training_seconds:.1f}",
        f"{row.exponent_seconds:.1f} ({row.taken})",
    )
