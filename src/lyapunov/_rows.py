"""Tables of results as CSV files, which spreadsheets and pandas read."""

import csv
from collections.abc import Mapping, Sequence
from pathlib import Path

from lyapunov._atomic import write_atomically


def write_rows(rows: Sequence[Mapping[str, object]], file: Path) -> None:
    """A column per name that any row has, in the order in which they come; whole or not at all."""

    def write(partial: Path) -> None:
        with partial.open("w", newline="") as lines:
            writer = csv.DictWriter(lines, list(dict.fromkeys(name for row in rows for name in row)), restval="")
            writer.writeheader()
            writer.writerows(rows)

    write_atomically(file, write)
