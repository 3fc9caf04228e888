"""The thirty-two untrained networks of a task: three kinds of layer, four kinds of start."""

from dataclasses import dataclass

import torch
from torch import nn

from lyapunov.tasks import Learner, Recipe, Task

HIDDEN, RATE, CLIP = 32, 3e-3, 1.0


@dataclass(frozen=True)
class Start:
    """How a layer begins. `by`: the factor of its recurrent weights, or the longest time of chrono biases."""

    kind: str
    start: str
    by: float
    seed: int

    @property
    def name(self) -> str:
        """As it stands in rows."""
        return f"{self.kind} {self.start} {self.by:g} {self.seed}"


STARTS = [
    *(
        Start(kind, start, by, seed)
        for kind in ("LSTM", "GRU")
        for start, each in (
            ("default", [(1, 0), (1, 1), (1, 2)]),
            ("orthogonal", [(1, 3), (1, 4), (1, 5)]),
            ("chrono", [(10, 6), (50, 7), (200, 8)]),
            ("scaled", [(0.5, 9), (2, 10), (4, 11)]),
        )
        for by, seed in each
    ),
    *(Start("RNN", "default", 1, seed) for seed in (0, 1)),
    *(Start("RNN", "orthogonal", 1, seed) for seed in (2, 3)),
    *(Start("RNN", "scaled", by, 4 + at) for at, by in enumerate((0.5, 1.5, 2, 3))),
]


def learner(task: Task, start: Start) -> Learner:
    """The network before its first update."""
    made = Learner(task, Recipe(start.kind, HIDDEN, learning_rate=RATE, clip=CLIP, seed=start.seed))
    with torch.no_grad(), torch.random.fork_rng(devices=[]):
        torch.manual_seed(start.seed)
        STARTED[start.start](made.network.core, start.by)
    return made


def _orthogonal(layer: nn.RNNBase, by: float) -> None:
    for block in layer.weight_hh_l0.split(layer.hidden_size):
        nn.init.orthogonal_(block, gain=by)


def _scaled(layer: nn.RNNBase, by: float) -> None:
    layer.weight_hh_l0.mul_(by)


def _chrono(layer: nn.RNNBase, by: float) -> None:
    """Time constants uniform on [1, by - 1]: of the LSTM's forget and input gates, of the GRU's update gate.

    Source: Tallec and Ollivier 2018. PyTorch adds two biases, and orders gates i, f, g, o and r, z, n.
    """
    size = layer.hidden_size
    times = torch.empty(size).uniform_(1, by - 1).log()
    of_gates = {"LSTM": ((1, times), (0, -times)), "GRU": ((1, times),)}[type(layer).__name__]
    for gate, biases in of_gates:
        layer.bias_ih_l0[gate * size : (gate + 1) * size] = biases
        layer.bias_hh_l0[gate * size : (gate + 1) * size] = 0.0


STARTED = {"default": lambda layer, by: None, "orthogonal": _orthogonal, "chrono": _chrono, "scaled": _scaled}  # noqa: ARG005
