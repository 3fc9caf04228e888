"""What a frame has grown by: exactly where its columns' heights are measured, telescoping in between."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from lyapunov._shapes import Frames
from lyapunov.tangent.frames.orthonormal import Orthonormalisation
from lyapunov.tangent.workers import Workers


@dataclass(frozen=True)
class Factorization:
    """Frames factored at the end of an interval; (batch, columns) tensors on the CPU, float64.

    `diagonal`: ln |diag U|. `log_dynamic_range`: how far what remains of each column lies behind the longest up to it; where
    heights were not measured, at most that far, and usually `range_uncertainty` (columns,) less. `log_volume_correction`: ln of
    the heights of the new frame's columns above the earlier ones, zero for orthonormal frames; None where it was not measured.
    """

    frames: Frames
    diagonal: Tensor
    log_dynamic_range: Tensor
    range_uncertainty: Tensor
    log_volume_correction: Tensor | None

    @property
    def measured(self) -> bool:
        """Whether the heights of the columns are known."""
        return self.log_volume_correction is not None


class VolumeAccumulator:
    """Sums up the growth of frames whose columns need not be orthonormal.

    With Z = J V and Z = V' U, the volume spanned by the first j columns grew by |prod_i<=j U_ii| vol(V'_j) / vol(V_j): the
    volumes of V telescope, so they are wanted only where growth is read.
    """

    def __init__(self, ways: Sequence[Orthonormalisation], shape: Sequence[int]) -> None:
        self._ways = tuple(ways)
        self._correction = torch.zeros(shape, dtype=torch.float64)
        self._pending = torch.zeros(shape, dtype=torch.float64)

    @property
    def exact(self) -> bool:
        """Whether every factorization is measured at no cost."""
        return all(way.exact for way in self._ways)

    def factorize(self, frames: Frames, workers: Workers, *, measured: bool) -> Factorization:
        """Orthonormalise the frames of every block, and join what was measured on the way."""
        found = [way.factor(part, workers, measured=measured) for part, way in zip(frames, self._ways, strict=True)]
        diagonal = _joined([one.log_diagonal for one in found])
        heights = _joined([one.log_diagonal if one.log_heights is None else one.log_heights for one in found])
        uncertainty = torch.cat([_uncertainty(part, way, measured) for part, way in zip(frames, self._ways, strict=True)])
        longest = _joined([one.log_lengths.cummax(dim=-1).values for one in found])
        behind = (longest - heights + uncertainty).nan_to_num(nan=math.inf)
        correction = (heights - diagonal).nan_to_num(nan=0.0, posinf=0.0, neginf=0.0) if measured else None
        return Factorization(tuple(one.frame for one in found), diagonal, behind, uncertainty, correction)

    def add(self, factorization: Factorization, growth: Tensor) -> Tensor | None:
        """ln |diag U|, as it is to be counted; the growth since the last measured factorization, where this one is."""
        self._pending = self._pending + growth
        if factorization.log_volume_correction is None:
            return None
        total = self._pending + factorization.log_volume_correction - self._correction
        self._correction, self._pending = factorization.log_volume_correction, torch.zeros_like(total)
        return total


def _uncertainty(frame: Tensor, way: Orthonormalisation, measured: bool) -> Tensor:
    rows, columns = frame.shape[-2:]
    return torch.full((columns,), 0.0 if measured else way.range_uncertainty(rows), dtype=torch.float64)


def _joined(parts: list[Tensor]) -> Tensor:
    return torch.cat([part.cpu().double() for part in parts], dim=-1)
