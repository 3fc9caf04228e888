"""One thread per sequence: what many small and middle-sized factorisations need instead of one that is spread over threads."""

from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from types import TracebackType
from typing import TypeVar

import torch

T = TypeVar("T")
R = TypeVar("R")


class Workers:
    """As many threads as PyTorch uses, each computing on one; started when first needed, gone on leaving the context.

    LAPACK spread over threads waits at every barrier for the slowest, and a core that another process keeps busy makes it wait
    long. Sequences are independent, so whole ones are dealt out instead.
    """

    def __init__(self) -> None:
        self._threads = torch.get_num_threads()
        self._pool: ThreadPoolExecutor | None = None

    def map(self, function: Callable[[T], R], items: Iterable[T]) -> list[R]:
        """`function` of every item, in order."""
        items = list(items)
        if self._threads == 1 or len(items) == 1:
            return [function(item) for item in items]
        if self._pool is None:
            self._pool = ThreadPoolExecutor(self._threads, thread_name_prefix="lyapunov", initializer=_alone)
        try:
            return list(self._pool.map(function, items))
        finally:
            torch.set_num_threads(self._threads)  # a worker's own setting is also the default of threads yet to come

    def __enter__(self) -> "Workers":
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if self._pool is not None:
            self._pool.shutdown(cancel_futures=True)


def _alone() -> None:
    torch.get_num_threads()  # reads the default once, which would otherwise come later and undo the next line
    torch.set_num_threads(1)
    torch.set_grad_enabled(False)
