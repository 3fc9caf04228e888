"""What every figure's command leaves: its data as CSV, the figure as PNG and SVG, and its line in README.md."""

import os
import platform
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from matplotlib.figure import Figure

import lyapunov
from experiments.commands import RECORDED, SCRATCH, arguments, run
from experiments.rows import Row, write
from experiments.sweeps.presets import PRESETS, Preset

RESULTS, FIGURES, PAGE = RECORDED, Path(__file__).parent, Path(__file__).parent.parent / "README.md"
START, END = "<!-- figures -->\n", "<!-- /figures -->"
HEAD = "| figure | command | minutes | our number | the paper's | made with |\n" + "|---" * 6 + "|\n"


@dataclass(frozen=True)
class Outcome:
    """A figure and the rows that it shows, `ours` beside `theirs` in words."""

    rows: Sequence[Row]
    figure: Figure
    ours: str
    theirs: str


def command(
    name: str, title: str, make: Callable[..., Outcome], document: str | None = None, *, keeps_results: bool = False
) -> None:
    """Parses --preset and --record, makes the figure, and leaves what there is to leave; refuses in a sentence.

    keeps_results: `make` writes results by itself, and is told whether to `record` them.
    """
    parser = arguments(document)
    parser.add_argument("--preset", choices=PRESETS, default="small")
    asked = parser.parse_args()
    told = partial(make, record=asked.record) if keeps_results else make
    run(lambda: _made(name, title, told, asked.preset, record=asked.record))


def _made(name: str, title: str, make: Callable[[Preset], Outcome], preset: Preset, *, record: bool) -> None:
    torch.set_num_threads(1)
    start = time.perf_counter()
    outcome = make(preset)
    minutes = (time.perf_counter() - start) / 60
    places = (RESULTS, FIGURES) if record else (SCRATCH, SCRATCH)
    for file in leave(name, preset, outcome, *places):
        print(file)
    print(outcome.ours)
    if not record:
        print("Nothing under version control was written; --record does.")
        return
    versions = f"lyapunov {lyapunov.__version__}, torch {torch.__version__}, {platform.machine()}, {os.cpu_count()} cores"
    asked = f"`python -m {_command()} --preset {preset}`"
    add_line(f"{title} ({preset})", f"{asked} | {minutes:.1f} | {outcome.ours} | {outcome.theirs} | {versions}")


def _command() -> str:
    """The module that runs."""
    return str(sys.modules["__main__"].__spec__.name).removesuffix(".__main__")


def leave(name: str, preset: Preset, outcome: Outcome, results: Path = RESULTS, figures: Path = FIGURES) -> list[Path]:
    """The CSV, the PNG and the SVG."""
    for folder in (results, figures):
        folder.mkdir(parents=True, exist_ok=True)
    files = [results / f"{name}-{preset}.csv", *(figures / f"{name}-{preset}.{suffix}" for suffix in ("png", "svg"))]
    write(files[0], outcome.rows)
    for file in files[1:]:
        outcome.figure.savefig(file, dpi=120, metadata={"Date": None} if file.suffix == ".svg" else None)
    return files


def add_line(title: str, rest: str, page: Path = PAGE) -> None:
    """Replaces the line of that title in the table, or adds it, in alphabetical order."""
    before, _, after = page.read_text().partition(START)
    table, _, after = after.partition(END)
    lines = [line for line in table.splitlines()[2:] if line and not line.startswith(f"| {title} |")]
    page.write_text(
        before + START + HEAD + "".join(f"{line}\n" for line in sorted([*lines, f"| {title} | {rest} |"])) + END + after
    )


def panels(count: int, height: float = 3.6) -> tuple[Figure, Any]:
    """A figure with so many axes side by side."""
    figure = Figure(figsize=(4.4 * count, height), layout="constrained")
    return figure, figure.subplots(1, count, squeeze=False)[0]
