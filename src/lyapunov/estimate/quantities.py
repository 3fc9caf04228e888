"""What a spectrum says: pure functions of exponents in descending order, in nats per step (or per unit of time).

`total` is the number of exponents the system has; where the k given ones do not determine a quantity, it is None.
"""

import math
from collections.abc import Sequence
from typing import Literal, NamedTuple

import torch
from torch import Tensor

from lyapunov._shapes import Exponents


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
