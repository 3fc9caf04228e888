"""Independent layers: each is driven by inputs of its own, none by the output of another."""

from collections.abc import Sequence
from contextlib import AbstractContextManager
from typing import Any

import torch
from torch import Tensor

from lyapunov._shapes import State, blocks
from lyapunov.systems.closed import ClosedForm, Layer, Tangent, costliest, running_together, saturated_together
from lyapunov.systems.stack import Stack
from lyapunov.systems.system import Label


class IndependentLayers(ClosedForm):
    """Layers, and stacks of them, that are stepped together, with one independent frame per layer.

    The state and the input of a step are tuples with one entry per part; `vector`, the frames and `log_volume` have one per
    layer, those of a stack one after the other. So a network whose layers see each other through dropout, norms or linear
    maps is one run, each layer along the inputs that it really received.
    """

    def __init__(self, parts: Sequence[Layer | Stack]) -> None:
        self.parts = tuple(parts)
        names = [part.name for part in self.parts]
        self.name = f"{names[0]} x {len(names)} layers" if len(set(names)) == 1 else " + ".join(names)
        self.device = self.parts[0].device
        self.volume_cost = costliest(self.parts)

    @property
    def tangent_size(self) -> tuple[int, ...]:
        """Rows of each layer's frame."""
        return tuple(size for part in self.parts for size in blocks(part.tangent_size))

    @property
    def labels(self) -> tuple[Label, ...]:
        """Part by part, the layers' numbers running through all of them."""
        labels, first = [], 0
        for part in self.parts:
            labels += [label._replace(layer=first + label.layer) for label in part.labels]
            first += len(blocks(part.tangent_size))
        return tuple(labels)

    def initial_state(self, batch: int, like: Tensor) -> State:
        """The initial states of all parts, in their order."""
        return tuple(part.initial_state(batch, like) for part in self.parts)

    def step(self, state: State, x: tuple[Any, ...]) -> State:
        """Each part by its own input."""
        return tuple(part.step(own, given) for part, own, given in zip(self.parts, state, x, strict=True))

    def vector(self, state: State) -> tuple[Tensor, ...]:
        """One vector per layer."""
        vectors = (part.vector(own) for part, own in zip(self.parts, state, strict=True))
        return tuple(rows for vector in vectors for rows in blocks(vector))

    def with_vector(self, state: State, vector: tuple[Tensor, ...]) -> State:
        """Each layer's state from its own vector."""
        parts = zip(self.parts, state, _dealt(vector, self.parts), strict=True)
        return tuple(part.with_vector(own, rows) for part, own, rows in parts)

    def saturated(self, state: State) -> Tensor | None:
        """Which units are saturated, part after part, of those parts that can tell; None where none can."""
        return saturated_together(self.parts, state)

    def running(self) -> AbstractContextManager[None]:
        """Enter what every part sets around a run, and leave it all afterwards."""
        return running_together(self.parts)

    def linearize(self, state: State, x: tuple[Any, ...]) -> tuple[State, "IndependentTangent"]:
        """Every layer's state and its own Jacobian."""
        found = [part.linearize(own, given) for part, own, given in zip(self.parts, state, x, strict=True)]
        return tuple(new for new, _ in found), IndependentTangent(self.parts, [tangent for _, tangent in found])


class IndependentTangent(Tangent):
    """Diagonal blocks alone, part by part."""

    def __init__(self, parts: Sequence[Layer | Stack], tangents: Sequence[Tangent]) -> None:
        self._parts, self._tangents = parts, tangents

    def push(self, frame: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        """Each frame by its own layer."""
        pairs = zip(self._tangents, _dealt(frame, self._parts), strict=True)
        return tuple(moved for tangent, rows in pairs for moved in blocks(tangent.push(rows)))

    def pull(self, frame: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        """Each frame by its own layer."""
        pairs = zip(self._tangents, _dealt(frame, self._parts), strict=True)
        return tuple(moved for tangent, rows in pairs for moved in blocks(tangent.pull(rows)))

    def propagate(self, frame: tuple[Tensor, ...], steps: int) -> tuple[Tensor, ...]:
        """Each frame by its own layer, through all steps."""
        pairs = zip(self._tangents, _dealt(frame, self._parts), strict=True)
        return tuple(moved for tangent, rows in pairs for moved in blocks(tangent.propagate(rows, steps)))

    def part(self, entries: slice) -> Tangent:
        """Of some entries of the batch."""
        return IndependentTangent(self._parts, [tangent.part(entries) for tangent in self._tangents])

    def log_volume(self) -> Tensor | None:
        """(batch, layers), or None where one layer has none."""
        volumes = []
        for tangent in self._tangents:
            volume = tangent.log_volume()
            if volume is None:
                return None
            volumes.append(volume.unsqueeze(-1) if volume.dim() == 1 else volume)
        return torch.cat(volumes, dim=-1)


def _dealt(values: tuple[Tensor, ...], parts: Sequence[Layer | Stack]) -> list[Any]:
    """One entry per layer as one per part: a tensor for a layer, a tuple for a stack."""
    rest = iter(values)
    return [
        tuple(next(rest) for _ in part.tangent_size) if isinstance(part.tangent_size, tuple) else next(rest) for part in parts
    ]
