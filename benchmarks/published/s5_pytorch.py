"""s5-pytorch: a state space layer with a complex diagonal state, stepped one input at a time."""

from typing import Any

import torch
from torch import Tensor

import lyapunov
from _dense import Dense
from published._inputs import series

PACKAGE, K = "s5-pytorch", 8
WHAT = "`S5`, 6 features, 16 complex states"
HOW = "one step of it"


def prepared() -> tuple[Any, ...]:
    from s5 import S5

    return S5(6, 16), series(2, 200, 6)


def handed_over(layer: Any, inputs: Tensor, **settings: Any) -> lyapunov.Spectrum:
    def step(state: Tensor, x: Tensor) -> Tensor:
        return layer(x[:, None], state=state, return_state=True)[1]

    return lyapunov.spectrum(step, inputs, state=torch.zeros(2, 16, dtype=torch.complex64), **settings)


def reference(layer: Any, inputs: Tensor) -> list[Dense]:
    decay = torch.exp(layer.seq.Lambda.detach().to(torch.complex128) * torch.exp(layer.seq.log_step.detach().double()))

    def step(state: Tensor, x: Tensor) -> Tensor:  # linear: what the inputs add has no part in its derivative
        return torch.view_as_real(decay * torch.view_as_complex(state.view(16, 2)) + x.sum()).flatten()

    return [Dense(step, torch.zeros(2, 32), list(inputs.double()))]
