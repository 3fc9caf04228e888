"""Directions that collapse exactly, and when: by the exact rank of the product of recorded Jacobians."""

from collections import deque
from collections.abc import Callable, Iterable
from typing import NamedTuple

import torch
from torch import Tensor

from lyapunov._shapes import Input, State
from lyapunov.systems import System, jacobians, total_size
from lyapunov.tangent.criteria.rank import LARGEST, ProductRank
from lyapunov.tangent.point import Columns

WINDOW = 8
"""Steps of the product that are checked first upon suspicion, and without a loss after which it is dropped."""
SUSPICIOUS = 1e-2
"""Rounding relative to what remains of a column from which on the column may be lost altogether."""


class Window(NamedTuple):
    """The steps whose product has a rank: from `start` up to, not including, `stop`."""

    start: int
    stop: int


class RankMonitor:
    """Checks the rank of a window of Jacobians when the frame is suspected of having lost a direction.

    A direction that shrinks to nothing in floating point may be lost or merely small. The Jacobians of the last WINDOW steps,
    taken as the exact numbers that they are, have a product whose rank tells. It goes on growing while the rank falls; when
    it has not for WINDOW steps, it is dropped, and the next check waits twice as long as the last.
    """

    def __init__(self, system: System, input_at: Callable[[int], Input], lengths: Tensor | None, batch: int) -> None:
        self._system, self._at, self._lengths = system, input_at, lengths
        self._recent: deque[tuple[int, State]] = deque()
        self._products: list[ProductRank] = []
        self._start, self._last_fall, self._next, self._wait = 0, 0, 0, WINDOW
        self.ranks = [torch.full((batch,), size, dtype=torch.long) for size in system.block_sizes]
        self.window: Window | None = None

    @property
    def _possible(self) -> bool:
        """Whether arithmetic modulo a prime is exact for every block."""
        return max(self._system.block_sizes) <= LARGEST

    def remember(self, t: int, states: Iterable[State]) -> None:
        """The states before the steps that were made from step t on."""
        if self._possible:
            for at, state in enumerate(states, start=t):
                self._recent.append((at, state))
                if not self._products and len(self._recent) > WINDOW:
                    self._recent.popleft()

    def check(self, t: int, *, suspicious: bool) -> None:
        """After step t: starts or goes on with the product where there is reason to; `ranks` has what is known then."""
        if not self._products:
            if not suspicious or not self._possible or t < self._next or not self._recent:
                return
            batch = len(self.ranks[0])
            self._products = [ProductRank(batch, size) for size in self._system.block_sizes]
            self._start = self._recent[0][0]
            self._last_fall = t
        self._multiply()
        own = [product.ranks() for product in self._products]
        found = [torch.minimum(old, new) for old, new in zip(self.ranks, own, strict=True)]
        fallen = any(bool((new < old).any()) for new, old in zip(found, self.ranks, strict=True))
        self.ranks = found
        if self._least(own) == self._least(found) < total_size(self._system):
            self.window = Window(self._start, t)
        if fallen:
            self._last_fall = t
        elif t - self._last_fall >= WINDOW:
            self._products, self._next, self._wait = [], t + self._wait, 2 * self._wait

    @staticmethod
    def _least(ranks: list[Tensor]) -> int:
        """Over sequences, summed over blocks."""
        return sum(int(rank.min()) for rank in ranks)

    def _multiply(self) -> None:
        """The remembered steps onto the product; they are then done with."""
        for t, state in self._recent:
            running = None if self._lengths is None else (self._lengths > t)
            for product, jacobian in zip(self._products, jacobians(self._system, state, self._at(t))[1], strict=True):
                product.multiply(jacobian, running)
        self._recent.clear()


class CollapsedColumns:
    """Which columns of which sequences have collapsed, (batch, columns), and since which step, -1 where they have not."""

    def __init__(self, monitor: RankMonitor, columns: Columns, batch: int) -> None:
        self._monitor, self._columns = monitor, columns
        self.lost = torch.zeros(batch, columns.count, dtype=torch.bool)
        self.since = torch.full((batch, columns.count), -1)

    @property
    def window(self) -> Window | None:
        """The steps whose product showed the last loss."""
        return self._monitor.window

    @property
    def nowhere(self) -> Tensor:
        """(columns,): those that no sequence has lost."""
        return (self.since < 0).all(0)

    def kept(self, columns: Columns, those: Tensor) -> "CollapsedColumns":
        """Of frames that have `those` of the columns only."""
        fewer = CollapsedColumns(self._monitor, columns, len(self.lost))
        fewer.lost, fewer.since = self.lost[:, those], self.since[:, those]
        return fewer

    def remember(self, t: int, states: Iterable[State]) -> None:
        """The states before the steps that were made from step t on."""
        self._monitor.remember(t, states)

    def check(self, t: int, fractions: Tensor) -> None:
        """After step t, where so large `fractions` (sequences, columns) of what remains are rounding."""
        self._monitor.check(t, suspicious=bool((fractions[:, self.nowhere] > SUSPICIOUS).any()))
        self.lost = self._columns.rank >= torch.stack(self._monitor.ranks, dim=-1)[:, self._columns.block]
        self.since = torch.where((self.since < 0) & self.lost, t, self.since)
