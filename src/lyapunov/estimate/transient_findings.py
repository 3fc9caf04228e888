"""Whether the state has settled and the frame has aligned, beside the errors of what was counted; and what would do."""

import math
from itertools import pairwise
from typing import NamedTuple

import torch
from torch import Tensor

from lyapunov.estimate.budget import still_lacked
from lyapunov.estimate.finding import Finding
from lyapunov.estimate.settings import Settings
from lyapunov.estimate.standard_errors import half_widths, standard_errors
from lyapunov.estimate.statistics import Estimates
from lyapunov.tangent import MERGED_RATIO, SETTLED_RATIO, SHORTEST, Growth

_LARGE_PART = 0.5
"""Of the sampling error, from which on another part of the error budget is a finding."""
_ENOUGH = 0.4
"""Of the sampling error, to which more steps are to bring another part."""
TRIVIAL = 1e-3
"""Of an exponent (and of 0.01 nats per step): what is left below that is no finding, however small the sampling error is."""
_TOLD_APART, _FALLS = 3.0, 0.1
"""Columns are told apart once what separates them has grown by e to this power; falls below the latter are none."""
_STAYS = 0.9
"""Copies of the state whose distance is still this fraction of what it was come no nearer."""
_MARGIN = 2.0
"""Times the steps that are expected to do, which are named."""
_UNEVEN = 0.5
"""Standard deviations by which the slowest sequence's growth falls behind."""
_LONGER = 5.0
"""The square of this is how many times as many steps are named at most."""
_TELL = 3
"""Sequences from which on their mean has an error."""


def unsettled(estimates: Estimates, settings: Settings, growth: Growth) -> Finding | None:
    """What the start of the state left, by copies of it from other starts."""
    distance = growth.distance
    if distance is None or distance <= SETTLED_RATIO:
        return _burn_in(estimates, settings)
    merged = 0 if growth.parted is None else int((growth.parted <= MERGED_RATIO).sum())
    if is_positive(estimates, settings):
        if not merged:
            return None
        return Finding(
            "too short",
            "the largest exponent is positive, but along such inputs copies of the state come together in the end "
            f"({merged} of {len(growth.steps[0])} sequences): a long transient, not chaos. Pass inputs many times as long, "
            "and a larger settle.",
        )
    after = settings.settle if "settle" in settings.chosen else settings.settle + settings.align
    message = (
        f"copies of the state from different starts were still {distance:.2g} times as far apart after {after} steps as at "
        "first;"
    )
    wanted = _together_after(distance, after, estimates, settings)
    if wanted is None:
        return Finding(
            "too short",
            f"{message} pass a larger settle and longer inputs, unless the system has cycles or several attractors.",
        )
    return Finding("too short", f"{message} {_steps_to_settle(wanted, settings)}")


def _together_after(distance: float, after: int, estimates: Estimates, settings: Settings) -> int | None:
    """Steps after which copies come together, by how far they came and by the largest exponent; None where neither tells."""
    rate, error = (float(part[0]) * settings.dt for part in (-estimates.exponents, estimates.standard_errors))
    approaching, found = after > 0 and distance <= _STAYS, []
    if approaching:
        found.append(after * math.log(SETTLED_RATIO) / math.log(distance))
    rate = rate if rate > 2 * error else max(rate, error) if approaching else math.nan
    if 0 < rate < math.inf:
        found.append(after + _steps_to_fall(math.log(distance / SETTLED_RATIO), rate, estimates, settings))
    wanted = math.ceil(_MARGIN * max(found)) if found else None
    made = settings.settle + settings.align + settings.count
    return None if wanted is None or wanted > _LONGER**2 * made else wanted


def _steps_to_fall(nats: float, rate: float, estimates: Estimates, settings: Settings) -> float:
    """Steps t with rate t - s sqrt(t) = nats: distances shrink unevenly, and the slowest sequence counts.

    s is _UNEVEN standard deviations of the growth within one step, as far as it adds up: the sampling error times the root of
    all steps counted.
    """
    steps = float(estimates.history_steps.sum())
    fluctuation = _UNEVEN * float(estimates.sampling_errors[0].nan_to_num(nan=0.0)) * settings.dt * math.sqrt(steps)
    return ((fluctuation + math.sqrt(fluctuation**2 + 4 * rate * nats)) / (2 * rate)) ** 2


def _steps_to_settle(wanted: int, settings: Settings) -> str:
    """Left open, `settle` takes a quarter of the inputs; given, it takes what it says."""
    counted = max(settings.count, wanted)
    return (
        f"about {wanted} to settle would do: inputs of {4 * wanted} steps, or settle={wanted} with inputs of "
        f"{wanted + settings.align + counted}."
    )


def is_positive(estimates: Estimates, settings: Settings) -> bool:
    """By its 95 % interval, and by more than one over the time counted: up to that, a cycle or a torus reads, too."""
    half = half_widths(estimates.standard_errors[:1], estimates.degrees[:1], 0.95).nan_to_num(nan=math.inf)
    return float(estimates.exponents[0]) > max(float(half), 1 / (settings.count * settings.dt))


