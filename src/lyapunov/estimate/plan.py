"""How many sequences of how many steps reach a standard error, from a pilot run."""

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np

from lyapunov import _checks
from lyapunov._shown import Shown
from lyapunov.errors import InvalidInput
from lyapunov.estimate.result import Spectrum
from lyapunov.estimate.standard_errors import DIFFERENT, standard_errors

FEWEST = 10
"""Sequences below which an interval is wide for want of degrees of freedom: Student's t at 9 of them is 15 % above normal."""


@dataclass(frozen=True)
class Plan(Shown):
    """Sequences and steps for a wanted standard error: `sequences` inputs of `settle + align + steps`, of which `steps` count.

    The error is sqrt(within / (sequences x steps) + between / sequences).

    Attributes:
        sequences, steps: how many sequences, and how many counted steps of each.
        settle, align: steps of burn-in of the state, then of the frame, that each sequence needs before.
        standard_error: what this reaches.
        within: the variance that counted steps reduce (of the rate, times steps).
        between: the variance of what truly differs between sequences, which only more sequences reduce.

    Example:
        >>> pilot = lyapunov.spectrum(torch.nn.RNN(2, 6, batch_first=True), torch.randn(6, 200, 2), k=1)
        >>> lyapunov.plan(pilot, standard_error=0.001).sequences > 1
        True
    """

    sequences: int
    steps: int
    settle: int
    align: int
    standard_error: float
    within: float
    between: float

    @property
    def total(self) -> int:
        """Steps to compute, transients included."""
        return self.sequences * (self.settle + self.align + self.steps)

    def __str__(self) -> str:
        split = "any split will do, since sequences do not differ" if self.between == 0 else "sequences truly differ"
        parts = f"{self.settle} to settle, {self.align} to align, {self.steps} counted"
        return (
            f"{self.sequences} sequences of {self.settle + self.align + self.steps} steps ({parts}) for a standard error of "
            f"{self.standard_error:.2g}; {split}"
        )


def plan(
    pilot: Spectrum,
    /,
    *,
    standard_error: float,
    exponent: int | Literal["mean"] = 1,
    longest: int | None = None,
) -> Plan:
    """The cheapest number of sequences and steps that reaches a standard error.

    With v the variance per step within sequences, w that between them, and o the steps a sequence spends on transients, the
    error e of B sequences of T counted steps obeys e^2 = v / (B T) + w / B, and B (o + T) steps are computed. The cheapest T is
    sqrt(o v / w), here at least o; with w = 0 longer is always cheaper. B is never below FEWEST.

    The error is of sampling: what burn-in and alignment leave is for the pilot's `settle` and `align`, which the plan keeps.

    Args:
        pilot: a spectrum of few or short sequences, whose variance is extrapolated. It is known as well as its degrees of
            freedom allow: the planned error has a relative error of about 1 / sqrt(2 degrees).
        standard_error: what is wanted, in the unit of the pilot's exponents.
        exponent: 1 for the largest, and so on; or "mean" for the mean of all.
        longest: the most steps a sequence may have, transients included; None: any number.

    Returns:
        A `Plan`.

    Raises:
        InvalidInput: where the pilot has no standard error to start from.

    Example:
        >>> pilot = lyapunov.spectrum(torch.nn.RNN(2, 6, batch_first=True), torch.randn(6, 200, 2), k=1)
        >>> lyapunov.plan(pilot, standard_error=0.001, longest=500).steps <= 500
        True
    """
    wanted = _checks.positive(standard_error, "standard_error")
    within, between = _variances(pilot, exponent)
    overhead = pilot.settings.settle + pilot.settings.align
    room = None if longest is None else _checks.whole_number(longest, "longest", least=overhead + 1) - overhead
    steps = _steps(within, between, overhead, wanted, room)
    sequences = max(FEWEST, math.ceil((within / steps + between) / wanted**2))
    expected = math.sqrt((within / steps + between) / sequences)
    return Plan(sequences, steps, pilot.settings.settle, pilot.settings.align, expected, within, between)


def _variances(pilot: Spectrum, exponent: int | Literal["mean"]) -> tuple[float, float]:
    """Within sequences (of the rate, times steps) and between them."""
    if exponent == "mean":
        if pilot.mean is None:
            raise InvalidInput("Expected a pilot with a mean of all exponents, got none. Compute all of them, or plan for one.")
        grown, steps = pilot.mean_series
        scale = pilot.mean_count * pilot.settings.dt
    else:
        at = _checks.whole_number(exponent, "exponent", least=1, most=len(pilot.exponents), why=", or 'mean'") - 1
        if not math.isfinite(float(pilot.exponents[at])):
            raise InvalidInput(f"Expected a finite exponent to plan for, got {float(pilot.exponents[at])}. Choose another.")
        grown, steps, scale = pilot.history[..., at], pilot.history_steps, pilot.settings.dt
    found = standard_errors(grown.unsqueeze(-1), steps)
    between, within = float(found.between[0]) / scale, float(found.within[0]) / scale
    if math.isnan(between) and math.isnan(within):
        raise InvalidInput(
            "Expected a pilot with a standard error, got one sequence too short for it. Use several, or a longer one."
        )
    batch = len(pilot.per_sequence)
    counted = float(pilot.history_steps.sum()) / batch
    if math.isnan(within) or math.isnan(between):
        return float(np.nanmax([within, between])) ** 2 * batch * counted, 0.0
    differ = between**2 > DIFFERENT * within**2
    return within**2 * batch * counted, (between**2 - within**2) * batch if differ else 0.0


def _steps(within: float, between: float, overhead: int, wanted: float, room: int | None) -> int:
    """Counted steps of each sequence: at least as many as its transients take."""
    steps = within / (FEWEST * wanted**2)
    if between > 0:
        steps = min(steps, math.sqrt(max(overhead, 1) * within / between))
    steps = math.ceil(max(steps, overhead, 1))
    return steps if room is None else min(steps, room)
