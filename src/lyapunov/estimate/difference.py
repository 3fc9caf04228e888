"""The paired difference of two spectra: what is common to both, their inputs and their first frames, cancels."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from lyapunov._shapes import Exponents
from lyapunov.errors import InvalidInput
from lyapunov.estimate._table import aligned, number, shown_rows
from lyapunov.estimate.standard_errors import blocked, checked_level, errors, half_widths
from lyapunov.estimate.verdict import Finding, Verdict

if TYPE_CHECKING:
    from lyapunov.estimate.result import Spectrum

_PAIRED = ("size", "k", "linearization", "coupled", "inputs", "seed", "settle", "align", "count", "batch", "dt")
"""Settings that must be the same for a difference to be paired."""


@dataclass(frozen=True, eq=False, repr=False)
class Difference:
    """`a - b`, exponent by exponent in the order of each spectrum, nats per step (with `dt`, per unit of time).

    exponents (k,): differences, NaN where both are -inf. standard_errors and degrees (k,): of the paired differences, from
    sequences and blocks, and what burn-in, alignment and rounding left in both. reliable (k,): both are.
    mean, mean_standard_error: of the means over all exponents, or None; the error is of sampling only.
    verdict: what speaks against `a` ("first: ...") and against `b` ("second: ..."); converged where both are.
    """

    exponents: Exponents
    standard_errors: Exponents
    degrees: Exponents
    reliable: Tensor
    mean: float | None
    mean_standard_error: float | None
    verdict: Verdict

    @classmethod
    def of(cls, one: "Spectrum", other: "Spectrum") -> "Difference":
        """Raises InvalidInput where the two do not match, with what differs and what to do."""
        _require_paired(one, other)
        widths, steps = _common(one, other)
        lost = one.exponents.isneginf() | other.exponents.isneginf()
        pair = [_regular(part.history.nan_to_num(neginf=0.0), part.history_steps, widths) for part in (one, other)]
        found = errors(pair[0] - pair[1], steps, one.independent)
        sampling = found.standard_errors / one.settings.dt
        total = (sampling.square() + _left(one, other, sampling).square()).sqrt()
        freed = (total / sampling).nan_to_num(nan=1.0).clamp(max=100.0) ** 4
        mean, mean_error = _mean(one, other, widths)
        return cls(
            exponents=one.exponents - other.exponents,
            standard_errors=total.masked_fill(lost, torch.nan),
            degrees=found.degrees * freed,
            reliable=one.reliable & other.reliable,
            mean=mean,
            mean_standard_error=mean_error,
            verdict=_verdict(one.verdict, other.verdict),
        )

    def interval(self, level: float = 0.95) -> Tensor:
        """(k, 2): Student-t intervals of the differences."""
        half = half_widths(self.standard_errors, self.degrees, checked_level(level))
        return torch.stack([self.exponents - half, self.exponents + half], dim=-1)

    def __repr__(self) -> str:
        rows = [("i", "difference", "± error", ""), *(self._row(at) for at in shown_rows(len(self.exponents)))]
        mean = f"mean {number(self.mean)} ± {number(self.mean_standard_error)}"
        lines = [mean, f"verdict: {self.verdict}"]
        return "\n".join(["Paired difference of two Lyapunov spectra", "", *aligned(rows), "", *lines])

    def _row(self, at: int | None) -> tuple[str, ...]:
        if at is None:
            return ("...", "...", "", "")
        flag = "" if bool(self.reliable[at]) else "below the precision floor"
        return str(at + 1), number(float(self.exponents[at])), number(float(self.standard_errors[at])), flag


def _verdict(first: Verdict, second: Verdict) -> Verdict:
    """The findings of both, each with whose it is: an error of one side is an error of the difference."""
    sides = {"both": [one for one in first.findings if one in second.findings]}
    for name, verdict in (("first", first), ("second", second)):
        sides[name] = [one for one in verdict.findings if one not in sides["both"]]
    return Verdict(tuple(Finding(one.kind, f"{name}: {one.message}") for name, found in sides.items() for one in found))


def _left(one: "Spectrum", other: "Spectrum", sampling: Tensor) -> Tensor:
    """What transients and rounding leave in the difference: of both, as far as what sampling leaves does not cancel either."""
    budgets = (one.error_budget, other.error_budget)
    left = torch.hypot(*(budget.systematic for budget in budgets))
    unpaired = torch.hypot(*(budget.sampling for budget in budgets))
    return left * (sampling / unpaired).nan_to_num(nan=1.0).clamp(max=1.0)


def _require_paired(one: "Spectrum", other: "Spectrum") -> None:
    for name in _PAIRED:
        first, second = getattr(one.settings, name), getattr(other.settings, name)
        if first != second:
            remedy = f"Compute both with the same {name}."
            if name in ("settle", "align", "count"):
                least = {part: max(getattr(x.settings, part) for x in (one, other)) for part in ("settle", "align")}
                remedy = f"Pass both the same settle and align, say settle={least['settle']}, align={least['align']}."
            elif name == "inputs":
                remedy = "Compute both on the same inputs, from the same state (the numbers are hashes of both)."
            raise InvalidInput(f"Expected two spectra with the same {name}, got {first} and {second}. {remedy}")


def _common(one: "Spectrum", other: "Spectrum") -> tuple[Tensor, Tensor]:
    """Stretches of time that both histories resolve, and the steps in them."""
    coarse = one if len(one.history) <= len(other.history) else other
    count, total = len(coarse.history), coarse.history_steps.amax(1).sum()
    widths = torch.full((count,), float(total) / count, dtype=torch.float64)
    return widths, _regular(coarse.history_steps, coarse.history_steps, widths)


def _regular(values: Tensor, steps: Tensor, widths: Tensor) -> Tensor:
    return blocked(values, steps.amax(1), len(widths))


def _mean(one: "Spectrum", other: "Spectrum", widths: Tensor) -> tuple[float | None, float | None]:
    if one.mean is None or other.mean is None or one.mean_count != other.mean_count:
        return None, None
    cells = []
    for part in (one, other):
        grown, steps = part.mean_series
        cells.append((_regular(grown, part.history_steps, widths), _regular(steps, part.history_steps, widths)))
    weights = torch.minimum(cells[0][1], cells[1][1])  # stretches in which both have something
    rates = [grown / steps.clamp(min=1e-300) for grown, steps in cells]
    found = errors(((rates[0] - rates[1]) * weights).nan_to_num(0.0).unsqueeze(-1), weights)
    return one.mean - other.mean, float(found.standard_errors[0]) / (one.mean_count * one.settings.dt)
