"""light-recurrent-unit-pytorch: a cell with a single gate."""

from typing import Any

import torch
from torch import Tensor

import lyapunov
from _dense import Dense
from published._inputs import series

PACKAGE, K = "light-recurrent-unit-pytorch", 8
WHAT = "`LightRecurrentUnitCell`, 24 units"
HOW = "the cell, its arguments exchanged"


def prepared() -> tuple[Any, ...]:
    from light_recurrent_unit_pytorch.light_recurrent_unit import LightRecurrentUnitCell

    return LightRecurrentUnitCell(24), series(2, 200, 24)


def handed_over(cell: Any, inputs: Tensor, **settings: Any) -> lyapunov.Spectrum:
    return lyapunov.spectrum(lambda h, x: cell(x, h), inputs, state=torch.zeros(2, 24), **settings)


def reference(cell: Any, inputs: Tensor) -> list[Dense]:
    weights = (
        cell.to_next_hidden[0].weight,
        cell.to_input_forget.weight,
        cell.to_hidden_forget.weight,
        cell.to_hidden_forget.bias,
    )
    candidate, gate_x, gate_h, bias = (weight.detach().double() for weight in weights)

    def step(h: Tensor, x: Tensor) -> Tensor:
        f = torch.sigmoid(gate_x @ x + gate_h @ h + bias)
        return (1 - f) * h + f * torch.tanh(candidate @ x)

    return [Dense(step, torch.zeros(2, 24), list(inputs.double()))]
