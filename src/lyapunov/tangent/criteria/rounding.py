"""How much of what a frame has grown by is rounding."""

import torch
from torch import Tensor


class Rounding:
    """Rounding relative to what remained of each column, over all intervals that were counted."""

    def __init__(self, columns: int, log_unit: float) -> None:
        self._log_unit, self._intervals = log_unit, 0
        self.squares = torch.zeros(columns, dtype=torch.float64)
        """(columns,): summed over intervals and sequences."""

    def add(self, log_dynamic_range: Tensor) -> None:
        """Of an interval: (sequences, columns)."""
        self.squares += self.fractions(log_dynamic_range).square().sum(0)
        self._intervals += len(log_dynamic_range)

    def fractions(self, log_dynamic_range: Tensor) -> Tensor:
        """Rounding over what remains of a column: u of the longest column up to it, at most 1."""
        return (log_dynamic_range + self._log_unit).exp().clamp(max=1.0)

    def mean(self) -> Tensor:
        """(columns,): root mean square over intervals and sequences."""
        return (self.squares / max(self._intervals, 1)).sqrt()
