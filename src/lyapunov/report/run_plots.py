"""Static figures of runs: one or several, by training step or beside each other."""

import math
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import TYPE_CHECKING, Literal

import torch

from lyapunov.estimate import Spectrum, exponent_unit
from lyapunov.report import series
from lyapunov.report.drawing import DASHES, axes_or_new, hollow, unsure, whole_ticks
from lyapunov.report.series import Association, Band
from lyapunov.training import Run

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def largest_exponents(runs: Sequence[Run], ax: "Axes | None" = None) -> "Axes":
    """The largest exponent of each run by training step, with a band of 95 %.

    Args:
        runs: one or several runs.
        ax: where to draw; None: axes of a new figure.

    Returns:
        The axes.

    Example:
        >>> monitor = lyapunov.Monitor(torch.nn.RNN(2, 6, batch_first=True), torch.randn(4, 80, 2), k=2, directory="run")
        >>> readings = [monitor.read(step, whole=True, train=1.0 / (1 + step)) for step in (0, 10)]
        >>> run = lyapunov.Run.load("run")
        >>> axes = lyapunov.plots.largest_exponents([run])
    """
    ax = axes_or_new(ax)
    return _bands([(run.name, series.largest(run)) for run in runs], ax, f"largest exponent ({runs[0].unit})", zero=True)


def mean_exponents(runs: Sequence[Run], ax: "Axes | None" = None) -> "Axes":
    """The mean of all exponents of each run by training step, with a band of two standard errors.

    Args:
        runs: one or several runs.
        ax: where to draw; None: axes of a new figure.

    Returns:
        The axes.

    Example:
        >>> monitor = lyapunov.Monitor(torch.nn.RNN(2, 6, batch_first=True), torch.randn(4, 80, 2), k=2, directory="run")
        >>> readings = [monitor.read(step, whole=True, train=1.0 / (1 + step)) for step in (0, 10)]
        >>> run = lyapunov.Run.load("run")
        >>> axes = lyapunov.plots.mean_exponents([run])
    """
    ax = axes_or_new(ax)
    return _bands([(run.name, series.mean(run)) for run in runs], ax, f"mean exponent ({runs[0].unit})")


def layers(run: Run, ax: "Axes | None" = None, spectra: Mapping[int, Spectrum] | None = None) -> "Axes":
    """The largest exponent of each layer by training step, with a band of 95 %; nothing for a run of one layer.

    Args:
        run: a run.
        ax: where to draw; None: axes of a new figure.
        spectra: its whole spectra by step; None: those that the run keeps.

    Returns:
        The axes.

    Example:
        >>> monitor = lyapunov.Monitor(torch.nn.RNN(2, 6, batch_first=True), torch.randn(4, 80, 2), k=2, directory="run")
        >>> readings = [monitor.read(step, whole=True, train=1.0 / (1 + step)) for step in (0, 10)]
        >>> run = lyapunov.Run.load("run")
        >>> axes = lyapunov.plots.layers(run)
    """
    ax = axes_or_new(ax)
    found = series.layers(run.spectra() if spectra is None else spectra)
    named = [(f"layer {layer}", band) for layer, band in found.items()]
    return _bands(named, ax, f"largest exponent of the layer ({run.unit})", zero=True)


def losses(runs: Sequence[Run], ax: "Axes | None" = None) -> "Axes":
    """Every loss of each run by training step: a colour per run, a dash per loss.

    Args:
        runs: one or several runs.
        ax: where to draw; None: axes of a new figure.

    Returns:
        The axes.

    Example:
        >>> monitor = lyapunov.Monitor(torch.nn.RNN(2, 6, batch_first=True), torch.randn(4, 80, 2), k=2, directory="run")
        >>> readings = [monitor.read(step, whole=True, train=1.0 / (1 + step)) for step in (0, 10)]
        >>> run = lyapunov.Run.load("run")
        >>> axes = lyapunov.plots.losses([run])
    """
    ax = axes_or_new(ax)
    names = list(dict.fromkeys(name for run in runs for name in series.losses(run)))
    for at, run in enumerate(runs):
        for name, (steps, values) in series.losses(run).items():
            label = name if len(runs) == 1 else f"{run.name}: {name}"
            ax.plot(steps, values, color=f"C{at}", linestyle=DASHES[names.index(name) % len(DASHES)], label=label)
    ax.set_xlabel("training step")
    whole_ticks(ax.xaxis)
    ax.set_ylabel("loss")
    if names:
        ax.legend(frameon=False, fontsize="small")
    return ax


def spectrum_map(
    by_step: Mapping[int, Spectrum | Sequence[float]],
    ax: "Axes | None" = None,
    *,
    unit: str = exponent_unit(),
    converged: Mapping[int, bool | None] | None = None,
) -> "Axes":
    """Exponents (colour) by training step and index; a hollow circle above the steps that are not converged.

    Args:
        by_step: a spectrum, or its exponents, for each step.
        ax: where to draw; None: axes of a new figure.
        unit: of the exponents.
        converged: whether each step is; spectra say it themselves.

    Returns:
        The axes.

    Example:
        >>> axes = lyapunov.plots.spectrum_map({0: (-0.2, -0.5), 10: (-0.1, -0.4)})
    """
    ax = axes_or_new(ax)
    steps = sorted(by_step)
    values = torch.tensor([list(by_step[step]) for step in steps], dtype=torch.float64).mT
    edges = [steps[0], *((one + two) / 2 for one, two in pairwise(steps)), steps[-1] + (len(steps) == 1)]
    index = [at + 0.5 for at in range(len(values) + 1)]
    mesh = ax.pcolormesh(edges, index, values.masked_fill(~torch.isfinite(values), torch.nan), cmap="viridis")
    ax.invert_yaxis()
    ax.set_xlabel("training step")
    whole_ticks(ax.xaxis)
    ax.set_ylabel("index of the exponent")
    whole_ticks(ax.yaxis)
    ax.figure.colorbar(mesh, ax=ax, label=unit)
    sure = {step: one.verdict.converged for step, one in by_step.items() if isinstance(one, Spectrum)} | dict(converged or {})
    wrong = [step for step in steps if sure.get(step) is False]
    (marks,) = ax.plot(wrong, [index[0]] * len(wrong), linestyle="", marker="o", markersize=4, clip_on=False, zorder=3)
    marks.set(markerfacecolor="white", markeredgecolor="0.3")
    return ax


