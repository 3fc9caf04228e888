"""snntorch: spiking neurons with recurrent connections, linearised by their surrogate gradient."""

from typing import Any

import torch
from torch import Tensor

import lyapunov
from _dense import Dense
from published._inputs import series

PACKAGE, K = "snntorch", 8
WHAT = "`RLeaky`, 24 spiking neurons, with its surrogate gradient"
HOW = "step on (spikes, membrane)"
REMEDY = (
    "Done: the surrogate is written out of plain operations, and `check=False` says that it is not meant to be the "
    "derivative of the spikes."
)


def prepared() -> tuple[Any, ...]:
    import snntorch

    return snntorch.RLeaky(beta=0.9, linear_features=24, reset_mechanism="subtract"), 1 + series(2, 300, 24)


def refused(neurons: Any, current: Tensor) -> None:
    state = torch.zeros(2, 24), torch.zeros(2, 24)
    lyapunov.spectrum(lambda s, x: neurons(x, *s), current, state=state, k=K)


def handed_over(neurons: Any, current: Tensor, **settings: Any) -> lyapunov.Spectrum:
    def spike(v: Tensor) -> Tensor:
        smooth = torch.atan(torch.pi * v) / torch.pi
        return smooth + ((v > 0).to(v) - smooth).detach()

    neurons.spike_grad, state = spike, (torch.zeros(2, 24), torch.zeros(2, 24))
    return lyapunov.spectrum(lambda s, x: neurons(x, *s), current, state=state, check=False, **settings)


def reference(neurons: Any, current: Tensor) -> list[Dense]:
    import snntorch

    neurons.spike_grad = snntorch.surrogate.atan()
    neurons = neurons.double()

    def step(state: Tensor, x: Tensor) -> Tensor:
        return torch.cat(neurons(x[None], state[None, :24], state[None, 24:]), dim=-1)[0]

    return [Dense(step, torch.zeros(2, 48), list(current.double()), vectorize=False)]
