"""Several layers as one system: on top of each other, with a frame each or one over all of them, or each on inputs of its own.

One-directional layers are block-triangular, so the spectrum of a stack is the union of its layers'.
"""

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager
from itertools import islice

import torch
from torch import Tensor

from lyapunov._frames import join_rows
from lyapunov._shapes import Frame, Frames, Input, InputFrame, PerSequence, Rows, State, Vectors
from lyapunov.systems.closed import ClosedForm, Layer, LayerTangent, Tangent, costliest, running_together, saturated_together
from lyapunov.systems.system import Label, total_size


class _Together(ClosedForm):
    """What all forms share: the state is a tuple with one entry per part, and so are the blocks of parts with one block."""

    def __init__(self, parts: Sequence[ClosedForm], name: str) -> None:
        self.parts, self.name = tuple(parts), name
        self.device = self.parts[0].device
        self.volume_cost = costliest(self.parts)

    @property
    def block_sizes(self) -> tuple[int, ...]:
        """Rows of each layer's frame."""
        return tuple(size for part in self.parts for size in part.block_sizes)

    def initial_state(self, batch: int, like: Tensor) -> State:
        """The initial states of all parts, in their order."""
        return tuple(part.initial_state(batch, like) for part in self.parts)

    def vectors(self, state: State) -> Vectors:
        """One vector per layer."""
        return tuple(rows for part, own in zip(self.parts, state, strict=True) for rows in part.vectors(own))

    def with_vectors(self, state: State, vectors: Vectors) -> State:
        """Each layer's state from its own vector."""
        parts = zip(self.parts, state, _dealt(vectors, self.parts), strict=True)
        return tuple(part.with_vectors(own, rows) for part, own, rows in parts)

    def saturated(self, state: State) -> Tensor | None:
        """Which units are saturated, part after part, of those parts that can tell; None where none can."""
        return saturated_together(self.parts, state)

    def running(self) -> AbstractContextManager[None]:
        """Enter what every part sets around a run, and leave it all afterwards."""
        return running_together(self.parts)


class _Layered(_Together):
    """A stack: each layer is driven by the output of the one below."""

    def __init__(self, layers: Sequence[Layer]) -> None:
        super().__init__(layers, f"{layers[0].name} x {len(layers)} layers")
        self.layers = tuple(layers)

    @property
    def labels(self) -> tuple[Label, ...]:
        """The labels of all units, layer by layer from the bottom up, each with the number of its layer."""
        return tuple(label._replace(layer=at) for at, layer in enumerate(self.layers) for label in layer.labels)

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

    def _linearized(self, state: State, x: Tensor) -> tuple[State, list[LayerTangent]]:
        new, tangents = [], []
        for layer, own in zip(self.layers, state, strict=True):
            own_new, tangent = layer.linearize(own, x)
            new.append(own_new)
            tangents.append(tangent)
            x = layer.output(own_new)
        return tuple(new), tangents


class Stack(_Layered):
    """A stack with one independent frame per layer: L small problems instead of one L times as large, and exact attribution.

    `vectors`, the frames and `log_volume` have one entry per layer; each layer's Jacobian is its own diagonal block.
    """

    def linearize(self, state: State, x: Tensor) -> tuple[State, "BlockTangent"]:
        """Every layer's state and its own Jacobian."""
        new, tangents = self._linearized(state, x)
        return new, BlockTangent(self.layers, tangents)


class IndependentLayers(_Together):
    """Layers, and stacks of them, that are stepped together, with one independent frame per layer.

    The input of a step is a tuple with one entry per part. So a network whose layers see each other through dropout, norms or
    linear maps is one run, each layer along the inputs that it really received.
    """

    def __init__(self, parts: Sequence[Layer | Stack]) -> None:
        names = [part.name for part in parts]
        super().__init__(parts, f"{names[0]} x {len(names)} layers" if len(set(names)) == 1 else " + ".join(names))

    @property
    def labels(self) -> tuple[Label, ...]:
        """Part by part, the layers' numbers running through all of them."""
        labels, first = [], 0
        for part in self.parts:
            labels += [label._replace(layer=first + label.layer) for label in part.labels]
            first += len(part.block_sizes)
        return tuple(labels)

    def step(self, state: State, x: tuple[Input, ...]) -> State:
        """Each part by its own input."""
        return tuple(part.step(own, given) for part, own, given in zip(self.parts, state, x, strict=True))

    def linearize(self, state: State, x: tuple[Input, ...]) -> tuple[State, "BlockTangent"]:
        """Every layer's state and its own Jacobian."""
        found = [part.linearize(own, given) for part, own, given in zip(self.parts, state, x, strict=True)]
        return tuple(new for new, _ in found), BlockTangent(self.parts, [tangent for _, tangent in found])


