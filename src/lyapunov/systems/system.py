"""The interface everything rests on: a driven map s' = F(s, x) and how it moves a frame of small changes."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any, Literal, NamedTuple

import torch
from torch import Tensor
from torch.func import jvp, vjp, vmap

from lyapunov._shapes import Frames, Input, Rows, State, Vectors
from lyapunov.systems.faults import explained
from lyapunov.systems.trace import Deal, Keep, Trace, in_turn


class Label(NamedTuple):
    """What one row of a frame is: which layer, which part of its state (h, c, ...), which unit."""

    layer: int
    part: str
    unit: int


class System(ABC):
    """A driven map and its tangent. Subclasses give `block_sizes`, `initial_state` and `step`; a closed form overrides `push`.

    The state is whatever the system steps (a tensor or a pytree, batch first). Only what is differentiated has rows in the
    frames: `vectors` reads those coordinates from a state and `with_vectors` puts them back. The defaults are those of a state
    that is one tensor (batch, n). Coordinates and frames are tuples with one entry per independent block, also where there is
    one: a block's frame moves by its own diagonal block of the Jacobian. `push` and `pull` default to forward mode and to
    vector-Jacobian products, with `vmap` over the columns of the frames only.

    Methods take:
        state: what the system steps, a tensor or pytree, batch first.
        x: the input of one step, (batch, ...); None without inputs.
        inputs: those of several steps.
        vectors: the differentiated coordinates of a state, a tuple with one tensor (batch, n) per independent block.
        carried: what goes along undifferentiated, as a tuple of real tensors.
        frames: columns to push or pull, a tuple with one tensor (batch, n, k) per block.
        batch, like: how many sequences, and a tensor with the dtype and device of the run.
        keep: `keep(new, old, at)` is what becomes of states or frames in step number `at`: sequences that have ended stay.
        states: before each of several steps, and after the last.
        threads: how many there are to deal sequences out to.

    Example:
        >>> class Leaky(lyapunov.System):
        ...     block_sizes = (2,)
        ...     def initial_state(self, batch, like):
        ...         return torch.zeros(batch, 2, dtype=like.dtype)
        ...     def step(self, state, x):
        ...         return 0.5 * state + x
        >>> round(lyapunov.spectrum(Leaky(), torch.randn(3, 60, 2)).max, 4)  # ln 0.5
        -0.6931
    """

    name: str = "system"
    device: Any = torch.device("cpu")
    """Where the weights are; a `torch.device`."""
    volume_cost: Literal["none", "linear", "cubic"] = "none"
    """What one call of `log_volume` costs in the size of the state; "none" where there is no such number."""
    triangular: bool = False
    """Whether the Jacobian is triangular in the coordinates of `vectors`, in one fixed order: see `log_diagonal`."""
    graph_entries: float = 2**20
    """Entries of frames, over several steps, whose graph may be there at once: a user's step keeps hundreds of times that."""
    differentiable: bool = True
    """Whether reverse mode can follow its step."""
    compiled: bool = False
    """Whether its steps run as machine code that was made for the run."""
    grows: bool = False
    """Whether what its state carries along becomes longer from step to step, as a cache of attention does."""

    @property
    @abstractmethod
    def block_sizes(self) -> tuple[int, ...]:
        """Rows of the frame of each independent block."""

    @property
    def modules(self) -> tuple[torch.nn.Module, ...]:
        """What its step calls upon, so that all weights are known; those of closed forms are met in any step."""
        return ()

    @property
    def labels(self) -> tuple[Label, ...]:
        """What each row of the frame is, block after block."""
        return tuple(Label(0, "state", unit) for unit in range(sum(self.block_sizes)))

    @abstractmethod
    def initial_state(self, batch: int, like: Tensor) -> State:
        """The state a run starts from, for `batch` sequences, with the dtype and device of `like`."""

    @abstractmethod
    def step(self, state: State, x: Input) -> State:
        """The next state; `state` is left as it was."""

    def vectors(self, state: State) -> Vectors:
        """The differentiated coordinates of a state, (batch, n) per block; by default the state itself, as the only block."""
        return (state,)

    def with_vectors(self, state: State, vectors: Vectors) -> State:  # noqa: ARG002
        """The same state with its differentiated coordinates replaced; by default the only block itself."""
        (new,) = vectors
        return new

    @property
    def endless(self) -> bool:
        """Whether it may be stepped for longer than its inputs are: not where it counts or caches what went by."""
        return True

    def carried(self, state: State) -> tuple[Tensor, ...]:  # noqa: ARG002
        """Real tensors that go along undifferentiated and may be varied; none, usually."""
        return ()

    def with_carried(self, state: State, carried: tuple[Tensor, ...]) -> State:  # noqa: ARG002
        """The same state with these in the place of what `carried` gives."""
        return state

    def push(self, state: State, x: Input, frames: Frames) -> tuple[State, Frames]:
        """The next state and J @ frame of every block, with J = d vectors(s')[b] / d vectors(s)[b] at `state`."""
        return forward_mode_push(self, state, x, frames)

    def pull(self, state: State, x: Input, frames: Frames) -> Frames:
        """J^T @ frame of every block, by vector-Jacobian products."""
        return tuple(self._pulled(state, x, frame, block) for block, frame in enumerate(frames))

    def _pulled(self, state: State, x: Input, frame: Tensor, block: int) -> Tensor:
        vectors = self.vectors(state)

        def moved(vector: Tensor) -> Tensor:
            return _moved(self, state, x, vectors, vector, block)[0]

        def along(column: Tensor) -> Tensor:
            return vjp(moved, vectors[block])[1](column)[0]  # within vmap, which sees noise; made once for all columns

        with explained(state):
            return vmap(along, in_dims=-1, out_dims=-1)(frame)

    def trace(self, state: State, inputs: Sequence[Input], keep: Keep) -> Trace:
        """Several steps from `state` on; by default one after the other, state and frames together."""
        return StepByStep(self, [state], inputs, keep)

    def trace_along(self, states: list[State], inputs: Sequence[Input], keep: Keep) -> Trace:
        """The same at states that are given: before each step and after the last."""
        return StepByStep(self, states, inputs, keep)

    def groups(self, frames: Frames, threads: int) -> list[slice]:  # noqa: ARG002
        """Which sequences are to be traced together. By default all are: a user's step may not bear more than one thread."""
        return [slice(0, len(frames[0]))]

    def deals_out(self, batch: int) -> bool:  # noqa: ARG002
        """Whether so many sequences are better computed by a thread each than as PyTorch is set."""
        return False

    def paths(self, state: State, x: Input, frames: Frames) -> dict[str, Frames]:
        """J @ frame as a sum of what each gate, or whatever else a change goes through, contributes; one term by default."""
        return {"recurrence": self.push(state, x, frames)[1]}

    def output(self, state: State) -> Any:
        """What a readout sees of a state: all differentiated coordinates (batch, n) by default."""
        vectors = self.vectors(state)
        return vectors[0] if len(vectors) == 1 else torch.cat(vectors, dim=-1)

    def saturated(self, state: State) -> Tensor | None:  # noqa: ARG002
        """(batch, units): which units sit where their nonlinearity is flat; None where the system cannot tell."""
        return None

    def log_volume(self, state: State, x: Input) -> Tensor | None:  # noqa: ARG002
        """ln |det J| at `state`: (batch,), or (batch, blocks); None where the system has no such number.

        Where reverse mode can follow the step, it must be able to follow this as well.
        """
        return None

    def log_diagonal(self, state: State, inputs: Sequence[Input], keep: Keep) -> tuple[list[State], Tensor]:
        """ln |diag J| along several steps, of a system that is `triangular`: its exponents are the means of these over time.

        Returns the state before each step and after the last, and (steps, batch, rows) with the rows of all blocks; -inf for
        a direction that the step loses. Blocks of J that turn and scale a plane count with their scale, twice. `keep` is as
        for `trace`. The default reads the diagonal of the whole Jacobian.
        """
        states, found = [state], []
        for at, x in enumerate(inputs):
            new, dense = jacobians(self, state, x)
            found.append(torch.cat([block.diagonal(dim1=1, dim2=2) for block in dense], dim=-1).abs().log())
            state = keep(new, state, at)
            states.append(state)
        return states, torch.stack(found)

    def running(self) -> AbstractContextManager[object]:
        """Entered around a run: whatever the system must set for it, and put back afterwards."""
        return nullcontext()


