"""What a frame has grown by: exactly where its columns' heights are measured, telescoping in between."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from lyapunov._shapes import Frames, blocks
from lyapunov.tangent.orthonormal import Factored, QRMethod, factored
from lyapunov.tangent.workers import Workers


@dataclass(frozen=True)
class Factorization:
    """Frames factored at the end of an interval; (batch, columns) tensors on the CPU, float64.

    `diagonal`: ln |diag U|. `log_dynamic_range`: ln of the longest column up to each one over what remains of this one.
    Where heights were not measured, it is an upper bound, usually too large by `range_uncertainty` (columns,).
    `log_volume_correction`: ln of the heights of the new frame's columns above the earlier ones, zero for orthonormal frames;
    None where it was not measured.
    """

    frames: Frames
    diagonal: Tensor
    log_dynamic_range: Tensor
    range_uncertainty: Tensor
    log_volume_correction: Tensor | None


class VolumeAccumulator:
    """Sums up the growth of frames whose columns need not be orthonormal.

    With Z = J V and Z = V' U, the volume spanned by the first j columns grew by |prod_i<=j U_ii| vol(V'_j) / vol(V_j): the
    volumes of V telescope, so they are wanted only where growth is read.
    """

    def __init__(self, methods: Sequence[QRMethod], shape: Sequence[int]) -> None:
        self._methods = tuple(methods)
        self._correction = torch.zeros(shape, dtype=torch.float64)
        self._pending = torch.zeros(shape, dtype=torch.float64)

    @property
    def exact(self) -> bool:
        """Whether every factorization is measured at no cost."""
        return "lu" not in self._methods

    def factorize(self, frames: Frames, workers: Workers, *, measured: bool) -> Factorization:
        """Factors every block."""
        parts = blocks(frames)
        found = [factored(part, method, workers, measured=measured) for part, method in zip(parts, self._methods, strict=True)]
        diagonal = _joined([one.log_diagonal for one in found])
        heights = _joined([one.log_diagonal if one.log_heights is None else one.log_heights for one in found])
        range_uncertainty = torch.cat(
            [self._range_uncertainty(one, method, measured=measured) for one, method in zip(found, self._methods, strict=True)]
        )
        longest = _joined([one.log_lengths.cummax(dim=-1).values for one in found])
        log_dynamic_range = (longest - heights + range_uncertainty).nan_to_num(nan=math.inf)
        log_volume_correction = (heights - diagonal).nan_to_num(nan=0.0, posinf=0.0, neginf=0.0) if measured else None
        new = tuple(one.frame for one in found)
        return Factorization(
            new if isinstance(frames, tuple) else new[0], diagonal, log_dynamic_range, range_uncertainty, log_volume_correction
        )

    def add(self, factorization: Factorization, growth: Tensor) -> Tensor | None:
        """Adds ln |diag U|, as it is to be counted. The growth since the last measured factorization; None: not measured."""
        self._pending = self._pending + growth
        if factorization.log_volume_correction is None:
            return None
        total = self._pending + factorization.log_volume_correction - self._correction
        self._correction, self._pending = factorization.log_volume_correction, torch.zeros_like(total)
        return total

    @staticmethod
    def _range_uncertainty(found: Factored, method: QRMethod, *, measured: bool) -> Tensor:
        """(columns,): ln of how low an eliminated column may stand above the earlier ones, unmeasured: its row pivot is 1."""
        rows, columns = found.frame.shape[-2:]
        return torch.full((columns,), 0.5 * math.log(rows) if method == "lu" and not measured else 0.0).double()


def _joined(parts: list[Tensor]) -> Tensor:
    return torch.cat([part.cpu().double() for part in parts], dim=-1)
