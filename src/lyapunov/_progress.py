"""A progress bar that appears only when something takes longer than two seconds on a terminal."""

import sys
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from lyapunov import _checks

if TYPE_CHECKING:
    from rich.progress import Progress

DELAY = 2.0
"""Seconds of silence before a bar appears."""
LONG = 60.0
"""Seconds from which on a run says beforehand how long it will take, and what would be faster."""


@contextmanager
def progress_bar(
    title: str, total: int, *, enabled: bool | None, faster: str = ""
) -> Generator[Callable[[int], None], None, None]:
    """Yields `advance(done)`. `enabled`: True, False, or None for "when standard error is a terminal"."""
    if enabled is not None:
        _checks.flag(enabled, "progress")
    bar = _Bar(title, total, faster) if (sys.stderr.isatty() if enabled is None else enabled) else None
    try:
        yield bar.advance if bar else lambda _: None
    finally:
        if bar:
            bar.stop()


class _Bar:
    def __init__(self, title: str, total: int, faster: str) -> None:
        self._title, self._total, self._faster = title, total, faster
        self._shown: Progress | None = None
        self._start = time.monotonic()

    def advance(self, done: int) -> None:
        if done <= 0:  # what comes before (settling) runs at another speed
            self._start = time.monotonic() if self._shown is None else self._start
            return
        if self._shown is None:
            elapsed = time.monotonic() - self._start
            if elapsed < DELAY:
                return
            self._shown = self._show(elapsed * self._total / done)
        self._shown.update(self._shown.task_ids[0], completed=done)

    def stop(self) -> None:
        if self._shown is not None:
            self._shown.stop()

    def _show(self, expected: float) -> "Progress":
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
        shown = Progress(*columns, console=Console(stderr=True), transient=True)
        if expected > LONG:
            shown.console.print(f"{self._title}: about {expected / 60:.0f} min. {self._faster}".rstrip(), highlight=False)
        shown.add_task(self._title, total=self._total)
        shown.start()
        return shown