class StepByStep(Trace):
    """Each step by itself, by `System.push` and `System.pull`; states that are not known come along with the frames."""

    def __init__(self, system: System, states: list[State], inputs: Sequence[Input], keep: Keep) -> None:
        self._system, self._states, self._inputs, self._keep = system, states, inputs, keep

    @property
    def states(self) -> list[State]:
        """The state before each step and after the last."""
        for at in range(len(self._states) - 1, len(self._inputs)):
            self._reach(at + 1, self._system.step(self._states[at], self._inputs[at]))
        return self._states

    def _reach(self, at: int, new: State) -> None:
        if len(self._states) == at:
            self._states.append(self._keep(new, self._states[-1], at - 1))

    def _pushed(self, at: int, frames: Frames) -> Frames:
        new, moved = self._system.push(self._states[at], self._inputs[at], frames)
        self._reach(at + 1, new)
        return moved

    def push(self, at: int, frames: Frames) -> Frames:
        """J @ frame of one step, and the state with it."""
        return self._keep(self._pushed(at, frames), frames, at)

    def pull(self, at: int, frames: Frames) -> Frames:
        """J^T @ frame of one step."""
        return self._keep(self._system.pull(self.states[at], self._inputs[at], frames), frames, at)

    def propagate(self, frames: Frames, *, volumes: bool = False) -> Frames:  # noqa: ARG002
        """State and frames through all steps; sequences may end on the way."""
        for at in range(len(self._inputs)):
            frames = self.push(at, frames)
        return frames

    def log_volumes(self, wanted: Sequence[int], deal: Deal) -> Tensor | None:  # noqa: ARG002
        """Step by step, in the calling thread."""
        volumes = [self._system.log_volume(self.states[at], self._inputs[at]) for at in wanted]
        known = [volume for volume in volumes if volume is not None]
        return torch.stack(known) if known else None

    def log_volume(self) -> Tensor | None:
        """Of all steps, as one batch."""
        volumes = self.log_volumes(range(len(self._inputs)), in_turn)
        return None if volumes is None else volumes.flatten(0, 1)

    def contracted(self, frames: Sequence[Frames], cotangents: Frames) -> Tensor:
        """Step by step, each with the state that it really has."""
        total = cotangents[0].new_zeros(())
        by_step = zip(*(part.split(len(frames[0][0])) for part in cotangents), strict=True)
        for at, (own, weights) in enumerate(zip(frames, by_step, strict=True)):
            for moved, weight in zip(self._pushed(at, own), weights, strict=True):
                total = total + (moved * weight).sum()
        return total


