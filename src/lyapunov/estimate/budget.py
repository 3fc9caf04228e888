"""The error budget of each exponent: what sampling, the burn-in of state and frame, and rounding may have left in it."""

from typing import NamedTuple

import torch
from torch import Tensor

from lyapunov._shapes import Exponents
from lyapunov._shown import Parts, html_of, number, shown_rows
from lyapunov.tangent import SETTLED_RATIO, SHORTEST, Growth

ALIGNED = 0.9
"""Of what a random frame lacks by the end of its alignment: one that lacks as much again has not aligned."""


class ErrorBudget(NamedTuple):
    """Standard errors (k,) in the unit of the exponents; the total is the root of the sum of their squares.

    sampling: of the average over time and sequences. burn_in: what the state's start may still contribute. alignment: what the
    random frames may still contribute. rounding: of the arithmetic.
    """

    sampling: Exponents
    burn_in: Exponents
    alignment: Exponents
    rounding: Exponents

    @property
    def total(self) -> Exponents:
        """The standard error of each exponent."""
        return torch.stack(self).square().sum(0).sqrt()

    @property
    def systematic(self) -> Exponents:
        """What is not sampling: further sequences do not make it smaller."""
        return torch.stack(self[1:]).square().sum(0).sqrt()

    def _repr_html_(self) -> str:
        columns = (*self, self.total)
        rows: list[tuple[str, ...]] = [("i", *self._fields, "total")]
        for at in shown_rows(len(self.sampling)):
            rows.append(("...",) * 6 if at is None else (str(at + 1), *(number(float(part[at])) for part in columns)))
        return html_of(Parts(["Standard errors by where they come from"], rows))


def budget(growth: Growth, sampling: Tensor, rates: Tensor) -> ErrorBudget:
    """Of every column, per step, in QR order. `sampling`: its standard errors; `rates`: pooled growth per step."""
    found = (sampling, _burn_in(growth, rates), _alignment(growth), _rounding(growth))
    return ErrorBudget(*(part.masked_fill(rates.isneginf(), 0.0) for part in found))


def _burn_in(growth: Growth, rates: Tensor) -> Tensor:
    """Copies of the state that are still a fraction `distance` see growth that differs by that fraction of its fluctuations.

    The difference dies at the rate of the largest exponent. Copies that stay apart are the verdict's, not the budget's.
    """
    distance, steps = growth.distance, growth.steps.sum(0)
    if distance is None or distance > SETTLED_RATIO:
        return torch.zeros_like(rates)
    typical = float(steps.mean())
    decay = max(-float(rates[rates.isfinite()].max()) if bool(rates.isfinite().any()) else 0.0, 1 / typical)
    each = growth.log_growth / growth.steps.clamp(min=1).unsqueeze(-1)
    counted = growth.steps > 0
    deviations = (each[counted] - rates.nan_to_num(neginf=0.0)).nan_to_num(neginf=0.0).square().mean(0).sqrt()
    return distance * deviations / decay / typical


def still_lacked(before: Tensor, after: Tensor, align: int) -> tuple[Tensor, Tensor]:
    """Of what second frames lacked after their alignment, sequence by sequence (batch, ...): the mean, and the error of that.

    A frame that is not aligned lacks growth; that it has more is chance. Where it lacked about as much after its alignment as
    `before` the end of it, frames are no better than the ones beside them, and lack on average what they differ by.
    """
    early, late = before.square().mean(0), after.square().mean(0)
    aligned = (late.sqrt() < ALIGNED * early.sqrt()) & (align >= SHORTEST)
    mean = torch.where(aligned, after.mean(0).clamp(min=0.0), late.sqrt())
    return mean, torch.where(aligned, (late / len(after)).sqrt(), 0.0)


def _alignment(growth: Growth) -> Tensor:
    """What a second random frame still lacked at the age at which counting began, and how well that is known.

    What it lacked in one sequence and had in another, the sampling error has seen, too: each sequence has a frame of its own.
    """
    columns = growth.log_growth.shape[-1]
    if growth.lacked is None:
        return torch.zeros(columns, dtype=torch.float64)
    return _filled(torch.hypot(*still_lacked(*growth.lacked, growth.align)) / growth.steps.sum(0).mean(), growth)


def _filled(found: Tensor, growth: Growth) -> Tensor:
    """Columns that have no second frame are as the last ones of their block that do."""
    for at in range(int(growth.block.max()) + 1):
        mine = growth.block == at
        known = mine & ~found.isnan()
        found[mine & found.isnan()] = found[known].square().mean().sqrt()
    return found


def _rounding(growth: Growth) -> Tensor:
    """What is rounded off in an interval, relative to what remains of the column, whatever its sign.

    More where a perturbed frame grows otherwise: all of that, since a pseudospectrum hardly depends on the size of what
    perturbs it.
    """
    noise = growth.noise / growth.qr_every
    if growth.sensitivity is None:
        return noise
    return torch.fmax(noise, _filled(growth.sensitivity, growth))
