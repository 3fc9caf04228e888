"""Replicates of the coverage benchmark, kept line by line: a run can be ended at any time and goes on where it was."""

import hashlib
import json
import math
import time
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor, as_completed
from contextlib import suppress
from pathlib import Path
from typing import Any

import torch

import lyapunov
from _coverage_statistics import Line, Row, Value, line
from _coverage_systems import Cell
from _reference import Truth

FIRST_SEED, LISTED, PATIENCE = 1000, 8, 30.0
Task = tuple[Cell, int]


def measure(cell: Cell, seed: int) -> Row:
    """One replicate, on one thread, quietly; what is raised is a row too."""
    torch.set_num_threads(1)
    started = time.perf_counter()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", lyapunov.LyapunovWarning)
            system, inputs, arguments = cell.replicate(seed)
            row = described(lyapunov.spectrum(system, inputs, **arguments))
    except Exception as error:
        row = {"converged": False, "kinds": [f"raised {type(error).__name__}"], "message": str(error)[:300]}
    return {"cell": cell.name, "seed": seed, "seconds": round(time.perf_counter() - started, 4), **row}


def described(spectrum: lyapunov.Spectrum) -> Row:
    """What is kept: (estimate, error, ends of the 95 % and 99.9 % intervals) of the first exponents, the last, the mean."""
    usual, wide = spectrum.interval(0.95), spectrum.interval(0.999)
    columns = torch.cat([spectrum.exponents.unsqueeze(-1), spectrum.standard_errors.unsqueeze(-1), usual, wide], dim=-1)
    ranks = sorted({*range(min(LISTED, len(columns))), len(columns) - 1})
    settings = spectrum.settings
    return {
        "converged": spectrum.verdict.converged,
        "kinds": list(spectrum.verdict.kinds),
        "steps": [settings.settle, settings.align, settings.count, settings.qr_every],
        "size": settings.size,
        "ranks": ranks,
        "exponents": [_short(columns[rank].tolist()) for rank in ranks],
        "degrees": [float(spectrum.degrees[rank]) for rank in ranks],
        "mean": _mean(spectrum),
    }


def _mean(spectrum: lyapunov.Spectrum) -> list[float | None] | None:
    usual, wide = spectrum.mean_interval(0.95), spectrum.mean_interval(0.999)
    if usual is None or wide is None or spectrum.mean is None or spectrum.mean_standard_error is None:
        return None
    return _short([spectrum.mean, spectrum.mean_standard_error, *usual, *wide])


def _short(numbers: Sequence[float]) -> list[float | None]:
    """Ten digits; None for what is not a number."""
    return [float(f"{number:.10g}") if math.isfinite(number) else None for number in numbers]


class Rows:
    """A folder with one file of JSON lines per cell, all of one version of the library."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def path(self, cell: Cell) -> Path:
        """Of a cell's file."""
        slug = "".join(letter if letter.isalnum() else "-" for letter in cell.name.lower())
        return self.folder / f"{slug}.jsonl"

    def of(self, cell: Cell) -> list[Row]:
        """Those there are, by seed."""
        path = self.path(cell)
        return parsed(path.read_text().splitlines()) if path.exists() else []

    def claim(self) -> None:
        """Refuses a folder with rows of another version."""
        self.folder.mkdir(parents=True, exist_ok=True)
        mark, version = self.folder / "version.txt", source_digest()
        if mark.exists() and mark.read_text().strip() != version:
            raise SystemExit(
                f"Expected rows of this version of the library in {self.folder}, found those of another. "
                "Pass another --rows, or --fresh to begin again."
            )
        mark.write_text(version + "\n")

    def clear(self) -> None:
        """Removes all rows."""
        for path in [*self.folder.glob("*.jsonl"), self.folder / "version.txt"]:
            path.unlink(missing_ok=True)

    def add(self, cell: Cell, row: Row) -> None:
        """One line; a line that an earlier run left half-written is closed first."""
        path = self.path(cell)
        torn = path.exists() and path.stat().st_size > 0 and not path.read_bytes().endswith(b"\n")
        with path.open("a") as file:
            file.write(("\n" if torn else "") + json.dumps(row, allow_nan=False) + "\n")

    def missing(self, cell: Cell, replicates: int) -> list[int]:
        """Seeds that have no row yet."""
        done = {row["seed"] for row in self.of(cell)}
        return [seed for seed in range(FIRST_SEED, FIRST_SEED + replicates) if seed not in done]


def parsed(lines: Iterable[str]) -> list[Row]:
    """Rows by seed, each once; a half-written line is none."""
    found = {}
    for text in lines:
        with suppress(json.JSONDecodeError):
            row = json.loads(text)
            found[row["cell"], row["seed"]] = row
    return [found[key] for key in sorted(found)]


def source_digest() -> str:
    """Of the library's source and of the systems."""
    here, found = Path(__file__).parent, hashlib.sha256()
    systems = [here / f"_coverage_{name}.py" for name in ("maps", "systems", "trained")]
    for path in [*sorted(Path(lyapunov.__file__).parent.rglob("*.py")), *systems]:
        found.update(path.read_bytes())
    return found.hexdigest()[:16]


def run(cells: Sequence[Cell], rows: Rows, replicates: Callable[[Cell], int], jobs: int) -> None:
    """All that is missing, with a word on progress after each cell and at least twice a minute."""
    started, said = time.monotonic(), time.monotonic()
    total, done = sum(len(rows.missing(cell, replicates(cell))) for cell in cells), 0
    for number, cell in enumerate(cells, start=1):
        seeds = rows.missing(cell, replicates(cell))
        for row in _measured([(cell, seed) for seed in seeds], jobs):
            rows.add(cell, row)
            done += 1
            if time.monotonic() - said > PATIENCE or row["seed"] == seeds[-1]:
                said, passed = time.monotonic(), round(time.monotonic() - started)
                print(f"[{number} of {len(cells)}] {cell.name}: {done} of {total} replicates, {passed} s", flush=True)


def _measured(tasks: Sequence[Task], jobs: int) -> Iterator[Row]:
    """Rows as they come."""
    if jobs == 1:
        yield from (measure(cell, seed) for cell, seed in tasks)
        return
    with ProcessPoolExecutor(min(jobs, max(1, len(tasks)))) as pool:
        futures: list[Future[Row]] = [pool.submit(measure, cell, seed) for cell, seed in tasks]
        try:
            yield from (future.result() for future in as_completed(futures))
        finally:
            pool.shutdown(cancel_futures=True)


def lines_of(cells: Sequence[Cell], rows: Callable[[Cell], list[Row]], truths: dict[str, Truth]) -> list[Line]:
    """One line for each cell that has rows."""
    found = []
    for cell in cells:
        mine = rows(cell)
        if mine:
            found.append(line(cell.system, cell.setting, mine, lambda seed, rank, at=cell: _truth(at, seed, rank, truths)))
    return found


def _truth(cell: Cell, seed: int, rank: int | None, truths: dict[str, Truth]) -> Value:
    """NaN where it is not on file."""
    found: Any = truths.get(cell.truth_of(seed))
    if found is None or (rank is not None and rank >= len(found.exponents)):
        return math.nan, math.nan
    return (found.mean, found.mean_error) if rank is None else (found.exponents[rank], found.errors[rank])
