"""Static figures: axes in, axes out. Needs matplotlib (`pip install lyapunov[plot]`)."""

import math
from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import torch

from lyapunov import _checks
from lyapunov._optional import import_optional
from lyapunov.analysis import CovariantVectors, GradientDecay, GradientExponents, LocalExponents
from lyapunov.estimate import Spectrum, exponent_unit
from lyapunov.report import series
from lyapunov.report.lag_plots import draw_theory
from lyapunov.report.lag_plots import input_reach as input_reach
from lyapunov.report.lag_plots import memory as memory
from lyapunov.report.series import Association, Band
from lyapunov.training import Run

if TYPE_CHECKING:
    from matplotlib.axes import Axes

UNRELIABLE = "0.75"
_DASHES = ("-", "--", ":", "-.")


def spectrum(result: Spectrum, ax: "Axes", *, theory: torch.Tensor | None = None, **style: Any) -> "Axes":
    """Exponents against their index, with a band of one standard error; those below the precision floor in grey.

    theory (n,): known exponents, in descending order, drawn dashed: `known.mean_field_exponents(...)`, say.
    """
    index = torch.arange(1, len(result.exponents) + 1)
    finite = torch.isfinite(result.exponents)
    sure, unsure = finite & result.reliable, finite & ~result.reliable
    style = {"marker": "o" if len(index) <= 20 else "", "markersize": 3, **style}
    (line,) = ax.plot(index[sure], result.exponents[sure], **style)
    errors = result.standard_errors.nan_to_num(0.0)
    low, high = result.exponents - errors, result.exponents + errors
    ax.fill_between(index[sure], low[sure], high[sure], color=line.get_color(), alpha=0.25, linewidth=0)
    if bool(unsure.any()):
        ax.plot(index[unsure], result.exponents[unsure], color=UNRELIABLE, label="below the precision floor")
    if theory is not None:
        draw_theory(theory, ax)
    ax.axhline(0.0, color="black", linewidth=0.6)
    ax.set_xlabel("index")
    ax.set_ylabel(f"Lyapunov exponent ({exponent_unit(result.settings.dt)})")
    return ax


def spectra_by_epoch(results: Mapping[int, Spectrum], ax: "Axes") -> "Axes":
    """One line per epoch, early to late from light to dark."""
    from matplotlib import colormaps

    shades = colormaps["viridis_r"](torch.linspace(0.1, 1.0, max(len(results), 1)).tolist())
    for (epoch, result), shade in zip(sorted(results.items()), shades, strict=True):
        spectrum(result, ax, color=shade, label=f"epoch {epoch}{_unsure(result.verdict.converged)}")
    ax.legend(frameon=False, fontsize="small")
    ax.set_title("Spectrum by epoch")
    return ax


def running_estimates(result: Spectrum, ax: "Axes", *, lines: int = 8) -> "Axes":
    """How the estimates of some exponents (spread over the spectrum) settle with the steps counted."""
    from matplotlib import colormaps

    steps = result.history_steps.double().mean(dim=1).cumsum(0)
    running = result.running_estimates()
    chosen = torch.linspace(0, len(result.exponents) - 1, min(lines, len(result.exponents))).round().long().tolist()
    shades = colormaps["plasma"](torch.linspace(0.0, 0.85, len(chosen)).tolist())
    for i, shade in zip(chosen, shades, strict=True):
        ax.plot(steps, running[:, i], color=shade, label=f"exponent {i + 1}")
    ax.axhline(0.0, color="black", linewidth=0.6)
    ax.set_xlabel("steps counted in each sequence")
    ax.set_ylabel(f"running estimate ({exponent_unit(result.settings.dt)})")
    ax.set_title("Running estimates")
    ax.legend(frameon=False, fontsize="small", loc="center left", bbox_to_anchor=(1.0, 0.5))
    return ax


def by_layer(result: Spectrum, ax: "Axes") -> "Axes":
    """The exponents of each layer against their index within it; the legend says how far back each remembers."""
    from matplotlib import colormaps

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
    ax.set_ylabel(f"Lyapunov exponent ({exponent_unit(result.settings.dt)})")
    ax.set_title("By layer")
    ax.legend(frameon=False, fontsize="small")
    return ax


def largest_exponents(runs: Sequence[Run], ax: "Axes") -> "Axes":
    """The largest exponent of each run by training step, with a band of 95 %."""
    return _bands([(run.name, series.largest(run)) for run in runs], ax, f"largest exponent ({runs[0].unit})", zero=True)


def mean_exponents(runs: Sequence[Run], ax: "Axes") -> "Axes":
    """The mean of all exponents of each run by training step, with a band of two standard errors."""
    return _bands([(run.name, series.mean(run)) for run in runs], ax, f"mean exponent ({runs[0].unit})")


def layers(run: Run, ax: "Axes", spectra: Mapping[int, Spectrum] | None = None) -> "Axes":
    """The largest exponent of each layer by training step, with a band of 95 %; nothing for a run of one layer."""
    found = series.layers(run.spectra() if spectra is None else spectra)
    named = [(f"layer {layer}", band) for layer, band in found.items()]
    return _bands(named, ax, f"largest exponent of the layer ({run.unit})", zero=True)


