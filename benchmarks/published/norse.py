"""norse: spiking neurons with recurrent synapses."""

from typing import Any

import torch
from torch import Tensor

import lyapunov
from _dense import Dense
from published._inputs import series

PACKAGE, K = "norse", 8
WHAT = "`LIFRecurrentCell`, 16 spiking neurons, between their spikes"
HOW = "step on its state"
REMEDY = (
    "Done: with `method='heaviside'` the package computes the same spikes without a surrogate, and the exponents are those "
    "of the map as it is, whose spikes have derivative zero."
)


def prepared() -> tuple[Any, ...]:
    from norse.torch import LIFParameters, LIFRecurrentCell

    return LIFRecurrentCell(4, 16, p=LIFParameters(v_th=torch.tensor(0.4))), 1 + series(2, 200, 4)


def start(batch: int) -> Any:
    from norse.torch import LIFState

    return LIFState(*(torch.zeros(batch, 16) for _ in range(3)))


def refused(cell: Any, current: Tensor) -> None:
    lyapunov.spectrum(lambda s, x: cell(x, s)[1], current, state=start(2), k=K)


def handed_over(cell: Any, current: Tensor, **settings: Any) -> lyapunov.Spectrum:
    cell.p = cell.p._replace(method="heaviside")
    return lyapunov.spectrum(lambda s, x: cell(x, s)[1], current, state=start(2), **settings)


def reference(cell: Any, current: Tensor) -> list[Dense]:
    cell = cell.double()

    def step(state: Tensor, x: Tensor) -> Tensor:
        return torch.cat(cell(x[None], type(start(1))(*state.view(3, 1, 16)))[1], dim=1)[0]

    return [Dense(step, torch.zeros(2, 48), list(current.double()), vectorize=False)]
