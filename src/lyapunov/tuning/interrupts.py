"""How Ctrl-C and SIGTERM are heard, by a search, by its workers, and by those that are only starting."""

import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Generator
from contextlib import contextmanager

ENDING = (signal.SIGINT, signal.SIGTERM)
"""What asks for an end: Ctrl-C, and those who end jobs."""


@contextmanager
def between_checks() -> Generator[Callable[[], None], None, None]:
    """They are heard where the function that this yields is called, not while a study is read or written."""
    asked: list[int] = []
    before = [signal.signal(each, lambda number, _: asked.append(number)) for each in _mine()]

    def require_going_on() -> None:
        if asked:
            raise KeyboardInterrupt

    try:
        yield require_going_on
    finally:
        for each, handler in zip(_mine(), before, strict=True):
            signal.signal(each, handler)


@contextmanager
def deaf() -> Generator[None, None, None]:
    """What starts within it does not hear Ctrl-C until it says how: it would end in the middle of its imports."""
    before = [signal.signal(each, signal.SIG_IGN) for each in _mine()[:1]]
    try:
        yield
    finally:
        for each, handler in zip(_mine()[:1], before, strict=True):
            signal.signal(each, handler)


def end_politely() -> list[int]:
    """The first of them raises KeyboardInterrupt, and nothing interrupts what is done then; the list says what came."""
    asked: list[int] = []

    def end(number: int, frame: object) -> None:  # noqa: ARG001
        asked.append(number)
        for each in ENDING:
            signal.signal(each, signal.SIG_IGN)
        raise KeyboardInterrupt

    for each in _mine():
        signal.signal(each, end)
    return asked


def end_with_the_parent() -> None:
    """A process whose search was killed would train on for nobody."""
    parent = multiprocessing.parent_process()
    if parent is not None:

        def wait() -> None:
            parent.join()
            os.kill(os.getpid(), signal.SIGTERM)

        threading.Thread(target=wait, daemon=True).start()


def _mine() -> tuple[signal.Signals, ...]:
    """Only the main thread may say how they are heard."""
    return ENDING if threading.current_thread() is threading.main_thread() else ()
