"""From growth to exponents: pooled over sequences in QR order, sorted once, with errors between sequences."""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import torch
from torch import Tensor

from lyapunov._shapes import Exponents
from lyapunov.tangent import Growth


@dataclass(frozen=True)
class Estimates:
    """Exponents in descending order and what belongs to each; the mean of all n from ln |det J| where that was counted."""

    exponents: Exponents
    standard_errors: Exponents
    per_sequence: Tensor
    reliable: Tensor
    layer: Tensor
    history: Tensor
    history_steps: Tensor
    volume_mean: float | None
    volume_mean_error: float | None


def estimates(growth: Growth, *, k: int, size: int, dt: float) -> Estimates:
    """The k largest of all columns. Averages come before the sort: sorting per sequence would bias the top upward."""
    steps = growth.steps.sum(0)
    total = growth.log_growth.sum(0)
    pooled = total.sum(0) / (steps.sum() * dt)
    order = pooled.argsort(descending=True, stable=True)[:k]
    per_sequence = (total / (steps.unsqueeze(-1) * dt))[:, order]
    volume, volume_error = _volume_mean(growth, steps, size * dt)
    return Estimates(
        exponents=pooled[order],
        standard_errors=between_sequences(per_sequence, steps),
        per_sequence=per_sequence,
        reliable=growth.trusted.all(0)[order],
        layer=growth.block[order],
        history=growth.log_growth[..., order],
        history_steps=growth.steps,
        volume_mean=volume,
        volume_mean_error=volume_error,
    )


def between_sequences(per_sequence: Tensor, steps: Tensor) -> Tensor:
    """Standard error of the pooled mean of `per_sequence` (batch, k) with weights `steps`: sqrt(B/(B-1) sum w^2 (x - m)^2).

    NaN for one sequence, which has no other to differ from; 0 for -inf, which all lost directions share.
    """
    batch = len(steps)
    if batch < 2:
        return torch.full(per_sequence.shape[1:], torch.nan, dtype=per_sequence.dtype)
    weights = (steps / steps.sum()).unsqueeze(-1)
    centre = (weights * per_sequence).sum(0)
    squares = (weights * (per_sequence - centre)).square().sum(0) * batch / (batch - 1)
    return torch.where(centre.isinf(), 0.0, squares.sqrt())


@lru_cache
def student_quantile(level: float, degrees: int) -> float:
    """t with P(|T| < t) = level. With T = sqrt(d) tan a the density is cos^(d-1) a, so the integral is over a finite range."""
    angles = np.linspace(0, np.pi / 2, 200_001)
    density = np.cos(angles) ** (degrees - 1)
    mass = np.concatenate([[0.0], np.cumsum((density[1:] + density[:-1]) / 2)])
    return float(np.sqrt(degrees) * np.tan(np.interp(level, mass / mass[-1], angles)))


def _volume_mean(growth: Growth, steps: Tensor, divisor: float) -> tuple[float | None, float | None]:
    if growth.log_volume is None:
        return None, None
    volume = growth.log_volume.sum(-1)
    if not bool(torch.isfinite(volume).all()):
        return None, None
    per_sequence = (volume / (steps * divisor)).unsqueeze(-1)
    return float(volume.sum() / (steps.sum() * divisor)), float(between_sequences(per_sequence, steps))
