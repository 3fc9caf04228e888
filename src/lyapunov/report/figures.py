"""The report's interactive figures, as Plotly takes them: dictionaries of numbers, drawn in the page."""

import math
from collections.abc import Iterable, Mapping, Sequence

from lyapunov.report import series
from lyapunov.report.series import Association, Band, Distances
from lyapunov.training import Run

COLOURS = ("#2f7ed8", "#e07b00", "#149c74", "#c2418f", "#7a5cd6", "#a08000", "#0095a3", "#d64545")
"""One per run, the same in every figure; apart for most eyes, on light and on dark."""
_DASHES = ("solid", "dash", "dot", "dashdot")
_HOLLOW, _WRONG = "circle-open", " (not converged)"
"""The marker of a reading that is not converged, and what is said of it."""
_BAND = 0.18
_DIGITS = 6
_DOMAINS = {1: [(0.0, 1.0)], 2: [(0.55, 1.0), (0.0, 0.45)], 3: [(0.70, 1.0), (0.36, 0.64), (0.0, 0.30)]}
"""Where panels lie, one below the other: one without a number in it is left out."""

Part = dict[str, object]
"""A trace, a layout, or what else Plotly takes: of words, numbers, lists and dictionaries."""
Figure = Mapping[str, object]


def course(runs: Sequence[Run]) -> Figure:
    """Largest and mean exponent with their bands, and the losses, one below the other by training step, where there are any."""
    named = [(run.name, COLOURS[at % len(COLOURS)]) for at, run in enumerate(runs)]
    traces: list[Part] = []
    for (name, colour), run in zip(named, runs, strict=True):
        traces += _band(series.largest(run), name, colour, axis="", legend=len(runs) > 1)
        traces += _band(series.mean(run), name, colour, axis="2", legend=False)
    traces += _losses(runs)
    titles = {"": f"largest exponent<br>({runs[0].unit})", "2": "mean exponent<br>(of all)", "3": "loss"}
    data = [trace for trace in traces if trace["x"]]
    panels = [axis for axis in titles if any(trace["xaxis"] == f"x{axis}" for trace in data)]
    layout: Part = {"height": 240 * len(panels)}
    for axis, (low, high) in zip(panels, _DOMAINS[len(panels)], strict=True):
        last = axis == panels[-1]
        below = {"title": {"text": "training step"}} if last else {}
        layout[f"yaxis{axis}"] = {"domain": [low, high], "title": {"text": titles[axis]}, "zeroline": axis == ""}
        layout[f"xaxis{axis}"] = {"anchor": f"y{axis}", "showticklabels": last} | ({"matches": "x"} if axis else {}) | below
    return {"data": data, "layout": layout}


def spectrum_map(by_step: Mapping[int, Sequence[float]], unit: str, converged: Mapping[int, bool | None]) -> Figure:
    """Exponents (colour) by training step and index; a hollow circle above the steps that are not converged."""
    steps = sorted(by_step)
    values = [[rounded(by_step[step][at]) for step in steps] for at in range(max(len(by_step[step]) for step in steps))]
    bar = {"title": {"text": unit, "side": "right"}, "thickness": 12, "outlinewidth": 0}
    trace = {"type": "heatmap", "x": steps, "y": list(range(1, len(values) + 1)), "z": values, "colorscale": "Viridis"}
    trace |= {"colorbar": bar, "hovertemplate": "step %{x}, exponent %{y}: %{z}<extra></extra>"}
    layout = {"height": 380, "xaxis": {"title": {"text": "training step"}}}
    wrong = [step for step in steps if converged.get(step) is False]
    marks = {"type": "scatter", "mode": "markers", "x": wrong, "y": [0.5] * len(wrong), "cliponaxis": False}
    marks |= {"marker": {"symbol": _HOLLOW, "size": 7, "color": "#888888"}, "showlegend": False}
    marks["hovertemplate"] = "step %{x}: not converged<extra></extra>"
    layout |= {"yaxis": {"title": {"text": "index"}, "autorange": "reversed"}}
    return {"data": [trace, marks] if wrong else [trace], "layout": layout}


def distances(found: Sequence[tuple[str, Distances, Mapping[int, bool | None]]], unit: str) -> Figure:
    """Both measures of how far the spectrum is from the last one, one below the other; with what is converged, by step."""
    data = []
    for at, (name, each, converged) in enumerate(found):
        sure = [converged.get(step) for step in each.steps]
        colour = COLOURS[at % len(COLOURS)]
        for axis, values in (("", each.reduced), ("2", each.mean_difference)):
            line = _line(each.steps, values, name, colour, axis=axis, converged=sure)
            data.append(line | {"showlegend": axis == "" and len(found) > 1})
    reduced = {"title": {"text": "squared, relative<br>to the first"}, "domain": [0.55, 1.0], "rangemode": "tozero"}
    mean = {"title": {"text": f"mean difference<br>({unit})"}, "domain": [0.0, 0.45], "zeroline": True}
    below = {"anchor": "y2", "matches": "x", "title": {"text": "training step"}}
    layout = {
        "height": 460,
        "yaxis": reduced,
        "yaxis2": mean,
        "xaxis": {"anchor": "y", "showticklabels": False},
        "xaxis2": below,
    }
    return {"data": data, "layout": layout}


