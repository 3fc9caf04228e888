"""How long two frames that started differently take to agree."""

import torch
from torch import Tensor

ALIGNED_DIFFERENCE, SLOW_RATE, FINEST_DIFFERENCE = 1e-2, 0.5, 1e-5
"""Frames agree when their exponents differ by less than ALIGNED_DIFFERENCE (nats per step, root mean square over columns).
Where rates are below SLOW_RATE, the limit is smaller in proportion, down to FINEST_DIFFERENCE: a fiftieth of an ordinary rate
is several times a slow one."""
LEADING = 0.1
"""Nats by which the columns of the largest exponents may still differ when counting begins."""
SHORTEST = 10
"""Frames are compared over no fewer steps."""


def tolerated_difference(rate: float) -> float:
    """What exponents of two frames may differ by, where exponents are of this size (nats per step)."""
    return max(FINEST_DIFFERENCE, ALIGNED_DIFFERENCE * min(1.0, rate / SLOW_RATE))


class Agreement:
    """Whether the growth of two frames that started differently has become the same."""

    def __init__(self) -> None:
        self._stops: list[int] = [0]
        self._differences: list[Tensor] = []
        self._grown: list[Tensor] = []
        self._leading: list[Tensor] = []

    def add(self, taken: int, one: Tensor, other: Tensor, leading: Tensor) -> None:
        """ln diag R of both over the last interval, (batch, columns), columns without a number are passed over; `leading`,
        (batch, blocks): how far the first columns of each block differ.
        """
        self._stops.append(self._stops[-1] + taken)
        self._leading.append(leading)
        self._differences.append((one - other).mean(0))
        self._grown.append(one.mean(0))

    @property
    def distance(self) -> float:
        """Root mean square over columns of the difference in exponents, over the later half of the steps made."""
        return self._size(self._differences)

    @property
    def tolerated(self) -> float:
        """What `distance` may be: in proportion to the exponents, where they are slow."""
        return tolerated_difference(self._size(self._grown))

    @property
    def reached(self) -> bool:
        """They agree, over enough steps to say so."""
        return self._stops[-1] >= SHORTEST and self.distance <= self.tolerated and self._leading_distance <= LEADING

    @property
    def _leading_distance(self) -> float:
        """Nats by which the largest exponents' columns differed over the later half, root mean square over sequences."""
        recent = torch.stack(self._leading[self._later() :]).sum(0)
        return float(recent.square().mean(0).sqrt().max().nan_to_num(nan=0.0))

    def _later(self) -> int:
        """The first interval of the later half of the steps made."""
        total = self._stops[-1]
        return next(at for at, stop in enumerate(self._stops) if stop >= total // 2) if total else 0

    def _size(self, sums: list[Tensor]) -> float:
        """Root mean square over columns of what was added up in each, per step, over the later half of the steps made."""
        total, first = self._stops[-1], self._later()
        recent = sums[first:]
        if not recent:
            return float("inf")
        rates = torch.stack(recent).sum(0) / (total - self._stops[first])
        rates = rates[torch.isfinite(rates)]
        # all lost, or below the floor: nothing to wait for
        return float(rates.square().mean().sqrt()) if rates.numel() else 0.0
