"""Layers on top of each other. One-directional layers are block-triangular, so the spectrum is the union of the layers'."""

from collections.abc import Sequence
from contextlib import AbstractContextManager
from typing import Any

import torch
from torch import Tensor

from lyapunov._shapes import Frame, Input, InputFrame, PerSequence, Rows, State
from lyapunov.systems.closed import ClosedForm, Layer, LayerTangent, Tangent, costliest, running_together, saturated_together
from lyapunov.systems.system import Label


class _Stack(ClosedForm):
    """What both forms share. The state is one state per layer; each layer is driven by the output of the one below."""

    def __init__(self, layers: Sequence[Layer]) -> None:
        self.layers = tuple(layers)
        self.name = f"{self.layers[0].name} x {len(self.layers)} layers"
        self.device = self.layers[0].device
        self.volume_cost = costliest(self.layers)

    @property
    def labels(self) -> tuple[Label, ...]:
        """The labels of all units, layer by layer from the bottom up, each with the number of its layer."""
        return tuple(label._replace(layer=at) for at, layer in enumerate(self.layers) for label in layer.labels)

    def initial_state(self, batch: int, like: Tensor) -> State:
        """The initial states of all layers, from the bottom up."""
        return tuple(layer.initial_state(batch, like) for layer in self.layers)

    def step(self, state: State, x: Tensor) -> State:
        """All layers, from the bottom up."""
        new = []
        for layer, own in zip(self.layers, state, strict=True):
            new.append(layer.step(own, x))
            x = layer.output(new[-1])
        return tuple(new)

    def output(self, state: State) -> Tensor:
        """The top layer's h."""
        return self.layers[-1].output(state[-1])

    def saturated(self, state: State) -> Tensor | None:
        """Which units are saturated, layer after layer, of those layers that can tell; None where none can."""
        return saturated_together(self.layers, state)

    def running(self) -> AbstractContextManager[None]:
        """Enter what every layer sets around a run, and leave it all afterwards."""
        return running_together(self.layers)

    def _linearized(self, state: State, x: Tensor) -> tuple[State, list[LayerTangent]]:
        new, tangents = [], []
        for layer, own in zip(self.layers, state, strict=True):
            own_new, tangent = layer.linearize(own, x)
            new.append(own_new)
            tangents.append(tangent)
            x = layer.output(own_new)
        return tuple(new), tangents


class _StackTangent(Tangent):
    """One Jacobian per layer, and how each is driven by the layer below."""

    def __init__(self, layers: Sequence[Layer], tangents: Sequence[LayerTangent]) -> None:
        self._layers, self._tangents = layers, tangents

    def part(self, entries: slice) -> Tangent:
        """Of some entries of the batch."""
        return type(self)(self._layers, [tangent.part(entries) for tangent in self._tangents])

    def _volumes(self) -> list[Any] | None:
        volumes = [tangent.log_volume() for tangent in self._tangents]
        return None if any(volume is None for volume in volumes) else volumes


class Stack(_Stack):
    """A stack with one independent frame per layer: L small problems instead of one L times as large, and exact attribution.

    `vector`, the frames and `log_volume` have one entry per layer; each layer's Jacobian is its own diagonal block.
    """

    @property
    def tangent_size(self) -> tuple[int, ...]:
        """Rows of each layer's frame."""
        return tuple(layer.tangent_size for layer in self.layers)

    def vector(self, state: State) -> tuple[Rows, ...]:
        """One vector per layer."""
        return tuple(layer.vector(own) for layer, own in zip(self.layers, state, strict=True))

    def with_vector(self, state: State, vector: tuple[Rows, ...]) -> State:
        """Each layer's state from its own vector."""
        parts = zip(self.layers, state, vector, strict=True)
        return tuple(layer.with_vector(own, rows) for layer, own, rows in parts)

    def linearize(self, state: State, x: Tensor) -> tuple[State, "StackTangent"]:
        """Every layer's state and its own Jacobian."""
        new, tangents = self._linearized(state, x)
        return new, StackTangent(self.layers, tangents)


class StackTangent(_StackTangent):
    """The diagonal blocks of a stack's Jacobian: each layer given the output of the one below."""

    def push(self, frame: tuple[Frame, ...]) -> tuple[Frame, ...]:
        """Each frame by its own layer."""
        return tuple(tangent.push(block) for tangent, block in zip(self._tangents, frame, strict=True))

    def pull(self, frame: tuple[Frame, ...]) -> tuple[Frame, ...]:
        """Each frame by its own layer."""
        return tuple(tangent.pull(block) for tangent, block in zip(self._tangents, frame, strict=True))

    def propagate(self, frame: tuple[Frame, ...], steps: int) -> tuple[Frame, ...]:
        """Each frame by its own layer, through all steps."""
        return tuple(tangent.propagate(block, steps) for tangent, block in zip(self._tangents, frame, strict=True))

    def log_volume(self) -> Tensor | None:
        """(batch, layers), or None where one layer has none."""
        volumes = self._volumes()
        return None if volumes is None else torch.stack(volumes, dim=-1)


