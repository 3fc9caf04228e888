"""The rate network that all three rules train, as NumPy steps it and as a system with a closed-form tangent.

    x' = x + a (W tanh(x) + U s - x),    z = C tanh(x),    a = dt / tau = 0.1

W (N, N) acts among units, U (N, inputs) brings the inputs s, C (outputs, N) reads. An output that is fed back by weights B
(N, outputs) is part of the state equation: W = W0 + B C. That is what FORCE leaves. One step's Jacobian is
(1 - a) I + a W diag(1 - tanh(x)^2).
"""

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from lyapunov import System

Numbers = NDArray[np.float64]
LEAK = 0.1
"""dt / tau of both papers' programs."""


@dataclass(frozen=True)
class Network:
    """W, U and C of the equation above."""

    recurrent: Numbers
    input: Numbers
    readout: Numbers

    @property
    def size(self) -> int:
        """Number of units."""
        return len(self.recurrent)

    def run(self, state: Numbers, inputs: Numbers, noise: Numbers | None = None) -> tuple[Numbers, Numbers]:
        """The last state (batch, N), and outputs (batch, steps, outputs), for inputs (batch, steps, inputs).

        `noise`, (batch, steps, N), is added to the state after every step.
        """
        outputs = np.empty((*inputs.shape[:2], len(self.readout)))
        drive = inputs @ self.input.T
        for at in range(inputs.shape[1]):
            state = state + LEAK * (np.tanh(state) @ self.recurrent.T + drive[:, at] - state)
            if noise is not None:
                state = state + noise[:, at]
            outputs[:, at] = np.tanh(state) @ self.readout.T
        return state, outputs


class LeakyTanh(System):
    """The network's state equation with its closed-form Jacobian; the state is x, (batch, N)."""

    name = "leaky tanh network"

    def __init__(self, network: Network) -> None:
        self._recurrent, self._input = (torch.as_tensor(part) for part in (network.recurrent, network.input))

    @property
    def block_sizes(self) -> tuple[int]:
        """One block of N rows."""
        return (len(self._recurrent),)

    def initial_state(self, batch: int, like: Tensor) -> Tensor:
        """Zeros."""
        return like.new_zeros(batch, len(self._recurrent))

    def step(self, state: Tensor, x: Tensor) -> Tensor:
        """One step of the equation."""
        drive = torch.tanh(state) @ self._recurrent.to(state).mT + x @ self._input.to(state).mT
        return torch.lerp(state, drive, LEAK)

    def push(self, state: Tensor, x: Tensor, frames: tuple[Tensor, ...]) -> tuple[Tensor, tuple[Tensor, ...]]:
        """The next state, and ((1 - a) I + a W diag(1 - tanh(x)^2)) @ frame."""
        (frame,) = frames
        slope = 1 - torch.tanh(state).square()
        return self.step(state, x), (torch.lerp(frame, self._recurrent.to(frame) @ (slope.unsqueeze(-1) * frame), LEAK),)


def drawn(size: int, inputs: int, outputs: int, gain: float, seed: int) -> tuple[Network, Numbers]:
    """The untrained network of a seed, with a readout of zeros, and feedback weights (N, outputs).

    W is normal with variance gain^2 / N, inputs and feedback are uniform in (-1, 1), as in both papers' programs.
    """
    source = np.random.default_rng([seed, size])
    recurrent = gain / np.sqrt(size) * source.standard_normal((size, size))
    incoming, feedback = source.uniform(-1, 1, (size, inputs)), source.uniform(-1, 1, (size, outputs))
    return Network(recurrent, incoming, np.zeros((outputs, size))), feedback
