"""ncps: closed-form continuous-time networks (CfC)."""

from typing import Any

import torch
from torch import Tensor

import lyapunov
from _dense import Dense
from published._inputs import series

PACKAGE, K = "ncps", 8
WHAT = "`CfC`, 20 -> 50, along series"
HOW = "its cell as a step"


def prepared() -> tuple[Any, ...]:
    from ncps.torch import CfC

    return CfC(20, 50), series(2, 200, 20)


def handed_over(model: Any, inputs: Tensor, **settings: Any) -> lyapunov.Spectrum:
    return lyapunov.spectrum(lambda h, x: model.rnn_cell(x, h, 1.0)[0], inputs, state=torch.zeros(2, 50), **settings)


def reference(model: Any, inputs: Tensor) -> list[Dense]:
    model = model.double()
    return [Dense(lambda h, x: model(x.view(1, 1, -1), h[None])[1][0], torch.zeros(2, 50), list(inputs.double()))]
