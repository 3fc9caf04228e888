"""What can be said of a result as a whole: converged, or why not and what would help."""

import math
from dataclasses import dataclass
from typing import Literal, NamedTuple

import torch
from torch import Tensor

from lyapunov.estimate.errors import INDEPENDENT, student_quantile
from lyapunov.estimate.settings import SEVERAL, Settings
from lyapunov.estimate.statistics import CERTIFIED, Estimates
from lyapunov.systems import Label
from lyapunov.tangent import FOR_GOOD, TOGETHER, Growth

Kind = Literal["too short", "drifting", "unreliable tail", "finite-time"]
ENOUGH_BLOCKS = 6
"""Independent blocks, over all sequences, below which a standard error is a guess."""
_SAME = 1e-9
"""Relative differences that are rounding: numbers that close are one."""
_UNRESOLVED = 0.6
"""A correlation time of less than so many intervals is that of the intervals: it cannot be read shorter than half of one."""
_DRIFT, _DRIFT_ALONE, _LEVEL, _NAMED = 0.1, 0.5, 0.01, 5


class Finding(NamedTuple):
    """Something that keeps a result from being converged, in one kind of word and in one sentence."""

    kind: Kind
    message: str


@dataclass(frozen=True)
class Verdict:
    """What was found; nothing: converged."""

    findings: tuple[Finding, ...] = ()

    @property
    def converged(self) -> bool:
        """Nothing speaks against it."""
        return not self.findings

    @property
    def kinds(self) -> tuple[Kind, ...]:
        """The kinds of findings, each once."""
        return tuple(dict.fromkeys(finding.kind for finding in self.findings))

    def __str__(self) -> str:
        if self.converged:
            return "converged"
        return " ".join(f"{kind}: " + " ".join(f.message for f in self.findings if f.kind == kind) for kind in self.kinds)


def judge(estimates: Estimates, settings: Settings, growth: Growth, labels: tuple[Label, ...]) -> Verdict:
    """Findings in the order of what to look at first."""
    findings: list[Finding | None] = []
    if settings.from_reset:
        message = f"from the initial state over {settings.count} steps, nothing discarded; another length gives other numbers."
        findings.append(Finding("finite-time", message))
    else:
        findings += [*transients(estimates, settings, growth), _drift(growth, labels)]
    findings += [_errors(estimates, settings), unreliable_tail(estimates, settings)]
    return Verdict(tuple(finding for finding in findings if finding is not None))


def transients(estimates: Estimates, settings: Settings, growth: Growth) -> tuple[Finding, ...]:
    """What settling and aligning left, where a run looked at it."""
    found = (_state(estimates, settings, growth), _frame(settings, growth))
    return tuple(finding for finding in found if finding is not None)


def unreliable_tail(estimates: Estimates, settings: Settings) -> Finding | None:
    """The first exponent that cannot be trusted, and what would help."""
    wrong = torch.nonzero(~estimates.reliable).flatten().tolist()
    if not wrong:
        return None
    first, count = wrong[0] + 1, len(wrong)
    residual = estimates.volume_residual
    if residual is not None and first == 1 and residual * settings.dt > CERTIFIED:
        message = (
            f"{count} from number 1 on do not add up to the mean ln |det J| (by {residual:.2g}): push or log_volume is wrong,"
        )
        return Finding("unreliable tail", f"{message} or the arithmetic lost more than it shows. Compare with qr_every=1.")
    remedies = []
    if settings.qr_every > 1:
        remedies.append("a smaller qr_every (None finds one)" if "qr_every" not in settings.chosen else "")
    if settings.dtype != "float64":
        remedies.append("dtype=torch.float64")
    if first > 1:
        remedies.append(f"k={first - 1} to leave them out")
    remedies = [remedy for remedy in remedies if remedy]
    advice = f" What would help: {', or '.join(remedies)}." if remedies else " Nothing helps but a higher precision."
    return Finding("unreliable tail", f"{count} below the precision floor, from number {first} on.{advice}")


def _state(estimates: Estimates, settings: Settings, growth: Growth) -> Finding | None:
    apart = growth.apart
    if apart is None or apart <= TOGETHER or float(estimates.exponents[0]) > 0:
        return None
    if apart > FOR_GOOD or settings.settle == 0:
        message = f"copies of the state from different starts were after {settings.settle} steps {apart:.0%} as far apart as"
        remedy = "Pass a larger settle, with longer inputs, also where that is their nature (cycles, several attractors)."
        return Finding("too short", f"{message} at first. {remedy}")
    wanted = math.ceil(settings.settle * math.log(TOGETHER) / math.log(apart))
    message = f"copies of the state from different starts were still {apart:.1%} apart after {settings.settle} steps;"
    return Finding("too short", f"{message} about {wanted} would do: inputs of {4 * wanted} steps, or settle={wanted}.")


