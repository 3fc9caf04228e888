"""Systems whose Jacobians are known in closed form: of many steps at once, and as cheaply as the number of columns allows."""

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Generator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor, nn

from lyapunov._frames import is_large
from lyapunov._shapes import Frame, Frames, Input, InputFrame, PerSequence, State, Units
from lyapunov._trees import tree_flatten, tree_map
from lyapunov.systems.system import Label, System, size_labels, total_size
from lyapunov.systems.trace import Deal, Keep, Trace

Linearization = Literal["full", "hidden"]
WORTH_THREADS = 2.5e7
"""Multiplications in a step, over all sequences, from which on dealing them out to threads costs less than it gains."""
SMALL = 512
"""Rows of a frame up to which a second thread gains one sequence nothing."""
DENSE = 64
"""Columns from which on a Jacobian is formed: the product with it is a fraction of the one with all gates' weights."""


class Tangent(ABC):
    """Jacobians, one per entry of a batch: of several sequences, of several steps, or of both."""

    @abstractmethod
    def push(self, frames: Frames) -> Frames:
        """J @ frame of every block: how small changes of the state move in one step."""

    @abstractmethod
    def pull(self, frames: Frames) -> Frames:
        """J^T @ frame of every block: how gradients at the new state come back to the old one."""

    def paths(self, frames: Frames) -> dict[str, Frames]:
        """J @ frame as a sum: what each gate, or whatever else a change goes through, contributes."""
        return {"recurrence": self.push(frames)}

    @abstractmethod
    def part(self, entries: slice) -> "Tangent":
        """Of some entries of the batch."""

    @abstractmethod
    def log_volume(self) -> Tensor | None:
        """ln |det J|: (batch,), or (batch, blocks); None where there is no such number."""

    def propagate(self, frames: Frames, steps: int) -> Frames:
        """J_steps ... J_1 @ frame, of a batch that holds so many steps of the frames' sequences, one after the other."""
        sequences = len(frames[0])
        for at in range(steps):
            frames = self.part(slice(at * sequences, (at + 1) * sequences)).push(frames)
        return frames


