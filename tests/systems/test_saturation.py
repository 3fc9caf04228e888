"""Saturated units keep their tiny slopes: a direction that shrinks is not a direction that is lost."""

import math

import pytest
import torch
from torch import nn

import lyapunov
from cases import cast_problem, seeded
from lyapunov.systems._gates import log_sigmoid_slope, log_tanh_slope, sigmoid_slope, tanh_slope

F64 = torch.float64


def test_slopes_agree_with_their_definitions() -> None:
    a = torch.linspace(-6, 6, 49, dtype=F64)
    torch.testing.assert_close(tanh_slope(a), 1 - torch.tanh(a) ** 2, rtol=1e-9, atol=1e-14)
    torch.testing.assert_close(sigmoid_slope(a), torch.sigmoid(a) * (1 - torch.sigmoid(a)), rtol=1e-12, atol=0)
    torch.testing.assert_close(log_tanh_slope(a), tanh_slope(a).log(), rtol=1e-12, atol=1e-14)
    torch.testing.assert_close(log_sigmoid_slope(a), sigmoid_slope(a).log(), rtol=1e-12, atol=1e-14)


def test_slopes_survive_saturation() -> None:
    a = torch.tensor([-300.0, 40.0, 300.0], dtype=F64)
    torch.testing.assert_close(tanh_slope(a).log(), 2 * math.log(2) - 2 * a.abs(), rtol=1e-12, atol=0)
    torch.testing.assert_close(log_tanh_slope(2 * a), 2 * math.log(2) - 4 * a.abs(), rtol=1e-12, atol=0)


@pytest.mark.parametrize("drive", [30.0, 100.0])
def test_a_saturated_network_has_finite_exponents(drive: float) -> None:
    module = seeded(nn.RNN, 1, 3, batch_first=True, bias=False, scale=1.0)
    with torch.no_grad():
        module.weight_hh_l0.copy_(torch.eye(3))
        module.weight_ih_l0.fill_(1.0)
    spectrum = lyapunov.spectrum(module, torch.full((1, 40, 1), drive, dtype=F64))
    expected = 2 * math.log(2) - 2 * (drive + 1)
    torch.testing.assert_close(spectrum.exponents, torch.full((3,), expected, dtype=F64), rtol=1e-9, atol=0)
    assert bool(spectrum.reliable.all())


@pytest.mark.parametrize(
    ("module", "state", "expected"),
    [
        (seeded(nn.RNN, 2, 3), torch.tensor([[0.99, -0.99, 0.5]]), [True, True, False]),
        (seeded(nn.GRU, 2, 3), torch.tensor([[0.99, -0.97, 0.5]]), [True, False, False]),
        (seeded(nn.LSTM, 2, 3), (torch.ones(1, 3), torch.tensor([[2.2, -2.5, 9.0]])), [False, True, True]),
        (seeded(nn.RNN, 2, 3, nonlinearity="relu"), torch.tensor([[9.0, 0.0, 0.0]]), None),
    ],
    ids=["RNN", "GRU", "LSTM", "relu"],
)
def test_units_that_are_far_out_are_saturated(module, state, expected) -> None:
    """|tanh| > 0.98: |h| of tanh units and of GRU states, |c| > atanh 0.98 = 2.298 of LSTM cells."""
    system = cast_problem(module, torch.zeros(4, 1, 2), None, torch.float64).system
    found = system.saturated(state)
    assert (found if expected is None else found.tolist()) == (None if expected is None else [expected])


def test_stacks_are_their_layers_and_steps_cannot_tell() -> None:
    stack = cast_problem(seeded(nn.GRU, 2, 3, num_layers=2), torch.zeros(4, 1, 2), None, torch.float64).system
    layers = (torch.tensor([[0.99, 0.0, 0.0]]), torch.tensor([[0.0, 0.0, -0.99]]))
    assert stack.saturated(layers).tolist() == [[True, False, False, False, False, True]]
    step = cast_problem(lambda h, _: torch.tanh(h), torch.zeros(1, 4, 2), torch.zeros(1, 3), torch.float64).system
    assert step.saturated(torch.ones(1, 3)) is None
