"""Pure functions of exponents."""

import math

import pytest
import torch

import lyapunov
from lyapunov.estimate.quantities import QUANTITIES, entropy_rate, kaplan_yorke_dimension, variance
from lyapunov.estimate.timescales import Timescale, memory_time, memory_times, times
from lyapunov.systems import known

LORENZ = torch.tensor([0.9056, 0.0, -14.572], dtype=torch.float64)


def test_kaplan_yorke_dimension_of_lorenz() -> None:
    assert kaplan_yorke_dimension(LORENZ, total=3) == pytest.approx(2 + 0.9056 / 14.572)


def test_kaplan_yorke_dimension_at_its_ends() -> None:
    assert kaplan_yorke_dimension(-LORENZ.flip(0).abs() - 1, total=3) == 0.0
    assert kaplan_yorke_dimension(LORENZ[:2], total=2) == 2.0
    assert kaplan_yorke_dimension(LORENZ[:2], total=3) is None
    assert kaplan_yorke_dimension(torch.tensor([0.5, -math.inf]).double(), total=2) == 1.0


def test_entropy_rate_is_the_sum_of_the_positive() -> None:
    assert entropy_rate(LORENZ, total=3) == pytest.approx(0.9056)
    assert entropy_rate(LORENZ[:2], total=3) == pytest.approx(0.9056)
    assert entropy_rate(LORENZ[:1], total=3) is None
    assert entropy_rate(LORENZ[:1], total=1) == pytest.approx(0.9056)


def test_memory_times() -> None:
    exponents = torch.tensor([0.1, 0.0, -0.5, -math.inf], dtype=torch.float64)
    assert memory_times(exponents).tolist() == [math.inf, math.inf, 2.0, 0.0]
    assert math.isnan(memory_time(math.nan))
    assert memory_time(-0.25) == pytest.approx(4.0)


NAN, INF = math.nan, math.inf


@pytest.mark.parametrize(
    ("exponent", "interval", "expected", "text"),
    [
        (-0.1, (-0.125, -0.08), ("memory", 10.0, 8.0, 12.5), "memory 10 (95 %: 8 to 12.5)"),
        (-0.004, (-0.005, -0.0025), ("memory", 250.0, 200.0, 400.0), "memory 250 (95 %: 200 to 400)"),
        (0.1, (0.08, 0.125), ("Lyapunov", 10.0, 8.0, 12.5), "Lyapunov time 10 (95 %: 8 to 12.5)"),
        (-0.1, (-0.3, 0.1), ("not determined", NAN, NAN, NAN), "memory not determined"),
        (0.1, (-0.1, 0.3), ("not determined", NAN, NAN, NAN), "memory not determined"),
        (-0.1, (-0.2, 0.0), ("not determined", NAN, NAN, NAN), "memory not determined"),
        (-0.1, (NAN, NAN), ("not determined", NAN, NAN, NAN), "memory not determined"),
        (NAN, (NAN, NAN), ("not determined", NAN, NAN, NAN), "memory not determined"),
        (-INF, (NAN, NAN), ("memory", 0.0, 0.0, 0.0), "memory 0 (95 %: 0 to 0)"),
    ],
)
def test_a_time_has_the_interval_of_its_exponent_or_is_not_determined(exponent, interval, expected, text: str) -> None:
    found = Timescale.of(exponent, interval)
    assert found.kind == expected[0]
    assert found[1:] == pytest.approx(expected[1:], nan_ok=True)
    assert str(found) == text


def test_columns_of_times_tell_the_kinds_apart() -> None:
    scales = [Timescale.of(0.1, (0.08, 0.125)), Timescale.of(0.0, (-0.1, 0.1)), Timescale.of(-0.1, (-0.125, -0.08))]
    assert [one.cell for one in scales] == ["Lyapunov 10 (8 to 12.5)", "not determined", "10 (8 to 12.5)"]
    assert times(scales, "memory").flatten().tolist() == pytest.approx([INF] * 3 + [NAN] * 3 + [10, 8, 12.5], nan_ok=True)
    assert times(scales, "Lyapunov").flatten().tolist() == pytest.approx([10, 8, 12.5] + [NAN] * 3 + [INF] * 3, nan_ok=True)
    assert times([], "memory").shape == (0, 3)


def test_variance_is_that_of_the_finite() -> None:
    assert variance(torch.tensor([1.0, 3.0, -math.inf])) == 1.0
    assert variance(torch.tensor([-math.inf])) == 0.0


def test_the_table_of_quantities_gives_what_a_spectrum_says() -> None:
    found = lyapunov.spectrum(known.henon().system, steps=50)
    assert found.quantities() == {one.name: getattr(found, one.name) for one in QUANTITIES}
    assert found.to_dict()["errors"] == {one.name: found.standard_error(one.name) for one in QUANTITIES}
    assert all(one.label in repr(found) for one in QUANTITIES if one.digits is not None)


def test_quantities_have_the_power_of_the_unit_that_the_table_says() -> None:
    by_step, by_time = (lyapunov.spectrum(known.henon().system, steps=50, dt=dt) for dt in (1.0, 0.5))
    for one in QUANTITIES:
        assert one.value(by_time) == pytest.approx(one.value(by_step) * 2**one.power), one.name


def test_the_smallest_quantity_is_the_last_exponent() -> None:
    found = lyapunov.spectrum(known.henon().system, steps=50)
    assert found.quantities()["min"] == found.min == float(found.exponents[-1]) < float(found.exponents[-2])


def test_each_sequence_has_its_exponents_per_unit_of_time() -> None:
    by_step, by_time = (lyapunov.spectrum(known.henon().system, steps=50, dt=dt) for dt in (1.0, 0.5))
    torch.testing.assert_close(by_time.per_sequence, 2 * by_step.per_sequence, rtol=0, atol=1e-12)