class ClosedForm(System):
    """A system that gives its Jacobians away: `push` and `log_volume` follow.

    The batch of `linearize` may hold several steps of the same sequences, one after the other.
    """

    graph_entries = math.inf

    @abstractmethod
    def linearize(self, state: State, x: Input) -> tuple[State, Tangent]:
        """The next state, and d vectors(s')[b] / d vectors(s)[b] of every block b at `state`."""

    def linearize_steps(self, state: State, inputs: Sequence[Input], keep: Keep) -> tuple[list[State], Tangent]:
        """The state before each of several steps and after the last, and the Jacobians along them; `keep` as for `trace`."""
        states = [state]
        for at, x in enumerate(inputs):
            states.append(keep(self.step(states[-1], x), states[-1], at))
        return states, self.linearize(joined(states[:-1]), joined(inputs))[1]

    def trace(self, state: State, inputs: Sequence[Input], keep: Keep) -> Trace:
        """The state goes ahead alone; the Jacobians of all steps come from one pass over the weights."""
        return TraceAtOnce(self, *self.linearize_steps(state, inputs, keep), keep)

    def trace_along(self, states: list[State], inputs: Sequence[Input], keep: Keep) -> Trace:
        """The same at states that are given."""
        return TraceAtOnce(self, states, self.linearize(joined(states[:-1]), joined(inputs))[1], keep)

    def groups(self, frames: Frames, threads: int) -> list[slice]:
        """Sequences with large frames go one by one, others in as many groups as there are threads; all together on a GPU."""
        batch = len(frames[0])
        if frames[0].device.type != "cpu":
            return [slice(0, batch)]
        if any(is_large(frame) for frame in frames):
            return [slice(one, one + 1) for one in range(batch)]
        worth = batch * sum(frame.shape[1] ** 2 * frame.shape[2] for frame in frames) >= WORTH_THREADS
        size = -(-batch // threads) if worth else batch
        return [slice(first, min(first + size, batch)) for first in range(0, batch, size)]

    def deals_out(self, batch: int) -> bool:
        """Sequences are dealt out; a large one by itself is computed as PyTorch is set."""
        return batch > 1 or total_size(self) <= SMALL

    def push(self, state: State, x: Input, frames: Frames) -> tuple[State, Frames]:
        """The next state and J @ frame, from the weights."""
        new, tangent = self.linearize(state, x)
        return new, tangent.push(frames)

    def pull(self, state: State, x: Input, frames: Frames) -> Frames:
        """J^T @ frame, from the weights."""
        return self.linearize(state, x)[1].pull(frames)

    def paths(self, state: State, x: Input, frames: Frames) -> dict[str, Frames]:
        """J @ frame, gate by gate."""
        return self.linearize(state, x)[1].paths(frames)

    def log_volume(self, state: State, x: Input) -> Tensor | None:
        """ln |det J| at `state`."""
        return self.linearize(state, x)[1].log_volume()


class TraceAtOnce(Trace):
    """Steps whose Jacobians are known together."""

    def __init__(self, system: System, states: list[State], tangent: Tangent, keep: Keep) -> None:
        self._system, self._states, self._tangent, self._keep = system, states, tangent, keep
        self._batch = len(tree_flatten(states[0])[0][0])
        self._volumes: Tensor | None = None

    @property
    def states(self) -> list[State]:
        """The state before each step and after the last."""
        return self._states

    @property
    def _steps(self) -> int:
        return len(self._states) - 1

    def _of_step(self, at: int) -> Tangent:
        return self._tangent.part(slice(at * self._batch, (at + 1) * self._batch))

    def push(self, at: int, frames: Frames) -> Frames:
        """J @ frame of one step."""
        return self._keep(self._of_step(at).push(frames), frames, at)

    def pull(self, at: int, frames: Frames) -> Frames:
        """J^T @ frame of one step."""
        return self._keep(self._of_step(at).pull(frames), frames, at)

    def propagate(self, frames: Frames, *, volumes: bool) -> Frames:
        """Each step a product and a few rows; ln |det J| at the same time, where it costs little."""
        moved = self._keep(self._tangent.propagate(frames, self._steps), frames, 0)
        if volumes and self._system.volume_cost == "linear":
            self._volumes = self.log_volume()
        return moved

    def log_volumes(self, wanted: Sequence[int], deal: Deal) -> Tensor | None:
        """Entry by entry on a CPU, dealt out; on a GPU all sequences of a step at once, in the caller's stream."""
        if self._volumes is not None:
            return self._volumes.unflatten(0, (self._steps, -1))[list(wanted)]
        parts = [self._of_step(at) for at in wanted]
        if self._system.device.type == "cpu":
            parts = [step.part(slice(entry, entry + 1)) for step in parts for entry in range(self._batch)]
            volumes = deal(lambda tangent: tangent.log_volume(), parts)
        else:
            volumes = [step.log_volume() for step in parts]
        found = [volume for volume in volumes if volume is not None]
        return torch.cat(found).unflatten(0, (len(wanted), -1)) if found else None

    def log_volume(self) -> Tensor | None:
        """Of all steps, one after the other, as one batch."""
        return self._tangent.log_volume()

    def contracted(self, frames: Sequence[Frames], cotangents: Frames) -> Tensor:
        """All steps as one batch."""
        moved = self._tangent.push(tuple(joined(of_block) for of_block in zip(*frames, strict=True)))
        return torch.stack([(one * weight).sum() for one, weight in zip(moved, cotangents, strict=True)]).sum()


class LayerTangent(Tangent):
    """The Jacobians of one layer, and how its input moves it: of one block, whose frame is a matrix here."""

    @abstractmethod
    def push_driven(self, frame: Frame, input_frame: InputFrame | None) -> Frame:
        """J @ frame + X @ input_frame, with X = d s' / d x the input derivative."""

    @abstractmethod
    def pull_to_input(self, frame: Frame) -> InputFrame:
        """X^T @ frame: how gradients at the new state come back to the input, and so to the layer below."""

    @abstractmethod
    def part(self, entries: slice) -> "LayerTangent":
        """Of some entries of the batch."""

    @abstractmethod
    def pull_back(self, frame: Frame) -> Frame:
        """J^T @ frame: how gradients at the new state come back to the old one."""

    def push(self, frames: Frames) -> Frames:
        """J @ frame, for an input that does not change."""
        (frame,) = frames
        return (self.push_driven(frame, None),)

    def pull(self, frames: Frames) -> Frames:
        """J^T @ frame of the only block."""
        (frame,) = frames
        return (self.pull_back(frame),)


class Layer(ClosedForm):
    """One recurrent layer. Its output is the first part of its state (h) and of its frame's rows.

    The defaults are those of a layer whose state is h alone.
    """

    index: int
    """Which layer of the module it is."""
    input_size: int
    output_size: int
    _of_weights: dict[str, Tensor] | None = None
    """Within a run, what was computed from the weights alone."""

    @abstractmethod
    def linearize(self, state: State, x: Tensor) -> tuple[State, LayerTangent]:
        """The next state, and the Jacobian at `state`."""

    @property
    def block_sizes(self) -> tuple[int]:
        """One block of N rows, the hidden units, as the state is h alone."""
        return (self.output_size,)

    @property
    def labels(self) -> tuple[Label, ...]:
        """The N hidden units."""
        return size_labels(self.index, [("h", self.output_size)])

    def initial_state(self, batch: int, like: Tensor) -> State:
        """Zeros, as the module starts."""
        return like.new_zeros(batch, self.output_size)

    def output(self, state: State) -> Units:
        """h: what the layer above, or a readout, sees."""
        return state

    @contextmanager
    def running(self) -> Generator[None, None, None]:
        """What costs much and depends on the weights alone is computed once within the run, from the weights of the moment."""
        before, self._of_weights = self._of_weights, {}
        try:
            yield
        finally:
            self._of_weights = before

    def of_weights(self, name: str, compute: Callable[[], Tensor]) -> Tensor:
        """`compute()`, kept until the run ends; outside a run, or where gradients are wanted, computed at every call.

        The weights may be the user's own parameters, which an optimizer moves in place between two runs.
        """
        if self._of_weights is None or torch.is_grad_enabled():
            return compute()
        if name not in self._of_weights:
            self._of_weights[name] = compute()
        return self._of_weights[name]


class ModuleLayer(Layer):
    """A layer that PyTorch has a module of, with its weights under PyTorch's names: what is to be known of its kind."""

    gates: ClassVar[int]
    """Blocks of `output_size` rows in the weights."""
    candidate: ClassVar[int]
    """Which of them makes the new content."""
    keeping: ClassVar[int | None] = None
    """Which of them keeps the old one; None where nothing does."""
    state_parts: ClassVar[tuple[str, ...]] = ("h",)
    """What the module's state is made of."""
    options: ClassVar[tuple[str, ...]] = ()
    """Attributes of the module that it was built with, besides its sizes."""

    @classmethod
    @abstractmethod
    def of_module(
        cls, module: nn.Module, weights: dict[str, Tensor], layer: int, linearization: Linearization
    ) -> "ModuleLayer":
        """The closed form of a module's layer number `layer`, with these weights."""

    @staticmethod
    @abstractmethod
    def at_zero(gates: Sequence[float]) -> tuple[float, float]:
        """Of the gates' values: how much of a state is kept at zero, and what multiplies the recurrent product there."""


@contextmanager
def running_together(parts: Sequence[System]) -> Generator[None, None, None]:
    """`running` of several systems."""
    with ExitStack() as stack:
        for part in parts:
            stack.enter_context(part.running())
        yield


def costliest(parts: Sequence[System]) -> Literal["none", "linear", "cubic"]:
    """The `volume_cost` of several systems together: where one has no such number, there is none."""
    return max((part.volume_cost for part in parts), key=("linear", "cubic", "none").index)


def saturated_together(parts: Sequence[System], states: Sequence[State]) -> Tensor | None:
    """`saturated` of several systems side by side, of those that can tell."""
    found = [part.saturated(state) for part, state in zip(parts, states, strict=True)]
    known = [one for one in found if one is not None]
    return torch.cat(known, dim=-1) if known else None


def joined(values: Sequence[object]) -> Any:
    """Several batches, one after the other, as one; None (no input) stays None."""
    return values[0] if len(values) == 1 or values[0] is None else tree_map(lambda *leaves: torch.cat(leaves), *values)


def is_wide(frame: InputFrame) -> bool:
    """Whether a frame has so many columns that a Jacobian is worth forming."""
    return frame.shape[-1] >= DENSE


def product(weight: Tensor, frame: InputFrame) -> InputFrame:
    """weight @ frame for one weight and all entries of a batch, as one product; the result is stored column by column."""
    columns = frame.mT
    return (columns.reshape(-1, columns.shape[-1]) @ weight.mT).view(*columns.shape[:-1], -1).mT


def scale_rows(rows: Tensor, columns: Tensor) -> Tensor:
    """diag(rows) @ columns for (batch, n) and (batch, n, k)."""
    return rows.unsqueeze(-1) * columns


def add_scaled(total: Tensor, rows: Tensor, columns: Tensor) -> Tensor:
    """total + diag(rows) @ columns for (batch, n, k), (batch, n) and (batch, n, k)."""
    return torch.addcmul(total, rows.unsqueeze(-1), columns)


def dense_log_volume(tangent: Tangent, size: int, like: Tensor) -> PerSequence:
    """ln |det J| from the dense Jacobian."""
    identity = torch.eye(size, dtype=like.dtype, device=like.device).expand(len(like), -1, -1)
    return log_abs_det(tangent.push((identity,))[0])


def log_abs_det(matrices: Tensor) -> PerSequence:
    """ln |det| of (batch, n, n), one by one: whole batches come out wrong once `torch.set_num_threads` was called (MKL)."""
    if matrices.device.type != "cpu":
        return torch.linalg.slogdet(matrices).logabsdet
    return torch.stack([torch.linalg.slogdet(matrix).logabsdet for matrix in matrices])
