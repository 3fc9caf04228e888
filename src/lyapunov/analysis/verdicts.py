"""What can be said against a result along a trajectory, in the kinds of words that a spectrum's verdict has."""

import math

import torch
from torch import Tensor

from lyapunov.estimate import ENOUGH_BLOCKS, TIMES_PER_BLOCK, Finding, standard_errors
from lyapunov.tangent import NOT_CONVERGING_RATIO, SETTLED_RATIO, tolerated_difference

_SAME = 1e-9
"""Relative differences that are rounding."""


def unsettled(settle: int, distance: float | None, largest: float) -> list[Finding]:
    """Of the state. `distance`: how far copies from different starts still are; None: it did not settle at all.

    Copies of a chaotic state (`largest` above zero) stay apart whatever it does.
    """
    if distance is None:
        message = "from the initial state, nothing discarded. Pass settle=... unless the state that was passed has settled."
        return [Finding("finite-time", message)]
    if distance <= SETTLED_RATIO or largest > 0:
        return []
    if not distance <= NOT_CONVERGING_RATIO:
        remedy = "Pass a larger settle, with longer inputs."
    else:
        remedy = f"About {math.ceil(settle * math.log(SETTLED_RATIO) / math.log(distance))} would do: pass that as settle."
    message = f"copies of the state from different starts were still {distance:.1%} apart after {settle} steps. {remedy}"
    return [Finding("too short", message)]


def misaligned(one: Tensor, other: Tensor) -> list[Finding]:
    """Of a frame: growth (batch, steps, k) of two that started differently, over the steps in which they align.

    Their rates over the later half are compared, root mean square over columns, as for a spectrum.
    """
    steps = one.shape[1]
    if not steps:
        return [Finding("too short", "no step was left to align the frame. Pass longer inputs, or a larger align.")]
    rates = [grown[:, steps // 2 :].mean((0, 1)) for grown in (one, other)]
    known = torch.isfinite(rates[0]) & torch.isfinite(rates[1])
    if not bool(known.any()):
        return []
    left, size = (float(part[known].square().mean().sqrt()) for part in (rates[0] - rates[1], rates[0]))
    tolerated = tolerated_difference(size)
    if left <= tolerated:
        return []
    message = f"two random frames still differed by {left:.2g} nats per step (root mean square) after {steps} steps."
    return [Finding("too short", f"{message} About {math.ceil(steps * left / tolerated)} would do: pass that as align.")]


def too_few(history: Tensor, steps: Tensor) -> list[Finding]:
    """Of growth (bins, batch, k) and the steps behind it (bins, batch): too little of it for an error of the first column."""
    rates = (history[..., 0] / steps)[steps > 0]
    if not bool(torch.isfinite(rates).all()) or float((rates - rates.mean()).abs().max()) <= _SAME * float(rates.abs().mean()):
        return []
    found = standard_errors(history[..., :1], steps)
    independent = float(steps.sum() / (TIMES_PER_BLOCK * found.correlation_times[0]))
    if independent >= ENOUGH_BLOCKS and not bool(found.standard_errors[0].isnan()):
        return []
    wanted = math.ceil(ENOUGH_BLOCKS * TIMES_PER_BLOCK * float(found.correlation_times[0]) / steps.shape[1])
    counted = int(steps.sum(0).max())
    message = f"{counted} counted steps are too few for an error: growth stays correlated over so many that about"
    return [Finding("too short", f"{message} {max(wanted, counted + 1)} in each sequence, or more sequences, are needed.")]
