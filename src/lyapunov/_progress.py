"""A progress bar that appears only when something takes longer than two seconds on a terminal."""

import sys
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager
from typing import Any

DELAY = 2.0
"""Seconds of silence before a bar appears."""


@contextmanager
def progress_bar(title: str, total: int, *, enabled: bool | None) -> Generator[Callable[[int], None], None, None]:
    """Yields `advance(done)`. `enabled`: True, False, or None for "when standard error is a terminal"."""
    if enabled is None:
        enabled = sys.stderr.isatty()
    bar: Any = None
    start = time.monotonic()

    def advance(done: int) -> None:
        nonlocal bar
        if not enabled or (bar is None and time.monotonic() - start < DELAY):
            return
        if bar is None:
            bar = _new_bar()
            bar.start()
            bar.add_task(title, total=total)
        bar.update(bar.task_ids[0], completed=done)

    try:
        yield advance
    finally:
        if bar is not None:
            bar.stop()


def _new_bar() -> Any:
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    return Progress(*columns, console=Console(stderr=True), transient=True)
