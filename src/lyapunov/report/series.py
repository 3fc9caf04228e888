"""What runs say, as series of numbers to draw: of one run in time, and of several beside each other."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from lyapunov._optional import import_optional
from lyapunov.errors import InvalidInput
from lyapunov.estimate import Spectrum, half_widths
from lyapunov.training import Reading, Run

HELD_OUT = ("held", "val", "eval", "test")
"""What names of losses on other data than the training's have in them."""
ENOUGH_RUNS = 5
"""Runs from which on a rank correlation says anything."""


@dataclass(frozen=True)
class Band:
    """Values by step, and the interval of 95 % around them, NaN where there is none; whether each is converged, where known."""

    steps: tuple[int, ...]
    values: tuple[float, ...]
    low: tuple[float, ...]
    high: tuple[float, ...]
    converged: tuple[bool | None, ...]


def valid_readings(run: Run) -> list[Reading]:
    """The readings that have numbers."""
    return [reading for reading in run.readings if reading.failure is None]


def largest(run: Run) -> Band:
    """The largest exponent of each reading that has numbers, with its 95 % interval."""
    found = valid_readings(run)
    return Band(
        tuple(reading.step for reading in found),
        tuple(reading.max for reading in found),
        tuple(reading.max_interval[0] for reading in found),
        tuple(reading.max_interval[1] for reading in found),
        tuple(reading.converged for reading in found),
    )


def mean(run: Run) -> Band:
    """The mean over all exponents, where it is known; the band is two standard errors wide on each side."""
    found = [reading for reading in valid_readings(run) if reading.mean is not None]
    values = [reading.mean or 0.0 for reading in found]
    errors = [2 * (math.nan if reading.mean_error is None else reading.mean_error) for reading in found]
    return Band(
        tuple(reading.step for reading in found),
        tuple(values),
        tuple(value - error for value, error in zip(values, errors, strict=True)),
        tuple(value + error for value, error in zip(values, errors, strict=True)),
        tuple(reading.converged for reading in found),
    )


def losses(run: Run) -> dict[str, tuple[tuple[int, ...], tuple[float, ...]]]:
    """Steps and values of every loss, by name."""
    names = dict.fromkeys(name for reading in run.readings for name in reading.losses)
    return {
        name: (
            tuple(reading.step for reading in run.readings if name in reading.losses),
            tuple(reading.losses[name] for reading in run.readings if name in reading.losses),
        )
        for name in names
    }


@dataclass(frozen=True)
class Distances:
    """How far the spectrum at each step is from the last one: the two measures of the 2020 paper, in our reading of them.

    mean_difference: <lambda_i(e) - lambda_i(E)>, nats per step. reduced: <(lambda_i(e) - lambda_i(E))^2> over the same at the
    first reading, which is 1. `taken`: over how many exponents.
    """

    steps: tuple[int, ...]
    mean_difference: tuple[float, ...]
    reduced: tuple[float, ...]
    taken: int


def distances(by_step: Mapping[int, Sequence[float]]) -> Distances | None:
    """Of exponents by step, over those that are finite at every step; None where there are fewer than two steps."""
    steps = sorted(by_step)
    if len(steps) < 2:
        return None
    common = min(len(by_step[step]) for step in steps)
    kept = [at for at in range(common) if all(math.isfinite(by_step[step][at]) for step in steps)]
    last = by_step[steps[-1]]
    differences = [[by_step[step][at] - last[at] for at in kept] for step in steps]
    if not kept or not any(differences[0]):
        return None
    squares = [sum(value * value for value in row) for row in differences]
    means = tuple(sum(row) / len(kept) for row in differences)
    return Distances(tuple(steps), means, tuple(square / squares[0] for square in squares), len(kept))


def converged(run: Run) -> dict[int, bool | None]:
    """Whether each reading is, by step; None where an older history does not say."""
    return {reading.step: reading.converged for reading in valid_readings(run)}


def leading(run: Run) -> dict[int, Sequence[float]]:
    """The leading exponents of every reading, by step."""
    return {reading.step: reading.exponents for reading in valid_readings(run)}


def whole(spectra: Mapping[int, Spectrum]) -> dict[int, Sequence[float]]:
    """All exponents, at the steps where they were taken."""
    return {step: found.exponents.tolist() for step, found in spectra.items() if found.is_full}


