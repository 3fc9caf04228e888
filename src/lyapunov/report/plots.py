"""Static figures: axes in, axes out. Needs matplotlib (`pip install lyapunov[plot]`)."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from lyapunov.errors import Unsupported
from lyapunov.estimate import Spectrum

if TYPE_CHECKING:
    from matplotlib.axes import Axes

UNRELIABLE = "0.75"


def spectrum(result: Spectrum, ax: "Axes", **style: Any) -> "Axes":
    """Exponents against their index, with a band of one standard error; those below the precision floor in grey."""
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
    ax.axhline(0.0, color="black", linewidth=0.6)
    ax.set_xlabel("index")
    ax.set_ylabel(f"Lyapunov exponent ({_unit(result)})")
    return ax


def spectra_by_epoch(results: Mapping[int, Spectrum], ax: "Axes") -> "Axes":
    """One line per epoch, early to late from light to dark."""
    from matplotlib import colormaps

    shades = colormaps["viridis_r"](torch.linspace(0.1, 1.0, max(len(results), 1)).tolist())
    for (epoch, result), shade in zip(sorted(results.items()), shades, strict=True):
        spectrum(result, ax, color=shade, label=f"epoch {epoch}")
    ax.legend(frameon=False, fontsize="small")
    ax.set_title("Spectrum by epoch")
    return ax


def running_estimates(result: Spectrum, ax: "Axes", *, lines: int = 8) -> "Axes":
    """How the estimates of some exponents (spread over the spectrum) settle with the steps counted."""
    from matplotlib import colormaps

    steps = result.history_steps.double().mean(dim=1).cumsum(0)
    running = result.running()
    chosen = torch.linspace(0, len(result.exponents) - 1, min(lines, len(result.exponents))).round().long().tolist()
    shades = colormaps["plasma"](torch.linspace(0.0, 0.85, len(chosen)).tolist())
    for i, shade in zip(chosen, shades, strict=True):
        ax.plot(steps, running[:, i], color=shade, label=f"exponent {i + 1}")
    ax.axhline(0.0, color="black", linewidth=0.6)
    ax.set_xlabel("steps counted in each sequence")
    ax.set_ylabel(f"running estimate ({_unit(result)})")
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
        label = f"layer {summary.layer}: largest {summary.largest:.3g}, memory {summary.memory:.3g}{lost}"
        ax.plot(index, exponents, color=shade, marker="o" if len(index) <= 20 else "", markersize=3, label=label)
        ax.fill_between(index, exponents - errors, exponents + errors, color=shade, alpha=0.25, linewidth=0)
    ax.axhline(0.0, color="black", linewidth=0.6)
    ax.set_xlabel("index within the layer")
    ax.set_ylabel(f"Lyapunov exponent ({_unit(result)})")
    ax.set_title("By layer")
    ax.legend(frameon=False, fontsize="small")
    return ax


def by_epoch(readings: list[dict[str, Any]], ax: "Axes") -> "Axes":
    """Largest exponent with its error, and held-out loss on an axis of its own, by epoch."""
    epochs = [reading["epoch"] for reading in readings]
    largest, errors = [reading["largest"] for reading in readings], [reading["largest_error"] for reading in readings]
    line = ax.errorbar(epochs, largest, yerr=errors, color="C0", marker="o", markersize=3, label="largest exponent")
    ax.axhline(0.0, color="black", linewidth=0.6)
    ax.set_xlabel("epoch")
    ax.set_ylabel("largest exponent (nats per step)", color="C0")
    other = ax.twinx()
    (loss,) = other.plot(epochs, [reading["held_out_loss"] for reading in readings], color="C1", label="held-out loss")
    other.set_ylabel("held-out loss (nats per character)", color="C1")
    ax.legend(handles=[line, loss], frameon=False, fontsize="small", loc="center right")
    ax.set_title("While it learns")
    return ax


def save_demo_figure(readings: list[dict[str, Any]], results: Mapping[int, Spectrum], path: Path) -> None:
    """Largest exponent and loss by epoch; full spectra by epoch; running estimates of the latest full spectrum."""
    figure, (left, middle, right) = _subplots(3)
    by_epoch(readings, left)
    full = {epoch: result for epoch, result in results.items() if result.is_full}
    if full:
        spectra_by_epoch(full, middle)
        running_estimates(full[max(full)], right)
    figure.suptitle("A character LSTM while it learns (full state, held-out text)")
    figure.savefig(path, dpi=150)


def save_spectrum_figure(result: Spectrum, path: Path) -> None:
    """The spectrum, its running estimates, and, where there are several layers, whose its exponents are."""
    several = len(result.by_layer()) > 1
    figure, (left, right, *more) = _subplots(3 if several else 2)
    spectrum(result, left).set_title(f"Spectrum: {result.settings.system}")
    running_estimates(result, right)
    if several:
        by_layer(result, more[0])
    figure.savefig(path, dpi=150)


def _subplots(count: int) -> tuple[Any, Any]:
    """Panels of a figure of its own, outside pyplot's global state."""
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise Unsupported("Expected matplotlib for a figure, found none. Install it: pip install 'lyapunov[plot]'.") from error
    figure = Figure(figsize=(5.2 * count, 4.2), layout="constrained")
    return figure, figure.subplots(1, count)


def _unit(result: Spectrum) -> str:
    return "nats per step" if result.settings.dt == 1 else "nats per unit of time"
