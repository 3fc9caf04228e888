"""auto_esn: echo state networks in PyTorch, whose default activation normalises the state."""

from typing import Any

import torch
from torch import Tensor

import lyapunov
from _dense import Dense
from published._inputs import series

PACKAGE, K = "auto-esn", 6
WHAT = "`DeepESN`, 40 units, activation that normalises"
HOW = "its cell as a step"
REMEDY = (
    "Done: the activation divides by the norm over all sequences, as the package runs one series at a time; with "
    "`torch.func.vmap` over sequences each has a norm of its own."
)


def prepared() -> tuple[Any, ...]:
    from auto_esn.esn.esn import DeepESN

    return DeepESN(input_size=2, hidden_size=40, num_layers=1).reservoir.esn_cell.layers[0], series(2, 200, 2)


def states() -> Tensor:
    return torch.randn(2, 40, generator=torch.Generator().manual_seed(1))


def refused(cell: Any, inputs: Tensor) -> None:
    def step(h: Tensor, x: Tensor) -> Tensor:
        cell.hx = h
        return cell(x)

    lyapunov.spectrum(step, inputs, state=states(), k=K)


def handed_over(cell: Any, inputs: Tensor, **settings: Any) -> lyapunov.Spectrum:
    def step(h: Tensor, x: Tensor) -> Tensor:
        cell.hx = h[None]
        return cell(x[None])[0]

    return lyapunov.spectrum(lambda h, x: torch.vmap(step)(h, x), inputs, state=states(), **settings)


def reference(cell: Any, inputs: Tensor) -> list[Dense]:
    recurrent, into = cell.weight_hh.detach().double(), cell.weight_ih.detach().double()

    def step(h: Tensor, x: Tensor) -> Tensor:
        new = recurrent @ h + into @ x
        return 0.1 * h + 0.9 * 100 * new / new.norm()

    return [Dense(step, states(), list(inputs.double()))]
