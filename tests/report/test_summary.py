"""Sentences say what the numbers say."""

import math
from dataclasses import replace

import pytest

from lyapunov.report import summary
from lyapunov.training import Alarm, History, Reading, Run


def run_of(directory, readings: list[Reading], **about) -> Run:
    history = History(directory)
    history.append({"kind": "run", **about})
    for reading in readings:
        history.append(reading.record())
    return Run.load(directory)


def reading(step: int, largest: float, **changes) -> Reading:
    interval = changes.pop("max_interval", (largest - 0.02, largest + 0.02))
    losses = changes.pop("losses", {})
    return Reading(step, None, losses, (largest,), (0.01,), max_interval=interval, **changes)


def test_a_summary_has_the_ends_and_the_losses(tmp_path) -> None:
    losses = [{"val": 3.0}, {"val": 1.5}, {"val": 2.0}]
    readings = [reading(at, -0.5 + 0.2 * at, losses=loss, seconds=1.0, training_seconds=9.0) for at, loss in enumerate(losses)]
    readings[2] = replace(readings[2], verdict="too short: about 40 would do.", kinds=("too short",))
    readings[0] = replace(readings[0], verdict="converged", kinds=())
    said = summary.summary(run_of(tmp_path, readings))
    meaning = "a small change of the state fades e-fold in 10 (8.33 to 12.5) steps"
    assert said[0] == f"At step 2 the largest exponent is -0.1000 ± 0.0100 nats per step (not converged: too short): {meaning}."
    assert "At step 0 it was -0.5000 ± 0.0100 (converged)" in said[1]
    assert said[2] == "The val loss went from 3 to 2 (least 1.5, at step 1)."
    assert said[3] == "3 readings took 3 s, 10.00% of the time."


@pytest.mark.parametrize(
    ("values", "sentence"),
    [
        ((1.234,), "The val loss is 1.234 at step 0, its one reading."),
        ((1.2341, 1.23412), "The val loss stayed at 1.234."),
        ((1.2341, 2.0, 1.23412), "The val loss stayed at 1.234."),
        ((1.2341, 1.0, 1.23412), "The val loss came back to 1.234 (least 1, at step 1)."),
        ((1.0, 1.5, 1.2), "The val loss went from 1 to 1.2 (it was least at first)."),
        ((3.0, 1.9999, 2.00001), "The val loss went from 3 to 2."),
    ],
)
def test_a_loss_that_prints_alike_did_not_go_anywhere(values, sentence: str, tmp_path) -> None:
    readings = [reading(at, -0.5, losses={"val": value}) for at, value in enumerate(values)]
    assert sentence in summary.summary(run_of(tmp_path, readings))


def test_fates() -> None:
    assert summary.interpretation(reading(0, 0.5)) == "a small change of the state grows e-fold in 2 (1.92 to 2.08) steps"
    assert summary.interpretation(reading(0, -0.01)).startswith("whether small changes grow or fade is not determined")
    assert summary.interpretation(reading(0, math.nan)) == "not a number"
    assert summary.interpretation(reading(0, -math.inf)) == "a small change of the state fades e-fold in 0 (0 to 0) steps"


def test_alarms_have_their_times(tmp_path) -> None:
    chaos, short = Alarm("chaos", "first"), Alarm("short memory", "it is")
    readings = [reading(0, 0.1, alarms=(short,)), reading(1, 0.1, alarms=(chaos, short)), reading(2, 0.1, alarms=(short,))]
    one, two = summary.alarm_spans(run_of(tmp_path, readings))
    assert (one.kind, one.first, one.last, one.still) == ("short memory", 0, 2, True)
    assert (two.kind, two.first, two.last, two.still, two.message) == ("chaos", 1, 1, False, "first")


def test_a_run_that_always_failed_says_so(tmp_path) -> None:
    run = run_of(tmp_path, [Reading(0, None, {}, failure="Diverged: so it is")])
    assert summary.summary(run) == ["1 readings, none of them with numbers."]
    assert summary.verdicts(run) == []


def test_settings_that_differ_come_first(tmp_path) -> None:
    runs = [run_of(tmp_path / str(lr), [reading(0, 0.1)], k=8, about={"lr": lr, "depth": 2}) for lr in (0.1, 0.2)]
    rows = summary.settings(runs)
    assert rows[0] == ("lr", ["0.1", "0.2"])
    assert ("depth", ["2", "2"]) in rows
    assert ("monitor: k", ["8", "8"]) in rows
