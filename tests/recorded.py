"""Recorded trajectories: networks of increasing spread as the Jacobians they had, so that every run sees the same ones."""

import math
from functools import lru_cache

import torch
from torch import Tensor, nn

from cases import cast_problem, drawn, seeded
from lyapunov.systems import System

F64 = torch.float64


class Recorded(System):
    """J_t given as inputs; the state is nothing but its size."""

    name = "recorded Jacobians"

    block_sizes = ()

    def __init__(self, size: int) -> None:
        self.block_sizes = (size,)

    def initial_state(self, batch, like):
        return like.new_zeros(batch, *self.block_sizes)

    def step(self, state, x):
        return (x @ state.unsqueeze(-1)).squeeze(-1)

    def push(self, state, x, frames):
        return self.step(state, x), (x @ frames[0],)


def tanh_network(size: int, gain: float) -> nn.RNN:
    module = seeded(nn.RNN, size, size, bias=False, batch_first=True)
    with torch.no_grad():
        module.weight_hh_l0.copy_(drawn(size, size, seed=200, scale=gain / math.sqrt(size)))
        module.weight_ih_l0.copy_(torch.eye(size, dtype=F64))
    return module


NETWORKS = {
    "tanh, gain 0.8": lambda: tanh_network(32, 0.8),
    "tanh, gain 2": lambda: tanh_network(32, 2.0),
    "tanh, gain 4": lambda: tanh_network(32, 4.0),
    "tanh, gain 8": lambda: tanh_network(32, 8.0),
    "GRU": lambda: seeded(nn.GRU, 32, 32, batch_first=True, scale=2.0),
    "LSTM": lambda: seeded(nn.LSTM, 32, 20, batch_first=True, scale=1.5),
    "LSTM, strong": lambda: seeded(nn.LSTM, 32, 20, batch_first=True, scale=4.0),
}


@lru_cache
def jacobians(name: str, batch: int, steps: int) -> Tensor:
    """(batch, steps, n, n), float64."""
    problem = cast_problem(NETWORKS[name](), drawn(batch, steps, 32, seed=201), None, F64)
    state, found = problem.state, []
    identity = torch.eye(*problem.system.block_sizes, dtype=F64).expand(batch, -1, -1)
    with torch.no_grad():
        for t in range(steps):
            state, (jacobian,) = problem.system.push(state, problem.sequences.at(t), (identity,))
            found.append(jacobian)
    return torch.stack(found, dim=1)