def layers(found: Mapping[int, Band], unit: str) -> Figure:
    """The largest exponent of each layer by training step."""
    data = []
    for at, (layer, band) in enumerate(found.items()):
        data += _band(band, f"layer {layer}", COLOURS[at % len(COLOURS)], axis="", legend=True)
    title = {"text": f"largest exponent of<br>the layer ({unit})"}
    layout = {"height": 380, "yaxis": {"title": title, "zeroline": True}, "xaxis": {"title": {"text": "training step"}}}
    return {"data": data, "layout": layout}


def association(found: Association, label: str) -> Figure:
    """A number of each run against its least loss."""
    text = [f"{name}<br>{label} {value:.4g}, loss {loss:.4g}" for name, value, loss in _points(found)]
    text = [one + _WRONG * (sure is False) for one, sure in zip(text, found.converged, strict=True)]
    trace = {"type": "scatter", "mode": "markers", "x": numbers(found.values), "y": numbers(found.losses), "text": text}
    marker = {"size": 9, "color": COLOURS[0], "symbol": _symbols(found.converged)}
    trace |= {"marker": marker, "hovertemplate": "%{text}<extra></extra>"}
    axes = {"xaxis": {"title": {"text": label}}, "yaxis": {"title": {"text": f"least {found.loss} loss"}}}
    return {"data": [trace], "layout": {"height": 380, **axes}}


def frames(
    by_step: Mapping[int, Sequence[float]], errors: Mapping[int, Sequence[float]], converged: Mapping[int, bool | None]
) -> list[Part]:
    """What the slider goes through: exponents and their standard errors at each step, and whether they have converged."""
    found: list[Part] = []
    for step in sorted(by_step):
        shown = {"exponents": numbers(by_step[step]), "errors": numbers(errors.get(step, ()))}
        found.append({"step": step, **shown, "converged": converged.get(step)})
    return found


def numbers(values: Iterable[float | None]) -> list[float | None]:
    """Short ones, as JSON has them: what is not finite is null, which leaves a gap."""
    return [rounded(value) for value in values]


def rounded(value: float | None) -> float | None:
    """To so many digits as one may look at."""
    return float(f"{value:.{_DIGITS}g}") if value is not None and math.isfinite(value) else None


def _points(found: Association) -> Iterable[tuple[str, float, float]]:
    return zip(found.names, found.values, found.losses, strict=True)


def _line(
    steps: Sequence[int],
    values: Sequence[float],
    name: str,
    colour: str,
    *,
    axis: str,
    converged: Sequence[bool | None] = (),
) -> Part:
    """What is not converged has a hollow marker, also where there are too many points for markers of the others."""
    few, wrong = len(steps) <= 60, False in converged
    mode = "lines+markers" if few or wrong else "lines"
    trace: Part = {"type": "scatter", "mode": mode, "x": list(steps), "y": numbers(values), "name": name}
    marker: Part = {"size": 5}
    hover = f"{_escaped(name)}, step %{{x}}: %{{y}}"
    if wrong:
        sizes = [7 if sure is False else 5 if few else 0 for sure in converged]
        marker = {"size": sizes, "symbol": _symbols(converged)}
        trace["text"] = [_WRONG * (sure is False) for sure in converged]
        hover += "%{text}"
    trace |= {"line": {"color": colour, "width": 2}, "marker": marker, "xaxis": f"x{axis}", "yaxis": f"y{axis}"}
    return trace | {"legendgroup": name, "hovertemplate": f"{hover}<extra></extra>"}


def _symbols(converged: Sequence[bool | None]) -> list[str]:
    return [_HOLLOW if sure is False else "circle" for sure in converged]


def _band(band: Band, name: str, colour: str, *, axis: str, legend: bool) -> list[Part]:
    """A line with what is around it; the edges come first, so that the line lies on top."""
    edge: Part = {"type": "scatter", "mode": "lines", "x": list(band.steps), "xaxis": f"x{axis}", "yaxis": f"y{axis}"}
    edge |= {"line": {"width": 0, "color": colour}, "hoverinfo": "skip", "showlegend": False, "legendgroup": name}
    red, green, blue = (int(colour[at : at + 2], 16) for at in (1, 3, 5))
    fill = {"fill": "tonexty", "fillcolor": f"rgba({red},{green},{blue},{_BAND})"}
    line = _line(band.steps, band.values, name, colour, axis=axis, converged=band.converged) | {"showlegend": legend}
    return [edge | {"y": numbers(band.low)}, edge | {"y": numbers(band.high)} | fill, line]


def _losses(runs: Sequence[Run]) -> list[Part]:
    names = list(dict.fromkeys(name for run in runs for name in series.losses(run)))
    data = []
    for at, run in enumerate(runs):
        for name, (steps, values) in series.losses(run).items():
            label = name if len(runs) == 1 else f"{run.name}: {name}"
            number = names.index(name)
            colour = COLOURS[(number + 1 if len(runs) == 1 else at) % len(COLOURS)]
            trace = _line(steps, values, label, colour, axis="3") | {"legendgroup": label}
            trace["line"] = {"color": colour, "width": 2, "dash": _DASHES[number % len(_DASHES)]}
            data.append(trace)
    return data


def _escaped(text: str) -> str:
    """As Plotly's own markup takes it."""
    return text.replace("%", "&#37;").replace("<", "&lt;").replace("{", "(").replace("}", ")")
