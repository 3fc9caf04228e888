"""Decay over lags: means over starting times and sequences with their errors, and the slope of a line through them."""

import math
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from lyapunov import _checks
from lyapunov._shown import Parts, Shown, html_of
from lyapunov.errors import InvalidInput
from lyapunov.estimate import half_widths, memory_time, number, standard_errors

_SHOWN = 6
"""Lags that a printed table has."""


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

    def _repr_html_(self) -> str:
        return html_of(Parts([str(self)]))

    def __str__(self) -> str:
        return f"{self.value:.4f} ± {self.standard_error:.4f} nats per step over lags {self.first} to {self.last}"


class Lag(NamedTuple):
    """The lag from which on a decay stays below a fraction of its largest value; infinite where it does not within `longest`.

    interval: where the ends of the mean's 95 % intervals do so; the same as the value where the mean has no error.
    """

    value: float
    interval: tuple[float, float]
    fraction: float
    longest: int

    def _repr_html_(self) -> str:
        return html_of(Parts([str(self)]))

    def __str__(self) -> str:
        if math.isinf(self.value):
            return f"> {self.longest} steps"
        low, high = (f"{end:.0f}" if math.isfinite(end) else f"more than {self.longest}" for end in self.interval)
        return f"{self.value:.0f} steps (95 %: {low} to {high})"


@dataclass(frozen=True, eq=False, repr=False)
class LagDecay(Shown):
    """Logarithms of a norm against the lag n, over starting times T and sequences: what every measured decay shares.

    lags (lags,): 0 to the longest. log_norms (lags, starts, batch): ln of the norm; -inf where it is smaller than the dtype
        holds. starts (starts,): the steps T after which the derivative is taken.
    """

    lags: Tensor
    log_norms: Tensor
    starts: Tensor

    @property
    def mean(self) -> Tensor:
        """(lags,): over starting times and sequences."""
        return mean(self._values, self._weights).value

    @property
    def standard_errors(self) -> Tensor:
        """One standard error of `mean` at each lag, (lags,)."""
        return mean(self._values, self._weights).standard_error

    def slope(self, first: int | None = None, last: int | None = None) -> Slope:
        """Least squares of the mean over the lags from `first` to `last`: what `GradientExponents.slope` predicts."""
        return slope(self.lags, self.log_norms, self._weights, first, last)

    def lag_at(self, fraction: float = 0.01) -> Lag:
        """The lag from which on the mean stays below `fraction` of its largest value: how far back a truncation must reach.

        Args:
            fraction: of the largest mean over all lags, between 0 and 1.

        Returns:
            The lag in steps with its 95 % interval; infinite, printed "> 80 steps", where it lies beyond the longest lag.

        Raises:
            InvalidInput: for a fraction outside, and where everything is zero.

        Example:
            >>> rnn, batch = torch.nn.RNN(2, 8, batch_first=True).double(), torch.randn(4, 60, 2).double()
            >>> decay = lyapunov.gradient_decay(rnn, lambda model, x: model(x)[0].square().sum(-1), batch, lags=30)
            >>> decay.lag_at(0.01).longest
            30
        """
        return lag_at(fraction, self.lags, self.log_norms, self._weights)

    @property
    def _values(self) -> Tensor:
        return self.log_norms.movedim(0, -1)

    @property
    def _weights(self) -> Tensor:
        return torch.ones(self.log_norms.shape[1:], dtype=torch.float64)

    @property
    def _extent(self) -> str:
        starts, batch = self.log_norms.shape[1:]
        return f"{starts} starting time{'s' * (starts > 1)} x {batch} sequence{'s' * (batch > 1)}"

    def _rows(self, heading: str) -> list[tuple[str, ...]]:
        """Some of the lags, spread over all."""
        shown = starting_times(0, len(self.lags) - 1, _SHOWN)
        means, errors = self.mean, self.standard_errors
        rows = [(str(int(self.lags[at])), number(float(means[at])), number(float(errors[at]))) for at in shown]
        return [("lag", heading, "± error"), *rows]


def starting_times(first: int, last: int, count: int) -> list[int]:
    """At most `count` whole numbers, spread from first to last."""
    return torch.linspace(first, last, min(count, last - first + 1), dtype=torch.float64).round().long().tolist()


def mean(values: Tensor, weights: Tensor) -> Mean:
    """Of (starts, batch, quantities), those with weight 1 in (starts, batch); NaN and infinities stay what they are.

    Errors are the larger of what sequences and what blocks of starting times say, as for exponents.
    """
    known = torch.isfinite(values) | (weights.unsqueeze(-1) == 0)
    usable = known.all(0).all(0)
    found = standard_errors((values * weights.unsqueeze(-1)).masked_fill(~known | (weights.unsqueeze(-1) == 0), 0.0), weights)
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


def lag_at(fraction: float, lags: Tensor, values: Tensor, weights: Tensor) -> Lag:
    """Of logarithms `values` (lags, starts, batch): the lag after the last one whose mean exceeds ln(fraction) + the largest.

    The error at each lag is that of the difference to the largest, so what both share cancels. Raises InvalidInput.
    """
    if not 0 < _checks.fraction(fraction, "fraction") < 1:
        raise InvalidInput(f"Expected `fraction` between 0 and 1, got {fraction!r}. Pass 0.01 for one in a hundred.")
    means = mean(values.movedim(0, -1), weights).value
    if bool(means.isnan().any()) or bool(means.isneginf().all()):
        raise InvalidInput("Expected gradients that are not all zero, got none. Check that the output depends on the input.")
    largest = int(means.argmax())
    relative = mean((values - values[largest]).movedim(0, -1), weights)
    half = half_widths(relative.standard_error, relative.degrees, 0.95).nan_to_num(nan=0.0)
    found = [_after_last(lags, relative.value + sign * half >= math.log(fraction)) for sign in (0, -1, 1)]
    return Lag(found[0], (found[1], found[2]), fraction, int(lags[-1]))


def _after_last(lags: Tensor, above: Tensor) -> float:
    """The lag after the last one marked."""
    last = int(torch.nonzero(above).max())
    return math.inf if last == len(lags) - 1 else float(lags[last + 1])


def _listed(lags: Tensor) -> str:
    numbers = lags.tolist()
    return str(numbers) if len(numbers) <= 8 else f"{numbers[0]} to {numbers[-1]}"
