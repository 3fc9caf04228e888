"""Alarms are raised where they should be, and only there."""

import math
from dataclasses import replace

import pytest
import torch

import lyapunov
from lyapunov.systems import known
from lyapunov.training import AlarmThresholds, Reading
from lyapunov.training.alarms import alarms


def reading(largest: float, error: float = 0.01, *, step: int = 0, **changes) -> Reading:
    interval = (largest - 2 * error, largest + 2 * error)
    exponents = (largest, largest - 0.1, largest - 0.2)
    numbers = {"exponents": exponents, "standard_errors": (error,) * 3, "max_interval": interval}
    return Reading(step, None, {}, **{**numbers, **changes})


def kinds(now: Reading, thresholds: AlarmThresholds | None = None, before: tuple[Reading, ...] = ()) -> list[str]:
    return [alarm.kind for alarm in alarms(now, before[0] if before else None, before, thresholds or AlarmThresholds())]


def test_chaos_is_beyond_the_error() -> None:
    assert kinds(reading(0.03)) == ["chaos"]
    assert kinds(reading(0.01)) == []
    assert kinds(reading(-0.03)) == []
    assert kinds(reading(0.03, math.nan)) == []
    (alarm,) = alarms(reading(0.03), None, (), AlarmThresholds())
    assert "0.0300" in alarm.message
    assert "0.0100" in alarm.message
    assert "33.3 (20 to 100) steps" in alarm.message


def test_a_direction_that_neither_grows_nor_shrinks_is_no_chaos() -> None:
    """A limit cycle reads up to one over the steps that are counted, with an error far below that."""
    assert kinds(reading(0.009, 0.001, counted=100.0)) == []
    assert kinds(reading(0.011, 0.001, counted=100.0)) == ["chaos"]


UNSURE = {"verdict": "too short: about 40 would do.", "kinds": ("too short",)}
SURE = {"verdict": "converged", "kinds": ()}


@pytest.mark.parametrize(("largest", "thresholds"), [(0.03, None), (-0.1, AlarmThresholds(lag=60)), (-0.8, None)])
def test_an_alarm_claims_no_more_than_the_verdict_allows(largest: float, thresholds: AlarmThresholds | None) -> None:
    def reported(**verdict):
        (alarm,) = alarms(reading(largest, **verdict), None, (), thresholds or AlarmThresholds())
        return alarm.tentative, alarm.message

    certain, message = reported(**SURE)
    assert not certain
    assert reported(**UNSURE) == (True, f"the reading is not converged (too short), so this is not certain: {message}")
    assert reported(verdict="too short: in an older history")[0]
    within = reported(verdict="finite-time: ...", kinds=("finite-time",))
    assert within == (False, f"over these steps from the initial state (finite-time), {message}")
    assert reported(verdict="...", kinds=("finite-time", "drifting"))[0]


def test_a_tail_below_the_floor_does_not_touch_the_largest_exponent() -> None:
    verdict = {"verdict": "unreliable tail: ...", "kinds": ("unreliable tail",)}
    case = known.henon()
    spectrum = lyapunov.spectrum(case.system, steps=20)
    for reliable in (True, False):
        found = replace(spectrum, reliable=torch.tensor([reliable, False]))
        (alarm,) = alarms(reading(-0.8, spectrum=found, **verdict), None, (), AlarmThresholds())
        assert alarm.tentative == (not reliable)


def test_saturation_is_of_the_state_and_not_of_the_exponents() -> None:
    (alarm,) = alarms(reading(-0.1, saturated=0.9, **UNSURE), None, (), AlarmThresholds())
    assert not alarm.tentative


def test_settled_is_not_certain_where_a_reading_compared_is_not_converged() -> None:
    way = [-2.0, -1.0, -0.5, -0.25, -0.25, -0.26, -0.25, -0.24, -0.25]
    readings = [reading(value, step=step, **SURE) for step, value in enumerate(way)]
    for unsure, tentative in ((None, False), (1, False), (0, True), (4, True), (8, True)):
        compared = [replace(one, **(UNSURE if one.step == unsure else SURE)) for one in readings]
        (alarm,) = alarms(compared[8], compared[0], tuple(compared[:8]), AlarmThresholds())
        assert alarm.kind == "settled"
        assert alarm.tentative == tentative
        assert ("1 of the 7 readings compared are not converged" in alarm.message) == tentative


def test_memory_is_beside_the_lag_where_that_is_known() -> None:
    """At -0.1 +- 0.01 the memory is 10 steps, at most 1 / 0.08 = 12.5."""
    now = reading(-0.1)
    assert kinds(now) == []
    assert kinds(now, AlarmThresholds(lag=12)) == []
    assert kinds(now, AlarmThresholds(lag=13)) == ["short memory"]
    (alarm,) = alarms(now, None, (), AlarmThresholds(lag=60))
    assert "10 steps" in alarm.message
    assert "at most 12.5" in alarm.message
    assert "60" in alarm.message
    assert kinds(reading(-0.01), AlarmThresholds(lag=1e6)) == []
    with pytest.raises(lyapunov.InvalidInput, match="`lag`"):
        AlarmThresholds(lag=-1)


def test_everything_contracting_is_a_largest_exponent_below_minus_ln_2() -> None:
    assert kinds(reading(-0.8)) == ["contracting"]
    assert kinds(reading(-0.70)) == []
    assert kinds(reading(-0.6)) == []
    (alarm,) = alarms(reading(-math.log(4)), None, (), AlarmThresholds())
    assert "75%" in alarm.message


def test_saturation_is_a_share_of_units() -> None:
    assert kinds(reading(-0.1, saturated=0.51)) == ["saturating"]
    assert kinds(reading(-0.1, saturated=0.5)) == []
    assert kinds(reading(-0.1, saturated=0.3), AlarmThresholds(saturated=0.2)) == ["saturating"]


def test_settled_is_to_lie_still_after_a_way() -> None:
    way = [-2.0, -1.0, -0.5, -0.25, -0.25, -0.26, -0.25, -0.24, -0.25]
    readings = tuple(reading(value, step=step) for step, value in enumerate(way))
    found = [kinds(readings[at], before=readings[:at]) for at in range(1, len(way))]
    assert ["settled" in kind for kind in found] == [False] * 7 + [True]
    (alarm,) = [alarm for alarm in alarms(readings[8], readings[0], readings[:8], AlarmThresholds()) if alarm.kind == "settled"]
    assert "since step 3" in alarm.message
    assert "1% of their way since step 0" in alarm.message


def test_what_never_moved_beyond_its_errors_has_not_settled() -> None:
    still = tuple(reading(-0.25, step=step) for step in range(9))
    assert kinds(still[8], before=still[:8]) == []
    drifting = tuple(reading(-2.0 + 0.2 * step, step=step) for step in range(9))
    assert "settled" not in kinds(drifting[8], before=drifting[:8])
