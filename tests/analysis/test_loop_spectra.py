"""What conditional and free exponents say together, and beside a true system."""

import math
from functools import cache
from typing import Any

import pytest
import torch
from experiments.closed_loops.lorenz import DT, lorenz, reference, reservoir

import lyapunov
from cases import drawn
from lyapunov.analysis.closed_loops import forecasts
from lyapunov.analysis.closed_loops.loop_spectra import ConditionalGap
from lyapunov.errors import InvalidInput
from lyapunov.systems import known
from tolerances import Z

F64 = torch.float64
pytestmark = pytest.mark.usefixtures("shapes_unchecked")


@pytest.fixture(scope="module")
def learned() -> dict[str, Any]:
    """A small reservoir that has learned Lorenz 1963, both its spectra, and the free one by dense Jacobians in NumPy."""
    data, inputs = lorenz(8, 800, seed=1), lorenz(16, 200, seed=2)
    loop = reservoir(60, seed=0, data=data, radius=0.2)
    both = lyapunov.loop_spectra(loop, inputs, steps=1500, k=4, dt=DT, align=300)
    return {"loop": loop, "both": both, "inputs": inputs, "own": reference(loop, inputs, steps=1500) / DT}


def test_free_exponents_of_a_learned_loop_are_those_of_a_dense_reference(learned: dict[str, Any]) -> None:
    free, own = learned["both"].free, torch.from_numpy(learned["own"])
    errors = torch.hypot(free.standard_errors, own.std(0) / len(own) ** 0.5)
    assert bool(((free.exponents - own.mean(0)).abs() <= Z * errors).all())


def test_a_learned_loop_forgets_its_start_and_is_chaotic_as_lorenz_is(learned: dict[str, Any]) -> None:
    both = learned["both"]
    assert both.echo_state.holds
    beside = both.compare(known.lorenz())
    assert abs(float(beside.in_errors[0])) <= Z
    assert abs(float(beside.in_errors[1])) <= Z
    assert beside.dimensions[0] == pytest.approx(2.062, abs=0.03)
    assert beside.dimensions[1] == pytest.approx(2.062, abs=1e-3)
    assert 0.6 < both.predictability.lyapunov_time.value < 1.8


def test_the_gap_is_that_of_the_two_exponents(learned: dict[str, Any]) -> None:
    both = learned["both"]
    gap = both.gap_to(known.lorenz())
    assert gap.gap == pytest.approx(both.conditional.max + 14.572)
    assert gap.in_errors == pytest.approx(gap.gap / gap.error)
    assert gap.error == pytest.approx(math.hypot(float(both.conditional.standard_errors[0]), 1e-3))
    assert gap.gap < 0
    assert "below the most negative exponent of the true system, -14.5720" in str(gap)
    assert "(Hart 2024)" in str(gap)
    above = ConditionalGap(-1.0, 0.1, -14.572, 0.001)
    assert "above the most negative" in str(above)
    assert above.ratio == pytest.approx(1 / 14.572)
    with pytest.raises(InvalidInput, match="Expected all 32 exponents of the true system, got 8"):
        both.gap_to(known.kuramoto_sivashinsky())


def test_what_is_printed_holds_both_and_what_follows(learned: dict[str, Any]) -> None:
    text = repr(learned["both"])
    for part in ("Conditional (driven by data)", "Free (fed by its own output)", "echo state: yes at 4", "forcing interval"):
        assert part in text
    assert "Kaplan-Yorke dimension: 2.0" in repr(learned["both"].compare(known.lorenz()))


def test_predictions_of_a_learned_loop_hold_for_lyapunov_times(learned: dict[str, Any]) -> None:
    series = lorenz(20, 300, seed=3)
    made = lyapunov.predict(learned["loop"], series[:, :100], steps=200)
    found = lyapunov.valid_prediction_time(made, series[:, 100:], dt=DT, lyapunov_time=1 / 0.9056)
    assert found.median > 1.0
    assert found.low <= found.median <= found.high


@cache
def logistic() -> lyapunov.Spectrum:
    case = known.logistic()
    return lyapunov.spectrum(case.system, state=case.start(8), steps=60, settle=20, align=5)


def spectrum_with(exponent: float, error: float) -> lyapunov.Spectrum:
    """Of the logistic map, but for its first exponent and error."""
    fields = dict(vars(logistic()), exponents=torch.tensor([exponent]).double(), standard_errors=torch.tensor([error]).double())
    return lyapunov.Spectrum(**{name: value for name, value in fields.items() if not name.startswith("_")})


