"""What can be said of a result as a whole: converged, or why not and what would help."""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from lyapunov._shown import Shown
from lyapunov.estimate.finding import Finding, Kind
from lyapunov.estimate.settings import SEVERAL, Settings
from lyapunov.estimate.standard_errors import TIMES_PER_BLOCK, standard_errors, student_quantile
from lyapunov.estimate.statistics import CERTIFIED, Estimates
from lyapunov.estimate.transient_findings import TRIVIAL, misaligned, unsettled
from lyapunov.systems import Label
from lyapunov.tangent import Growth

ENOUGH_BLOCKS = 6
"""Independent blocks, over all sequences, below which a standard error is a guess."""
_SAME = 1e-9
"""Relative differences that are rounding: numbers that close are one."""
_UNRESOLVED = 0.6
"""A correlation time of less than so many intervals is that of the intervals: it cannot be read shorter than half of one."""
_DRIFT, _DRIFT_ALONE, _LEVEL, _NAMED = 0.1, 0.5, 0.01, 5
_TREND_LEVEL, _TREND_ALONE = 0.001, 6.0
"""Of a test for a trend in growth; and, with two sequences or one, how many errors of blocks it takes."""
_DOMINANT = 0.5
"""Fraction of all steps from which on one sequence decides the result."""
_TOO_FEW = 1.3
"""Sequences of equal length that tell as much, below which one of them decides."""
_GROWN, _GROWN_ALONE = 1.3, 2.0
"""Factors by which a state must grow over the counted steps to be called unbounded; the latter for few sequences."""
_GROUPED = 5.0
"""Times the errors of the sequences on both sides, and the spread on each, by which groups of sequences are apart."""


@dataclass(frozen=True, repr=False)
class Verdict(Shown):
    """Whether a result has converged, and if not, why and what would help. It prints as a sentence.

    Attributes:
        findings: what speaks against the result; none: converged.

    Example:
        >>> spectrum = lyapunov.spectrum(torch.nn.RNN(2, 6, batch_first=True), torch.randn(4, 200, 2), k=1)
        >>> spectrum.verdict.converged
        True
    """

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
    if settings.from_initial_state:
        message = f"from the initial state over {settings.count} steps, nothing discarded; another length gives other numbers."
        findings.append(Finding("finite-time", message))
    else:
        moving = (_unbounded(growth), _drift(growth, labels))
        findings += [unsettled(estimates, settings, growth), misaligned(settings, growth), *moving]
        findings += [] if any(moving) else [_trend(estimates)]
    findings += [_groups(estimates), _unequal(estimates), _too_short(estimates, settings), unreliable_tail(estimates, settings)]
    return Verdict(tuple(finding for finding in findings if finding is not None))


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


def _too_short(estimates: Estimates, settings: Settings) -> Finding | None:
    """Too few independent stretches of growth for an error of the largest exponent."""
    time = float(estimates.correlation_times[0])
    if math.isnan(time) or _is_constant(estimates):
        return None
    sequences = max(1.0, len(estimates.per_sequence) * estimates.independent)
    if sequences >= SEVERAL and time <= _UNRESOLVED * settings.qr_every:
        return None  # shorter than growth is resolved to: the sequences tell the error
    independent = sequences * settings.count / (TIMES_PER_BLOCK * time)
    fits = not bool(estimates.standard_errors[0].isnan()) and (estimates.independent == 1 or float(estimates.degrees[0]) >= 1)
    if independent >= ENOUGH_BLOCKS and fits:
        return None
    wanted = math.ceil(ENOUGH_BLOCKS * TIMES_PER_BLOCK * time / sequences)
    counted = f"{settings.count} counted steps are too few for an error"
    message = f"growth stays correlated over {max(1, math.ceil(time))} steps or so, and {counted};"
    return Finding("too short", f"{message} about {max(wanted, settings.count + 1)} in each sequence, or more sequences.")


def _is_constant(estimates: Estimates) -> bool:
    """The largest direction grows by the same at every step of every sequence: there is nothing to average."""
    rates = (estimates.history[..., 0] / estimates.history_steps)[estimates.history_steps > 0]
    return float((rates - rates.mean()).abs().max()) <= _SAME * float(rates.abs().mean())


def _unequal(estimates: Estimates) -> Finding | None:
    """One sequence decides, and what it differs by from others cannot be told, though they may seem to agree."""
    steps = estimates.history_steps.sum(0)
    held, effective = float(steps.max() / steps.sum()), float(steps.square().sum() ** 2 / steps.pow(4).sum())
    tells = effective >= _TOO_FEW and float(estimates.degrees[0]) >= 1
    if len(steps) == 1 or held <= _DOMINANT or tells:
        return None
    message = f"the longest sequence holds {held:.0%} of all steps: the others cannot show how much sequences differ."
    return Finding("too short", f"{message} Pass sequences of similar length, or cut the longest one into several.")


