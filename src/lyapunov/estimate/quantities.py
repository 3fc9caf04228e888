"""What a spectrum says: pure functions of exponents in descending order, and `QUANTITIES`, the table of all that are derived.

Exponents are in nats per step (or per unit of time). `total` is the number of exponents the system has; where the k given ones
do not determine a quantity, it is None. A new derived quantity is a function and a row of the table here: `Spectrum`, its JSON
and its printed table read that.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import torch
from torch import Tensor

from lyapunov._shapes import Exponents
from lyapunov._shown import Parts, html_of
from lyapunov.estimate.standard_errors import jackknife

if TYPE_CHECKING:
    from lyapunov.estimate.result import Spectrum


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


def exponent_unit(dt: float = 1.0) -> str:
    """The unit of exponents whose steps take the time `dt`: a `dt` other than 1 says that the user measures time, not steps."""
    return "nats per step" if dt == 1 else "nats per unit of time"


def memory_times(exponents: Tensor) -> Tensor:
    """-1 / lambda: the steps in which a small change along each direction shrinks by e; infinite where it does not shrink.

    The one place where exponents become times. NaN stays NaN; a Lyapunov time is the memory time of -lambda.
    """
    return torch.where(exponents < 0, -1 / exponents, math.inf).masked_fill(exponents.isnan(), math.nan)


def memory_time(exponent: float) -> float:
    """`memory_times` of one number."""
    return float(memory_times(torch.tensor(exponent, dtype=torch.float64)))


class Timescale(NamedTuple):
    """How long a small change along a direction takes to shrink, or to grow, by a factor e, with the interval of that.

    kind: "memory" where it shrinks (the memory time, -1 / lambda), "Lyapunov" where it grows (the Lyapunov time, 1 / lambda),
        "not determined" where the interval of the exponent holds zero, or where there is none: then the numbers are NaN.
    value, low, high: in steps (with `dt`, in units of time); low and high from the ends of the exponent's interval.
    """

    kind: Literal["memory", "Lyapunov", "not determined"]
    value: float
    low: float
    high: float

    @classmethod
    def of(cls, exponent: float, interval: Sequence[float]) -> "Timescale":
        """Of an exponent and its interval, from low to high."""
        low, high = interval
        if exponent == -math.inf:
            return cls("memory", 0.0, 0.0, 0.0)
        if not (high < 0 or low > 0):
            return cls("not determined", math.nan, math.nan, math.nan)
        sign = 1 if high < 0 else -1
        ends = sorted(memory_time(sign * end) for end in (low, high))
        return cls("memory" if sign == 1 else "Lyapunov", memory_time(sign * exponent), *ends)

    def of_kind(self, kind: Literal["memory", "Lyapunov"]) -> tuple[float, float, float]:
        """Value, low and high of one kind of time; infinite for a direction of the other kind, NaN for one not determined."""
        if self.kind == "not determined":
            return math.nan, math.nan, math.nan
        return self[1:] if self.kind == kind else (math.inf, math.inf, math.inf)

    @property
    def numbers(self) -> str:
        """The value, and what it lies between: "47.6 (43.4 to 52.6)"."""
        return f"{_short(self.value)} ({_short(self.low)} to {_short(self.high)})"

    @property
    def cell(self) -> str:
        """For a column of memory times: a Lyapunov time says that it is one."""
        words = {"memory": self.numbers, "Lyapunov": f"Lyapunov {self.numbers}"}
        return words.get(self.kind, self.kind)

    def _repr_html_(self) -> str:
        return html_of(Parts([str(self)]))

    def __str__(self) -> str:
        if self.kind == "not determined":
            return "memory not determined"
        name = "memory" if self.kind == "memory" else "Lyapunov time"
        return f"{name} {_short(self.value)} (95 %: {_short(self.low)} to {_short(self.high)})"


def times(timescales: Sequence[Timescale], kind: Literal["memory", "Lyapunov"]) -> Tensor:
    """(k, 3): `Timescale.of_kind` of each direction."""
    return torch.tensor([one.of_kind(kind) for one in timescales], dtype=torch.float64).reshape(-1, 3)


def _short(value: float) -> str:
    """Three digits, and no powers of ten where people count."""
    return f"{value:.0f}" if 100 <= value < 1e6 else f"{value:.3g}"


def variance(exponents: Tensor) -> float:
    """The population variance of the finite exponents (0 for one, NaN-free)."""
    finite = exponents[torch.isfinite(exponents)]
    return float(finite.var(correction=0)) if len(finite) else 0.0


TIME_NAMES: dict[Literal["memory", "Lyapunov"], str] = {"memory": "memory", "Lyapunov": "lyapunov_time"}
"""The two kinds of times, and what readings call each."""


def time_columns(timescales: Sequence[Timescale]) -> dict[str, Tensor]:
    """A column (k,) for the value of each kind of time, and for both ends of its 95 % interval, by the column's name."""
    columns = {}
    for kind in TIME_NAMES:
        value, low, high = times(timescales, kind).unbind(-1)
        name = kind.lower()
        columns |= {f"{name}_time": value, f"{name}_low_95": low, f"{name}_high_95": high}
    return columns


