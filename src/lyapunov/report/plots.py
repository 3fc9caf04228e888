"""Static figures: axes in, axes out; new ones where none are given. Needs matplotlib (`pip install lyapunov[plot]`)."""

from collections.abc import Callable, Sequence
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from lyapunov import _checks
from lyapunov._optional import import_optional
from lyapunov.analysis import CovariantVectors, LocalExponents
from lyapunov.errors import InvalidInput
from lyapunov.estimate import Difference, Spectrum, exponent_unit
from lyapunov.report import series
from lyapunov.report.drawing import axes_or_new, unsure, whole_ticks
from lyapunov.report.lag_plots import draw_theory, gradient_decay, input_reach, memory
from lyapunov.report.run_plots import (
    association,
    distances,
    largest_exponents,
    layers,
    losses,
    mean_exponents,
    spectra_by_step,
    spectrum_map,
)
from lyapunov.training import Run

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

UNRELIABLE = "0.75"

__all__ = [
    "association",
    "by_layer",
    "compare",
    "distances",
    "gradient_decay",
    "input_reach",
    "largest_exponents",
    "layers",
    "losses",
    "mean_exponents",
    "memory",
    "participation",
    "running_estimates",
    "spectra_by_step",
    "spectrum",
    "spectrum_map",
    "under_text",
]


def __dir__() -> list[str]:
    """Plots only; the command line's own savers are here as well."""
    return __all__


def spectrum(result: Spectrum, ax: "Axes | None" = None, *, theory: torch.Tensor | None = None, **style: Any) -> "Axes":
    """Exponents against their index, with a band of one standard error; those below the precision floor in grey.

    Args:
        result: a spectrum.
        ax: where to draw; None: axes of a new figure.
        theory: (n,), known exponents in descending order, drawn dashed, such as those of `known.mean_field_exponents`.
        style: further arguments of Matplotlib's `plot`.

    Returns:
        The axes.

    Example:
        >>> found = lyapunov.spectrum(torch.nn.RNN(2, 6, batch_first=True), torch.randn(4, 150, 2))
        >>> axes = lyapunov.plots.spectrum(found)
    """
    ax = axes_or_new(ax)
    index = torch.arange(1, len(result.exponents) + 1)
    finite = torch.isfinite(result.exponents)
    sure, floor = finite & result.reliable, finite & ~result.reliable
    style = {"marker": "o" if len(index) <= 20 else "", "markersize": 3, **style}
    (line,) = ax.plot(index[sure], result.exponents[sure], **style)
    errors = result.standard_errors.nan_to_num(0.0)
    low, high = result.exponents - errors, result.exponents + errors
    ax.fill_between(index[sure], low[sure], high[sure], color=line.get_color(), alpha=0.25, linewidth=0)
    if bool(floor.any()):
        ax.plot(index[floor], result.exponents[floor], color=UNRELIABLE, label="below the precision floor")
    if theory is not None:
        draw_theory(theory, ax)
    ax.axhline(0.0, color="black", linewidth=0.6)
    ax.set_xlabel("index")
    whole_ticks(ax.xaxis)
    ax.set_ylabel(f"Lyapunov exponent ({exponent_unit(result.settings.dt)})")
    return ax


def compare(a: Spectrum, b: Spectrum, ax: "Axes | None" = None, *, labels: Sequence[str] = ("a", "b")) -> "Axes":
    """Two spectra over each other, each with a band of one standard error; the title has their largest exponents' difference.

    Args:
        a, b: in the same unit.
        ax: where to draw; None: axes of a new figure.
        labels: what the two are called.

    Returns:
        The axes.

    Raises:
        InvalidInput: for spectra in different units, or other than two labels.

    The difference is paired where both saw the same inputs from the same frames (`a - b`), and its error is smaller then.
    Where they did not, it has the error of both.

    Example:
        >>> rnn, inputs = torch.nn.RNN(2, 6, batch_first=True), torch.randn(4, 150, 2)
        >>> one, other = lyapunov.spectrum(rnn, inputs), lyapunov.spectrum(torch.nn.GRU(2, 6, batch_first=True), inputs)
        >>> axes = lyapunov.plots.compare(one, other, labels=("RNN", "GRU"))
    """
    _checks.length(labels, 2, "labels", "Name both spectra")
    units = [exponent_unit(result.settings.dt) for result in (a, b)]
    if a.settings.dt != b.settings.dt:
        raise InvalidInput(
            f"Expected two spectra in the same unit, got {units[0]} (dt={a.settings.dt:g}) and {units[1]} "
            f"(dt={b.settings.dt:g}). Compute both with the same dt."
        )
    ax = axes_or_new(ax)
    for result, label, marker in zip((a, b), labels, ("o", "s"), strict=True):
        marker = marker if len(result) <= 20 else ""
        spectrum(result, ax, label=f"{label}: largest {result.max:.4g}{unsure(result.verdict.converged)}", marker=marker)
    ax.set_title(f"Largest exponent, {labels[0]} - {labels[1]}: {_difference(a, b)}", fontsize="medium")
    ax.legend(frameon=False, fontsize="small")
    return ax