def _groups(estimates: Estimates) -> Finding | None:
    """Sequences whose largest exponents fall into two groups, far apart beside their own errors."""
    batch = len(estimates.per_sequence)
    if batch < 3:
        return None
    rates = estimates.per_sequence[:, 0].sort().values
    gaps = rates.diff()
    at = int(gaps.argmax())
    low, high = slice(0, at + 1), slice(at + 1, batch)
    width = max(float(rates[at] - rates[0]), float(rates[-1] - rates[at + 1]), _SAME * float(rates.abs().max()))
    if not float(gaps[at]) > _GROUPED * width:
        return None
    own = float(_own_errors(estimates).square().mean().sqrt())
    if not math.isfinite(own) or float(gaps[at]) <= _GROUPED * own:
        return None
    message = f"sequences fall into two groups: {at + 1} near {float(rates[low].mean()):.3g}, {batch - at - 1} near"
    message = (
        f"{message} {float(rates[high].mean()):.3g} (largest exponent of each): several attractors, or inputs of two kinds."
    )
    return Finding("groups", f"{message} Analyse them separately: the average holds for this mixture only.")


def _own_errors(estimates: Estimates) -> Tensor:
    """(batch,): standard errors of each sequence's largest exponent, from blocks within it."""
    history, steps = estimates.history[..., :1], estimates.history_steps
    from_blocks = [standard_errors(history[:, [at]], steps[:, [at]]).standard_errors[0] for at in range(steps.shape[1])]
    return torch.stack(from_blocks)


def _trend(estimates: Estimates) -> Finding | None:
    """Growth in the first quarter of the counted steps beside that in the last half, sequence by sequence."""
    steps, finite = estimates.history_steps, estimates.exponents.isfinite()
    ends = steps.amax(1).cumsum(0) / steps.amax(1).sum()
    first, last = ends <= 0.25, ends > 0.5
    whole = (steps[first].sum(0) > 0) & (steps[last].sum(0) > 0)
    if not bool(whole.any()) or not bool(finite.any()):
        return None
    history, steps = estimates.history[:, whole][..., finite], steps[:, whole]
    early, late = (history[part].sum(0) / steps[part].sum(0).unsqueeze(-1) for part in (first, last))
    change, errors_of_all = late - early, estimates.standard_errors[finite]
    threshold, error = _threshold(change, errors_of_all * (steps.sum() / steps[first].sum()) ** 0.5)
    size, mean = change.mean(0).abs() / error.clamp(min=1e-300), change.mean(0)
    large = (size > threshold) & (
        mean.abs() > torch.fmax(2 * errors_of_all, TRIVIAL * (0.01 + estimates.exponents[finite].abs()))
    )
    if not bool(large.any()):
        return None
    at = int(torch.where(large, size, 0.0).argmax())
    message = f"growth itself changes: exponent {at + 1} is {float(mean[at]):+.2g} higher in the last half of the counted steps"
    return Finding("drifting", f"{message} than in their first quarter. Pass longer inputs, and a larger settle.")


def _threshold(change: Tensor, from_blocks: Tensor) -> tuple[float, Tensor]:
    """How many errors a change must have, and its error (columns,): from sequences; from blocks where there are few."""
    batch, columns = change.shape
    if batch < 3:
        return _TREND_ALONE, 1.5 * from_blocks
    return student_quantile(1 - _TREND_LEVEL / columns, batch - 1), change.std(0) / batch**0.5


def _unbounded(growth: Growth) -> Finding | None:
    """The logarithm of the state's length rises from part to part of the counted steps."""
    sizes = growth.sizes
    if sizes is None:
        return None
    change, batch = sizes[-1] - sizes[0], sizes.shape[1]
    mean = float(change.mean())
    rising = bool((sizes.mean(1).diff() > 0).all())
    if not rising or mean <= math.log(_GROWN if batch >= 3 else _GROWN_ALONE):
        return None
    if batch >= 3 and mean <= student_quantile(1 - _LEVEL, batch - 1) * float(change.std()) / batch**0.5:
        return None
    message = (
        f"the state grows without bound: by a factor of {math.exp(min(mean, 700.0)):.3g} from the first eighth of the counted"
    )
    return Finding("unbounded", f"{message} steps to the last. There is no attractor, and no dimension or entropy rate of one.")


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