@pytest.mark.parametrize(("exponent", "holds"), [(-0.5, True), (0.5, False), (-0.3, None), (0.3, None)])
def test_the_echo_state_is_known_at_four_standard_errors(exponent: float, holds: bool | None) -> None:
    answer = lyapunov.echo_state(spectrum_with(exponent, 0.1))
    assert answer.holds is holds
    assert str(answer).startswith(f"echo state: {({True: 'yes', False: 'no', None: 'not determined'})[holds]} at 4 standard")


def test_times_follow_from_the_largest_exponent() -> None:
    found = lyapunov.predictability(spectrum_with(0.5, 0.01))
    assert found.lyapunov_time.value == pytest.approx(2.0)
    assert found.doubling_time.value == pytest.approx(2 * math.log(2))
    assert found.forcing_interval.value == pytest.approx(2 * math.log(2))
    assert found.lyapunov_time.low < 2.0 < found.lyapunov_time.high
    nothing = lyapunov.predictability(spectrum_with(-0.5, 0.01))
    assert math.isnan(nothing.forcing_interval.value)
    assert "not above zero" in str(nothing)


def test_a_forcing_interval_is_in_steps_whatever_the_time_of_one() -> None:
    case = known.logistic()
    short: dict[str, Any] = {"state": case.start(8), "steps": 60, "settle": 20, "align": 5}
    per_step = lyapunov.predictability(lyapunov.spectrum(case.system, **short))
    per_time = lyapunov.predictability(lyapunov.spectrum(case.system, dt=0.1, **short))
    assert per_time.forcing_interval.value == pytest.approx(per_step.forcing_interval.value)
    assert per_time.lyapunov_time.value == pytest.approx(0.1 * per_step.lyapunov_time.value)


def test_a_comparison_counts_differences_in_the_errors_of_both() -> None:
    case = known.henon()
    one, two = (
        lyapunov.spectrum(case.system, state=case.start(8, seed=seed), steps=60, settle=20, align=10) for seed in (1, 2)
    )
    found = lyapunov.compare(one, two)
    errors = torch.hypot(one.standard_errors, two.standard_errors)
    torch.testing.assert_close(found.in_errors, (one.exponents - two.exponents) / errors)
    published = lyapunov.compare(one, case)
    errors = torch.hypot(one.standard_errors, torch.full((2,), case.precision, dtype=F64))
    torch.testing.assert_close(published.errors, errors)
    with pytest.raises(InvalidInput, match="one is per step and the other per unit of time"):
        lyapunov.compare(one, known.lorenz())
    with pytest.raises(InvalidInput, match="Expected a Spectrum or a system"):
        lyapunov.compare(one, 3)


def test_a_valid_time_ends_where_the_error_first_passes_the_threshold() -> None:
    true = drawn(20, 50, 3, seed=420)
    size = float((true - true.mean((0, 1))).square().sum(-1).mean().sqrt())
    off = torch.zeros_like(true)
    for at in range(20):
        off[at, 10 + at :, 0] = 0.5 * size
    found = lyapunov.valid_prediction_time(true + off, true, dt=0.1, lyapunov_time=2.0)
    assert found.times.tolist() == pytest.approx([(10 + at) * 0.05 for at in range(20)])
    assert bool(found.ended.all())
    assert found.median == pytest.approx(19 * 0.05)
    assert (found.low, found.high) == pytest.approx((15 * 0.05, 24 * 0.05))  # ranks 6 and 15 of 20: 95.9 %
    open_ended = lyapunov.valid_prediction_time(true, true)
    assert open_ended.median == 50
    assert "20 still valid at the end" in str(open_ended)
    assert math.isnan(lyapunov.valid_prediction_time(true[:4], true[:4]).low)
    with pytest.raises(InvalidInput, match="a `true` series that moves"):
        lyapunov.valid_prediction_time(torch.zeros(2, 5, 1), torch.zeros(2, 5, 1))


def test_the_interval_of_a_median_holds_it_as_often_as_it_says() -> None:
    """2000 draws of 15 times from an exponential distribution, whose median is ln 2."""
    draws = -torch.rand(2000, 15, dtype=F64, generator=torch.Generator().manual_seed(421)).log()
    ends = [forecasts._median_interval(times, 0.95) for times in draws]
    held = sum(low <= math.log(2) <= high for low, high in ends) / len(ends)
    assert 0.95 <= held <= 0.98  # 96.5 % by the binomial distribution
