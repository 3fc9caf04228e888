"""What a row of the benchmark is: both sides, the goal, and how it is entered."""

import warnings
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import lyapunov
from _record import Goal
from _timing import Pairs, Side

SETTLE, ALIGN, COUNT = 20, 20, 100
STEPS = SETTLE + ALIGN + COUNT
PUSH_ALL = {"settle": 0, "align": SETTLE + ALIGN}
"""Where a row is per pushed step: the frame is pushed through all 140 steps."""


class Skipped(Exception):
    """A row that cannot be measured here; says why."""


@dataclass(frozen=True)
class Case:
    """Both sides of a row, ready to run, and what is to be said about their pairs."""

    ours: Side
    other: Side
    note: Callable[[Pairs], str] = lambda _: ""
    unit: str = "s"
    can_be_disturbed: bool = True


@dataclass(frozen=True)
class Row:
    """What is measured against what."""

    name: str
    work: str
    against: str
    goal: Goal
    build: Callable[[bool], Case]
    pairs: int = 5
    warm_up: bool = True


ROWS: dict[str, Row] = {}


def row(
    name: str, work: str, against: str, goal: Goal | None = None, **options: Any
) -> Callable[[Callable[[bool], Case]], Callable[[bool], Case]]:
    """Enter a row; its function takes whether all is to be tiny."""

    def enter(build: Callable[[bool], Case]) -> Callable[[bool], Case]:
        ROWS[name] = Row(name, work, against, goal or Goal(), build, **options)
        return build

    return enter


def spectrum(*args: Any, **options: Any) -> lyapunov.Spectrum:
    """Ours, without its warnings and its bar."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", lyapunov.LyapunovWarning)
        return lyapunov.spectrum(*args, progress=False, **options)


class Ours:
    """A call of `lyapunov.spectrum` that keeps its last result, so that a note can say what was chosen."""

    def __init__(self, *args: Any, **options: Any) -> None:
        self._call = partial(spectrum, *args, **options)
        self.last: lyapunov.Spectrum | None = None

    def __call__(self) -> None:
        """Measured."""
        self.last = self._call()

    @property
    def result(self) -> lyapunov.Spectrum:
        """The last one; computed where there is none yet."""
        if self.last is None:
            self()
        return self.last  # type: ignore[return-value]


READOUT = "8 leading exponents and the mean, LSTM 512, full state, 10 x (20 + 20 + 100) steps"
"""The work of the rows that measure a reading while a network is trained."""


def chosen(ours: Ours) -> str:
    """What the run chose."""
    return f"qr_every {ours.result.settings.qr_every}"
