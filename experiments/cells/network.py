"""A network of cells as the benchmark builds it: embedding, layers of one recipe, readout; and the system of several."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from experiments.cells.layer import CellLayer, Linear, Weights, new_states, values
from experiments.cells.recipes import Recipe
from lyapunov.systems.stack import Stack

LAYERS, EMBEDDED = 3, 0.1
"""Layers of a network, and the bound of what embedding and readout start from, as in the benchmark."""
States = list[tuple[Tensor, ...]]


class CellNetwork(nn.Module):
    """Symbols -> embedding -> layers of cells -> linear readout, with the benchmark's initial weights.

    Weights and biases of cells are uniform on [-1/sqrt(n), 1/sqrt(n)], embedding and readout on [-0.1, 0.1]. `inputs`: how
    many symbols there are, or, with `continuous`, how many numbers the input has.
    """

    def __init__(
        self,
        recipe: Recipe,
        width: int,
        inputs: int,
        outputs: int,
        *,
        seed: int,
        layers: int = LAYERS,
        continuous: bool = False,
    ) -> None:
        super().__init__()
        self.recipe, self.width, self.continuous = recipe, width, continuous
        generator = torch.Generator().manual_seed(seed)

        def drawn(*shape: int, bound: float) -> nn.Parameter:
            return nn.Parameter((2 * torch.rand(*shape, generator=generator, dtype=torch.float64) - 1) * bound)

        self.embedding = drawn(inputs, width, bound=EMBEDDED)
        linear = [node for node in recipe.nodes if node.operation == "linear"]
        self.cells = nn.ModuleList()
        for _ in range(layers):
            parts = {}
            for node in linear:
                blocks = [drawn(width, width, bound=width**-0.5) for _ in node.inputs]
                parts[node.name] = nn.ParameterList([*blocks, drawn(width, bound=width**-0.5)])
            self.cells.append(nn.ModuleDict(parts))
        self.readout = drawn(outputs, width, bound=EMBEDDED)
        self.bias = nn.Parameter(torch.zeros(outputs, dtype=torch.float64))

    def forward(self, inputs: Tensor, states: States | None = None) -> tuple[Tensor, States]:
        """Outputs (batch, time, outputs) and the states after the last step."""
        x = inputs.to(self.embedding.dtype) @ self.embedding if self.continuous else self.embedding[inputs]
        found: States = []
        for at, weights in enumerate(self.weights()):
            state = self._start(len(x)) if states is None else states[at]
            outputs = []
            for now in x.unbind(1):
                state = new_states(self.recipe, values(self.recipe, weights, now.unsqueeze(1), state))
                outputs.append(state[0].squeeze(1))
            x = torch.stack(outputs, dim=1)
            found.append(state)
        return x @ self.readout.mT + self.bias, found

    def weights(self) -> list[Weights]:
        """Layer by layer, as one copy."""
        return [
            {name: Linear(tuple(one.unsqueeze(0) for one in own[:-1]), own[-1].unsqueeze(0)) for name, own in cell.items()}
            for cell in self.cells
        ]

    def _start(self, batch: int) -> tuple[Tensor, ...]:
        return tuple(self.embedding.new_zeros(batch, 1, self.width) for _ in range(self.recipe.states))


def layers_of(networks: Sequence[CellNetwork]) -> list[CellLayer]:
    """Layers that hold several networks of one recipe as copies; without gradients to the modules."""
    recipe, by_network = networks[0].recipe, [network.weights() for network in networks]
    found = []
    for at in range(len(by_network[0])):
        weights = {
            name: Linear(
                tuple(torch.cat([own[at][name].weights[i].detach() for own in by_network]) for i in range(len(linear.weights))),
                torch.cat([own[at][name].bias.detach() for own in by_network]),
            )
            for name, linear in by_network[0][at].items()
        }
        found.append(CellLayer(recipe, weights, at))
    return found


def system_of(networks: Sequence[CellNetwork]) -> Stack:
    """One system, entry b of whose batch is network b mod S."""
    return Stack(layers_of(networks))
