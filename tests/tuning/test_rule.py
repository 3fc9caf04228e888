"""When a trial is pruned, and by whose word."""

import math

import pytest

from lyapunov import InvalidInput
from lyapunov.training import Reading
from lyapunov.tuning import Record, SpectrumRule, numbers_of

RULE = SpectrumRule(unpruned_fraction=0.0)


def finished(count: int = 21, *, telling: bool = True) -> list[Record]:
    """Losses at step 1 say nothing; the largest exponent says how it ends, or nothing, too."""
    ends = [float((8 * at) % count) for at in range(count)]
    return [
        Record(at, {0: 9.0, 1: 1.0 + 0.01 * ((5 * at) % count)}, {1: {"max": -end if telling else 1.0 * ((5 * at) % 3)}}, end)
        for at, end in enumerate(ends)
    ]


def now(largest: float, **spectrum: float) -> Record:
    return Record(99, {0: 9.0, 1: 1.05}, {1: {"max": largest, **spectrum}})


@pytest.mark.parametrize("wrapped", [True, False])
def test_spectra_decide_where_they_predict(wrapped: bool) -> None:
    """Whatever the other pruner says."""
    assert RULE.decide(now(-18.5), 1, finished(), wrapped=wrapped).prune
    kept = RULE.decide(now(0.5), 1, finished(), wrapped=wrapped)
    assert not kept.prune
    assert "predict" in kept.why


@pytest.mark.parametrize("wrapped", [True, False])
@pytest.mark.parametrize("known", [finished(7), finished(telling=False), []], ids=["too few", "spectra say nothing", "none"])
def test_else_the_other_pruner_decides(known: list[Record], wrapped: bool) -> None:
    found = RULE.decide(now(-18.5), 1, known, wrapped=wrapped)
    assert found == (wrapped, "by the other pruner")


def test_spectra_that_are_not_asked_have_no_word() -> None:
    rule = SpectrumRule(unpruned_fraction=0.0, spectra=False)
    assert rule.decide(now(-18.5), 1, finished(), wrapped=False) == (False, "by the other pruner")


def test_a_step_without_a_spectrum_is_left_to_the_other_pruner() -> None:
    trial = Record(99, {0: 9.0, 1: 1.0, 2: 0.9}, {1: {"max": -18.5}})
    assert RULE.decide(trial, 2, finished(), wrapped=False) == (False, "by the other pruner")


def test_a_share_of_trials_runs_on_and_is_the_same_for_everyone() -> None:
    rule = SpectrumRule(unpruned_fraction=0.2, seed=3)
    chosen = [number for number in range(1000) if rule.runs_on(number)]
    assert 150 < len(chosen) < 250
    assert chosen == [number for number in range(1000) if SpectrumRule(unpruned_fraction=0.2, seed=3).runs_on(number)]
    trial = Record(chosen[0], {1: 5.0}, {1: {"max": -18.5}})
    assert rule.decide(trial, 1, finished(), wrapped=True) == (False, "runs on whatever is predicted")


def test_what_cannot_train_is_pruned_at_once() -> None:
    rule = SpectrumRule(lag=100, unpruned_fraction=1.0)
    chaotic = rule.decide(now(1.0, max_error=0.05), 1, [], wrapped=False)
    assert chaotic.prune
    assert chaotic.why.startswith("chaos: gradients over 100 steps grow by e^100")
    forgetful = rule.decide(now(-1.3, max_error=0.05), 1, [], wrapped=False)
    assert forgetful.prune
    assert "no memory" in forgetful.why
    saturated = SpectrumRule().decide(now(-0.5, saturated=0.99), 1, [], wrapped=False)
    assert saturated.why == "saturated: 99% of the units sit where their nonlinearity is flat."


@pytest.mark.parametrize("spectrum", [{"max": 1.0, "max_error": 0.1}, {"max": 1.0}, {"max": -1.1, "max_error": 0.1}, {}])
def test_what_is_not_clear_beyond_its_error_is_not_pruned_for_it(spectrum: dict[str, float]) -> None:
    assert SpectrumRule(lag=100).hopeless(spectrum) is None
    assert SpectrumRule().hopeless({"max": 5.0, "max_error": 0.0}) is None  # nothing is known of the task


def test_losses_that_are_lost_are_left_out() -> None:
    broken = [
        *finished(),
        Record(50, {1: math.nan}, {1: {"max": 3.0}}, 1.0),
        Record(51, {1: 1.0}, {1: {"max": math.nan}}, None),
    ]
    assert RULE.decide(now(-18.5), 1, broken, wrapped=False).prune


def test_numbers_of_a_reading_are_few_and_finite() -> None:
    reading = Reading(3, None, {}, (0.1, -0.3, -math.inf), (0.01, 0.01, math.nan), mean=-1.0, saturated=0.25, seconds=0.5)
    assert numbers_of(reading) == {
        "max": 0.1, "max_error": 0.01, "mean": -1.0, "leading": pytest.approx(-0.1), "saturated": 0.25, "seconds": 0.5,
    }  # fmt: skip
    assert numbers_of(None) == {}
    assert numbers_of(Reading(3, None, {}, failure="broke")) == {}


@pytest.mark.parametrize(
    ("name", "value"), [("lag", -1.0), ("enough", 2), ("keep", 1.5), ("unpruned_fraction", -0.1), ("saturated", 2.0)]
)
def test_settings_out_of_range_are_refused(name: str, value: float) -> None:
    with pytest.raises(InvalidInput, match=name):
        SpectrumRule(**{name: value})