def losses(runs: Sequence[Run], ax: "Axes") -> "Axes":
    """Every loss of each run by training step: a colour per run, a dash per loss."""
    names = list(dict.fromkeys(name for run in runs for name in series.losses(run)))
    for at, run in enumerate(runs):
        for name, (steps, values) in series.losses(run).items():
            label = name if len(runs) == 1 else f"{run.name}: {name}"
            ax.plot(steps, values, color=f"C{at}", linestyle=_DASHES[names.index(name) % len(_DASHES)], label=label)
    ax.set_xlabel("training step")
    ax.set_ylabel("loss")
    if names:
        ax.legend(frameon=False, fontsize="small")
    return ax


def spectrum_map(by_step: Mapping[int, Sequence[float]], ax: "Axes", *, unit: str = exponent_unit()) -> "Axes":
    """Exponents (colour) by training step and index: `series.leading(run)`, or `series.whole(spectra)`."""
    steps = sorted(by_step)
    values = torch.tensor([list(by_step[step]) for step in steps], dtype=torch.float64).mT
    edges = [steps[0], *((one + two) / 2 for one, two in pairwise(steps)), steps[-1] + (len(steps) == 1)]
    index = [at + 0.5 for at in range(len(values) + 1)]
    mesh = ax.pcolormesh(edges, index, values.masked_fill(~torch.isfinite(values), torch.nan), cmap="viridis")
    ax.invert_yaxis()
    ax.set_xlabel("training step")
    ax.set_ylabel("index of the exponent")
    ax.figure.colorbar(mesh, ax=ax, label=unit)
    return ax


def spectra_by_step(
    by_step: Mapping[int, Sequence[float]], ax: "Axes", *, unit: str = exponent_unit(), lines: int = 8
) -> "Axes":
    """Exponents against their index at some training steps, spread over all, early to late from light to dark."""
    from matplotlib import colormaps

    steps = sorted(by_step)
    count = min(lines, len(steps))
    chosen = [steps[round(at * (len(steps) - 1) / max(count - 1, 1))] for at in range(count)]
    shades = colormaps["viridis_r"](torch.linspace(0.1, 1.0, count).tolist())
    for step, shade in zip(chosen, shades, strict=True):
        values = [value if math.isfinite(value) else math.nan for value in by_step[step]]
        ax.plot(range(1, len(values) + 1), values, color=shade, label=f"step {step}")
    ax.axhline(0.0, color="black", linewidth=0.6)
    ax.set_xlabel("index")
    ax.set_ylabel(f"Lyapunov exponent ({unit})")
    ax.legend(frameon=False, fontsize="small")
    return ax


def distances(runs: Sequence[Run], ax: "Axes", *, measure: Literal["reduced", "mean"] = "reduced") -> "Axes":
    """How far the leading exponents at each step are from the last ones, by either measure of `series.Distances`."""
    for at, run in enumerate(runs):
        found = series.distances(series.leading(run))
        if found is not None:
            values = found.reduced if measure == "reduced" else found.mean_difference
            ax.plot(found.steps, values, color=f"C{at}", marker="o", markersize=3, label=run.name)
            sure = series.converged(run)
            _hollow(ax, found.steps, values, [sure[step] for step in found.steps], color=f"C{at}")
    ax.set_xlabel("training step")
    if measure == "reduced":
        ax.set_ylabel("squared distance to the final spectrum,\nrelative to the first")
        ax.set_ylim(bottom=0.0)
    else:
        ax.set_ylabel(f"mean difference to the final spectrum\n({runs[0].unit})")
        ax.axhline(0.0, color="black", linewidth=0.6)
    if len(ax.get_legend_handles_labels()[0]) > 1:
        ax.legend(frameon=False, fontsize="small")
    return ax


def association(found: Association, ax: "Axes", *, label: str) -> "Axes":
    """A number of each run against its least loss; the title has Spearman's correlation and its interval."""
    ax.scatter(found.values, found.losses, s=18)
    _hollow(ax, found.values, found.losses, found.converged, color="C0", size=4.5)
    ax.set_xlabel(label)
    ax.set_ylabel(f"least {found.loss} loss")
    ax.set_title(found.in_words())
    return ax


def gradient_decay(
    ax: "Axes",
    *,
    measured: GradientDecay | None = None,
    predicted: GradientExponents | None = None,
    exponents: Mapping[str, float] | None = None,
) -> "Axes":
    """How gradients decay with the lag, relative to lag 0: measured, as seen from the readout, and as exponents alone say."""
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
    for (name, exponent), dash in zip((exponents or {}).items(), _DASHES[1:] * len(exponents or {}), strict=False):
        ax.plot([0, longest], [0, exponent * longest], color="0.4", linestyle=dash, label=f"{name}: {exponent:.3g}")
    ax.set_xlabel("lag (steps)")
    ax.set_ylabel("ln of the gradient, relative to lag 0")
    ax.legend(frameon=False, fontsize="small")
    return ax


