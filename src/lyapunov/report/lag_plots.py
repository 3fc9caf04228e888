"""Static figures against lags (memory, reach, gradients): axes in, axes out; part of `lyapunov.plots`."""

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from lyapunov import _checks
from lyapunov._shown import three_digits
from lyapunov.analysis import GradientDecay, GradientExponents, InputReach, Memory
from lyapunov.estimate import DIMENSION, ENTROPY
from lyapunov.report.drawing import DASHES, axes_or_new, whole_ticks

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def memory(result: Memory, ax: "Axes | None" = None, *, lines: int = 40) -> "Axes":
    """How far apart outputs from different starts are, step by step, until all agree.

    Each pair is grey, the median of all in colour. The dashed line is what the exponent predicts, from the median's first step.
    The tolerance and the measured memory with its interval are marked.

    Args:
        result: what `lyapunov.memory` returned.
        ax: where to draw; None: axes of a new figure.
        lines: how many pairs are drawn at the most.

    Returns:
        The axes.

    Example:
        >>> leaky, inputs = lambda state, x: 0.5 * state + x, torch.randn(8, 60, 1)
        >>> axes = lyapunov.plots.memory(lyapunov.memory(leaky, inputs, state=torch.zeros(8, 1)))
    """
    ax = axes_or_new(ax)
    found = result.differences.transpose(0, 1).flatten(1)
    last = min(len(found), int(1.3 * float(result.steps[result.steps.isfinite()].max())) + 2) if _ends(result) else len(found)
    shown, middle = found[:last], found[:last].median(1).values
    times = torch.arange(1, last + 1) * result.dt
    visible = shown.masked_fill(shown <= 0, torch.nan)
    ax.plot(times, visible[:, :lines], color="0.8", linewidth=0.6)
    ax.plot(times, middle.masked_fill(middle <= 0, torch.nan), color="C0", label="median of all pairs")
    ax.set_yscale("log")
    bottom = min(float(visible.nan_to_num(nan=math.inf).min()), result.tolerance / 10)
    ax.set_ylim(bottom=max(bottom, result.tolerance / 100))
    if result.spectrum is not None and math.isfinite(result.spectrum.max):
        line = float(middle[0]) * torch.exp(result.spectrum.max * torch.arange(last).double())
        ax.plot(times, line, color="C1", linestyle="--", label=f"largest exponent {result.spectrum.max:.3g} per step")
    ax.axhline(result.tolerance, color="black", linewidth=0.8, linestyle=":", label=f"tolerance {result.tolerance:g}")
    if math.isfinite(result.value):
        low, high = (end if math.isfinite(end) else result.value for end in result.interval())
        ax.axvspan(low, high, color="C2", alpha=0.25, linewidth=0)
        ax.axvline(
            result.value, color="C2", label=f"memory {three_digits(result.value)} ({three_digits(low)} to {three_digits(high)})"
        )
    ax.set_xlabel("steps from the start" if result.dt == 1 else "time from the start")
    ax.set_ylabel("difference of outputs / their standard deviation")
    ax.legend(frameon=False, fontsize="small")
    return ax


