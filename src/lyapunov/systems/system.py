"""The interface everything rests on: a driven map s' = F(s, x) and how it moves a frame of small changes."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any, Literal, NamedTuple

import torch
from torch import Tensor
from torch.func import jvp, vjp, vmap

from lyapunov._shapes import Frame, Input, Rows, State, blocks
from lyapunov.systems.faults import explained

Keep = Callable[[State, State, int], State]
"""What becomes of (the new state, the old one, at this step)."""


class Label(NamedTuple):
    """What one row of a frame is: which layer, which part of its state (h, c, ...), which unit."""

    layer: int
    part: str
    unit: int


class System(ABC):
    """A driven map and its tangent. Subclasses give `step`; a closed form overrides `push`.

    The state is whatever the system steps (a tensor or a pytree, batch first). Only what is differentiated has rows in
    the frame: `vector` reads those coordinates from a state and `with_vector` puts them back. `push` and `pull` default to
    forward mode and to vector-Jacobian products, with `vmap` over the columns of the frame only.
    """

    name: str = "system"
    device: Any = torch.device("cpu")
    """Where the weights are; a `torch.device`."""
    volume_cost: Literal["none", "linear", "cubic"] = "none"
    """What one call of `log_volume` costs in the size of the state; "none" where there is no such number."""
    triangular: bool = False
    """Whether the Jacobian is triangular in the coordinates of `vector`, in an order that never changes: see `log_diagonal`."""
    differentiable: bool = True
    """Whether reverse mode can follow its step."""
    grows: bool = False
    """Whether what its state carries along becomes longer from step to step, as a cache of attention does."""

    @property
    @abstractmethod
    def tangent_size(self) -> int | tuple[int, ...]:
        """Rows of the frame: one number, or one per independent block."""

    @property
    def modules(self) -> tuple[torch.nn.Module, ...]:
        """What its step calls upon, so that all weights are known; those of closed forms are met in any step."""
        return ()

    @property
    def labels(self) -> tuple[Label, ...]:
        """What each row of the frame is, block after block."""
        return tuple(Label(0, "state", unit) for unit in range(sum(_sizes(self))))

    @abstractmethod
    def initial_state(self, batch: int, like: Tensor) -> State:
        """The state a run starts from, for `batch` sequences, with the dtype and device of `like`."""

    @abstractmethod
    def step(self, state: State, x: Input) -> State:
        """The next state; `state` is left as it was."""

    @abstractmethod
    def vector(self, state: State) -> Any:
        """The differentiated coordinates of a state: (batch, n), or one such tensor per block."""

    @abstractmethod
    def with_vector(self, state: State, vector: Any) -> State:
        """The same state with its differentiated coordinates replaced."""

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

    def push(self, state: State, x: Input, frame: Any) -> tuple[State, Any]:
        """The next state and J @ frame, with J = d vector(s') / d vector(s) at `state`."""
        return forward_mode_push(self, state, x, frame)

    def pull(self, state: State, x: Input, frame: Any) -> Any:
        """J^T @ frame, by vector-Jacobian products."""

        def moved(vector: Any) -> Any:
            return self.vector(self.step(self.with_vector(state, vector), x))

        def along(column: Any) -> Any:
            return vjp(moved, self.vector(state))[1](column)[0]  # within vmap, which sees noise; made once for all columns

        with explained(state):
            return vmap(along, in_dims=-1, out_dims=-1)(frame)

    def paths(self, state: State, x: Input, frame: Any) -> dict[str, Any]:
        """J @ frame as a sum of what each gate, or whatever else a change goes through, contributes; one term by default."""
        return {"recurrence": self.push(state, x, frame)[1]}

    def output(self, state: State) -> Any:
        """What a readout sees of a state: all differentiated coordinates (batch, n) by default."""
        return self.vector(state)

    def saturated(self, state: State) -> Tensor | None:  # noqa: ARG002
        """(batch, units): which units sit where their nonlinearity is flat; None where the system cannot tell."""
        return None

    def log_volume(self, state: State, x: Input) -> Tensor | None:  # noqa: ARG002
        """ln |det J| at `state`: (batch,), or (batch, blocks); None where the system has no such number."""
        return None

    def log_diagonal(self, state: State, inputs: Sequence[Input], keep: Keep) -> tuple[list[State], Tensor]:
        """ln |diag J| along several steps, of a system that is `triangular`: its exponents are the means of these over time.

        Returns the state before each step and after the last, and (steps, batch, rows) with the rows of all blocks; -inf for
        a direction that the step loses. Blocks of J that turn and scale a plane count with their scale, twice. `keep` is as
        for `ClosedForm.trace`. The default reads the diagonal of the whole Jacobian.
        """
        states, found = [state], []
        for at, x in enumerate(inputs):
            new, dense = jacobians(self, state, x)
            found.append(torch.cat([block.diagonal(dim1=1, dim2=2) for block in dense], dim=-1).abs().log())
            state = keep(new, state, at)
            states.append(state)
        return states, torch.stack(found)

    def running(self) -> AbstractContextManager[Any]:
        """Entered around a run: whatever the system must set for it, and put back afterwards."""
        return nullcontext()


def forward_mode_push(system: System, state: State, x: Input, frame: Frame) -> tuple[State, Frame]:
    """The default push, and the oracle of every closed form: one forward-mode product per column of the frame."""

    def moved(vector: Rows) -> tuple[Rows, State]:
        new = system.step(system.with_vector(state, vector), x)
        return system.vector(new), new

    point = system.vector(state)

    def along(column: Rows) -> tuple[Rows, State]:
        pushed: Any = jvp(moved, (point,), (column,), has_aux=True)
        return torch.zeros_like(column) + pushed[1], pushed[2]  # a tangent that is structurally zero has no storage

    unmapped: Any = None
    with explained(state):
        tangent, new = vmap(along, in_dims=-1, out_dims=(-1, unmapped))(frame)
    return new, tangent


def jacobians(system: System, state: State, x: Input) -> tuple[State, tuple[Tensor, ...]]:
    """The next state, and the whole Jacobian (batch, n, n) of every independent block."""
    vectors = blocks(system.vector(state))
    eyes = tuple(torch.eye(v.shape[-1], dtype=v.dtype, device=v.device).expand(len(v), -1, -1) for v in vectors)
    frame: Any = eyes if isinstance(system.tangent_size, tuple) else eyes[0]
    new, moved = system.push(state, x, frame)
    return new, blocks(moved)


def size_labels(layer: int, parts: Sequence[tuple[str, int]]) -> tuple[Label, ...]:
    """Labels of a layer whose rows are `parts`, each with its number of units."""
    return tuple(Label(layer, part, unit) for part, size in parts for unit in range(size))


def total_size(system: System) -> int:
    """The number of exponents a full run of `system` has."""
    return sum(_sizes(system))


def _sizes(system: System) -> tuple[int, ...]:
    size = system.tangent_size
    return size if isinstance(size, tuple) else (size,)