def forward_mode_push(system: System, state: State, x: Input, frames: Frames) -> tuple[State, Frames]:
    """The default push, and the oracle of every closed form: one forward-mode product per column of every block's frame."""
    found = [_pushed(system, state, x, frame, block) for block, frame in enumerate(frames)]
    return found[0][0], tuple(moved for _, moved in found)


def _pushed(system: System, state: State, x: Input, frame: Tensor, block: int) -> tuple[State, Tensor]:
    vectors = system.vectors(state)

    def along(column: Rows) -> tuple[Rows, State]:
        pushed: Any = jvp(
            lambda vector: _moved(system, state, x, vectors, vector, block), (vectors[block],), (column,), has_aux=True
        )
        return torch.zeros_like(column) + pushed[1], pushed[2]  # a tangent that is structurally zero has no storage

    unmapped: Any = None
    with explained(state):
        tangent, new = vmap(along, in_dims=-1, out_dims=(-1, unmapped))(frame)
    return new, tangent


def _moved(system: System, state: State, x: Input, vectors: Vectors, vector: Tensor, block: int) -> tuple[Tensor, State]:
    """One block's coordinates after a step from `state` with these in the place of its own, and the whole state then."""
    new = system.step(system.with_vectors(state, (*vectors[:block], vector, *vectors[block + 1 :])), x)
    return system.vectors(new)[block], new


def jacobians(system: System, state: State, x: Input) -> tuple[State, tuple[Tensor, ...]]:
    """The next state, and the whole Jacobian (batch, n, n) of every independent block."""
    vectors = system.vectors(state)
    eyes = (torch.eye(v.shape[-1], dtype=v.dtype, device=v.device).expand(len(v), -1, -1) for v in vectors)
    return system.push(state, x, tuple(eyes))


def size_labels(layer: int, parts: Sequence[tuple[str, int]]) -> tuple[Label, ...]:
    """Labels of a layer whose rows are `parts`, each with its number of units."""
    return tuple(Label(layer, part, unit) for part, size in parts for unit in range(size))


def total_size(system: System) -> int:
    """The number of exponents a full run of `system` has."""
    return sum(system.block_sizes)
