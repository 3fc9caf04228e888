"""Saturated units keep their tiny slopes: a direction that shrinks is not a direction that is lost."""

import math

import pytest
import torch
from torch import nn

import lyapunov
from cases import seeded
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