def participation(vectors: CovariantVectors, ax: "Axes") -> "Axes":
    """What carries each covariant vector: mean squared components by row, layers and parts of the state told apart by lines."""
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
    ax.figure.colorbar(mesh, ax=ax, label="mean squared component")
    return ax


def under_text(
    local: LocalExponents,
    text: Sequence[str],
    ax: "Axes",
    *,
    sequence: int = 0,
    column: int = 0,
    start: int | None = None,
    lines: int = 6,
    width: int = 60,
) -> "Axes":
    """Growth step by step under the text that drives it: red where small changes grow, blue where they are forgotten.

    text: a string, or the name of each step's input, one per step of the sequence. start: the first step shown (None: the first
    with a number). Below each line its growth, the dashed line at zero.
    """
    from matplotlib import colormaps
    from matplotlib.patches import Rectangle

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
    """Largest exponent and losses by training step; full spectra by epoch; running estimates of the latest full spectrum."""
    figure, panels = _subplots(4)
    largest_exponents([run], panels[0]).set_title("Largest exponent")
    losses([run], panels[1]).set_title("Losses (nats per character)")
    epochs = {reading.step: reading.epoch for reading in run.readings}
    full = {epochs[step] or 0: result for step, result in run.spectra().items() if result.is_full}
    if full:
        spectra_by_epoch(full, panels[2])
        running_estimates(full[max(full)], panels[3])
    figure.suptitle("A character LSTM while it learns (full state, held-out text)")
    figure.savefig(path, dpi=150)


def save_report_figures(runs: Sequence[Run], directory: Path, suffix: str = "png") -> list[Path]:
    """Each figure of the report in a file of its own (.png, .svg or .pdf); the files, in order."""
    directory.mkdir(parents=True, exist_ok=True)
    drawn: dict[str, Callable[[Axes], Any]] = {
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
        figure, ax = _subplots(1)
        draw(ax)
        files.append(directory / f"{name}.{suffix}")
        figure.savefig(files[-1], dpi=150)
    return files


def _of_run(run: Run, slug: str) -> "dict[str, Callable[[Axes], Any]]":
    """Figures that are of one run by itself."""
    spectra = run.spectra()
    full = {step: result for step, result in spectra.items() if result.is_full}
    by_step = series.whole(spectra) if len(full) > 1 else series.leading(run)
    drawn: dict[str, Callable[[Axes], Any]] = {}
    if by_step:
        drawn[f"map-{slug}"] = lambda ax: spectrum_map(by_step, ax, unit=run.unit).set_title(run.name)
        drawn[f"spectra-{slug}"] = lambda ax: spectra_by_step(by_step, ax, unit=run.unit).set_title(run.name)
    if series.layers(spectra):
        drawn[f"layers-{slug}"] = lambda ax: layers(run, ax, spectra).set_title(run.name)
    return drawn


def save_spectrum_figure(result: Spectrum, path: Path) -> None:
    """The spectrum, its running estimates, and, where there are several layers, whose its exponents are."""
    several = len(result.by_layer()) > 1
    figure, (left, right, *more) = _subplots(3 if several else 2)
    spectrum(result, left).set_title(f"Spectrum: {result.settings.system}{_unsure(result.verdict.converged)}")
    running_estimates(result, right)
    if several:
        by_layer(result, more[0])
    figure.savefig(path, dpi=150)


def _bands(named: Sequence[tuple[str, Band]], ax: "Axes", label: str, *, zero: bool = False) -> "Axes":
    for at, (name, band) in enumerate(named):
        ax.plot(band.steps, band.values, color=f"C{at}", marker="o", markersize=3, label=name)
        _hollow(ax, band.steps, band.values, band.converged, color=f"C{at}")
        ax.fill_between(band.steps, band.low, band.high, color=f"C{at}", alpha=0.2, linewidth=0)
    if zero:
        ax.axhline(0.0, color="black", linewidth=0.6)
    ax.set_xlabel("training step")
    ax.set_ylabel(label)
    if len(named) > 1:
        ax.legend(frameon=False, fontsize="small")
    return ax


def _hollow(
    ax: "Axes", x: Sequence[float], y: Sequence[float], converged: Sequence[bool | None], *, color: str, size: float = 3.0
) -> None:
    """What is not converged gets a hollow marker over its own."""
    points = [(one, two) for one, two, sure in zip(x, y, converged, strict=True) if sure is False]
    if points:
        style: dict[str, Any] = {"markersize": size + 1, "markerfacecolor": "white", "markeredgecolor": color}
        ax.plot(*zip(*points, strict=True), linestyle="", marker="o", zorder=3, **style)


def _unsure(converged: bool | None) -> str:
    return ", not converged" if converged is False else ""


def _subplots(count: int) -> tuple[Any, Any]:
    """Panels of a figure of its own, outside pyplot's global state."""
    Figure = import_optional("matplotlib.figure", "plot").Figure
    figure = Figure(figsize=(5.2 * count, 4.2), layout="constrained")
    return figure, figure.subplots(1, count)
