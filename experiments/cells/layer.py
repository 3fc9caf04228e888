"""A cell of any recipe as a layer of this library: values and Jacobians of the whole graph, for several networks at a time.

One layer holds the weights of S networks of the same recipe ("copies"); entry b of a batch belongs to copy b mod S. So the
seeds of a readout are the sequences of one run.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from experiments.cells.recipes import INPUT, NEW, OLD, Recipe
from lyapunov.systems.closed import Layer, LayerTangent
from lyapunov.systems.system import Label, size_labels

SLOPE = 0.01
"""Of a leaky ReLU below zero."""


class Linear(NamedTuple):
    """Of one linear node: (copies, width, width) for every input, and (copies, width)."""

    weights: tuple[Tensor, ...]
    bias: Tensor


Weights = dict[str, Linear]
"""By the name of the node."""


def values(recipe: Recipe, weights: Weights, x: Tensor, state: Sequence[Tensor]) -> dict[str, Tensor]:
    """What every node gives, for x and states of shape (times, copies, width)."""
    found = {INPUT: x} | {f"{OLD}{at}": one for at, one in enumerate(state)}
    for node in recipe.nodes:
        read = [found[name] for name in node.inputs]
        if node.operation == "linear":
            own = weights[node.name]
            found[node.name] = _affine(own, read)
        elif node.operation == "tanh":
            found[node.name] = read[0].tanh()
        elif node.operation == "sigmoid":
            found[node.name] = read[0].sigmoid()
        elif node.operation == "leaky_relu":
            found[node.name] = torch.nn.functional.leaky_relu(read[0], SLOPE)
        elif node.operation == "sum":
            found[node.name] = read[0] + read[1]
        elif node.operation == "product":
            found[node.name] = read[0] * read[1]
        else:
            found[node.name] = read[2] + read[0] * (read[1] - read[2])
    return found


def new_states(recipe: Recipe, found: dict[str, Tensor]) -> tuple[Tensor, ...]:
    """The new states among the values of all nodes."""
    return tuple(found[f"{NEW}{at}"] for at in range(recipe.states))


class CellLayer(Layer):
    """One layer of cells. Its state is (h_0, h_1, ...), of which h_0 is the output."""

    name = "recurrent cell"

    def __init__(self, recipe: Recipe, weights: Weights, index: int = 0) -> None:
        self.recipe, self.weights, self.index = recipe, weights, index
        first = next(iter(weights.values()))
        self.copies, self.output_size = first.bias.shape
        self.input_size = self.output_size
        self.device = first.bias.device

    @property
    def block_sizes(self) -> tuple[int]:
        """One block with the rows of all states."""
        return (self.recipe.states * self.output_size,)

    @property
    def labels(self) -> tuple[Label, ...]:
        """State after state."""
        return size_labels(self.index, [(f"h{at}", self.output_size) for at in range(self.recipe.states)])

    def initial_state(self, batch: int, like: Tensor) -> tuple[Tensor, ...]:
        """Zeros, as the benchmark starts."""
        return tuple(like.new_zeros(batch, self.output_size) for _ in range(self.recipe.states))

    def vectors(self, state: tuple[Tensor, ...]) -> tuple[Tensor]:
        """State after state."""
        return (torch.cat(state, dim=-1),)

    def with_vectors(self, state: tuple[Tensor, ...], vectors: tuple[Tensor, ...]) -> tuple[Tensor, ...]:  # noqa: ARG002
        """The vector, divided."""
        return vectors[0].split(self.output_size, dim=-1)

    def output(self, state: tuple[Tensor, ...]) -> Tensor:
        """h_0."""
        return state[0]

    def step(self, state: tuple[Tensor, ...], x: Tensor) -> tuple[Tensor, ...]:
        """All nodes once."""
        return self._flat(new_states(self.recipe, self._values(state, x)))

    def linearize(self, state: tuple[Tensor, ...], x: Tensor) -> tuple[tuple[Tensor, ...], "CellTangent"]:
        """The next state, and the derivative of every node with respect to what it reads."""
        found = self._values(state, x)
        slopes: dict[str, tuple[Tensor | None, ...]] = {}
        for node in self.recipe.nodes:
            read, own = [found[name] for name in node.inputs], found[node.name]
            if node.operation == "tanh":
                slopes[node.name] = (1 - own.square(),)
            elif node.operation == "sigmoid":
                slopes[node.name] = (own * (1 - own),)
            elif node.operation == "leaky_relu":
                slopes[node.name] = (torch.where(read[0] > 0, torch.ones_like(own), torch.full_like(own, SLOPE)),)
            elif node.operation == "sum":
                slopes[node.name] = (None, None)
            elif node.operation == "product":
                slopes[node.name] = (read[1], read[0])
            elif node.operation == "blend":
                slopes[node.name] = (read[1] - read[2], read[0], 1 - read[0])
        return self._flat(new_states(self.recipe, found)), CellTangent(self, slopes)

    def typed(self, like: Tensor) -> Weights:
        """The weights in the dtype of a run."""
        if next(iter(self.weights.values())).bias.dtype == like.dtype:
            return self.weights
        return {name: Linear(tuple(w.to(like) for w in own.weights), own.bias.to(like)) for name, own in self.weights.items()}

    def _values(self, state: tuple[Tensor, ...], x: Tensor) -> dict[str, Tensor]:
        shape = (-1, self.copies, self.output_size)
        return values(self.recipe, self.typed(x), x.reshape(shape), [one.reshape(shape) for one in state])

    def _flat(self, state: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        return tuple(one.flatten(0, 1) for one in state)


class CellTangent(LayerTangent):
    """The Jacobians of a layer of cells, node by node: `slopes` are (times, copies, width), None where the slope is one."""

    def __init__(self, layer: CellLayer, slopes: dict[str, tuple[Tensor | None, ...]]) -> None:
        self._layer, self._slopes = layer, slopes

    def part(self, entries: slice) -> "CellTangent":
        """Of some entries of the batch: of whole steps."""
        copies = self._layer.copies
        times = slice(entries.start // copies, entries.stop // copies)
        return CellTangent(self._layer, {name: tuple(_some(one, times) for one in own) for name, own in self._slopes.items()})

    def push_driven(self, frame: Tensor, input_frame: Tensor | None) -> Tensor:
        """Forwards through the graph."""
        found: dict[str, Any] = {f"{OLD}{at}": one for at, one in enumerate(self._divided(frame))}
        found[INPUT] = None if input_frame is None else self._by_copy(input_frame)
        weights = self._layer.typed(frame)
        for node in self._layer.recipe.nodes:
            if node.operation == "linear":
                moves = [
                    _applied(w, found[name])
                    for w, name in zip(weights[node.name].weights, node.inputs, strict=True)
                    if found[name] is not None
                ]
            else:
                moves = [
                    _scaled(slope, found[name])
                    for slope, name in zip(self._slopes[node.name], node.inputs, strict=True)
                    if found[name] is not None
                ]
            found[node.name] = sum(moves[1:], moves[0]) if moves else None
        parts = [found[f"{NEW}{at}"] for at in range(self._layer.recipe.states)]
        like = self._divided(frame)[0]
        return torch.cat([torch.zeros_like(like) if one is None else one for one in parts], dim=-2).flatten(0, 1)

    def pull_back(self, frame: Tensor) -> Tensor:
        """Backwards through the graph, to the old states."""
        found = self._pulled(frame)
        like = self._divided(frame)[0]
        parts = [found.get(f"{OLD}{at}") for at in range(self._layer.recipe.states)]
        return torch.cat([torch.zeros_like(like) if one is None else one for one in parts], dim=-2).flatten(0, 1)

    def pull_to_input(self, frame: Tensor) -> Tensor:
        """Backwards through the graph, to the input."""
        found = self._pulled(frame).get(INPUT)
        return (torch.zeros_like(self._divided(frame)[0]) if found is None else found).flatten(0, 1)

    def log_volume(self) -> None:
        """No such number in closed form."""
        return

    def _pulled(self, frame: Tensor) -> dict[str, Tensor]:
        found = {f"{NEW}{at}": one for at, one in enumerate(self._divided(frame))}
        weights = self._layer.typed(frame)
        for node in reversed(self._layer.recipe.nodes):
            own = found.get(node.name)
            if own is None:
                continue
            for at, name in enumerate(node.inputs):
                if node.operation == "linear":
                    moved = _applied(weights[node.name].weights[at].mT, own)
                else:
                    moved = _scaled(self._slopes[node.name][at], own)
                found[name] = found[name] + moved if name in found else moved
        return found

    def _by_copy(self, frame: Tensor) -> Tensor:
        return frame.reshape(-1, self._layer.copies, *frame.shape[1:])

    def _divided(self, frame: Tensor) -> tuple[Tensor, ...]:
        return self._by_copy(frame).split(self._layer.output_size, dim=-2)


def _affine(own: Linear, read: Sequence[Tensor]) -> Tensor:
    """The sum of a linear node's terms, for inputs (times, copies, width)."""
    total = own.bias.unsqueeze(-1)
    for weight, one in zip(own.weights, read, strict=True):
        total = torch.baddbmm(total, weight, one.permute(1, 2, 0))
    return total.permute(2, 0, 1)


def _applied(weight: Tensor, columns: Tensor) -> Tensor:
    """(copies, n, n) @ (times, copies, n, k): a product for each copy, with the columns of all times."""
    times, copies, size, k = columns.shape
    if times == 1:
        return torch.bmm(weight, columns[0]).unsqueeze(0)
    together = columns.permute(1, 2, 0, 3).reshape(copies, size, times * k)
    return torch.bmm(weight, together).view(copies, -1, times, k).permute(2, 0, 1, 3)


def _scaled(slope: Tensor | None, columns: Tensor) -> Tensor:
    return columns if slope is None else slope.unsqueeze(-1) * columns


def _some(slope: Tensor | None, times: slice) -> Tensor | None:
    return None if slope is None else slope[times]
