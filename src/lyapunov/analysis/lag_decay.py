"""Decay over lags: means over starting times and sequences with their errors, and the slope of a line through them."""

from typing import NamedTuple

import torch
from torch import Tensor

from lyapunov.errors import InvalidInput
from lyapunov.estimate import errors, half_widths, memory_time


class Mean(NamedTuple):
    """Of quantities over starting times and sequences, with one standard error and its degrees of freedom, per quantity."""

    value: Tensor
    standard_error: Tensor
    degrees: Tensor


class Slope(NamedTuple):
    """Nats per step: least squares of a mean logarithm over the lags from `first` to `last`."""

    value: float
    standard_error: float
    interval: tuple[float, float]
    first: int
    last: int

    @property
    def e_folding_lag(self) -> float:
        """Steps over which it falls by a factor e; infinite where it does not fall."""
        return memory_time(self.value)

    def __str__(self) -> str:
        return f"{self.value:.4f} ± {self.standard_error:.4f} nats per step over lags {self.first} to {self.last}"


def starting_times(first: int, last: int, count: int) -> list[int]:
    """At most `count` whole numbers, spread from first to last."""
    return torch.linspace(first, last, min(count, last - first + 1), dtype=torch.float64).round().long().tolist()


def mean(values: Tensor, weights: Tensor) -> Mean:
    """Of (starts, batch, quantities), those with weight 1 in (starts, batch); NaN and infinities stay what they are.

    Errors are the larger of what sequences and what blocks of starting times say, as for exponents.
    """
    known = torch.isfinite(values) | (weights.unsqueeze(-1) == 0)
    usable = known.all(0).all(0)
    found = errors((values * weights.unsqueeze(-1)).masked_fill(~known | (weights.unsqueeze(-1) == 0), 0.0), weights)
    total = torch.where(weights.unsqueeze(-1) > 0, values, 0.0).sum((0, 1)) / weights.sum()
    error = found.standard_errors.masked_fill(~usable, torch.nan)
    return Mean(total, error, found.degrees)


def slope(lags: Tensor, values: Tensor, weights: Tensor, first: int | None, last: int | None) -> Slope:
    """Of the mean of `values` (lags, starts, batch) over lags from `first` to `last` (None: all); raises InvalidInput."""
    chosen = (lags >= (lags.min() if first is None else first)) & (lags <= (lags.max() if last is None else last))
    if int(chosen.sum()) < 2:
        raise InvalidInput(
            f"Expected at least two lags from {first} to {last}, got {lags[chosen].tolist()} of {_listed(lags)}. Choose a "
            "wider span, or compute more lags."
        )
    lags, values = lags[chosen].double(), values[chosen]
    bad = ~torch.isfinite(values[:, weights > 0]).all(-1)
    if bool(bad.any()):
        at = int(lags[bad][0])
        raise InvalidInput(
            f"Expected gradients above what the arithmetic resolves, got smaller ones at lag {at}. End the slope before it, or "
            "compute in double precision: model.double()."
        )
    by = (lags - lags.mean()) / (lags - lags.mean()).square().sum()
    slopes = torch.einsum("l,lsb->sb", by, torch.where(weights > 0, values, 0.0))
    found = mean(slopes.unsqueeze(-1), weights)
    half = float(half_widths(found.standard_error, found.degrees, 0.95)[0])
    value, error = float(found.value[0]), float(found.standard_error[0])
    return Slope(value, error, (value - half, value + half), int(lags.min()), int(lags.max()))


def _listed(lags: Tensor) -> str:
    numbers = lags.tolist()
    return str(numbers) if len(numbers) <= 8 else f"{numbers[0]} to {numbers[-1]}"