def _frame(settings: Settings, growth: Growth) -> Finding | None:
    left = growth.disagreement
    if left is None or left <= growth.tolerated:
        return None
    if not math.isfinite(left):
        return Finding("too short", "no step was left to align the frame. Pass longer inputs, or align=0 if that is meant.")
    wanted = math.ceil(max(settings.align, 1) * left / growth.tolerated)
    message = f"two random frames still differed by {left:.2g} nats per step (root mean square) after {settings.align} steps;"
    made = settings.settle + settings.align + settings.count
    longer = f", with inputs of {4 * wanted} steps or so" if made < 4 * wanted else ""
    return Finding("too short", f"{message} about {wanted} would do: pass align={wanted}{longer}.")


def _errors(estimates: Estimates, settings: Settings) -> Finding | None:
    """Too few independent stretches of growth for an error of the largest exponent."""
    time = float(estimates.correlation_times[0])
    if math.isnan(time) or _is_constant(estimates):
        return None
    # Sequences that do the same to the last digits (no inputs matter, one first frame for all) are one.
    first = estimates.per_sequence[:, 0]
    copies = len(first) > 1 and float(first.std()) <= _SAME * float(first.abs().mean())
    sequences = 1 if copies else len(first)
    if sequences >= SEVERAL and time <= _UNRESOLVED * settings.qr_every:
        return None  # shorter than growth is resolved to: the sequences tell the error
    independent = sequences * settings.count / (INDEPENDENT * time)
    fits = len(estimates.per_sequence) > 1 or not bool(estimates.standard_errors[0].isnan())
    if independent >= ENOUGH_BLOCKS and fits:
        return None
    wanted = math.ceil(ENOUGH_BLOCKS * INDEPENDENT * time / sequences)
    counted = f"{settings.count} counted steps are too few for an error"
    message = f"growth stays correlated over {max(1, math.ceil(time))} steps or so, and {counted};"
    return Finding("too short", f"{message} about {max(wanted, settings.count + 1)} in each sequence, or more sequences.")


def _is_constant(estimates: Estimates) -> bool:
    """The largest direction grows by the same at every step of every sequence: there is nothing to average."""
    rates = (estimates.history[..., 0] / estimates.history_steps)[estimates.history_steps > 0]
    return float((rates - rates.mean()).abs().max()) <= _SAME * float(rates.abs().mean())


def _drift(growth: Growth, labels: tuple[Label, ...]) -> Finding | None:
    means = growth.drift
    if means is None:
        return None
    pooled = means.mean(1)
    steady = (pooled.diff(dim=0) > 0).all(0) | (pooled.diff(dim=0) < 0).all(0)
    size, change = pooled.mean(0), (means[-1] - means[0])
    relative = change.mean(0).abs() / size.clamp(min=1e-12)
    drifting = steady & (relative > _DRIFT) & _significant(change, relative) & (size > 0.01 * size.max())
    units = torch.nonzero(drifting).flatten()
    if not len(units):
        return None
    order = units[(change.mean(0).abs())[units].argsort(descending=True)]
    named = ", ".join(_name(labels[at]) for at in order[:_NAMED].tolist())
    more = f" and {len(order) - _NAMED} more" if len(order) > _NAMED else ""
    top = int(order[0])
    sizes = f"{float(pooled[0, top]):.3g} at first, {float(pooled[-1, top]):.3g} in the end"
    message = f"the state does not stay where it is: {named}{more} (the first one's mean size: {sizes})."
    return Finding("drifting", f"{message} These are averages over a state that moves, not exponents of one that stays.")


def _significant(change: Tensor, relative: Tensor) -> Tensor:
    """In sequences that agree on it, by Student's t over all units; few sequences must show more."""
    batch, units = change.shape
    if batch < 3:
        return relative > _DRIFT_ALONE
    error = change.std(0) / batch**0.5
    return change.mean(0).abs() > student_quantile(1 - _LEVEL / units, batch - 1) * error


def _name(label: Label) -> str:
    return f"{label.part}[{label.unit}] of layer {label.layer}"