def spectra_by_step(
    by_step: Mapping[int, Spectrum | Sequence[float]], ax: "Axes | None" = None, *, unit: str = exponent_unit(), lines: int = 8
) -> "Axes":
    """Exponents against their index at some training steps, from light (early) to dark (late).

    Args:
        by_step: a spectrum, or its exponents, for each step.
        ax: where to draw; None: axes of a new figure.
        unit: of the exponents.
        lines: how many steps, spread over all.

    Returns:
        The axes.

    Example:
        >>> axes = lyapunov.plots.spectra_by_step({0: (-0.2, -0.5), 10: (-0.1, -0.4)})
    """
    from matplotlib import colormaps

    ax = axes_or_new(ax)
    steps = sorted(by_step)
    count = min(lines, len(steps))
    chosen = [steps[round(at * (len(steps) - 1) / max(count - 1, 1))] for at in range(count)]
    shades = colormaps["viridis_r"](torch.linspace(0.1, 1.0, count).tolist())
    for step, shade in zip(chosen, shades, strict=True):
        found = by_step[step]
        values = [value if math.isfinite(value) else math.nan for value in found]
        sure = found.verdict.converged if isinstance(found, Spectrum) else None
        ax.plot(range(1, len(values) + 1), values, color=shade, label=f"step {step}{unsure(sure)}")
    ax.axhline(0.0, color="black", linewidth=0.6)
    ax.set_xlabel("index")
    whole_ticks(ax.xaxis)
    ax.set_ylabel(f"Lyapunov exponent ({unit})")
    ax.legend(frameon=False, fontsize="small")
    return ax


def distances(runs: Sequence[Run], ax: "Axes | None" = None, *, measure: Literal["reduced", "mean"] = "reduced") -> "Axes":
    """How far the leading exponents at each step are from the last ones.

    Args:
        runs: one or several runs.
        ax: where to draw; None: axes of a new figure.
        measure: "reduced": mean squared difference over that of the first reading; "mean": mean difference in nats per step.

    Returns:
        The axes.

    Example:
        >>> monitor = lyapunov.Monitor(torch.nn.RNN(2, 6, batch_first=True), torch.randn(4, 80, 2), k=2, directory="run")
        >>> readings = [monitor.read(step, whole=True, train=1.0 / (1 + step)) for step in (0, 10)]
        >>> run = lyapunov.Run.load("run")
        >>> axes = lyapunov.plots.distances([run])
    """
    ax = axes_or_new(ax)
    for at, run in enumerate(runs):
        found = series.distances(series.leading(run))
        if found is not None:
            values = found.reduced if measure == "reduced" else found.mean_difference
            ax.plot(found.steps, values, color=f"C{at}", marker="o", markersize=3, label=run.name)
            sure = series.converged(run)
            hollow(ax, found.steps, values, [sure[step] for step in found.steps], color=f"C{at}")
    ax.set_xlabel("training step")
    whole_ticks(ax.xaxis)
    if measure == "reduced":
        ax.set_ylabel("squared distance to the final spectrum,\nrelative to the first")
        ax.set_ylim(bottom=0.0)
    else:
        ax.set_ylabel(f"mean difference to the final spectrum\n({runs[0].unit})")
        ax.axhline(0.0, color="black", linewidth=0.6)
    if len(ax.get_legend_handles_labels()[0]) > 1:
        ax.legend(frameon=False, fontsize="small")
    return ax


def association(found: Association, ax: "Axes | None" = None, *, label: str) -> "Axes":
    """A number of each run against its least loss; the title has Spearman's correlation and its interval.

    Args:
        found: the numbers and losses, as the report takes them from runs.
        ax: where to draw; None: axes of a new figure.
        label: what the number is.

    Returns:
        The axes.

    Example:
        >>> lyapunov.plots.association  # doctest: +ELLIPSIS
        <function association at ...>
    """
    ax = axes_or_new(ax)
    ax.scatter(found.values, found.losses, s=18)
    hollow(ax, found.values, found.losses, found.converged, color="C0", size=4.5)
    ax.set_xlabel(label)
    ax.set_ylabel(f"least {found.loss} loss")
    ax.set_title(found.in_words())
    return ax


def _bands(named: Sequence[tuple[str, Band]], ax: "Axes", label: str, *, zero: bool = False) -> "Axes":
    for at, (name, band) in enumerate(named):
        ax.plot(band.steps, band.values, color=f"C{at}", marker="o", markersize=3, label=name)
        hollow(ax, band.steps, band.values, band.converged, color=f"C{at}")
        ax.fill_between(band.steps, band.low, band.high, color=f"C{at}", alpha=0.2, linewidth=0)
    if zero:
        ax.axhline(0.0, color="black", linewidth=0.6)
    ax.set_xlabel("training step")
    whole_ticks(ax.xaxis)
    ax.set_ylabel(label)
    if len(named) > 1:
        ax.legend(frameon=False, fontsize="small")
    return ax
