"""Measuring: two sides in turn, a core kept busy, the peak memory of a fresh process, and what machine it was."""

import datetime
import os
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

ROOT = Path(__file__).parent.parent
SPIN = "while True: pass"


@dataclass(frozen=True)
class Side:
    """One side of a ratio: `run` is what is measured, `scale` takes its seconds to the row's unit of work.

    With `figure`, what `run` returns is the figure (in whatever unit), instead of the seconds it took.
    """

    run: Callable[[], Any]
    scale: float = 1.0
    figure: bool = False

    def measure(self) -> float:
        """The figure of one run."""
        start = time.perf_counter()
        found = self.run()
        seconds = time.perf_counter() - start
        return self.scale * (float(found) if self.figure else seconds)


@dataclass(frozen=True)
class Pairs:
    """What runs in turn measured."""

    ours: tuple[float, ...]
    against: tuple[float, ...]

    def ratios(self) -> tuple[float, ...]:
        """Ours / against, pair by pair."""
        return tuple(a / b for a, b in zip(self.ours, self.against, strict=True))

    def medians(self) -> tuple[float, float, float]:
        """Of the ratios, of ours, of the other side."""
        return statistics.median(self.ratios()), statistics.median(self.ours), statistics.median(self.against)


def alternate(ours: Side, against: Side, pairs: int, *, warm_up: bool = True) -> Pairs:
    """A B A B ..., after one run of each that is not counted."""
    if warm_up:
        ours.run()
        against.run()
    measured = [(ours.measure(), against.measure()) for _ in range(pairs)]
    return Pairs(*zip(*measured, strict=True))


def beside_busy_core(side: Side, pairs: int) -> Pairs:
    """The same work while another process keeps one core busy, against itself undisturbed, in turn."""
    measured = []
    for _ in range(pairs):
        with busy_core():
            disturbed = side.measure()
        measured.append((disturbed, side.measure()))
    return Pairs(*zip(*measured, strict=True))


@contextmanager
def busy_core() -> Generator[None, None, None]:
    """Another process spins, in pure Python, from before the body to its end."""
    with subprocess.Popen([sys.executable, "-c", SPIN]) as process:
        try:
            time.sleep(0.3)
            yield
        finally:
            process.kill()


def cpu_model() -> str:
    """As the system names it."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    return next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), platform.machine())


def blas() -> str:
    """The line of PyTorch's configuration that names its BLAS."""
    lines = [line.strip(" -") for line in torch.__config__.show().splitlines()]
    versions = [line for line in lines if line.startswith(("Intel(R) oneAPI", "Intel(R) MKL", "OpenBLAS"))]
    if versions:
        return versions[0].split(" for ")[0]
    return next((part for line in lines for part in line.split(", ") if part.startswith("BLAS_INFO=")), "unknown")


def commit() -> str:
    """Of this repository, with "+" where the files differ from it."""

    def git(*arguments: str) -> str:
        found = subprocess.run(["git", "-C", str(ROOT), *arguments], capture_output=True, text=True, check=False)
        return found.stdout.strip()

    return (git("rev-parse", "--short", "HEAD") or "unknown") + ("+" if git("status", "--porcelain", "--", "src") else "")


def conditions(threads: int) -> dict[str, str | int]:
    """What a figure must be read with."""
    return {
        "cpu": cpu_model(),
        "cores": os.cpu_count() or 0,
        "python": platform.python_version(),
        "torch": torch.__version__,
        "blas": blas(),
        "threads": threads,
        "date": datetime.datetime.now(tz=datetime.UTC).date().isoformat(),
        "commit": commit(),
    }
