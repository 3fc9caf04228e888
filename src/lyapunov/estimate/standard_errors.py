"""How far an average over time and sequences can be trusted: correlation times, blocks, Student's t, the jackknife."""

import math
from collections.abc import Callable
from functools import lru_cache
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from lyapunov.errors import InvalidInput

TIMES_PER_BLOCK = 5
"""Blocks are at least this many correlation times long."""
DIFFERENT = 2.0
"""Sequences truly differ when their variance is this many times what blocks within them explain."""
PIECES = 8
"""Of a single sequence: what they truly differ by takes the place of what sequences would differ by."""
_BLOCKS = sorted({round(base * 2**power) for power in range(10) for base in (1, 1.5)} - {0})
_COLUMNS_AT_ONCE = 64


class StandardErrors(NamedTuple):
    """Per column: standard error (per step), degrees of freedom for Student's t, correlation time in steps.

    `between` and `within` are the two standard errors of which the first is the larger, NaN where there are too few groups.
    """

    standard_errors: Tensor
    degrees: Tensor
    correlation_times: Tensor
    between: Tensor
    within: Tensor


def standard_errors(history: Tensor, steps: Tensor, independent: float = 1.0) -> StandardErrors:
    """Of the pooled rates sum(history) / sum(steps); history (bins, batch, columns), steps (bins, batch).

    The larger of two standard errors. One is from whole sequences beside the pooled rate, and sees whatever makes them differ:
    the jackknife, sqrt((G-1)/G sum_g (r_g / (1 - h_g))^2) / sum(steps) over G sequences, with r_g = grown_g - rate steps_g and
    h_g = steps_g / sum(steps), so that a sequence that holds most steps is not its own reference. The other is from blocks of
    at least TIMES_PER_BLOCK correlation times beside their own sequence's rate, sqrt(G/(G-f) sum_g r_g^2) / sum(steps) over G
    blocks in f sequences, and has more degrees of freedom. NaN for one sequence too short for two blocks; 0 for -inf, which has
    none to make.

    A single sequence has no others to differ from. Where PIECES of it truly differ, growth varies more slowly than blocks
    show, as it may along a text, and they tell the error.

    `independent`: the fraction of the sequences that is independent of each other, below 1 where they are copies or overlap.
    Then there are that many fewer sequences and blocks, and both errors are larger by the root of that.
    """
    counted = steps.amax(1) > 0
    history, steps = history[counted], steps[counted]
    lost = history.isneginf().any(0).any(0)
    history, widths = history.masked_fill(lost, 0.0), steps.amax(1)
    own = history - steps.unsqueeze(-1) * (history.sum(0) / steps.sum(0).unsqueeze(-1))
    times = correlation_times(own, widths)
    counts = torch.tensor(_BLOCKS)
    allowed = (counts.unsqueeze(-1) * TIMES_PER_BLOCK * times <= widths.sum()) & (counts.unsqueeze(-1) <= len(widths))
    chosen = (counts.unsqueeze(-1) * allowed).amax(0)
    residues = history - steps.unsqueeze(-1) * (history.sum((0, 1)) / steps.sum())
    between, effective = _between(residues, steps)
    within, groups = torch.full_like(between, torch.nan), torch.full_like(times, effective)
    for count in chosen.unique().tolist():
        if count > 1:
            mine = chosen == count
            within[mine] = _grouped_error(own[..., mine], steps, widths, count, fixed=steps.shape[1])
            differ = _excess(residues[..., mine], steps, within[mine]) > DIFFERENT
            everything = _group_count(steps, widths, count)  # where both agree, both tell
            groups[mine] = torch.where(differ, effective, float(everything)).double()
            between[mine] = torch.where(differ, between[mine], _ungrouped(residues[..., mine], steps))
    if steps.shape[1] == 1 and len(widths) >= PIECES:
        pieces = _grouped_error(own, steps, widths, PIECES, fixed=1)
        differ = (chosen > PIECES) & (pieces.square() > DIFFERENT * within.square())
        within, groups = torch.where(differ, pieces, within), torch.where(differ, float(PIECES), groups)
    if independent < 1:
        within, between, groups = within / independent**0.5, between / independent**0.5, 1 + (groups - 1) * independent
    larger = torch.fmax(within, between).masked_fill(lost, 0.0)
    return StandardErrors(larger, (groups - 1).clamp(min=0.0), times.masked_fill(lost, torch.nan), between, within)


def _between(residues: Tensor, steps: Tensor) -> tuple[Tensor, float]:
    """The jackknife's standard errors over sequences, and how many sequences of equal length would tell as much."""
    own = steps.sum(0)
    if len(own) < 2:
        return torch.full(residues.shape[2:], torch.nan, dtype=residues.dtype), 1.0
    held = own / own.sum()
    squares = (residues.sum(0) / (1 - held).unsqueeze(-1)).square().sum(0)
    effective = float(own.square().sum().square() / own.square().square().sum())
    return (squares * (len(own) - 1) / len(own)).sqrt() / own.sum(), effective


def _ungrouped(residues: Tensor, steps: Tensor) -> Tensor:
    """The same where sequences do not truly differ: their residues are as large as their lengths make them."""
    own = steps.sum(0)
    return (residues.sum(0).square().sum(0) * len(own) / max(len(own) - 1, 1)).sqrt() / own.sum()


def _excess(residues: Tensor, steps: Tensor, within: Tensor) -> Tensor:
    """(columns,): the variance between sequences over what blocks within them explain, each sequence beside its length."""
    own = steps.sum(0)
    if len(own) < 2:
        return torch.zeros_like(within)
    per_step = within.square() * own.sum()
    return (residues.sum(0).square() / own.unsqueeze(-1)).sum(0) / (len(own) - 1) / per_step