def layers(spectra: Mapping[int, Spectrum]) -> dict[int, Band]:
    """The largest exponent of each layer by step, of runs whose layers have frames of their own; else empty."""
    found: dict[int, list[tuple[int, float, float, bool]]] = {}
    for step, result in spectra.items():
        half = half_widths(result.standard_errors, result.degrees, 0.95)
        for layer in sorted(set(result.layer.tolist())):
            first = int((result.layer == layer).nonzero()[0])
            found.setdefault(layer, []).append(
                (step, float(result.exponents[first]), float(half[first]), result.verdict.converged)
            )
    if len(found) < 2:
        return {}
    return {layer: _band(points) for layer, points in sorted(found.items())}


def _band(points: list[tuple[int, float, float, bool]]) -> Band:
    steps, values, half, sure = zip(*points, strict=True)
    low = tuple(value - width for value, width in zip(values, half, strict=True))
    return Band(steps, values, low, tuple(value + width for value, width in zip(values, half, strict=True)), sure)


@dataclass(frozen=True)
class Association:
    """A number of each run against its least loss: Spearman's rank correlation and its interval of 95 %.

    The interval is Fisher's, with the variance of Bonett and Wright (2000); None with fewer than ENOUGH_RUNS runs.
    """

    loss: str
    names: tuple[str, ...]
    values: tuple[float, ...]
    losses: tuple[float, ...]
    correlation: float | None
    interval: tuple[float, float] | None
    converged: tuple[bool | None, ...]

    def in_words(self) -> str:
        """The correlation, or why there is none."""
        if len(self.values) < ENOUGH_RUNS:
            return f"{len(self.values)} runs: too few for a rank correlation ({ENOUGH_RUNS} or more)"
        if self.correlation is None:
            return "one of the two is the same in all runs"
        interval = "" if self.interval is None else f" (95 %: {self.interval[0]:.2f} to {self.interval[1]:.2f})"
        return f"rank correlation {self.correlation:.2f}{interval}, {len(self.values)} runs"


READOUTS: tuple[tuple[str, str, Callable[[Reading], float | None]], ...] = (
    ("largest", "largest exponent at the end", lambda reading: reading.max),
    ("mean", "mean exponent at the end", lambda reading: reading.mean),
)
"""What is put beside the loss over runs: a name, an axis label, and the number of a reading."""


def association(runs: Sequence[Run], value: Callable[[Reading], float | None]) -> Association | None:
    """Over runs, of a number at the last reading; None with fewer than two runs, or no loss that all have."""
    loss = common_loss(runs)
    points = []
    for run in runs if loss is not None else ():
        found = value(valid_readings(run)[-1]) if valid_readings(run) else None
        if found is not None and math.isfinite(found):
            points.append((run.name, found, min(losses(run)[str(loss)][1]), valid_readings(run)[-1].converged))
    if len(points) < 2:
        return None
    names, values, least, sure = zip(*points, strict=True)
    found = rank_correlation(values, least) if len(points) >= ENOUGH_RUNS else (None, None)
    return Association(str(loss), names, values, least, *found, sure)


def common_loss(runs: Sequence[Run]) -> str | None:
    """A loss that all runs have: one on held-out data where there is one."""
    names = [name for name in losses(runs[0]) if all(name in losses(run) for run in runs)] if runs else []
    held_out = [name for name in names if any(word in name.lower() for word in HELD_OUT)]
    return (held_out or names or [None])[0]


def rank_correlation(one: Sequence[float], other: Sequence[float]) -> tuple[float | None, tuple[float, float] | None]:
    """Spearman's and its interval of 95 %; None where one of the two does not vary."""
    if len(one) != len(other) or len(one) < 4:
        raise InvalidInput(f"Expected two series of one length, 4 or more, got {len(one)} and {len(other)}. Pass more runs.")
    if len(set(one)) < 2 or len(set(other)) < 2:
        return None, None
    found = float(import_optional("scipy.stats", "plot").spearmanr(one, other).statistic)
    if abs(found) >= 1 - 1e-12:
        return found, None
    half = 1.959964 * math.sqrt((1 + found * found / 2) / (len(one) - 3))
    return found, (math.tanh(math.atanh(found) - half), math.tanh(math.atanh(found) + half))