def _difference(a: Spectrum, b: Spectrum) -> str:
    """That of the largest exponents with its standard error, paired where it can be."""
    try:
        found, how = a - b, "paired"
    except InvalidInput:
        found, how = Difference.unpaired(a, b), "not paired"
    return f"{found[0]:+.3g} ± {float(found.standard_errors[0]):.2g} ({how})"


def running_estimates(result: Spectrum, ax: "Axes | None" = None, *, lines: int = 8) -> "Axes":
    """How the estimates of some exponents, spread over the spectrum, settle with the steps counted.

    Args:
        result: a spectrum.
        ax: where to draw; None: axes of a new figure.
        lines: how many exponents.

    Example:
        >>> found = lyapunov.spectrum(torch.nn.RNN(2, 6, batch_first=True), torch.randn(4, 150, 2))
        >>> axes = lyapunov.plots.running_estimates(found, lines=3)
    """
    from matplotlib import colormaps

    ax = axes_or_new(ax)
    steps = result.history_steps.double().mean(dim=1).cumsum(0)
    running = result.running_estimates()
    chosen = torch.linspace(0, len(result.exponents) - 1, min(lines, len(result.exponents))).round().long().tolist()
    shades = colormaps["plasma"](torch.linspace(0.0, 0.85, len(chosen)).tolist())
    for i, shade in zip(chosen, shades, strict=True):
        ax.plot(steps, running[:, i], color=shade, label=f"exponent {i + 1}")
    ax.axhline(0.0, color="black", linewidth=0.6)
    ax.set_xlabel("steps counted in each sequence")
    whole_ticks(ax.xaxis)
    ax.set_ylabel(f"running estimate ({exponent_unit(result.settings.dt)})")
    ax.set_title("Running estimates")
    ax.legend(frameon=False, fontsize="small", loc="center left", bbox_to_anchor=(1.0, 0.5))
    return ax


def by_layer(result: Spectrum, ax: "Axes | None" = None) -> "Axes":
    """The exponents of each layer against their index within it; the legend says how far back each layer remembers.

    Args:
        result: the spectrum of a stack.
        ax: where to draw; None: axes of a new figure.

    Example:
        >>> stack = torch.nn.RNN(2, 6, num_layers=2, batch_first=True)
        >>> axes = lyapunov.plots.by_layer(lyapunov.spectrum(stack, torch.randn(4, 150, 2)))
    """
    from matplotlib import colormaps

    ax = axes_or_new(ax)
    summaries = result.by_layer()
    shades = colormaps["viridis"](torch.linspace(0.0, 0.85, len(summaries)).tolist())
    for summary, shade in zip(summaries, shades, strict=True):
        mine = (result.layer == summary.layer) & torch.isfinite(result.exponents) & result.reliable
        exponents, errors = result.exponents[mine], result.standard_errors[mine].nan_to_num(0.0)
        index = torch.arange(1, len(exponents) + 1)
        lost = f", {summary.lost} lost" if summary.lost else ""
        label = f"layer {summary.layer}: largest {summary.largest:.3g}, {summary.timescale}{lost}"
        ax.plot(index, exponents, color=shade, marker="o" if len(index) <= 20 else "", markersize=3, label=label)
        ax.fill_between(index, exponents - errors, exponents + errors, color=shade, alpha=0.25, linewidth=0)
    ax.axhline(0.0, color="black", linewidth=0.6)
    ax.set_xlabel("index within the layer")
    whole_ticks(ax.xaxis)
    ax.set_ylabel(f"Lyapunov exponent ({exponent_unit(result.settings.dt)})")
    ax.set_title("By layer")
    ax.legend(frameon=False, fontsize="small")
    return ax


