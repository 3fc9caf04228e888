"""How long the state takes to forget where it started, and two frames to agree: both seen in the data."""

import math
from collections.abc import Callable

import torch
from torch import Tensor
from torch.utils._pytree import tree_map

from lyapunov._shapes import State, blocks
from lyapunov.systems import System
from lyapunov.tangent.drive import Drive

TOGETHER = 1e-2
"""Copies have come together when their distance is this share of what it was."""
AGREED, SLOW, FINEST = 1e-2, 0.5, 1e-5
"""Frames agree when their exponents differ by less than AGREED (nats per step, root mean square over columns); where rates are
SLOW, less than so much in proportion, down to FINEST: what is a fiftieth of an ordinary rate is several times a slow one."""
FOR_GOOD, FIXED = 0.3, 100
"""Copies that far apart are taken to stay so (chaos, or several attractors): a fixed number of steps, then."""
SHORTEST = 10
"""Frames are compared over no fewer steps."""


def settled_after(
    system: System, drive: Drive, step: Callable[[State, int], State], state: State, limit: int
) -> tuple[int, float | None]:
    """The steps after which copies from different starts have come together, at most `limit`, and how far apart they still are.

    The second copy starts from where the first one gets to, the next sequence's where there are several: a state the network
    really visits. The distance is relative to the one at the start, over the sequences that still run. Copies that stay apart
    settle for a FIXED number of steps; a state that does not stay finite does not settle: 0 and None.
    """
    end = state
    for t in range(limit):
        end = step(end, t)
    other = system.with_vector(state, tree_map(lambda part: part.roll(1, dims=0), system.vector(end)))
    first, apart = _squares(system, state, other), 1.0
    for t in range(limit + 1):
        running = torch.ones(drive.batch, dtype=torch.bool) if drive.lengths is None else drive.lengths > t
        start = float(first[running].sum())
        apart = (float(_squares(system, state, other)[running].sum()) / start) ** 0.5 if start > 0 else 0.0
        if apart <= TOGETHER:
            return t, apart
        if not math.isfinite(apart):
            return 0, None
        if t == limit:
            break
        state, other = step(state, t), step(other, t)
    return (min(limit, FIXED) if apart > FOR_GOOD else limit), apart


def _squares(system: System, one: State, other: State) -> Tensor:
    """(batch,): squared distances."""
    parts = zip(blocks(system.vector(one)), blocks(system.vector(other)), strict=True)
    return torch.stack([(a - b).double().square().sum(-1) for a, b in parts]).sum(0).cpu()


class Agreement:
    """Whether the growth of two frames that started differently has become the same."""

    def __init__(self) -> None:
        self._stops: list[int] = [0]
        self._differences: list[Tensor] = []
        self._grown: list[Tensor] = []

    def add(self, taken: int, one: Tensor, other: Tensor) -> None:
        """ln diag R of both over the last interval, (batch, columns); columns without a number are passed over."""
        self._stops.append(self._stops[-1] + taken)
        self._differences.append((one - other).mean(0))
        self._grown.append(one.mean(0))

    @property
    def apart(self) -> float:
        """Root mean square over columns of the difference in exponents, over the later half of the steps made."""
        return self._size(self._differences)

    @property
    def tolerated(self) -> float:
        """What `apart` may be: in proportion to the exponents, where they are slow."""
        return max(FINEST, AGREED * min(1.0, self._size(self._grown) / SLOW))

    @property
    def reached(self) -> bool:
        """They agree, over enough steps to say so."""
        return self._stops[-1] >= SHORTEST and self.apart <= self.tolerated

    def _size(self, sums: list[Tensor]) -> float:
        """Root mean square over columns of what was added up in each, per step, over the later half of the steps made."""
        total = self._stops[-1]
        first = next(at for at, stop in enumerate(self._stops) if stop >= total // 2) if total else 0
        recent = sums[first:]
        if not recent:
            return float("inf")
        rates = torch.stack(recent).sum(0) / (total - self._stops[first])
        rates = rates[torch.isfinite(rates)]
        # all lost, or below the floor: nothing to wait for
        return float(rates.square().mean().sqrt()) if rates.numel() else 0.0
