"""Rows as CSV."""

import csv
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any


def write_rows(rows: Sequence[Mapping[str, Any]], file: Path) -> None:
    """A column per name that any row has, in the order in which they come; whole or not at all."""
    partial = file.with_name(f"{file.name}.{os.getpid()}.partial")
    with partial.open("w", newline="") as lines:
        writer = csv.DictWriter(lines, list(dict.fromkeys(name for row in rows for name in row)), restval="")
        writer.writeheader()
        writer.writerows(rows)
    partial.replace(file)
