"""What a spectrum says: pure functions of exponents in descending order, and `QUANTITIES`, the table of all that are derived.

Exponents are in nats per step (or per unit of time). `total` is the number of exponents the system has; where the k given ones
do not determine a quantity, it is None. A new derived quantity is written here alone: a function, a row of the table, and a
property of `SpectrumQuantities`. JSON, the printed table, readings and reports read the table.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Protocol, runtime_checkable

import torch
from torch import Tensor

from lyapunov import _checks
from lyapunov._shapes import Exponents
from lyapunov.estimate.budget import ErrorBudget
from lyapunov.estimate.settings import Settings
from lyapunov.estimate.standard_errors import checked_level, half_widths, jackknife, standard_errors
from lyapunov.estimate.statistics import Estimates
from lyapunov.estimate.timescales import Timescale
from lyapunov.estimate.verdict import Verdict


@runtime_checkable
class OfExponents(Protocol):
    """A quantity as a function of exponents in descending order, the first of `total`."""

    def __call__(self, exponents: Exponents, *, total: int) -> float | None:
        """None where the exponents do not determine it."""


def kaplan_yorke_dimension(exponents: Exponents, *, total: int) -> float | None:
    """D = j + (lambda_1 + ... + lambda_j) / |lambda_(j+1)|, j the last index at which the sum is not negative.

    0 where the largest exponent is negative, `total` where the sum of all is not; None where more exponents are needed.
    Source: Kaplan & Yorke 1979.
    """
    sums = exponents.cumsum(0)
    negative = torch.nonzero(sums < 0)
    if len(negative) == 0:
        return float(total) if len(exponents) == total else None
    j = int(negative[0])
    if j == 0:
        return 0.0
    return j + float(sums[j - 1]) / abs(float(exponents[j]))


def entropy_rate(exponents: Exponents, *, total: int) -> float | None:
    """The sum of the positive exponents: an upper bound of the entropy rate (Ruelle), equal to it by Pesin's formula.

    None where all k given exponents are positive and there are more.
    """
    if len(exponents) < total and bool((exponents > 0).all()):
        return None
    return float(exponents.clamp(min=0).sum())


def variance(exponents: Exponents, *, total: int = 0) -> float:  # noqa: ARG001
    """The population variance of the finite exponents (0 for one, NaN-free)."""
    finite = exponents[torch.isfinite(exponents)]
    return float(finite.var(correction=0)) if len(finite) else 0.0


def _undetermined(exponents: Exponents, *, total: int) -> float | None:  # noqa: ARG001
    """Of quantities that take more than exponents."""
    return None


@dataclass(frozen=True)
class Quantity:
    """A number that is derived from a whole spectrum.

    name: its key in `Spectrum.quantities()`, in JSON, and for `Spectrum.standard_error`. label: its name in printed tables.
    power: how often the unit of the exponents is in it: 1 for a rate, 2 for a variance, 0 for a plain number.
    value: from a `Spectrum`; None where its exponents do not determine it.
    error: one standard error, from a `Spectrum` for which the value is finite.
    digits: after the point in the printed table; None where the table has no place for it, or a line of its own.
    in_readings: whether readings of a monitor have a field of this name, and one of its error.
    of_exponents: the same from exponents alone, where these determine it.
    """

    name: str
    label: str
    power: int
    value: Callable[["SpectrumQuantities"], float | None]
    error: Callable[["SpectrumQuantities"], float | None]
    digits: int | None = None
    in_readings: bool = False
    of_exponents: OfExponents = _undetermined

    def standard_error(self, spectrum: "SpectrumQuantities") -> float | None:
        """One standard error; None where the value is not there or not finite, NaN where nothing can be left out."""
        value = self.value(spectrum)
        return None if value is None or not math.isfinite(value) else self.error(spectrum)


def _trusted(spectrum: "SpectrumQuantities") -> Exponents:
    """The exponents before the first unreliable one (unreliable ones are the smallest)."""
    unreliable = torch.nonzero(~spectrum.reliable)
    return spectrum.exponents[: int(unreliable[0])] if len(unreliable) else spectrum.exponents


def _smallest(spectrum: "SpectrumQuantities") -> float | None:
    return float(spectrum.exponents[-1]) if spectrum.is_full and bool(spectrum.reliable[-1]) else None


def _sum(spectrum: "SpectrumQuantities") -> float | None:
    if bool(spectrum.exponents.isneginf().any()):
        return -math.inf
    size = spectrum.settings.size
    return spectrum.mean * size if spectrum.mean is not None and spectrum.mean_count == size else None


def _error_of_sum(spectrum: "SpectrumQuantities") -> float | None:
    error = spectrum.mean_standard_error
    return None if error is None else error * spectrum.settings.size


def _variance(spectrum: "SpectrumQuantities") -> float | None:
    return variance(spectrum.exponents) if spectrum.is_full and bool(spectrum.reliable.all()) else None


def _of_bounded(function: OfExponents) -> Callable[["SpectrumQuantities"], float | None]:
    """A function of the trusted exponents, of a spectrum whose state does not grow without bound."""

    def value(spectrum: "SpectrumQuantities") -> float | None:
        return None if "unbounded" in spectrum.verdict.kinds else function(_trusted(spectrum), total=spectrum.settings.size)

    return value


def _jackknifed(function: OfExponents) -> Callable[["SpectrumQuantities"], float | None]:
    """The error of a function of the trusted exponents, scaled from sampling to all parts of the error budget."""

    def error(spectrum: "SpectrumQuantities") -> float | None:
        count, settings = len(_trusted(spectrum)), spectrum.settings
        correlated = spectrum.correlation_times[: max(count, 1)]

        def of_rates(rates: Tensor) -> float | None:
            return function((rates / settings.dt).sort(descending=True).values[:count], total=settings.size)

        found = jackknife(spectrum.history, spectrum.history_steps, correlated, of_rates)
        return None if found is None else found * _inflation(spectrum, len(correlated))

    return error


def _inflation(spectrum: "SpectrumQuantities", count: int) -> float:
    """By how much the errors of the first exponents exceed those of sampling, root mean square; more for copied inputs."""
    ratios = (spectrum.standard_errors / spectrum.sampling_errors)[:count]
    ratios = ratios[ratios.isfinite()]
    return float(ratios.square().mean().sqrt()) / spectrum.independent**0.5 if len(ratios) else 1.0


DIMENSION = Quantity(
    "kaplan_yorke_dimension",
    "Kaplan-Yorke dimension",
    0,
    value=_of_bounded(kaplan_yorke_dimension),
    error=_jackknifed(kaplan_yorke_dimension),
    digits=3,
    of_exponents=kaplan_yorke_dimension,
)
ENTROPY = Quantity(
    "entropy_rate",
    "entropy rate",
    1,
    value=_of_bounded(entropy_rate),
    error=_jackknifed(entropy_rate),
    digits=5,
    of_exponents=entropy_rate,
)
QUANTITIES = (
    Quantity(
        "max",
        "largest exponent",
        1,
        value=lambda spectrum: spectrum.max,
        error=lambda spectrum: float(spectrum.standard_errors[0]),
        in_readings=True,
    ),
    Quantity(
        "min",
        "smallest exponent",
        1,
        value=_smallest,
        error=lambda spectrum: float(spectrum.standard_errors[-1]),
    ),
    Quantity(
        "mean",
        "mean",
        1,
        value=lambda spectrum: spectrum.mean,
        error=lambda spectrum: spectrum.mean_standard_error,
        in_readings=True,
    ),
    Quantity("variance", "variance", 2, value=_variance, error=_jackknifed(variance), digits=5, of_exponents=variance),
    Quantity("sum", "sum", 1, value=_sum, error=_error_of_sum, digits=5),
    DIMENSION,
    ENTROPY,
)
"""In the order in which they are listed everywhere."""
BY_NAME = {quantity.name: quantity for quantity in QUANTITIES}
"""`QUANTITIES` by their names."""
IN_READINGS = tuple(one.name for one in QUANTITIES if one.in_readings)
"""Names of those that readings of a monitor have."""
READING_NAMES = tuple(field for name in IN_READINGS for field in (name, f"{name}_error"))
"""The fields that readings of a monitor have of them."""


@dataclass(frozen=True, eq=False, repr=False)
class SpectrumQuantities(Estimates):
    """Estimates with their settings and verdict, and what is derived from them by name."""

    settings: Settings
    verdict: Verdict

    @property
    def error_budget(self) -> ErrorBudget:
        """Standard errors (k,) by where they come from: sampling, burn_in, alignment, rounding."""
        return ErrorBudget(self.sampling_errors, self.burn_in_errors, self.alignment_errors, self.rounding_errors)

    def interval(self, level: float = 0.95) -> Tensor:
        """(k, 2): Student-t intervals; NaN where there is no standard error."""
        half = half_widths(self.standard_errors, self.degrees, checked_level(level))
        return torch.stack([self.exponents - half, self.exponents + half], dim=-1)

    def mean_interval(self, level: float = 0.95) -> tuple[float, float] | None:
        """The Student-t interval of `mean`; None where there is none."""
        found = self._mean
        if found is None:
            return None
        half = half_widths(torch.tensor([found[1]]).double(), torch.tensor([found[2]]), checked_level(level))
        return found[0] - float(half), found[0] + float(half)

    @property
    def is_full(self) -> bool:
        """Whether all n exponents were computed."""
        return len(self.exponents) == self.settings.size

    @property
    def max(self) -> float:
        """The largest exponent: above 0 small changes grow, which is chaos in a bounded system; below 0 they fade."""
        return float(self.exponents[0])

    @property
    def min(self) -> float | None:
        """The smallest of all n exponents; None if not all were computed, or if it lies below the precision floor."""
        return BY_NAME["min"].value(self)

    @property
    def mean(self) -> float | None:
        """The mean over all n exponents: from ln |det J| where the system has it, whatever k; else from a full run.

        In a full run with lost or unreliable directions and no determinant, the mean of the others (`mean_count` of them).
        """
        return None if self._mean is None else self._mean[0]

    @property
    def mean_standard_error(self) -> float | None:
        """One standard error of `mean`, of sampling only: from sequences and blocks, and the steps that have a determinant."""
        return None if self._mean is None else self._mean[1]

    @property
    def mean_count(self) -> int:
        """How many exponents are behind `mean`; 0 where it is None."""
        if self._has_volume:
            return self.settings.size
        return int(self._usable.sum()) if self.is_full else 0

    @property
    def variance(self) -> float | None:
        """The variance over the finite exponents of a full run; None if not all were computed and reliable."""
        return BY_NAME["variance"].value(self)

    @property
    def sum(self) -> float | None:
        """The sum over all n exponents, the rate of change of volume; -inf where a direction is lost."""
        return BY_NAME["sum"].value(self)

    @property
    def kaplan_yorke_dimension(self) -> float | None:
        """See `quantities.kaplan_yorke_dimension`; None where more (or more reliable) exponents are needed,
        and where the state grows without bound.
        """
        return BY_NAME["kaplan_yorke_dimension"].value(self)

    @property
    def entropy_rate(self) -> float | None:
        """The sum of the positive exponents, nats per step; None where more exponents are needed, or as above."""
        return BY_NAME["entropy_rate"].value(self)

    @property
    def timescales(self) -> tuple[Timescale, ...]:
        """Of each direction its memory time, or its Lyapunov time where it grows, with the 95 % interval; they print."""
        pairs = zip(self.exponents.tolist(), self.interval(0.95).tolist(), strict=True)
        return tuple(Timescale.of(exponent, interval) for exponent, interval in pairs)

    def standard_error(self, name: str) -> float | None:
        """One standard error of a derived quantity by its name, by the jackknife over sequences and over blocks.

        Scaled to all parts of the error budget; those of "mean" and "sum" are of sampling only.
        None where the quantity has no value; NaN where nothing can be left out.
        """
        _checks.one_of(name, tuple(BY_NAME), "name")
        return BY_NAME[name].standard_error(self)

    def quantities(self) -> dict[str, float | None]:
        """The derived numbers, by name."""
        return {quantity.name: quantity.value(self) for quantity in QUANTITIES}

    @cached_property
    def _mean(self) -> tuple[float, float, float] | None:
        """Mean over all exponents, its standard error and its degrees of freedom."""
        if not self.mean_count:
            return None
        grown, steps = self.mean_series
        scale = self.mean_count * self.settings.dt
        found = standard_errors(grown.unsqueeze(-1), steps, self.independent)
        rate, error = float(grown.sum() / steps.sum()), float(found.standard_errors[0])
        return rate / scale, error / scale, float(found.degrees[0])

    @property
    def mean_series(self) -> tuple[Tensor, Tensor]:
        """What `mean` averages, summed over `mean_count` exponents, and the steps behind it, both (bins, batch)."""
        if self.volume_history is not None and self.volume_steps is not None and self._has_volume:
            return self.volume_history, self.volume_steps
        return self.history[..., self._usable].sum(-1), self.history_steps

    @property
    def _has_volume(self) -> bool:
        """Whether ln |det J| has more to say than the exponents: a full run has it sampled only, as a certificate."""
        if self.volume_history is None or self.volume_steps is None or bool(self.exponents.isneginf().any()):
            return False
        sampled = self.is_full and not torch.equal(self.volume_steps, self.history_steps)
        return not sampled and bool(torch.isfinite(self.volume_history).all())

    @property
    def _usable(self) -> Tensor:
        return torch.isfinite(self.exponents) & self.reliable