def input_reach(reach: InputReach, ax: "Axes | None" = None, *, exponent: float | None = None) -> "Axes":
    """ln |d output / d input| against the lag, with a band of 95 %; the lag at which 1 % is left is marked.

    Args:
        reach: what `lyapunov.input_reach` returned.
        ax: where to draw; None: axes of a new figure.
        exponent: draws a line of that slope.

    Returns:
        The axes.

    Example:
        >>> reach = lyapunov.input_reach(torch.nn.GRU(2, 6, batch_first=True), torch.randn(3, 40, 2), lags=10)
        >>> axes = lyapunov.plots.input_reach(reach)
    """
    ax = axes_or_new(ax)
    mean, interval = reach.mean, reach.interval()
    finite = mean.isfinite()
    (line,) = ax.plot(reach.lags[finite], mean[finite], marker="o" if len(mean) <= 60 else "", markersize=3, label=reach.system)
    band = interval[finite].nan_to_num(nan=0.0)
    known = interval[finite].isfinite().all(-1)
    ax.fill_between(reach.lags[finite][known], band[known, 0], band[known, 1], color=line.get_color(), alpha=0.25, linewidth=0)
    if exponent is not None:
        start = float(mean[finite][-1]) - exponent * float(reach.lags[finite][-1])
        ax.plot(reach.lags, start + exponent * reach.lags, color="0.4", linestyle="--", label=f"exponent {exponent:.3g}")
    if bool(finite.any()):
        lag = reach.lag_at(0.01)
        ax.axhline(float(mean[finite].max()) + math.log(0.01), color="black", linewidth=0.8, linestyle=":")
        if math.isfinite(lag.value):
            ax.axvline(lag.value, color="C2", label=f"1 % at lag {lag.value:.0f}")
    ax.set_xlabel("lag (steps)")
    whole_ticks(ax.xaxis)
    ax.set_ylabel("ln |d output / d input|")
    ax.legend(frameon=False, fontsize="small")
    return ax


def gradient_decay(
    ax: "Axes | None" = None,
    *,
    measured: GradientDecay | None = None,
    predicted: GradientExponents | None = None,
    exponents: Mapping[str, float] | None = None,
) -> "Axes":
    """How gradients decay with the lag, relative to lag 0.

    Args:
        ax: where to draw; None: axes of a new figure.
        measured: real gradients, from `lyapunov.gradient_decay`.
        predicted: those seen from the readout, from `lyapunov.gradient_exponents`.
        exponents: slopes of straight lines, nats per step, by their label.

    Returns:
        The axes.

    Example:
        >>> rnn, batch = torch.nn.RNN(2, 8, batch_first=True), torch.randn(4, 60, 2)
        >>> decay = lyapunov.gradient_decay(rnn, lambda model, x: model(x)[0].square().sum(-1), batch, lags=20)
        >>> axes = lyapunov.plots.gradient_decay(measured=decay, exponents={"exponent": -0.7})
    """
    ax = axes_or_new(ax)
    _checks.require_nonempty(
        tuple(one for one in (measured, predicted) if one is not None), "gradients to draw", "measured=..."
    )
    longest = 0
    if measured is not None:
        mean, error = measured.mean - measured.mean[0], 2 * measured.standard_errors
        (line,) = ax.plot(measured.lags, mean, label="gradients of the loss, measured")
        ax.fill_between(measured.lags, mean - error, mean + error, color=line.get_color(), alpha=0.25, linewidth=0)
        longest = int(measured.lags[-1])
    if predicted is not None:
        lags = torch.tensor((0, *predicted.lags))
        decays = predicted.exponents[:, 0] * lags[1:]
        ax.plot(lags, torch.cat([torch.zeros(1), decays]), marker="o", markersize=3, label="seen from the readout")
        longest = max(longest, int(lags[-1]))
    for (name, exponent), dash in zip((exponents or {}).items(), DASHES[1:] * len(exponents or {}), strict=False):
        ax.plot([0, longest], [0, exponent * longest], color="0.4", linestyle=dash, label=f"{name}: {exponent:.3g}")
    ax.set_xlabel("lag (steps)")
    whole_ticks(ax.xaxis)
    ax.set_ylabel("ln of the gradient, relative to lag 0")
    ax.legend(frameon=False, fontsize="small")
    return ax


def draw_theory(exponents: Tensor, ax: "Axes") -> None:
    """Known exponents dashed; the label has their entropy rate and dimension divided by the number of units."""
    size = len(exponents)
    entropy, dimension = (one.of_exponents(exponents, total=size) for one in (ENTROPY, DIMENSION))
    label = f"theory: entropy rate {(entropy or 0.0) / size:.3g}, dimension {(dimension or 0.0) / size:.3g} per unit"
    ax.plot(torch.arange(1, size + 1), exponents, color="black", linestyle="--", linewidth=1, label=label)
    ax.legend(frameon=False, fontsize="small")


def _ends(result: Memory) -> bool:
    return bool(result.steps.isfinite().all())