def participation(vectors: CovariantVectors, ax: "Axes | None" = None) -> "Axes":
    """What carries each covariant vector: mean squared components by row, with lines between layers and parts of the state.

    Args:
        vectors: covariant vectors.
        ax: where to draw; None: axes of a new figure.

    Returns:
        The axes.

    Example:
        >>> gru = torch.nn.GRU(2, 6, batch_first=True)
        >>> vectors = lyapunov.covariant_vectors(gru, torch.randn(3, 80, 2), k=2, settle=10)
        >>> axes = lyapunov.plots.participation(vectors)
    """
    ax = axes_or_new(ax)
    rows, count = vectors.participation.shape
    edges_of_vectors = [at + 0.5 for at in range(count + 1)]
    mesh = ax.pcolormesh(edges_of_vectors, range(rows + 1), vectors.participation, cmap="viridis")
    names = [f"layer {label.layer} {label.part}" for label in vectors.labels]
    edges = [0, *(at for at in range(1, rows) if names[at] != names[at - 1]), rows]
    for edge in edges[1:-1]:
        ax.axhline(edge, color="white", linewidth=0.8)
    ax.set_yticks([(one + two) / 2 for one, two in pairwise(edges)], [names[edge] for edge in edges[:-1]])
    ax.invert_yaxis()
    ax.set_xlabel("covariant vector")
    whole_ticks(ax.xaxis)
    ax.figure.colorbar(mesh, ax=ax, label="mean squared component")
    return ax


def under_text(
    local: LocalExponents,
    text: Sequence[str],
    ax: "Axes | None" = None,
    *,
    sequence: int = 0,
    column: int = 0,
    start: int | None = None,
    lines: int = 6,
    width: int = 60,
) -> "Axes":
    """Growth step by step under the text that drives it: red where small changes grow, blue where they are forgotten.

    Below each line stands its growth, with a dashed line at zero.

    Args:
        local: growth at every step.
        text: a string, or the name of each step's input, one per step of the sequence.
        ax: where to draw; None: axes of a new figure.
        sequence, column: which sequence, and which direction (0: the leading one).
        start: the first step shown; None: the first with a number.
        lines, width: how many lines of text at the most, and characters in each.

    Returns:
        The axes.

    Example:
        >>> gru = torch.nn.GRU(2, 6, batch_first=True)
        >>> local = lyapunov.local_exponents(gru, torch.randn(1, 60, 2), settle=10, align=10)
        >>> axes = lyapunov.plots.under_text(local, "to be " * 10, lines=1)
    """
    from matplotlib import colormaps
    from matplotlib.patches import Rectangle

    ax = axes_or_new(ax)
    _checks.length(text, local.growth.shape[1], "text", "One character, or one name, per step")
    first = _checks.whole_number(local.first if start is None else start, "start", least=0, most=len(text) - 1)
    _checks.whole_number(lines, "lines", least=1)
    _checks.whole_number(sequence, "sequence", least=0, most=len(local.growth) - 1)
    grown = local.growth[sequence, first : first + lines * width, column]
    known = grown[torch.isfinite(grown)].abs()
    most = (float(known.quantile(0.98)) if len(known) else 0.0) or 1.0
    scaled = (grown / most).nan_to_num(nan=0.0, neginf=-1.0).clamp(-1, 1)
    for at, value in enumerate(scaled.tolist()):
        line, place = divmod(at, width)
        ax.add_patch(Rectangle((place, -2 * line - 1), 1, 1, color=colormaps["RdBu_r"](0.5 + 0.45 * value), linewidth=0))
        shown = {"\n": "\u21b5", " ": "\u00b7"}.get(text[first + at], text[first + at])
        ink = {"ha": "center", "va": "center", "family": "monospace", "color": "white" if abs(value) > 0.7 else "black"}
        ax.text(place + 0.5, -2 * line - 0.55, shown, fontsize=8, **ink)
    low = min(0.0, float(scaled.min()))
    height = 0.8 / ((max(0.0, float(scaled.max())) - low) or 1.0)
    for line, part in enumerate(scaled.split(width)):
        zero = -2 * line - 1.9 - height * low
        ax.step(range(len(part) + 1), torch.cat([part, part[-1:]]) * height + zero, where="post", color="0.3", linewidth=0.8)
        ax.plot([0, len(part)], [zero, zero], color="0.6", linewidth=0.5, linestyle=":")
    ax.set_xlim(0, width)
    ax.set_ylim(-2 * len(scaled.split(width)), 0)
    ax.set_yticks([])
    ax.set_xticks([])
    ax.set_xlabel(f"growth by step: red and up grows, blue and down forgets; darkest is {most:.2g} nats")
    return ax


