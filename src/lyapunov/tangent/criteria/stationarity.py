"""Whether the state stayed where it was: its coordinates in successive parts of the counted steps."""

import torch
from torch import Tensor

from lyapunov._shapes import Vectors

PARTS = 8
"""Equal parts of the counted steps."""


class StateMeans:
    """Means of |coordinate| over successive parts of the counted steps, at the steps where the frame was orthonormalised."""

    def __init__(self, start: int, stop: int) -> None:
        self._start, self._length = start, max(stop - start, 1)
        self._sums: dict[int, Tensor] = {}
        self._logs: dict[int, Tensor] = {}
        self._counts = [0] * PARTS

    def add(self, t: int, vectors: Vectors) -> None:
        """The differentiated coordinates after step t."""
        sizes = torch.cat([part.abs() for part in vectors], dim=-1).double()
        part = (t - 1 - self._start) * PARTS // self._length
        self._sums[part] = sizes + self._sums[part] if part in self._sums else sizes
        log = torch.linalg.vector_norm(sizes, dim=-1).clamp(min=1e-300).log()
        self._logs[part] = log + self._logs[part] if part in self._logs else log
        self._counts[part] += 1

    @property
    def means(self) -> Tensor | None:
        """(parts, batch, n); None where some part saw no orthonormalisation."""
        if len(self._sums) < PARTS:
            return None
        return torch.stack([self._sums[part] / self._counts[part] for part in range(PARTS)]).cpu()

    @property
    def log_sizes(self) -> Tensor | None:
        """(parts, batch): means of the logarithm of the state's length; None where some part saw no orthonormalisation."""
        if len(self._logs) < PARTS:
            return None
        return torch.stack([self._logs[part] / self._counts[part] for part in range(PARTS)]).cpu()
