"""One thread per sequence: what many small and middle-sized factorisations need instead of one that is spread over threads."""

import ctypes
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from pathlib import Path
from types import TracebackType
from typing import Any, TypeVar

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
        if self._threads == 1 or len(items) == 1 or _alone() is None:
            return [function(item) for item in items]
        if self._pool is None:
            self._pool = ThreadPoolExecutor(self._threads, thread_name_prefix="lyapunov", initializer=_be_alone)
        return list(self._pool.map(function, items))

    def __enter__(self) -> "Workers":
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if self._pool is not None:
            self._pool.shutdown(cancel_futures=True)


def _be_alone() -> None:
    torch.get_num_threads()  # PyTorch sets the thread up when first asked: later, it would undo what comes next
    for one_thread in _alone() or ():
        one_thread(1)
    torch.set_grad_enabled(False)


@cache
def _alone() -> tuple[Callable[[int], Any], ...] | None:
    """What makes OpenMP and MKL use one thread in the thread that calls it; None where this build has no such thing.

    `torch.set_num_threads` is not it: it sets the default of all threads, and switches off MKL's own care, whereupon
    factorisations of batches (`torch.linalg.slogdet`, `lu_factor`) come out wrong in the whole process (PyTorch 2.13, MKL
    2024.2).
    """
    try:
        library = ctypes.CDLL(str(Path(torch.__file__).parent / "lib" / "libtorch_cpu.so"))
        return library.MKL_Set_Num_Threads_Local, library.omp_set_num_threads
    except (OSError, AttributeError):
        return None
