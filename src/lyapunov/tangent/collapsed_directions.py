"""Directions that collapse exactly, and when: by the exact rank of the product of recorded Jacobians."""

from collections import deque
from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from lyapunov._shapes import Input, State, blocks
from lyapunov.systems import System, jacobians
from lyapunov.tangent.rank import LARGEST, ProductRank

WINDOW = 8
"""Steps of the product that are checked first upon suspicion, and without a loss after which it is dropped."""


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
        self._sizes = blocks(system.tangent_size)
        self._recent: deque[tuple[int, State]] = deque()
        self._products: list[ProductRank] = []
        self._start, self._last_fall, self._next, self._wait = 0, 0, 0, WINDOW
        self.ranks = [torch.full((batch,), size, dtype=torch.long) for size in self._sizes]
        self.window: Window | None = None
        self._possible = max(self._sizes) <= LARGEST

    def remember(self, t: int, state: State) -> None:
        """A step about to be made."""
        if self._possible:
            self._recent.append((t, state))
            if not self._products and len(self._recent) > WINDOW:
                self._recent.popleft()

    def forget(self, t: int) -> None:
        """Steps from t on were taken back."""
        while self._recent and self._recent[-1][0] >= t:
            self._recent.pop()

    def check(self, t: int, *, suspicious: bool) -> None:
        """After step t: starts or goes on with the product where there is reason to; `ranks` has what is known then."""
        if not self._products:
            if not suspicious or not self._possible or t < self._next or not self._recent:
                return
            batch = len(self.ranks[0])
            self._products = [ProductRank(batch, size) for size in self._sizes]
            self._start = self._recent[0][0]
            self._last_fall = t
        self._multiply()
        own = [product.ranks() for product in self._products]
        found = [torch.minimum(old, new) for old, new in zip(self.ranks, own, strict=True)]
        fallen = any(bool((new < old).any()) for new, old in zip(found, self.ranks, strict=True))
        self.ranks = found
        if self._least(own) == self._least(found) < sum(self._sizes):
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
