"""A core fed by its own output, as an autonomous system: in closed form around PyTorch's layers, else by forward mode."""

from collections.abc import Generator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from lyapunov._frames import join_rows
from lyapunov._shapes import Frames, Input, PerSequence, State, Vectors
from lyapunov.systems.closed import ClosedForm, Layer, LayerTangent, Tangent, dense_log_volume
from lyapunov.systems.feed import Feed, FeedTangent
from lyapunov.systems.stack import CoupledStack
from lyapunov.systems.system import Label, System, total_size


class FedBack(System):
    """s' = F(s, x) with x = feed(output(s)): any core, its derivative by forward mode through both."""

    def __init__(self, core: System, feed: Feed) -> None:
        self.core, self.feed = core, feed
        self.name = f"closed loop of {core.name}"
        self.device, self.differentiable = core.device, core.differentiable

    @property
    def block_sizes(self) -> tuple[int, ...]:
        """Those of the core: the loop adds no state."""
        return self.core.block_sizes

    @property
    def labels(self) -> tuple[Label, ...]:
        """Those of the core."""
        return self.core.labels

    @property
    def modules(self) -> tuple[nn.Module, ...]:
        """Those of the core, the readout and the feedback."""
        return (*self.core.modules, *self.feed.modules)

    @property
    def endless(self) -> bool:
        """Whether the core may be stepped on and on."""
        return self.core.endless

    def initial_state(self, batch: int, like: Tensor) -> State:
        """That of the core."""
        return self.core.initial_state(batch, like)

    def step(self, state: State, x: Input) -> State:  # noqa: ARG002
        """One turn of the loop."""
        return self.core.step(state, self.feed(self.core.output(state)))

    def vectors(self, state: State) -> Vectors:
        """Those of the core."""
        return self.core.vectors(state)

    def with_vectors(self, state: State, vectors: Vectors) -> State:
        """That of the core."""
        return self.core.with_vectors(state, vectors)

    def output(self, state: State) -> Any:
        """What the readout sees."""
        return self.core.output(state)

    def saturated(self, state: State) -> Tensor | None:
        """Units of the core that sit where nothing moves them."""
        return self.core.saturated(state)

    @contextmanager
    def running(self) -> Generator[None, None, None]:
        """What core and feed set around a run."""
        with self.core.running(), self.feed.running():
            yield


class FedBackLayer(FedBack):
    """J = J_core + X G P: X how the input moves the core, G the derivative of the feed, P the rows of the output.

    Readout and feedback are the user's own code: it is called with whole batches, step by step, in one thread.
    """

    volume_cost = "cubic"

    def linearize(self, state: State, x: Input) -> tuple[State, "FedBackTangent"]:  # noqa: ARG002
        """The next state, and the parts of the Jacobian."""
        core: Any = self.core
        output = core.output(state)
        new, tangent = core.linearize(state, self.feed(output))
        top = core.layers[-1] if isinstance(core, CoupledStack) else core
        first = total_size(core) - total_size(top)
        rows = slice(first, first + top.output_size)
        return new, FedBackTangent(tangent, self.feed.derivative(output), rows, core.vectors(new)[0])

    def push(self, state: State, x: Input, frames: Frames) -> tuple[State, Frames]:
        """The next state and J @ frame."""
        new, tangent = self.linearize(state, x)
        return new, tangent.push(frames)

    def pull(self, state: State, x: Input, frames: Frames) -> Frames:
        """J^T @ frame, the way round included."""
        return self.linearize(state, x)[1].pull(frames)

    def paths(self, state: State, x: Input, frames: Frames) -> dict[str, Frames]:
        """J @ frame, by the paths of the core and the one round the loop."""
        return self.linearize(state, x)[1].paths(frames)

    def log_volume(self, state: State, x: Input) -> PerSequence:
        """ln |det J| at `state`."""
        return self.linearize(state, x)[1].log_volume()


class FedBackLinear(ClosedForm, FedBackLayer):
    """The same with a linear readout: nothing of the user's is called, so steps and sequences can be taken as suits best."""

    def linearize(self, state: State, x: Input) -> tuple[State, "FedBackTangent"]:
        """The next state, and the parts of the Jacobian."""
        return FedBackLayer.linearize(self, state, x)

    def vectors(self, state: State) -> Vectors:
        """Those of the core."""
        return self.core.vectors(state)


class FedBackTangent(Tangent):
    """The core's Jacobian, and the way from its output round to its input."""

    def __init__(self, core: LayerTangent, feed: FeedTangent, rows: slice, like: Tensor) -> None:
        self._core, self._feed, self._rows, self._like = core, feed, rows, like

    def push(self, frames: Frames) -> Frames:
        """J @ frame, the way round included."""
        (frame,) = frames
        return (self._core.push_driven(frame, self._feed.push(frame[:, self._rows])),)

    def pull(self, frames: Frames) -> Frames:
        """J^T @ frame: through the core, and from its input back to its output."""
        (frame,) = frames
        pulled, around = self._core.pull_back(frame), self._feed.pull(self._core.pull_to_input(frame))
        before, after = pulled[:, : self._rows.start], pulled[:, self._rows.stop :]
        return (join_rows((before, pulled[:, self._rows] + around, after)),)

    def paths(self, frames: Frames) -> dict[str, Frames]:
        """The paths within the core, and the one through the feedback."""
        (frame,) = frames
        around = self._core.push_driven(torch.zeros_like(frame), self._feed.push(frame[:, self._rows]))
        return {**self._core.paths(frames), "feedback": (around,)}

    def part(self, entries: slice) -> "FedBackTangent":
        """Of some entries of the batch."""
        return FedBackTangent(self._core.part(entries), self._feed.part(entries), self._rows, self._like[entries])

    def log_volume(self) -> Tensor:
        """ln |det J| from the dense Jacobian."""
        return dense_log_volume(self, self._like.shape[1], self._like)


def fed_back(core: System, feed: Feed) -> FedBack:
    """The loop around a core: in closed form where the core has one and says how its input moves it."""
    if not isinstance(core, Layer | CoupledStack):
        return FedBack(core, feed)
    return (FedBackLinear if feed.is_linear else FedBackLayer)(core, feed)
