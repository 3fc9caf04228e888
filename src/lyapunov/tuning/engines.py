"""Where workers run: processes of this machine, or tasks of a Ray cluster. Nothing here knows what they do."""

import multiprocessing
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from typing import Literal, TypeVar

import torch

from lyapunov import _checks
from lyapunov._optional import import_optional
from lyapunov.tuning.interrupts import deaf

Engine = Literal["processes", "ray"]
ENGINES: tuple[Engine, ...] = ("processes", "ray")
Item = TypeVar("Item")
Result = TypeVar("Result")
Work = Callable[[], object]
"""What a worker does: something that can be pickled."""
PATIENCE = 10.0
"""Seconds that a worker is given to end by itself."""


class Worker(ABC):
    """One that has been started."""

    @abstractmethod
    def running(self) -> bool:
        """Whether it goes on."""

    @abstractmethod
    def failed(self) -> bool:
        """Whether it ended in another way than by returning: it was killed, or raised."""

    @abstractmethod
    def ask_to_end(self) -> None:
        """Interrupt the worker as Ctrl-C does; `stop` then waits for its end."""

    @abstractmethod
    def stop(self) -> None:
        """Waits for the end of one that was asked, and ends it where it does not."""


class _Process(Worker):
    """Of its own, with a fresh interpreter."""

    def __init__(self, work: Work) -> None:
        self._process = multiprocessing.get_context("spawn").Process(target=work)
        with deaf():
            self._process.start()

    def running(self) -> bool:
        return self._process.is_alive()

    def failed(self) -> bool:
        return self._process.exitcode not in (None, 0)

    def ask_to_end(self) -> None:
        if self._process.is_alive():
            self._process.terminate()

    def stop(self) -> None:
        self._process.join(PATIENCE)
        if self._process.is_alive():
            self._process.kill()
            self._process.join()


class _RayTask(Worker):
    """A task of one core, wherever the cluster has one. A task that is killed is not repeated by Ray, but by who started it."""

    def __init__(self, work: Work) -> None:
        self._ray = import_optional("ray", "ray")
        task = self._ray.remote(num_cpus=1, max_retries=0)(_called)
        self._reference = task.remote(work)

    def running(self) -> bool:
        return not self._ray.wait([self._reference], timeout=0)[0]

    def failed(self) -> bool:
        if self.running():
            return False
        try:
            self._ray.get(self._reference)
        except Exception:  # whatever it was, it did not return
            return True
        return False

    def ask_to_end(self) -> None:
        if self.running():
            self._ray.cancel(self._reference)  # raises KeyboardInterrupt there

    def stop(self) -> None:
        self._ray.wait([self._reference], timeout=PATIENCE)
        if self.running():
            self._ray.cancel(self._reference, force=True)


def _called(work: Work) -> None:
    work()


def _applied(function: Callable[[Item], Result], item: Item) -> Result:
    return function(item)


def start(work: Work, engine: Engine) -> Worker:
    """A worker; with Ray, of the cluster that `connect` found."""
    return _RayTask(work) if engine == "ray" else _Process(work)


def connect(engine: Engine) -> None:
    """Joins the Ray cluster that RAY_ADDRESS names or that runs here, else starts one of this machine."""
    _checks.one_of(engine, ENGINES, "engine")
    if engine == "ray":
        ray = import_optional("ray", "ray")
        if not ray.is_initialized():
            try:
                ray.init(address="auto", log_to_driver=False)
            except ConnectionError:
                ray.init(log_to_driver=False)


def mapped(
    function: Callable[[Item], Result], items: Sequence[Item], *, workers: int, engine: Engine = "processes"
) -> list[Result]:
    """function(item) of every item, in their order: spectra of many checkpoints, say.

    By so many processes with one thread each, or with Ray by as many tasks as the cluster has cores for, where a task that was
    killed is tried twice more. Function, items and results travel, so they must be things that can be pickled.
    Raises BrokenProcessPool where a process was killed.
    """
    _checks.whole_number(workers, "workers", least=1)
    connect(engine)
    if engine == "ray":
        ray = import_optional("ray", "ray")
        task = ray.remote(num_cpus=1, max_retries=2)(_applied)
        return ray.get([task.remote(function, item) for item in items])
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(workers, mp_context=context, initializer=torch.set_num_threads, initargs=(1,)) as pool:
        return list(pool.map(function, items))