def _burn_in(estimates: Estimates, settings: Settings) -> Finding | None:
    """Copies of the state have come together, but not closely enough for errors as small as these."""
    ratio = _largest_part(estimates.burn_in_errors, estimates)
    if ratio is None or ratio[1] <= _LARGE_PART or estimates.exponents[0] >= 0:
        return None
    more = math.ceil(math.log(ratio[1] / _ENOUGH) / -float(estimates.exponents[0] * settings.dt))
    wanted = settings.settle + more
    message = f"what the first state left in exponent {ratio[0] + 1} is {ratio[1]:.1f} of its sampling error;"
    return Finding("too short", f"{message} {_steps_to_settle(wanted, settings)}")


def misaligned(settings: Settings, growth: Growth) -> Finding | None:
    """Of the groups of columns that the alignment has told apart, the one whose growth the first frame may move most."""
    found = max(_groups_of_columns(growth), key=lambda group: group.ratio, default=None)
    if found is None or found.ratio <= _LARGE_PART:
        return None
    named = (
        f"exponent {found.first + 1}"
        if found.count == 1
        else f"the sum of exponents {found.first + 1} to {found.first + found.count}"
    )
    message = (
        f"the first frame may still move {named} by {found.left / settings.dt:.2g}, {found.ratio:.1f} of the sampling error,"
    )
    message = f"{message} after {settings.align} steps to align;"
    least, made = max(settings.align, SHORTEST), settings.settle + settings.align + settings.count
    if found.falls is None:  # more of them hardly help, more counted steps do
        wanted = 2 * least
        required = settings.settle + wanted + math.ceil(settings.count * min(found.ratio / _ENOUGH, _LONGER) ** 2)
    else:
        wanted = math.ceil(_MARGIN * least * (1 + math.log(found.ratio / _ENOUGH) / found.falls))
        required = settings.settle + 4 * wanted
    longer = f" with inputs of {required} steps" if made < required else ""
    return Finding("too short", f"{message} about {wanted} would do: pass align={wanted}{longer}.")


class _Group(NamedTuple):
    """Neighbouring columns: what the first frame may have left in their sum, per step, over the sampling error of that sum.

    `falls`: ln of the factor by which it falls over as many steps as were spent on alignment; None where it hardly does.
    """

    first: int
    count: int
    left: float
    ratio: float
    falls: float | None


def _groups_of_columns(growth: Growth) -> list[_Group]:
    """Columns change places with their neighbours until the alignment has told them apart; sums over them do not show that."""
    if growth.lacked is None:
        return []
    found, steps = [], growth.steps.sum(0)
    rates = growth.log_growth.sum((0, 1)) / steps.sum()
    for block in range(int(growth.block.max()) + 1):
        mine = torch.nonzero((growth.block == block) & ~growth.lacked[1].isnan().any(0) & rates.isfinite()).flatten()
        if len(mine):
            told_apart = (growth.align * -rates[mine].diff() >= _TOLD_APART) | (growth.align < SHORTEST)
            ends = [int(at) + 1 for at in torch.nonzero(told_apart).flatten()]
            found += [_group(growth, mine[start:end], start) for start, end in pairwise([0, *ends, len(mine)])]
    return found


def _group(growth: Growth, columns: Tensor, first: int) -> _Group:
    """What is beyond its own error, where there are sequences to tell it."""
    assert growth.lacked is not None
    parts = before, after = [part[:, columns].sum(1) for part in growth.lacked]
    mean, noise = (float(part) for part in still_lacked(before, after, growth.align))
    left = (mean - noise if len(parts[1]) >= _TELL else mean) / float(growth.steps.sum(0).mean())
    summed = growth.log_growth[..., columns].sum(-1, keepdim=True)
    error = float(standard_errors(summed, growth.steps).standard_errors[0])
    least = TRIVIAL * (0.01 + float((summed.sum() / growth.steps.sum()).abs()))
    sizes = [float(part.square().mean().sqrt()) for part in parts]
    fall = math.log(sizes[0] / sizes[1]) if sizes[0] > 0 and sizes[1] > 0 else None
    ratio = left / max(error, least) if left > least else 0.0
    return _Group(first, len(columns), left, ratio if math.isfinite(ratio) else 0.0, fall if fall and fall > _FALLS else None)


def _largest_part(part: Tensor, estimates: Estimates) -> tuple[int, float] | None:
    """The reliable exponent of which a part of the error is largest beside sampling, and how large."""
    least = TRIVIAL * (0.01 + estimates.exponents.abs().nan_to_num(posinf=0.0))
    sampling = torch.fmax(estimates.sampling_errors, least)
    ratios = (part / sampling).nan_to_num(nan=0.0).masked_fill(~estimates.reliable | estimates.exponents.isneginf(), 0.0)
    at = int(ratios.argmax())
    return at, float(ratios[at])
