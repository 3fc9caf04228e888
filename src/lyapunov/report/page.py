"""One self-contained page about one or several runs: figures, tables and words, without a network."""

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from importlib.resources import files
from pathlib import Path

from lyapunov._atomic import write_atomically
from lyapunov._optional import import_optional
from lyapunov.errors import InvalidInput
from lyapunov.estimate import READING_NAMES, TIME_NAMES, Spectrum
from lyapunov.report import figures, series, summary
from lyapunov.training import Reading, Run

_FEWEST = 2
"""Whole spectra from which on they are a figure of their own."""
_TIMES = tuple(
    column for kind, name in TIME_NAMES.items() for column in (name, f"{kind.lower()}_low_95", f"{kind.lower()}_high_95")
)
_DERIVED = READING_NAMES[2:]
"""What readings have beside the largest exponent, which has columns of its own."""


def write_report(runs: Sequence[Run], path: Path) -> None:
    """The page, written whole or not at all."""
    write_atomically(path, page(runs))


def page(runs: Sequence[Run]) -> str:
    """HTML. Raises InvalidInput where no run has a reading, and Unsupported without plotly."""
    empty = [run.name for run in runs if not series.valid_readings(run)]
    runs = distinct([run for run in runs if series.valid_readings(run)])
    if not runs:
        raise InvalidInput("Expected at least one run with a reading, got none. Let the training continue, and try again.")
    jinja2 = import_optional("jinja2", "plot")
    environment = jinja2.Environment(loader=jinja2.FunctionLoader(_asset), autoescape=True)
    shown = [_Shown(run) for run in runs]
    drawn = _figures(runs, shown)
    return environment.get_template("page.html.j2").render(
        title=runs[0].name if len(runs) == 1 else f"{len(runs)} runs",
        runs=shown,
        empty=empty,
        sections=[section for section in _SECTIONS if any(name.startswith(section.name) for name in drawn)],
        settings=summary.settings(runs),
        colours=figures.COLOURS,
        associations=_associations(runs),
        common_loss=series.common_loss(runs),
        data={
            "colours": figures.COLOURS,
            "figures": drawn,
            "runs": [one.data for one in shown],
            "tables": [one.table for one in shown],
        },
        plotly=import_optional("plotly.offline", "plot").get_plotlyjs(),
        style=_asset("page.css"),
        script=_asset("page.js"),
    )


def distinct(runs: Sequence[Run]) -> list[Run]:
    """Runs with names that differ: equal ones get the place of their folders, or a number."""
    found: list[Run] = []
    for run in runs:
        taken = {other.name for other in found}
        places = (run.name, f"{run.name} ({run.directory.resolve().parent.name}/{run.directory.resolve().name})")
        names = itertools.chain(places, (f"{places[1]} {number}" for number in itertools.count(2)))
        name = next(name for name in names if name not in taken)
        found.append(run if name == run.name else replace(run, about={**run.about, "name": name}))
    return found


@dataclass(frozen=True)
class _Section:
    name: str
    title: str
    about: str


_SECTIONS = (
    _Section(
        "course",
        "Stability, volume and loss",
        "Above 0 small changes grow (chaos); below, they fade within -1 / exponent steps. Bands: 95\u00a0%; of the mean, two "
        "standard errors. Hollow markers: readings that are not converged, which bands do not cover.",
    ),
    _Section(
        "distances",
        "Distance to the final spectrum",
        "The two measures of Vogt et al. 2020 over the leading exponents: where they stay near 0, the spectrum has settled.",
    ),
    _Section(
        "layers",
        "By layer",
        "The largest exponent of each layer by itself, with 95 %: which of them remembers.",
    ),
    _Section(
        "association",
        "Exponents against loss over runs",
        "One dot per run: a number at its last reading, and its least loss. A correlation over runs that differ in many things "
        "does not say why.",
    ),
)