class BlockTangent(Tangent):
    """The diagonal blocks of the Jacobian alone: each part given its input."""

    def __init__(self, parts: Sequence[ClosedForm], tangents: Sequence[Tangent]) -> None:
        self._parts, self._tangents = parts, tangents

    def push(self, frames: Frames) -> Frames:
        """Each frame by its own layer."""
        return tuple(moved for tangent, own in self._pairs(frames) for moved in tangent.push(own))

    def pull(self, frames: Frames) -> Frames:
        """Each frame by its own layer."""
        return tuple(moved for tangent, own in self._pairs(frames) for moved in tangent.pull(own))

    def propagate(self, frames: Frames, steps: int) -> Frames:
        """Each frame by its own layer, through all steps."""
        return tuple(moved for tangent, own in self._pairs(frames) for moved in tangent.propagate(own, steps))

    def part(self, entries: slice) -> "BlockTangent":
        """Of some entries of the batch."""
        return BlockTangent(self._parts, [tangent.part(entries) for tangent in self._tangents])

    def log_volume(self) -> Tensor | None:
        """(batch, layers), or None where one layer has none."""
        volumes = _volumes(self._tangents)
        return None if volumes is None else torch.cat([volume.view(len(volume), -1) for volume in volumes], dim=-1)

    def _pairs(self, frames: Frames) -> Iterator[tuple[Tangent, Frames]]:
        return zip(self._tangents, _dealt(frames, self._parts), strict=True)


class CoupledStack(_Layered):
    """A stack with one frame over all layers, rows layer by layer: what covariant vectors and gradients need."""

    @property
    def block_sizes(self) -> tuple[int]:
        """One block, with the rows of all layers."""
        return (sum(super().block_sizes),)

    def vectors(self, state: State) -> tuple[Rows]:
        """All layers' vectors, one after the other."""
        return (torch.cat(super().vectors(state), dim=-1),)

    def with_vectors(self, state: State, vectors: Vectors) -> State:
        """Each layer's state from its part of the vector."""
        (vector,) = vectors
        return super().with_vectors(state, vector.split(super().block_sizes, dim=-1))

    def linearize(self, state: State, x: Input) -> tuple[State, "CoupledTangent"]:
        """Every layer's state, its own Jacobian, and what its input does to it."""
        new, tangents = self._linearized(state, x)
        return new, CoupledTangent(self.layers, tangents)


class CoupledTangent(LayerTangent):
    """J_ll from each layer, J_lm = X_l [h' rows of J_(l-1)m] for m < l: each layer's rows from those of the one below."""

    def __init__(self, layers: Sequence[Layer], tangents: Sequence[LayerTangent]) -> None:
        self._layers, self._tangents = layers, tangents

    def part(self, entries: slice) -> "CoupledTangent":
        """Of some entries of the batch."""
        return CoupledTangent(self._layers, [tangent.part(entries) for tangent in self._tangents])

    def push_driven(self, frame: Frame, input_frame: InputFrame | None) -> Frame:
        """All layers' rows, from the bottom up; `input_frame` moves the input of the lowest."""
        moved: list[Tensor] = []
        below = input_frame
        for layer, tangent, rows in self._by_layer(frame):
            moved.append(tangent.push_driven(rows, below))
            below = moved[-1][:, : layer.output_size]
        return join_rows(moved)

    def pull_back(self, frame: Frame) -> Frame:
        """All layers' rows, from the top down: each layer's output also drives the one above."""
        return join_rows(self._pulled(frame)[0])

    def pull_to_input(self, frame: Frame) -> InputFrame:
        """How gradients at the new state come back to the input of the lowest layer."""
        return self._tangents[0].pull_to_input(self._pulled(frame)[1])

    def _pulled(self, frame: Frame) -> tuple[list[Tensor], Tensor]:
        """Every layer's rows at the old state; and those of the lowest at the new one, with what the layer above gave it."""
        pulled: list[Tensor] = []
        above: tuple[LayerTangent, Tensor] | None = None
        for layer, tangent, rows in reversed(self._by_layer(frame)):
            if above is not None:
                driven = above[0].pull_to_input(above[1])
                rows = join_rows((rows[:, : layer.output_size] + driven, rows[:, layer.output_size :]))
            pulled.insert(0, tangent.pull_back(rows))
            above = tangent, rows
        return pulled, rows

    def paths(self, frames: Frames) -> dict[str, Frames]:
        """Each layer's own paths, and what reaches it from the layer below."""
        (frame,) = frames
        below, found = None, {}
        parts = self._by_layer(frame)
        for at, (layer, tangent, rows) in enumerate(parts):
            own = {name: moved for name, (moved,) in tangent.paths((rows,)).items()}
            if below is not None:
                own["from below"] = tangent.push_driven(torch.zeros_like(rows), below)
            for name, moved in own.items():
                placed = [torch.zeros_like(other) for _, _, other in parts]
                placed[at] = moved
                found[f"layer {at}: {name}"] = (join_rows(placed),)
            below = torch.stack(list(own.values())).sum(0)[:, : layer.output_size]
        return found

    def log_volume(self) -> PerSequence | None:
        """The layers' sum: the Jacobian is block-triangular."""
        volumes = _volumes(self._tangents)
        return None if volumes is None else torch.stack(volumes).sum(0)

    def _by_layer(self, frame: Frame) -> list[tuple[Layer, LayerTangent, Tensor]]:
        rows = frame.split([total_size(layer) for layer in self._layers], dim=1)
        return list(zip(self._layers, self._tangents, rows, strict=True))


def _volumes(tangents: Sequence[Tangent]) -> list[Tensor] | None:
    """ln |det J| of each; None where one has no such number."""
    volumes = [tangent.log_volume() for tangent in tangents]
    known = [volume for volume in volumes if volume is not None]
    return known if len(known) == len(volumes) else None


def _dealt(values: tuple[Tensor, ...], parts: Sequence[ClosedForm]) -> list[tuple[Tensor, ...]]:
    """One entry per block as a tuple per part."""
    rest = iter(values)
    return [tuple(islice(rest, len(part.block_sizes))) for part in parts]
