"""minGRU-pytorch: a gated recurrence whose gates see the input alone."""

from typing import Any

import torch
from torch import Tensor

import lyapunov
from _dense import Dense
from published._inputs import series

PACKAGE, K = "minGRU-pytorch", 8
WHAT = "`minGRU`, 32 units, along series"
HOW = "one step of it"


def prepared() -> tuple[Any, ...]:
    from minGRU_pytorch import minGRU

    return minGRU(32), series(2, 300, 32)


def handed_over(model: Any, inputs: Tensor, **settings: Any) -> lyapunov.Spectrum:
    def step(h: Tensor, x: Tensor) -> Tensor:
        return model(x[:, None], h, return_next_prev_hidden=True)[1]

    return lyapunov.spectrum(step, inputs, state=torch.zeros(2, 1, 32), **settings)


def reference(model: Any, inputs: Tensor) -> list[Dense]:
    weight = model.to_hidden_and_gate.weight.detach().double()

    def step(h: Tensor, x: Tensor) -> Tensor:
        value, gate = (weight @ x).chunk(2)
        value = torch.where(value >= 0, value + 0.5, torch.sigmoid(value))
        return h + torch.sigmoid(gate) * (value - h)

    return [Dense(step, torch.zeros(2, 32), list(inputs.double()))]
