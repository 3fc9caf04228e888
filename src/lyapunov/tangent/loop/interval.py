"""How many steps go by between two orthonormalisations: as many as the floor law allows, found by trying and going back."""

import math

import torch
from torch import Tensor

from lyapunov.tangent.rollout_options import STRETCHES

TOLERANCE = 2e-5
"""Rounding that an interval left open may leave in a column, relative to what remains of it."""
LONGEST = 16
"""The longest interval that is chosen: longer ones gain nothing."""
_MARGIN, _PATIENCE = 0.8, 8


def log_unit(dtype: torch.dtype) -> float:
    """ln u of the unit roundoff."""
    return math.log(torch.finfo(dtype).eps / 2)


class Interval:
    """Steps between orthonormalisations: `fixed`, or adapted by the floor law.

    Over s steps a column falls behind the longest before it by a factor e^d; rounding, which is u of the longest, is then
    u e^d of what remains. Beyond TOLERANCE the interval was too long: it is rolled back and halved; well below, it lengthens.
    `first` is tried first, and none is more than one in so many `stretches` of `steps`. `log_range`: the largest d
    that the factorization of the frames bears.
    """

    def __init__(
        self,
        fixed: int | None,
        dtype: torch.dtype,
        steps: int = LONGEST * STRETCHES,
        *,
        stretches: int = STRETCHES,
        first: int = 1,
        log_range: float = math.inf,
    ) -> None:
        self.fixed = fixed is not None
        self._limit = min(math.log(TOLERANCE) - log_unit(dtype), log_range)
        self._range = math.log(torch.finfo(dtype).max) / 2
        self._longest = max(1, min(LONGEST, steps // stretches))
        self.steps = fixed or min(first, self._longest)
        self._patience = 0
        self._used: dict[int, int] = {}

    def too_long(self, taken: int, log_dynamic_range: Tensor, log_diagonal: Tensor) -> bool:
        """Whether the last interval must be rolled back. `log_dynamic_range`: d of the columns that steer, any shape."""
        if self.fixed:
            return False
        strain = max(_largest(log_dynamic_range) / self._limit, _largest(log_diagonal.abs()) / self._range)
        if taken > 1 and bool(log_dynamic_range.isinf().any()):
            strain = math.inf
        if strain > 1 and taken > 1:
            self.shorten(taken)
            return True
        self._lengthen(taken, strain)
        return False

    def shorten(self, taken: int) -> None:
        """Half of what was too long."""
        self.steps, self._patience = max(1, taken // 2), _PATIENCE

    def keep(self, taken: int) -> None:
        """Notes an interval that counts."""
        self._used[taken] = self._used.get(taken, 0) + taken

    @property
    def longest(self) -> int:
        """The most steps between two readings of the growth."""
        return 1 if self.fixed else self._longest

    def forget(self) -> None:
        """What was noted so far does not count."""
        self._used.clear()

    @property
    def usual(self) -> int:
        """The interval by which most steps were made."""
        return max(self._used, key=lambda steps: self._used[steps]) if self._used else self.steps

    def _lengthen(self, taken: int, strain: float) -> None:
        self._patience = max(0, self._patience - 1)
        if taken == self.steps and not self._patience:
            wanted = self._longest if strain <= 0 else int(min(self._longest, _MARGIN * taken / strain))
            self.steps = max(self.steps, min(2 * self.steps, wanted))


def _largest(values: Tensor) -> float:
    finite = values[torch.isfinite(values)]
    return float(finite.max()) if finite.numel() else 0.0
