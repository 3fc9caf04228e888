"""torchdiffeq: a neural differential equation, driven, one step of its solver at a time."""

from typing import Any

import torch
from torch import Tensor, nn

import lyapunov
from _dense import Dense
from published._inputs import series

PACKAGE, K = "torchdiffeq", 6
WHAT = "`odeint` (Runge-Kutta 3/8) of a small network, 12 units"
HOW = "one step of the solver"


def prepared() -> tuple[Any, ...]:
    return nn.Sequential(nn.Linear(14, 32), nn.Tanh(), nn.Linear(32, 12)), series(2, 200, 2)


def handed_over(field: Any, inputs: Tensor, **settings: Any) -> lyapunov.Spectrum:
    from torchdiffeq import odeint

    def step(h: Tensor, x: Tensor) -> Tensor:
        times = torch.tensor([0.0, 0.1], dtype=h.dtype)
        return odeint(lambda _, y: field(torch.cat([y, x], dim=1)) - y, h, times, method="rk4")[-1]

    return lyapunov.spectrum(step, inputs, state=torch.zeros(2, 12), **settings)


def reference(field: Any, inputs: Tensor) -> list[Dense]:
    field = field.double()

    def slope(y: Tensor, x: Tensor) -> Tensor:
        return field(torch.cat([y, x])) - y

    def step(h: Tensor, x: Tensor, dt: float = 0.1) -> Tensor:
        a = slope(h, x)
        b = slope(h + dt * a / 3, x)
        c = slope(h + dt * (b - a / 3), x)
        d = slope(h + dt * (a - b + c), x)
        return h + dt * (a + 3 * (b + c) + d) / 8

    return [Dense(step, torch.zeros(2, 12), list(inputs.double()))]