class CoupledStack(_Stack):
    """A stack with one frame over all layers, rows layer by layer: what covariant vectors and gradients need."""

    @property
    def tangent_size(self) -> int:
        """Rows of all layers together."""
        return sum(self._sizes)

    @property
    def _sizes(self) -> tuple[int, ...]:
        return tuple(layer.tangent_size for layer in self.layers)

    def vector(self, state: State) -> Rows:
        """All layers' vectors, one after the other."""
        return torch.cat([layer.vector(own) for layer, own in zip(self.layers, state, strict=True)], dim=-1)

    def with_vector(self, state: State, vector: Rows) -> State:
        """Each layer's state from its part of the vector."""
        parts = zip(self.layers, state, vector.split(self._sizes, dim=-1), strict=True)
        return tuple(layer.with_vector(own, rows) for layer, own, rows in parts)

    def linearize(self, state: State, x: Input) -> tuple[State, "CoupledTangent"]:
        """Every layer's state, its own Jacobian, and what its input does to it."""
        new, tangents = self._linearized(state, x)
        return new, CoupledTangent(self.layers, tangents)


class CoupledTangent(_StackTangent):
    """J_ll from each layer, J_lm = X_l [h' rows of J_(l-1)m] for m < l: each layer's rows from those of the one below."""

    def part(self, entries: slice) -> "CoupledTangent":
        """Of some entries of the batch."""
        return CoupledTangent(self._layers, [tangent.part(entries) for tangent in self._tangents])

    def push(self, frame: Frame) -> Frame:
        """All layers' rows, from the bottom up, for an input that does not change."""
        return self.push_driven(frame, None)

    def push_driven(self, frame: Frame, input_frame: InputFrame | None) -> Frame:
        """All layers' rows, from the bottom up; `input_frame` moves the input of the lowest."""
        moved: list[Tensor] = []
        below = input_frame
        sizes = [layer.tangent_size for layer in self._layers]
        for layer, tangent, rows in zip(self._layers, self._tangents, frame.split(sizes, dim=1), strict=True):
            moved.append(tangent.push_driven(rows, below))
            below = moved[-1][:, : layer.output_size]
        return _stacked(moved)

    def pull(self, frame: Frame) -> Frame:
        """All layers' rows, from the top down: each layer's output also drives the one above."""
        return self._pulled(frame, to_input=False)[0]

    def pull_to_input(self, frame: Frame) -> InputFrame:
        """How gradients at the new state come back to the input of the lowest layer."""
        return self._pulled(frame, to_input=True)[1]

    def _pulled(self, frame: Frame, *, to_input: bool) -> tuple[Frame, Any]:
        pulled: list[Tensor] = []
        above: Tensor | None = None
        sizes = [layer.tangent_size for layer in self._layers]
        parts = list(zip(self._layers, self._tangents, frame.split(sizes, dim=1), strict=True))
        for layer, tangent, rows in reversed(parts):
            if above is not None:
                rows = torch.cat([(rows[:, : layer.output_size] + above).mT, rows[:, layer.output_size :].mT], dim=-1).mT
            pulled.insert(0, tangent.pull(rows))
            above = tangent.pull_to_input(rows) if to_input or len(pulled) < len(parts) else None
        return _stacked(pulled), above

    def paths(self, frame: Frame) -> dict[str, Frame]:
        """Each layer's own paths, and what reaches it from the layer below."""
        sizes = [layer.tangent_size for layer in self._layers]
        below, found = None, {}
        for at, (layer, tangent, rows) in enumerate(zip(self._layers, self._tangents, frame.split(sizes, dim=1), strict=True)):
            own = tangent.paths(rows)
            if below is not None:
                own["from below"] = tangent.push_driven(torch.zeros_like(rows), below)
            for name, moved in own.items():
                placed = [torch.zeros_like(part) for part in frame.split(sizes, dim=1)]
                placed[at] = moved
                found[f"layer {at}: {name}"] = _stacked(placed)
            below = torch.stack(list(own.values())).sum(0)[:, : layer.output_size]
        return found

    def log_volume(self) -> PerSequence | None:
        """The layers' sum: the Jacobian is block-triangular."""
        volumes = self._volumes()
        return None if volumes is None else torch.stack(volumes).sum(0)


def _stacked(rows: Sequence[Tensor]) -> Frame:
    """Rows of several layers as one frame, stored column by column."""
    return torch.cat([block.mT for block in rows], dim=-1).mT
