"""The paired difference of two spectra: what is common to both, their inputs and their first frames, cancels."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from lyapunov._shapes import Exponents
from lyapunov._shown import ExponentSequence, Parts, Shown, number, shown_rows
from lyapunov.errors import InvalidInput
from lyapunov.estimate.quantities import SpectrumQuantities
from lyapunov.estimate.standard_errors import blocked, checked_level, half_widths, standard_errors
from lyapunov.estimate.verdict import Finding, Verdict

_ALIKE = ("linearization", "coupled", "dt")
"""Settings that must be the same for any difference."""
_PAIRED = ("size", *_ALIKE, "inputs", "seed", "batch", "chunks")
"""Settings that must be the same for a paired one."""


@dataclass(frozen=True, eq=False, repr=False)
class Difference(ExponentSequence, Shown):
    """`a - b`, exponent by exponent in the order of each spectrum, nats per step (with `dt`, per unit of time).

    Attributes:
        exponents: (k,), the differences, NaN where both are -inf.
        standard_errors, degrees: (k,), of the paired differences from sequences and blocks, with what burn-in, alignment and
            rounding left in both; and the degrees of freedom of their Student-t intervals.
        reliable: (k,), True where both exponents are.
        mean, mean_standard_error: of the means over all exponents, or None; the error is of sampling only.
        verdict: what speaks against `a` ("first: ...") and against `b` ("second: ..."); converged where both are.
        paired: whether what is common to both cancels.
        inputs_moved: whether both are of a model that was called with the same, while its core received something else, because
            what lies before the core has changed.

    Example:
        >>> rnn, inputs = torch.nn.RNN(2, 6, batch_first=True), torch.randn(4, 200, 2)
        >>> difference = lyapunov.spectrum(rnn, inputs, k=2) - lyapunov.spectrum(rnn, inputs, k=2)
        >>> difference.exponents.tolist(), difference.paired
        ([0.0, 0.0], True)
    """

    exponents: Exponents
    standard_errors: Exponents
    degrees: Exponents
    reliable: Tensor
    mean: float | None
    mean_standard_error: float | None
    verdict: Verdict
    paired: bool = True
    inputs_moved: bool = False

    @classmethod
    def of(cls, one: SpectrumQuantities, other: SpectrumQuantities) -> "Difference":
        """The paired difference of the exponents that both have, over the steps that both counted.

        Args:
            one, other: two spectra along the same inputs, from the same frames.

        Returns:
            A `Difference`.

        Raises:
            InvalidInput: where the two do not match, with all that differs and what to do.
        """
        _require_same(one, other, _PAIRED)
        k = min(len(one.exponents), len(other.exponents))
        start, end = _window(one, other)
        parts = [_Counted.of(part, start, end, k) for part in (one, other)]
        widths, steps = _common(*parts)
        lost = one.exponents[:k].isneginf() | other.exponents[:k].isneginf()
        pair = [_regular(part.growth.nan_to_num(neginf=0.0), part.steps, widths) for part in parts]
        found = standard_errors(pair[0] - pair[1], steps, one.independent)
        sampling = found.standard_errors / one.settings.dt
        total = (sampling.square() + _left(one, other, sampling).square()).sqrt()
        freed = (total / sampling).nan_to_num(nan=1.0).clamp(max=100.0) ** 4
        mean, mean_error = _mean(one, other, parts, widths)
        return cls(
            exponents=parts[0].exponents - parts[1].exponents,
            standard_errors=total.masked_fill(lost, torch.nan),
            degrees=found.degrees * freed,
            reliable=one.reliable[:k] & other.reliable[:k],
            mean=mean,
            mean_standard_error=mean_error,
            verdict=_verdict(one.verdict, other.verdict),
            inputs_moved=one.settings.inputs != other.settings.inputs and one.settings.dtype == other.settings.dtype,
        )

    @classmethod
    def unpaired(cls, one: SpectrumQuantities, other: SpectrumQuantities) -> "Difference":
        """The difference of two spectra that share nothing. Nothing cancels, so the error is that of both (Welch's).

        Args:
            one, other: two spectra.

        Returns:
            A `Difference`.

        Raises:
            InvalidInput: where they are not of one kind: linearization, coupling, unit of time.
        """
        _require_same(one, other, _ALIKE)
        k = min(len(one.exponents), len(other.exponents))
        squares = [part.standard_errors[:k].square() for part in (one, other)]
        degrees = [part.degrees[:k] for part in (one, other)]
        total = squares[0] + squares[1]
        welch = total.square() / sum(square.square() / freedom for square, freedom in zip(squares, degrees, strict=True))
        lost = one.exponents[:k].isneginf() | other.exponents[:k].isneginf()
        mean, mean_error = None, None
        if one.mean is not None and other.mean is not None and one.mean_count == other.mean_count:
            mean = one.mean - other.mean
            mean_error = math.hypot(one.mean_standard_error or 0.0, other.mean_standard_error or 0.0)
        return cls(
            exponents=one.exponents[:k] - other.exponents[:k],
            standard_errors=total.sqrt().masked_fill(lost, torch.nan),
            degrees=welch.nan_to_num(nan=float("inf")),
            reliable=one.reliable[:k] & other.reliable[:k],
            mean=mean,
            mean_standard_error=mean_error,
            verdict=_verdict(one.verdict, other.verdict),
            paired=False,
        )

    def interval(self, level: float = 0.95) -> Tensor:
        """Student-t intervals of the differences.

        Args:
            level: the probability that an interval holds the truth.

        Returns:
            (k, 2), the lower and the upper end.
        """
        half = half_widths(self.standard_errors, self.degrees, checked_level(level))
        return torch.stack([self.exponents - half, self.exponents + half], dim=-1)

    def _parts(self) -> Parts:
        rows = [("i", "difference", "± error", ""), *(self._row(at) for at in shown_rows(len(self.exponents)))]
        mean = f"mean {number(self.mean)} ± {number(self.mean_standard_error)}"
        lines = [mean, f"verdict: {self.verdict}"]
        if self.inputs_moved:
            lines.insert(
                0,
                "The model was called with the same inputs, but its core received others, because what lies before it changed.",
            )
        title = f"{'Paired' if self.paired else 'Unpaired'} difference of two Lyapunov spectra"
        return Parts([title], rows, lines)

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


def _left(one: SpectrumQuantities, other: SpectrumQuantities, sampling: Tensor) -> Tensor:
    """What transients and rounding leave in the difference: of both, as far as what sampling leaves does not cancel either."""
    budgets = (one.error_budget, other.error_budget)
    left = torch.hypot(*(budget.systematic[: len(sampling)] for budget in budgets))
    unpaired = torch.hypot(*(budget.sampling[: len(sampling)] for budget in budgets))
    return left * (sampling / unpaired).nan_to_num(nan=1.0).clamp(max=1.0)


def _require_same(one: SpectrumQuantities, other: SpectrumQuantities, names: Sequence[str]) -> None:
    """Everything in which they differ is named at once."""
    differing = [name for name in names if getattr(one.settings, name) != getattr(other.settings, name)]
    if "inputs" in differing and one.settings.called and one.settings.called == other.settings.called:
        differing.remove("inputs")
    if not differing:
        return
    listed = [f"{name} ({getattr(one.settings, name)} and {getattr(other.settings, name)})" for name in differing]
    remedy = f"Compute both with the same {' and '.join(differing)}"
    if "inputs" in differing:
        remedy += " (of the inputs, these are hashes, with those of the states)"
    if not set(differing) & set(_ALIKE):
        remedy += "; or take a.difference(b, paired=False), whose error is larger"
    raise InvalidInput(f"Expected two spectra that can be compared, got two that differ: {', '.join(listed)}. {remedy}.")


def _window(one: SpectrumQuantities, other: SpectrumQuantities) -> tuple[int, int]:
    """The first step that both counted, and the one behind the last."""
    starts = [part.settings.settle + part.settings.align for part in (one, other)]
    ends = [start + part.settings.count for start, part in zip(starts, (one, other), strict=True)]
    if max(starts) >= min(ends):
        raise InvalidInput(
            f"Expected two spectra that counted the same steps, got one that counts from {starts[0]} to {ends[0]}, and one "
            f"from {starts[1]} to {ends[1]}. Pass both the same settle and align."
        )
    return max(starts), min(ends)


@dataclass(frozen=True)
class _Counted:
    """What a spectrum counted over some of its steps: growth (bins, batch, k) in nats, steps and what is behind its mean."""

    growth: Tensor
    steps: Tensor
    exponents: Tensor
    mean_series: tuple[Tensor, Tensor]

    @classmethod
    def of(cls, spectrum: SpectrumQuantities, start: int, end: int, k: int) -> "_Counted":
        settings, history, steps = spectrum.settings, spectrum.history[..., :k], spectrum.history_steps
        first = settings.settle + settings.align
        if (start, end) == (first, first + settings.count):
            return cls(history, steps, spectrum.exponents[:k], spectrum.mean_series)
        widths = steps.amax(1)
        stops = first + widths.cumsum(0)
        shares = ((stops.clamp(max=end) - (stops - widths).clamp(min=start)) / widths).clamp(min=0.0)
        kept, shares = shares > 0, shares[shares > 0].unsqueeze(-1)
        growth, steps = history[kept] * shares.unsqueeze(-1), steps[kept] * shares
        grown, behind = (part[kept] * shares for part in spectrum.mean_series)
        return cls(growth, steps, growth.sum((0, 1)) / steps.sum() / settings.dt, (grown, behind))


def _common(one: _Counted, other: _Counted) -> tuple[Tensor, Tensor]:
    """Stretches of time that both histories resolve, and the steps in them."""
    coarse = one if len(one.growth) <= len(other.growth) else other
    count, total = len(coarse.growth), coarse.steps.amax(1).sum()
    widths = torch.full((count,), float(total) / count, dtype=torch.float64)
    return widths, _regular(coarse.steps, coarse.steps, widths)


def _regular(values: Tensor, steps: Tensor, widths: Tensor) -> Tensor:
    return blocked(values, steps.amax(1), len(widths))


def _mean(
    one: SpectrumQuantities, other: SpectrumQuantities, parts: Sequence[_Counted], widths: Tensor
) -> tuple[float | None, float | None]:
    if one.mean is None or other.mean is None or one.mean_count != other.mean_count:
        return None, None
    cells = []
    for part in parts:
        grown, steps = part.mean_series
        cells.append((_regular(grown, part.steps, widths), _regular(steps, part.steps, widths)))
    weights = torch.minimum(cells[0][1], cells[1][1])  # stretches in which both have something
    rates = [grown / steps.clamp(min=1e-300) for grown, steps in cells]
    found = standard_errors(((rates[0] - rates[1]) * weights).nan_to_num(0.0).unsqueeze(-1), weights)
    scale = one.mean_count * one.settings.dt
    means = [float(part.mean_series[0].sum() / part.mean_series[1].sum()) / scale for part in parts]
    return means[0] - means[1], float(found.standard_errors[0]) / scale
