"""From growth to exponents: pooled over sequences in QR order, sorted once, each with its error and whether it is reliable."""

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from lyapunov._shapes import Exponents
from lyapunov.estimate.budget import ErrorBudget, budget
from lyapunov.estimate.standard_errors import standard_errors
from lyapunov.tangent import LARGEST, Growth, Window

CERTIFIED = 1e-3
"""The volume residual, over the root of the number of exponents, beyond which none of them is called reliable."""


@dataclass(frozen=True)
class Estimates:
    """Exponents in descending order and what belongs to each; the mean of all n from ln |det J| where that was counted."""

    exponents: Exponents
    standard_errors: Exponents
    sampling_errors: Exponents
    burn_in_errors: Exponents
    alignment_errors: Exponents
    rounding_errors: Exponents
    degrees: Exponents
    correlation_times: Exponents
    per_sequence: Tensor
    reliable: Tensor
    lost_at: Tensor
    layer: Tensor
    history: Tensor
    history_steps: Tensor
    volume_history: Tensor | None
    volume_steps: Tensor | None
    volume_residual: float | None
    rank: int | None
    rank_window: Window | None
    independent: float


def estimates(
    growth: Growth, *, k: int, sizes: tuple[int, ...], dt: float, tolerated: float, independent: float = 1.0
) -> Estimates:
    """The k largest of all columns. Averages come before the sort: sorting per sequence would bias the top upward.

    `sizes`: exponents that each independent block has. `tolerated`: rounding, relative to what remains of a column, up to
    which its exponent is reliable.
    """
    steps = growth.steps.sum(0)
    total = growth.log_growth.sum(0)
    pooled = total.sum(0) / (steps.sum() * dt)
    order = pooled.argsort(descending=True, stable=True)[:k]
    per_sequence = (total / (steps.unsqueeze(-1) * dt))[:, order]
    history = growth.log_growth[..., order]
    found = standard_errors(history, growth.steps, independent)
    parts = ErrorBudget(
        *(part[order] / dt for part in budget(growth, _unsorted(found.standard_errors, order, total), pooled * dt))
    )
    degrees = found.degrees * (parts.total / parts.sampling).nan_to_num(nan=1.0).clamp(max=100.0) ** 4
    residuals = _residuals(growth, sizes)
    return Estimates(
        exponents=pooled[order],
        standard_errors=parts.total,
        sampling_errors=parts.sampling,
        burn_in_errors=parts.burn_in,
        alignment_errors=parts.alignment,
        rounding_errors=parts.rounding,
        degrees=degrees,
        correlation_times=found.correlation_times,
        per_sequence=per_sequence,
        reliable=_reliable(growth, residuals, sizes, tolerated)[order] & ~_amplified(parts, growth.lost_at[order] >= 0),
        lost_at=growth.lost_at[order],
        layer=growth.block[order],
        history=history,
        history_steps=growth.steps,
        volume_history=None if growth.log_volume is None else growth.log_volume.sum(-1),
        volume_steps=growth.volume_steps,
        volume_residual=None if residuals is None else float(residuals.sum().abs()) / dt,
        rank=_rank(growth, sizes),
        rank_window=growth.window,
        independent=independent,
    )


def _amplified(parts: ErrorBudget, lost: Tensor) -> Tensor:
    """Whether rounding moves an exponent by more than its other errors."""
    others = torch.stack([parts.sampling, parts.burn_in, parts.alignment]).square().sum(0).sqrt()
    return (parts.rounding > torch.fmax(others, torch.full_like(others, CERTIFIED))) & ~lost


def _unsorted(values: Tensor, order: Tensor, like: Tensor) -> Tensor:
    """Of the columns in `order`, in QR order; zero for others."""
    found = torch.zeros(like.shape[-1], dtype=torch.float64)
    found[order] = values
    return found


def without_empty(growth: Growth) -> tuple[Growth, list[int]]:
    """Without the sequences that ended before counting began, and which those were."""
    keep = growth.steps.sum(0) > 0
    if bool(keep.all()):
        return growth, []
    kept = replace(
        growth,
        log_growth=growth.log_growth[:, keep],
        steps=growth.steps[:, keep],
        log_volume=None if growth.log_volume is None else growth.log_volume[:, keep],
        volume_steps=None if growth.volume_steps is None else growth.volume_steps[:, keep],
        lost_since=growth.lost_since[keep],
        residual=growth.residual[keep],
        residual_steps=growth.residual_steps[keep],
        lacked=None if growth.lacked is None else (growth.lacked[0][keep], growth.lacked[1][keep]),
        parted=None if growth.parted is None else growth.parted[keep],
        sizes=None if growth.sizes is None else growth.sizes[:, keep],
    )
    return kept, torch.nonzero(~keep).flatten().tolist()


def _residuals(growth: Growth, sizes: tuple[int, ...]) -> Tensor | None:
    """(blocks,): sum of growth minus ln |det J|, in nats per step, of a full run, over whole intervals with determinants."""
    columns = torch.bincount(growth.block, minlength=len(sizes)).tolist()
    counted = growth.residual_steps.sum()
    if tuple(columns) != sizes or not bool(counted):
        return None
    residuals = growth.residual.sum(0) / counted
    return residuals if bool(torch.isfinite(residuals).all()) else None


def _reliable(growth: Growth, residuals: Tensor | None, sizes: tuple[int, ...], tolerated: float) -> Tensor:
    """Above the floor, as is every column before it in its block; and certified, where there is a certificate to ask."""
    lost = growth.lost_at >= 0
    reliable = torch.zeros_like(lost)
    for at, size in enumerate(sizes):
        mine = growth.block == at
        noisy = (growth.noise[mine] > tolerated) & ~lost[mine]
        fine = ~noisy.cummax(0).values | lost[mine]
        if residuals is not None and bool(fine.all()) and float(residuals[at].abs()) > CERTIFIED * size**0.5:
            fine = lost[mine]
        reliable[mine] = fine
    return reliable


def _rank(growth: Growth, sizes: tuple[int, ...]) -> int | None:
    """Directions that were never lost; None where the columns computed do not tell."""
    if max(sizes) > LARGEST:
        return None
    rank = 0
    for at, size in enumerate(sizes):
        lost = growth.lost_at[growth.block == at] >= 0
        if len(lost) < size and not bool(lost.any()):
            return None
        rank += int((~lost).sum())
    return rank
