"""mambapy: a Mamba in plain PyTorch, stepped as it generates, with its list of caches."""

from typing import Any

import torch
from torch import Tensor

import lyapunov
from _dense import Dense
from published._inputs import series

PACKAGE, K = "mambapy", 6
WHAT = "`Mamba`, 2 layers, along series"
HOW = "its `step` with its caches"


def prepared() -> tuple[Any, ...]:
    from mambapy.mamba import Mamba, MambaConfig

    return Mamba(MambaConfig(d_model=6, n_layers=2, d_state=4)), series(2, 200, 6)


def handed_over(model: Any, inputs: Tensor, **settings: Any) -> lyapunov.Spectrum:
    caches = [(torch.zeros(2, 12, 4), torch.zeros(2, 12, 3)) for _ in range(2)]
    return lyapunov.spectrum(lambda caches, x: model.step(x, caches)[1], inputs, state=caches, **settings)


def reference(model: Any, inputs: Tensor) -> list[Dense]:
    model, shapes = model.double().eval(), ((1, 12, 4), (1, 12, 3), (1, 12, 4), (1, 12, 3))

    def step(state: Tensor, x: Tensor) -> Tensor:
        parts = [part.view(shape) for part, shape in zip(state.split([48, 36, 48, 36]), shapes, strict=True)]
        new = model.step(x[None], [(parts[0], parts[1]), (parts[2], parts[3])])[1]
        return torch.cat([part.flatten() for cache in new for part in cache])

    return [Dense(step, torch.zeros(2, 168), list(inputs.double()))]
