"""Pure functions of exponents."""

import math

import pytest
import torch

from lyapunov.estimate.quantities import entropy_rate, kaplan_yorke_dimension, memory_times, variance

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


def test_variance_is_that_of_the_finite() -> None:
    assert variance(torch.tensor([1.0, 3.0, -math.inf])) == 1.0
    assert variance(torch.tensor([-math.inf])) == 0.0
