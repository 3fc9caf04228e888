"""Results as people see them: text for `print`, HTML for notebooks, both from the same parts; and exponents as a sequence."""

import html
import math
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, NamedTuple, overload

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import DTypeLike
    from torch import Tensor


HEAD, TAIL = 8, 3
"""Rows shown of a long spectrum, from its start and its end."""


class Parts(NamedTuple):
    """Lines above a table, its rows (the first one has the heads), and lines below it."""

    above: Sequence[str] = ()
    rows: Sequence[tuple[str, ...]] = ()
    below: Sequence[str] = ()


class Shown:
    """A result that is printed and, in a notebook, shown as a table."""

    __slots__ = ()

    def _parts(self) -> Parts:
        """What is shown: for a result without a table, what it prints."""
        return Parts(above=str(self).splitlines())

    def __repr__(self) -> str:
        parts = self._parts()
        blocks = (parts.above, aligned(parts.rows), parts.below)
        return "\n\n".join("\n".join(block) for block in blocks if block)

    def _repr_html_(self) -> str:
        return html_of(self._parts())


class ExponentSequence:
    """`result[0]`, `result[:3]`, `len(result)`, `numpy.asarray(result)`: its exponents, the largest first."""

    if TYPE_CHECKING:

        @property
        def exponents(self) -> "Tensor": ...

    def __len__(self) -> int:
        return len(self.exponents)

    @overload
    def __getitem__(self, at: int) -> float: ...

    @overload
    def __getitem__(self, at: "slice | Tensor") -> "Tensor": ...

    def __getitem__(self, at: "int | slice | Tensor") -> "Tensor | float":
        found = self.exponents[at]
        return found if found.dim() else float(found)

    def __iter__(self) -> Iterator[float]:
        return iter(self.exponents.tolist())

    def __array__(self, dtype: "DTypeLike | None" = None, copy: bool | None = None) -> "np.ndarray":
        values = self.exponents.numpy()
        return values.astype(values.dtype if dtype is None else dtype, copy=copy is not False)


def aligned(rows: Sequence[tuple[str, ...]]) -> list[str]:
    """Rows of equal length as lines, every column as wide as its widest cell."""
    if not rows:
        return []
    widths = [max(len(row[at]) for row in rows) for at in range(len(rows[0]))]
    return ["  ".join(cell.rjust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]


def shown_rows(count: int) -> list[int | None]:
    """The rows of a long table that are shown, None for those passed over."""
    if count <= HEAD + TAIL + 1:
        return list(range(count))
    return [*range(HEAD), None, *range(count - TAIL, count)]


def number(value: float | None, digits: int = 5) -> str:
    """A number for people: "-" where there is none."""
    if value is None or math.isnan(value):
        return "-"
    return f"{value:.{digits}f}" if math.isfinite(value) else str(value)


def html_of(parts: Parts) -> str:
    """The parts as an HTML table with its caption, and a paragraph; everything escaped."""
    above, below = ("<br>".join(html.escape(line) for line in lines) for lines in (parts.above, parts.below))
    body = "".join(_row(row, "td" if at else "th") for at, row in enumerate(parts.rows))
    table = f"<table>{f'<caption>{above}</caption>' if above else ''}{body}</table>" if body else f"<p>{above}</p>"
    return table + (f"<p>{below}</p>" if below else "")


def _row(cells: tuple[str, ...], tag: str) -> str:
    return "<tr>" + "".join(f"<{tag}>{html.escape(cell)}</{tag}>" for cell in cells) + "</tr>"


def three_digits(value: float) -> str:
    """A time for people: three digits, and no powers of ten where people count."""
    return f"{value:.0f}" if 100 <= value < 1e6 else f"{value:.3g}"
