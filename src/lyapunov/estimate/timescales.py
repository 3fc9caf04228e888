"""Exponents as times: in how many steps a small change shrinks, or grows, by a factor e."""

import math
from collections.abc import Sequence
from typing import Literal, NamedTuple

import torch
from torch import Tensor

from lyapunov._shown import Parts, html_of, three_digits


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
        return f"{three_digits(self.value)} ({three_digits(self.low)} to {three_digits(self.high)})"

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
        return f"{name} {three_digits(self.value)} (95 %: {three_digits(self.low)} to {three_digits(self.high)})"


def times(timescales: Sequence[Timescale], kind: Literal["memory", "Lyapunov"]) -> Tensor:
    """(k, 3): `Timescale.of_kind` of each direction."""
    return torch.tensor([one.of_kind(kind) for one in timescales], dtype=torch.float64).reshape(-1, 3)


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


def time_lists(timescales: Sequence[Timescale]) -> dict[str, list[object]]:
    """For JSON: the values (k,) of each kind of time, and both ends of their 95 % intervals, (k, 2)."""
    lists: dict[str, list[object]] = {}
    for kind in TIME_NAMES:
        found = times(timescales, kind)
        lists |= {f"{kind.lower()}_times": found[:, 0].tolist(), f"{kind.lower()}_intervals_95": found[:, 1:].tolist()}
    return lists
