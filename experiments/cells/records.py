"""Rows of results that grow: appended as they come, so that a killed run goes on, and a half-written last line is dropped."""

import csv
import io
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple, TypeVar

from filelock import FileLock

from experiments.commands import SCRATCH
from experiments.rows import shown
from lyapunov import InvalidInput

Rows = list[dict[str, str]]
One = TypeVar("One")


class Part(NamedTuple):
    """Which of several processes this is, from 1 on; each takes every so-many-th piece of work and all write into one file."""

    number: int
    count: int

    @classmethod
    def parsed(cls, text: str) -> "Part":
        """From "1/3"."""
        number, count = (int(one) for one in text.split("/"))
        if not 1 <= number <= count:
            raise ValueError(text)
        return cls(number, count)

    def of(self, work: Sequence[One]) -> Sequence[One]:
        """Its share."""
        return work[self.number - 1 :: self.count]


WHOLE = Part(1, 1)


def known(file: Path) -> Rows:
    """What is there; a last line that a kill cut off is taken away."""
    if not file.exists():
        return []
    with _lock(file):
        text = file.read_bytes()
        whole = text[: text.rfind(b"\n") + 1]
        if len(whole) < len(text):
            file.write_bytes(whole)
    return list(csv.DictReader(whole.decode().splitlines()))


def append(file: Path, rows: list[Mapping[str, object]]) -> None:
    """All rows in one write, on the disk when this returns."""
    names = list(rows[0])
    known(file)
    file.parent.mkdir(parents=True, exist_ok=True)
    with _lock(file), file.open("a+", newline="") as lines:
        lines.seek(0)
        there = next(csv.reader(lines), None)
        if there not in (None, names):
            raise InvalidInput(f"Expected rows with the columns {there} in {file}, got {names}. Move the file away.")
        text = io.StringIO()
        writer = csv.DictWriter(text, names, lineterminator="\n")
        if there is None:
            writer.writeheader()
        writer.writerows({name: shown(value) for name, value in row.items()} for row in rows)
        lines.write(text.getvalue())
        lines.flush()
        os.fsync(lines.fileno())


def _lock(file: Path) -> FileLock:
    """Outside of the results, so that nothing is left among them."""
    SCRATCH.mkdir(parents=True, exist_ok=True)
    return FileLock(SCRATCH / f"{file.name}.lock")
