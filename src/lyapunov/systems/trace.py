"""Several steps of a system in a row, as everything that moves frames through time sees them."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Sequence
from typing import Protocol, TypeVar, runtime_checkable

from torch import Tensor

from lyapunov._shapes import Frames, State

T = TypeVar("T")
R = TypeVar("R")
Keep = Callable[[State, State, int], State]
"""What becomes of (the new state, the old one, at this step)."""


@runtime_checkable
class Deal(Protocol):
    """Works a function out on several items, in their order, maybe in several threads."""

    def __call__(self, function: Callable[[T], R], items: Iterable[T], /) -> list[R]: ...  # noqa: D102


def in_turn(function: Callable[[T], R], items: Iterable[T], /) -> list[R]:
    """The `Deal` of the calling thread alone."""
    return [function(item) for item in items]


class Trace(ABC):
    """Some steps of a system in a row: the states on the way, and how frames move along them.

    It is made by `System.trace`. Steps are numbered from 0. Sequences that have ended keep their state and their frames.
    """

    @property
    @abstractmethod
    def states(self) -> list[State]:
        """The state before each step and after the last."""

    @abstractmethod
    def push(self, at: int, frames: Frames) -> Frames:
        """J @ frame of one step. Where the states are not known yet, steps are to be asked for in their order."""

    @abstractmethod
    def pull(self, at: int, frames: Frames) -> Frames:
        """J^T @ frame of one step."""

    @abstractmethod
    def propagate(self, frames: Frames, *, volumes: bool) -> Frames:
        """J_last ... J_0 @ frame, where no sequence ends on the way. `volumes`: ln |det J| will be asked for."""

    @abstractmethod
    def log_volumes(self, wanted: Sequence[int], deal: Deal) -> Tensor | None:
        """ln |det J| (wanted, batch, ...) of some steps; None where there is no such number. `deal` may work on several."""

    @abstractmethod
    def log_volume(self) -> Tensor | None:
        """The same of all steps, one after the other, as one batch, with its graph."""

    @abstractmethod
    def contracted(self, frames: Sequence[Frames], cotangents: Frames) -> Tensor:
        """Sum of J @ frame times what it is weighted with, over all steps, each with frames of its own.

        `cotangents`: (steps x batch, n, k) per block, one step after the other.
        """
