"""Static figures of memory and reach: axes in, axes out; part of `lyapunov.plots`."""

import math
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from lyapunov.analysis import InputReach, Memory
from lyapunov.estimate import DIMENSION, ENTROPY
from lyapunov.report.drawing import axes_or_new, whole_ticks

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def memory(result: Memory, ax: "Axes | None" = None, *, lines: int = 40) -> "Axes":
    """How far outputs from different starts are apart, step by step, until all agree.

    Each pair in grey (at most `lines`), the median of all in colour; dashed what the exponent predicts, from the median's
    first step; the tolerance, and the measured memory with its interval.
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
        ax.axvline(result.value, color="C2", label=f"memory {_short(result.value)} ({_short(low)} to {_short(high)})")
    ax.set_xlabel("steps from the start" if result.dt == 1 else "time from the start")
    ax.set_ylabel("difference of outputs / their standard deviation")
    ax.legend(frameon=False, fontsize="small")
    return ax


def input_reach(reach: InputReach, ax: "Axes | None" = None, *, exponent: float | None = None) -> "Axes":
    """ln |d output / d input| against the lag with a band of 95 %; `exponent`: a line of that slope; the lag of 1 % marked."""
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


def draw_theory(exponents: Tensor, ax: "Axes") -> None:
    """Known exponents dashed; the label has their entropy rate and dimension divided by the number of units."""
    size = len(exponents)
    entropy, dimension = (one.of_exponents(exponents, total=size) for one in (ENTROPY, DIMENSION))
    label = f"theory: entropy rate {(entropy or 0.0) / size:.3g}, dimension {(dimension or 0.0) / size:.3g} per unit"
    ax.plot(torch.arange(1, size + 1), exponents, color="black", linestyle="--", linewidth=1, label=label)
    ax.legend(frameon=False, fontsize="small")


def _short(value: float) -> str:
    return f"{value:.0f}" if 100 <= value < 1e6 else f"{value:.3g}"


def _ends(result: Memory) -> bool:
    return bool(result.steps.isfinite().all())