def save_demo_figure(run: Run, path: Path) -> None:
    """Largest exponent and losses by training step; full spectra; running estimates of the latest one."""
    figure, panels = _subplots(4)
    largest_exponents([run], panels[0]).set_title("Largest exponent")
    losses([run], panels[1]).set_title("Losses (nats per character)")
    full = {step: result for step, result in run.spectra().items() if result.is_full}
    if full:
        spectra_by_step(full, panels[2], unit=run.unit).set_title("Spectrum by training step")
        running_estimates(full[max(full)], panels[3])
    figure.suptitle("A character LSTM while it learns (full state, held-out text)")
    figure.savefig(path, dpi=150)


def save_report_figures(runs: Sequence[Run], directory: Path, suffix: str = "png") -> list[Path]:
    """Each figure of the report in a file of its own (.png, .svg or .pdf); the files, in order."""
    directory.mkdir(parents=True, exist_ok=True)
    drawn: dict[str, Callable[[Axes], object]] = {
        "largest": lambda ax: largest_exponents(runs, ax),
        "mean": lambda ax: mean_exponents(runs, ax),
        "losses": lambda ax: losses(runs, ax),
    }
    if any(series.distances(series.leading(run)) for run in runs):
        drawn["distances"] = lambda ax: distances(runs, ax)
        drawn["distances-mean"] = lambda ax: distances(runs, ax, measure="mean")
    slugs = [run.slug for run in runs]
    for at, run in enumerate(runs):
        again = slugs[:at].count(run.slug)
        drawn |= _of_run(run, f"{run.slug}-{again + 1}" if again else run.slug)
    for name, label, value in series.READOUTS:
        found = series.association(runs, value)
        if found is not None:
            drawn[f"{name}-against-loss"] = lambda ax, found=found, label=label: association(found, ax, label=label)
    files = []
    for name, draw in drawn.items():
        figure, (ax,) = _subplots(1)
        draw(ax)
        files.append(directory / f"{name}.{suffix}")
        figure.savefig(files[-1], dpi=150)
    return files


def _of_run(run: Run, slug: str) -> "dict[str, Callable[[Axes], object]]":
    """Figures that are of one run by itself."""
    spectra = run.spectra()
    full = {step: result for step, result in spectra.items() if result.is_full}
    by_step = series.whole(spectra) if len(full) > 1 else series.leading(run)
    drawn: dict[str, Callable[[Axes], object]] = {}
    sure = series.converged(run)
    if by_step:
        drawn[f"map-{slug}"] = lambda ax: spectrum_map(by_step, ax, unit=run.unit, converged=sure).set_title(run.name)
        drawn[f"spectra-{slug}"] = lambda ax: spectra_by_step(by_step, ax, unit=run.unit).set_title(run.name)
    if series.layers(spectra):
        drawn[f"layers-{slug}"] = lambda ax: layers(run, ax, spectra).set_title(run.name)
    return drawn


def save_spectrum_figure(result: Spectrum, path: Path) -> None:
    """The spectrum, its running estimates, and, where there are several layers, whose its exponents are."""
    several = len(result.by_layer()) > 1
    figure, (left, right, *more) = _subplots(3 if several else 2)
    spectrum(result, left).set_title(f"Spectrum: {result.settings.system}{unsure(result.verdict.converged)}")
    running_estimates(result, right)
    if several:
        by_layer(result, more[0])
    figure.savefig(path, dpi=150)


def _subplots(count: int) -> "tuple[Figure, Sequence[Axes]]":
    """Panels of a figure of its own, outside pyplot's global state."""
    Figure = import_optional("matplotlib.figure", "plot").Figure
    figure = Figure(figsize=(5.2 * count, 4.2), layout="constrained")
    return figure, figure.subplots(1, count, squeeze=False)[0]
