"""Threads that deal sequences out among each other, instead of one computation that is spread over threads."""

import ctypes
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from pathlib import Path
from types import TracebackType
from typing import TypeVar

import torch

from lyapunov.systems import System

T = TypeVar("T")
R = TypeVar("R")


class Workers:
    """As many threads as PyTorch uses, each computing on one; started when first needed, gone on leaving the context.

    A product or factorisation spread over threads waits at its end for the slowest of them. Where another process keeps a core
    busy, that is a time slice of the system, for every small operation: a hundred times its own length. Sequences are
    independent, so whole ones are dealt out; and with several of them, `single_threaded`, the calling thread computes on one,
    too.
    """

    def __init__(self, *, single_threaded: bool = True) -> None:
        self._threads = torch.get_num_threads() if single_threaded and _one_thread() is not None else 1
        self._pool: ThreadPoolExecutor | None = None
        self._before: list[int] = []

    @classmethod
    def suited_to(cls, system: System, batch: int) -> "Workers":
        """What the system says of so many sequences: dealt out, or computed as PyTorch is set."""
        return cls(single_threaded=system.deals_out(batch))

    @property
    def count(self) -> int:
        """Threads there are to deal out to."""
        return self._threads

    def map(self, function: Callable[[T], R], items: Iterable[T]) -> list[R]:
        """`function` of every item, in order."""
        items = list(items)
        if self._threads == 1 or len(items) == 1:
            return [function(item) for item in items]
        if self._pool is None:
            self._pool = ThreadPoolExecutor(self._threads, thread_name_prefix="lyapunov", initializer=_use_one_thread)
        return list(self._pool.map(function, items))

    def __enter__(self) -> "Workers":
        if self._threads > 1:
            self._before = _use_one_thread_here()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if self._pool is not None:
            self._pool.shutdown(cancel_futures=True)
        library = _one_thread()
        if self._before and library is not None:
            library.MKL_Set_Num_Threads_Local(self._before[0])
            library.omp_set_num_threads(self._before[1])


def _use_one_thread() -> None:
    torch.get_num_threads()  # PyTorch sets the thread up when first asked: later, it would undo what comes next
    _use_one_thread_here()
    torch.set_grad_enabled(False)


def _use_one_thread_here() -> list[int]:
    """One thread for what the calling thread computes; what it was for MKL (0: as everywhere) and OpenMP."""
    library = _one_thread()
    if library is None:
        return []
    before = [library.MKL_Set_Num_Threads_Local(1), library.omp_get_max_threads()]
    library.omp_set_num_threads(1)
    return before


@cache
def _one_thread() -> ctypes.CDLL | None:
    """The library whose MKL_Set_Num_Threads_Local and omp_set_num_threads are for the calling thread; None without MKL.

    `torch.set_num_threads` is not it: it sets the default of all threads, and switches off MKL's own care, whereupon
    factorisations of batches (`torch.linalg.slogdet`, `lu_factor`) come out wrong in the whole process (PyTorch 2.13, MKL
    2024.2).
    """
    try:
        library = ctypes.CDLL(str(Path(torch.__file__).parent / "lib" / "libtorch_cpu.so"))
        found = (library.MKL_Set_Num_Threads_Local, library.omp_set_num_threads, library.omp_get_max_threads)
    except (OSError, AttributeError):
        return None
    return library if all(found) else None