@dataclass(frozen=True)
class Quantity:
    """A number that is derived from a whole spectrum.

    name: its key in `Spectrum.quantities()`, in JSON, and for `Spectrum.standard_error`. label: its name in printed tables.
    power: how often the unit of the exponents is in it: 1 for a rate, 2 for a variance, 0 for a plain number.
    value: from a `Spectrum`; None where its exponents do not determine it.
    error: one standard error, from a `Spectrum` for which the value is finite.
    digits: after the point in the printed table; None where the table has no place for it, or a line of its own.
    in_readings: whether readings of a monitor have a field of this name, and one of its error.
    """

    name: str
    label: str
    power: int
    value: Callable[..., float | None]
    error: Callable[..., float | None]
    digits: int | None = None
    in_readings: bool = False

    def standard_error(self, spectrum: "Spectrum") -> float | None:
        """One standard error; None where the value is not there or not finite, NaN where nothing can be left out."""
        value = self.value(spectrum)
        return None if value is None or not math.isfinite(value) else self.error(spectrum)


def _trusted(spectrum: "Spectrum") -> Exponents:
    """The exponents before the first unreliable one (unreliable ones are the smallest)."""
    unreliable = torch.nonzero(~spectrum.reliable)
    return spectrum.exponents[: int(unreliable[0])] if len(unreliable) else spectrum.exponents


def _smallest(spectrum: "Spectrum") -> float | None:
    return float(spectrum.exponents[-1]) if spectrum.is_full and bool(spectrum.reliable[-1]) else None


def _sum(spectrum: "Spectrum") -> float | None:
    if bool(spectrum.exponents.isneginf().any()):
        return -math.inf
    size = spectrum.settings.size
    return spectrum.mean * size if spectrum.mean is not None and spectrum.mean_count == size else None


def _error_of_sum(spectrum: "Spectrum") -> float | None:
    error = spectrum.mean_standard_error
    return None if error is None else error * spectrum.settings.size


def _variance(spectrum: "Spectrum") -> float | None:
    return variance(spectrum.exponents) if spectrum.is_full and bool(spectrum.reliable.all()) else None


def _of_bounded(function: Callable[..., float | None]) -> Callable[..., float | None]:
    """A function of the trusted exponents, of a spectrum whose state does not grow without bound."""

    def value(spectrum: "Spectrum") -> float | None:
        return None if "unbounded" in spectrum.verdict.kinds else function(_trusted(spectrum), total=spectrum.settings.size)

    return value


def _jackknifed(function: Callable[..., float | None]) -> Callable[..., float | None]:
    """The error of a function of the trusted exponents, scaled from sampling to all parts of the error budget."""

    def error(spectrum: "Spectrum") -> float | None:
        count, settings = len(_trusted(spectrum)), spectrum.settings
        correlated = spectrum.correlation_times[: max(count, 1)]

        def of_rates(rates: Tensor) -> float | None:
            return function((rates / settings.dt).sort(descending=True).values[:count], total=settings.size)

        found = jackknife(spectrum.history, spectrum.history_steps, correlated, of_rates)
        return None if found is None else found * _inflation(spectrum, len(correlated))

    return error


def _inflation(spectrum: "Spectrum", count: int) -> float:
    """By how much the errors of the first exponents exceed those of sampling, root mean square; more for copied inputs."""
    ratios = (spectrum.standard_errors / spectrum.sampling_errors)[:count]
    ratios = ratios[ratios.isfinite()]
    return float(ratios.square().mean().sqrt()) / spectrum.independent**0.5 if len(ratios) else 1.0


def _variance_of(exponents: Exponents, total: Any) -> float:  # noqa: ARG001
    return variance(exponents)


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
    Quantity("variance", "variance", 2, value=_variance, error=_jackknifed(_variance_of), digits=5),
    Quantity("sum", "sum", 1, value=_sum, error=_error_of_sum, digits=5),
    Quantity(
        "kaplan_yorke_dimension",
        "Kaplan-Yorke dimension",
        0,
        value=_of_bounded(kaplan_yorke_dimension),
        error=_jackknifed(kaplan_yorke_dimension),
        digits=3,
    ),
    Quantity(
        "entropy_rate",
        "entropy rate",
        1,
        value=_of_bounded(entropy_rate),
        error=_jackknifed(entropy_rate),
        digits=5,
    ),
)
"""In the order in which they are listed everywhere."""
BY_NAME = {quantity.name: quantity for quantity in QUANTITIES}
"""`QUANTITIES` by their names."""
READING_NAMES = tuple(name for one in QUANTITIES if one.in_readings for name in (one.name, f"{one.name}_error"))
"""The fields that readings of a monitor have of them."""
