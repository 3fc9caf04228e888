"""Rows of results that grow: appended as they come, so that a killed run goes on, and a half-written last line is dropped."""

import csv
import io
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TypeVar

from filelock import FileLock, Timeout

from experiments.commands import SCRATCH
from experiments.rows import shown
from lyapunov import InvalidInput

Rows = list[dict[str, str]]
One, Key = TypeVar("One"), tuple[str, ...]


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


def shared(file: Path, work: Mapping[Key, One], keys: tuple[str, ...]) -> Iterator[One]:
    """The pieces of work that have no row yet, one by one; several processes may share them.

    A key is what a row has in the columns `keys`. A piece is claimed for as long as it is worked on.
    """
    for key, one in work.items():
        try:
            claim = FileLock(SCRATCH / f"{file.name}-{'-'.join(key)}.lock").acquire(timeout=0)
        except Timeout:
            continue
        with claim:
            if key not in {tuple(row[name] for name in keys) for row in known(file)}:
                yield one


def _lock(file: Path) -> FileLock:
    """Outside of the results, so that nothing is left among them."""
    SCRATCH.mkdir(parents=True, exist_ok=True)
    return FileLock(SCRATCH / f"{file.name}.lock")