def correlation_times(residues: Tensor, widths: Tensor) -> Tensor:
    """(columns,): integrated autocorrelation time in steps, dt (1/2 + sum of correlations), at least half a cell.

    Pooled over sequences, summed up to the first lag that is five times the result (Sokal 1989).
    """
    width = float(widths.max())
    cells = max(int(float(widths.sum()) / width), 1)
    regular = blocked(residues, widths, cells)
    parts = [_integrated(part) for part in regular.split(_COLUMNS_AT_ONCE, dim=-1)]
    return torch.cat(parts).clamp(min=0.5) * (float(widths.sum()) / cells)


def _integrated(series: Tensor) -> Tensor:
    cells = len(series)
    spectrum = torch.fft.rfft(series, n=2 * cells, dim=0)
    products = torch.fft.irfft(spectrum.abs().square().sum(1), n=2 * cells, dim=0)[:cells]
    pairs = (cells - torch.arange(cells, dtype=series.dtype)).unsqueeze(-1)
    covariance = products / pairs
    correlation = torch.where(covariance[0] > 0, covariance / covariance[0].clamp(min=1e-300), 0.0)
    summed = correlation.cumsum(0) - 0.5 * correlation[0]
    enough = torch.arange(cells).unsqueeze(-1) >= TIMES_PER_BLOCK * summed
    first = torch.where(enough.any(0), enough.int().argmax(0), cells - 1)
    return summed.gather(0, first.unsqueeze(0))[0]


def blocked(values: Tensor, widths: Tensor, count: int) -> Tensor:
    """Sums over `count` equal stretches of time of (bins, ...), bins that straddle an edge shared out by overlap."""
    stops = widths.cumsum(0)
    starts = stops - widths
    edges = torch.linspace(0, float(stops[-1]), count + 1, dtype=widths.dtype)
    low = torch.maximum(starts, edges[:-1].unsqueeze(-1))
    high = torch.minimum(stops, edges[1:].unsqueeze(-1))
    shares = (high - low).clamp(min=0) / widths
    return (shares @ values.reshape(len(values), -1)).reshape(count, *values.shape[1:])


def _grouped_error(residues: Tensor, steps: Tensor, widths: Tensor, count: int, *, fixed: int) -> Tensor:
    """From so many groups in each sequence, `fixed` rates having been taken from the data."""
    groups = _group_count(steps, widths, count)
    if groups <= fixed:
        return torch.full(residues.shape[2:], torch.nan, dtype=residues.dtype)
    squares = blocked(residues, widths, count).square().sum((0, 1))
    return (squares * groups / (groups - fixed)).sqrt() / steps.sum()


def _group_count(steps: Tensor, widths: Tensor, count: int) -> int:
    return int((blocked(steps, widths, count) > 0).sum())


def jackknife(history: Tensor, steps: Tensor, times: Tensor, quantity: Callable[[Tensor], float | None]) -> float | None:
    """Standard error of a function of the pooled rates: leaving out one sequence, or one block, at a time; the larger one.

    sqrt((G-1)/G sum_g (theta_g - mean theta)^2). None where the function has no value, NaN where nothing can be left out.
    """
    widths = steps.amax(1)
    longest = float(times.nan_to_num(0.0).max())
    blocks = [
        1,
        *(count for count in _BLOCKS if 1 < count <= len(widths) and count * TIMES_PER_BLOCK * longest <= widths.sum()),
    ]
    found = [_left_out(history, steps, widths, count, quantity) for count in {blocks[0], blocks[-1]}]
    if any(value is None for value in found):
        return None
    known = [value for value in found if value is not None and not math.isnan(value)]
    return max(known) if known else math.nan


def _left_out(
    history: Tensor, steps: Tensor, widths: Tensor, count: int, quantity: Callable[[Tensor], float | None]
) -> float | None:
    grown = blocked(history.nan_to_num(neginf=0.0), widths, count).flatten(0, 1)
    shares = blocked(steps, widths, count).flatten()
    lost = history.isneginf().any(0).any(0)
    grown, shares = grown[shares > 0], shares[shares > 0]
    if len(shares) < 2:
        return math.nan
    rates = (grown.sum(0) - grown) / (shares.sum() - shares).unsqueeze(-1)
    values = [quantity(rate.masked_fill(lost, -math.inf)) for rate in rates]
    if any(value is None for value in values):
        return None
    theta = torch.tensor(values, dtype=torch.float64)
    groups = len(theta)
    return float(((groups - 1) / groups * (theta - theta.mean()).square().sum()).sqrt())


@lru_cache
def student_quantile(level: float, degrees: int) -> float:
    """t with P(|T| < t) = level. With T = sqrt(d) tan a the density is cos^(d-1) a, so the integral is over a finite range."""
    angles = np.linspace(0, np.pi / 2, 200_001)
    density = np.cos(angles) ** (degrees - 1)
    mass = np.concatenate([[0.0], np.cumsum((density[1:] + density[:-1]) / 2)])
    return float(np.sqrt(degrees) * np.tan(np.interp(level, mass / mass[-1], angles)))


def half_widths(standard_errors: Tensor, degrees: Tensor, level: float) -> Tensor:
    """Of Student-t intervals; NaN without degrees of freedom."""
    quantiles = [student_quantile(level, int(number)) if number >= 1 else math.nan for number in degrees.tolist()]
    return standard_errors * torch.tensor(quantiles, dtype=standard_errors.dtype)


def checked_level(level: float) -> float:
    """A level of confidence."""
    if not 0 < level < 1:
        raise InvalidInput(f"Expected `level` between 0 and 1, got {level!r}. Pass 0.95 for a 95 % interval.")
    return level
