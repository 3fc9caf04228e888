"""What a run says, in sentences."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from lyapunov.report import series
from lyapunov.training import Reading, Run


@dataclass(frozen=True)
class AlarmSpan:
    """A kind of alarm: the first and the last step at which it was raised, whether it still is, and its latest sentence."""

    kind: str
    first: int
    last: int
    still: bool
    message: str


def summary(run: Run) -> list[str]:
    """A few sentences: where the largest exponent began and ended, what that means, and the losses."""
    found = series.valid_readings(run)
    if not found:
        return [f"{len(run.readings)} readings, none of them with numbers."]
    first, last = found[0], found[-1]
    largest = f"the largest exponent is {last.max:.4f} ± {last.max_error:.4f} {run.unit} ({last.standing})"
    sentences = [f"At step {last.step} {largest}: {interpretation(last)}."]
    if len(found) > 1:
        sentences.append(
            f"At step {first.step} it was {first.max:.4f} ± {first.max_error:.4f} ({first.standing}): {interpretation(first)}."
        )
    sentences += [_course(name, steps, values) for name, (steps, values) in series.losses(run).items()]
    measuring, all_time = sum(r.seconds for r in run.readings), sum(r.seconds + r.training_seconds for r in run.readings)
    if all_time > 0:
        sentences.append(f"{len(run.readings)} readings took {measuring:.3g} s, {measuring / all_time:.2%} of the time.")
    return sentences


def _course(name: str, steps: Sequence[int], values: Sequence[float]) -> str:
    """Where a loss began, ended, and was least, as far as the printed digits tell these apart."""
    first, last, least = f"{values[0]:.4g}", f"{values[-1]:.4g}", min(values)
    best = f" (least {least:.4g}, at step {steps[values.index(least)]})" if f"{least:.4g}" not in (first, last) else ""
    loss = f"The {name.replace('_', '-')} loss"
    if len(values) == 1:
        return f"{loss} is {last} at step {steps[0]}, its one reading."
    if first == last:
        return f"{loss} {'came back to' if best else 'stayed at'} {last}{best}."
    return f"{loss} went from {first} to {last}{best or _first_was_best(first, least)}."


def _first_was_best(first: str, least: float) -> str:
    return " (it was least at first)" if f"{least:.4g}" == first else ""


def interpretation(reading: Reading) -> str:
    """What becomes of a small change."""
    if math.isnan(reading.max):
        return "not a number"
    scale = reading.timescale
    if scale.kind == "not determined":
        return "whether small changes grow or fade is not determined (the 95 % interval holds 0, or there is none)"
    word = "grows" if scale.kind == "Lyapunov" else "fades"
    return f"a small change of the state {word} e-fold in {scale.numbers} steps"


def alarm_spans(run: Run) -> list[AlarmSpan]:
    """The alarms of a run, each kind once, in the order of their first time."""
    found: dict[str, AlarmSpan] = {}
    for reading in run.readings:
        for alarm in reading.alarms:
            first = found[alarm.kind].first if alarm.kind in found else reading.step
            still = reading is run.readings[-1]
            found[alarm.kind] = AlarmSpan(alarm.kind, first, reading.step, still, alarm.message)
    return sorted(found.values(), key=lambda one: one.first)


def verdicts(run: Run) -> list[str]:
    """What the last reading's verdict says; and how many of all had something against them."""
    found = series.valid_readings(run)
    if not found:
        return []
    count = sum(reading.converged is True for reading in found)
    return [f"Last reading: {found[-1].verdict or 'no verdict'}", f"{count} of {len(found)} readings converged."]


def settings(runs: Sequence[Run]) -> list[tuple[str, list[str]]]:
    """Rows of a table: a setting, and what it is in each run; what is different first."""
    columns = [_flat(run) for run in runs]
    names = list(dict.fromkeys(name for column in columns for name in column))
    rows = [(name, [column.get(name, "-") for column in columns]) for name in names]
    return sorted(rows, key=lambda row: len(set(row[1])) == 1)


_CHOSEN = {
    "linearization": "linearization",
    "batch": "sequences",
    "settle": "steps to settle",
    "align": "steps to align",
    "count": "steps counted",
    "qr_every": "steps between orthonormalisations",
    "dt": "dt",
    "dtype": "precision",
    "device": "device",
    "seed": "seed of the frame",
}
"""Settings that a report shows, as it calls them."""


def _flat(run: Run) -> dict[str, str]:
    """What the user noted, what the monitor was passed, and what the first reading chose, by names of one kind each."""
    reported = {str(name): str(value) for name, value in run.noted.items()}
    monitor = {f"monitor: {name}": run.about.get(name) for name in ("system", "size", "k", "every", "lag", "time")}
    chosen = dict(run.settings)
    first = {f"first reading: {label}": chosen.get(name) for name, label in _CHOSEN.items()}
    return reported | {name: str(value) for name, value in (monitor | first).items() if value is not None}
