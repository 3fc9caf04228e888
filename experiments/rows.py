"""Rows of numbers as CSV: six significant digits, whole or not at all."""

import csv
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from lyapunov._rows import write_rows

DIGITS = 6
"""Significant ones."""
Row = Mapping[str, Any]


def shown(value: Any) -> Any:
    """As it stands in a file."""
    return f"{value:.{DIGITS}g}" if isinstance(value, float) else value


def write(file: Path, rows: Iterable[Row]) -> None:
    """A column per name that any row has, in the order in which they come."""
    kept = [{name: shown(value) for name, value in row.items()} for row in rows]
    file.parent.mkdir(parents=True, exist_ok=True)
    write_rows(kept, file)


def read(file: Path) -> list[dict[str, str]]:
    """What was written, as text."""
    with file.open(newline="") as lines:
        return list(csv.DictReader(lines))
