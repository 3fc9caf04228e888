"""Whether the state stayed where it was: its coordinates in the first and in the second half of the counted steps."""

from typing import Any

import torch
from torch import Tensor

from lyapunov._shapes import blocks


class Halves:
    """Means of |coordinate| over both halves, (batch, n), at the steps where the frame was orthonormalised."""

    def __init__(self, start: int, stop: int) -> None:
        self._middle = (start + stop) / 2
        self._sums: list[Tensor | None] = [None, None]
        self._counts = [0, 0]

    def add(self, t: int, vector: Any) -> None:
        """The differentiated coordinates after step t."""
        sizes = torch.cat([part.abs() for part in blocks(vector)], dim=-1).double()
        half = int(t > self._middle)
        known = self._sums[half]
        self._sums[half] = sizes if known is None else known + sizes
        self._counts[half] += 1

    @property
    def means(self) -> tuple[Tensor, Tensor] | None:
        """First and second half; None where one of them has no steps."""
        first, second = self._sums
        if first is None or second is None:
            return None
        return (first / self._counts[0]).cpu(), (second / self._counts[1]).cpu()