class _Shown:
    """A run as the page has it."""

    def __init__(self, run: Run) -> None:
        self.run, self.name = run, run.name
        self.summary, self.alarm_spans, self.verdicts = summary.summary(run), summary.alarm_spans(run), summary.verdicts(run)

    @cached_property
    def spectra(self) -> dict[int, Spectrum]:
        """What is on disk."""
        return self.run.spectra()

    @property
    def kinds(self) -> Mapping[str, Mapping[int, Sequence[float]]]:
        """Exponents by step: of all readings the leading ones, and where all were taken, all."""
        found = {"leading": series.leading(self.run)}
        whole = series.whole(self.spectra)
        if len(whole) >= _FEWEST:
            found["whole"] = whole
        return found

    @cached_property
    def data(self) -> dict[str, object]:
        """For the slider: frames and a heat map of each kind; epochs by step."""
        leading = {reading.step: reading.standard_errors for reading in series.valid_readings(self.run)}
        whole = {step: found.standard_errors.tolist() for step, found in self.spectra.items()}
        errors, sure = {"leading": leading, "whole": whole}, series.converged(self.run)
        return {
            "name": self.name,
            "unit": self.run.unit,
            "epochs": {reading.step: reading.epoch for reading in self.run.readings if reading.epoch is not None},
            "kinds": {
                kind: {
                    "frames": figures.frames(by_step, errors[kind], sure),
                    "map": figures.spectrum_map(by_step, self.run.unit, sure),
                }
                for kind, by_step in self.kinds.items()
                if by_step
            },
        }

    @cached_property
    def table(self) -> dict[str, object]:
        """Every reading: the columns, and a row each."""
        losses = list(series.losses(self.run))
        most = max((len(reading.exponents) for reading in self.run.readings), default=0)
        columns = ["step", "epoch", *(f"{name}_loss" for name in losses), "largest", "standard_error", "low_95", "high_95"]
        columns += [*_DERIVED, *_TIMES, "drift", "saturated", "seconds", "alarms", "converged", "verdict"]
        columns += [f"exponent_{at}" for at in range(1, most + 1)] + [f"error_{at}" for at in range(1, most + 1)]
        rows = []
        for one in self.run.readings:
            reported = [
                one.step,
                one.epoch,
                *(one.losses.get(name) for name in losses),
                one.max,
                one.max_error,
                *one.max_interval,
            ]
            reported += [*(getattr(one, name) for name in _DERIVED), *_times(one), one.drift, one.saturated, one.seconds]
            reported += ["; ".join(alarm.kind for alarm in one.alarms), one.converged, one.failure or one.verdict]
            reported += [*_padded(one.exponents, most), *_padded(one.standard_errors, most)]
            rows.append([_cell(value) for value in reported])
        return {"name": self.name, "file": self.run.slug, "columns": columns, "rows": rows}

    @property
    def readings(self) -> list[dict[str, str]]:
        """The columns of the table that fit a page, as text."""
        return [
            {
                "step": str(one.step),
                "losses": ", ".join(f"{name} {value:.4g}" for name, value in one.losses.items()),
                "largest": "failed" if one.failure else f"{_mark(one)}{one.max:.4f} ± {one.max_error:.4f}",
                "mean": "-" if one.mean is None else f"{one.mean:.4f}",
                "memory": "-" if one.failure else one.timescale.cell,
                "alarms": ", ".join(alarm.kind + " (not certain)" * alarm.tentative for alarm in one.alarms),
                "verdict": one.failure or one.verdict,
            }
            for one in self.run.readings
        ]


def _figures(runs: Sequence[Run], shown: Sequence[_Shown]) -> dict[str, figures.Figure]:
    drawn = {"course": figures.course(runs)}
    found = [(run.name, series.distances(series.leading(run)), series.converged(run)) for run in runs]
    away = [(name, each, sure) for name, each, sure in found if each is not None]
    if away:
        drawn["distances"] = figures.distances(away, runs[0].unit)
    for at, one in enumerate(shown):
        by_layer = series.layers(one.spectra)
        if by_layer:
            drawn[f"layers-{at}"] = figures.layers(by_layer, one.run.unit)
    for name, label, value in series.READOUTS:
        against = series.association(runs, value)
        if against is not None:
            drawn[f"association-{name}"] = figures.association(against, label)
    return drawn


def _associations(runs: Sequence[Run]) -> dict[str, str]:
    found = {f"association-{name}": (label, series.association(runs, value)) for name, label, value in series.READOUTS}
    return {name: f"{label}: {each.in_words()}" for name, (label, each) in found.items() if each is not None}


def _mark(reading: Reading) -> str:
    """The hollow marker of the figures."""
    return "\u25cb " if reading.converged is False else ""


def _times(reading: Reading) -> list[float | None]:
    """Memory time and Lyapunov time, each with its interval: one of them at the most."""
    scale, empty = reading.timescale, [None] * 3
    return [value for kind in TIME_NAMES for value in (scale[1:] if scale.kind == kind else empty)]


def _padded(values: Sequence[float], count: int) -> list[float | None]:
    return [*values, *[None] * (count - len(values))]


def _cell(value: object) -> object:
    """As JSON has it; what is not finite in words."""
    return str(value) if isinstance(value, float) and not math.isfinite(value) else value


def _asset(name: str) -> str:
    return (files("lyapunov.report") / "assets" / name).read_text(encoding="utf-8")
