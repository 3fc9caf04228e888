"""Any `step(state, x)`: its state a tensor or a pytree of tensors, its tangent by forward mode."""

from collections.abc import Callable, Generator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from lyapunov._shapes import Frames, Input, Rows, State, Vectors
from lyapunov._trees import keystr, tree_flatten, tree_flatten_with_path, tree_map, tree_unflatten
from lyapunov.errors import BadSystem
from lyapunov.systems.attention import plain_attention
from lyapunov.systems.casting import CastCall, as_complex
from lyapunov.systems.faults import explained, in_new_containers, same_form
from lyapunov.systems.system import Label, System, forward_mode_push

AT_ONCE = 2**20
"""Entries of the states, one per column, that go through a user's step together: it keeps tens of times as many."""


class Step(System):
    """A callable `step(state, x) -> state` as a system; every floating entry of the state is differentiated.

    With `carried`, the callable is `step(state, x, carried) -> (state, carried)`, and the system's state is that pair: what is
    carried goes along and is never differentiated (counters, masks, caches, stabilisers). A complex entry has two rows.

    `function` maps a state (pytree of tensors, batch first) and one step's input to a state of the same structure. The weights
    of every module it reaches are cast to `dtype` and to the run's device, in evaluation mode; the modules are left as they
    were. `example` is a state, for its structure and shapes; it is also the initial state (one sequence is repeated for a
    batch), as `carried` is.
    """

    def __init__(
        self, function: Callable[..., object], example: State, *, dtype: torch.dtype, carried: State | None = None
    ) -> None:
        leaves, self._structure = tree_flatten(example)
        self._carries = carried is not None
        self._example = (example, carried) if self._carries else example
        self._paths = [keystr(path) for path, _ in tree_flatten_with_path(example)[0]]
        self._leaves = [(leaf.shape[1:], leaf.is_complex()) for leaf in leaves]
        self._sizes = [shape.numel() * (2 if is_complex else 1) for shape, is_complex in self._leaves]
        self.device = leaves[0].device
        self.name = getattr(function, "__name__", type(function).__name__)
        self._call = CastCall(function, dtype, self.device)

    @property
    def block_sizes(self) -> tuple[int]:
        """One block, with a row per entry of one sequence's state; two for a complex one."""
        return (sum(self._sizes),)

    @property
    def labels(self) -> tuple[Label, ...]:
        """Entry by entry of every leaf, the part named by its place in the state; real before imaginary parts."""
        return tuple(
            Label(0, (path or "state") + part, unit)
            for path, (shape, is_complex) in zip(self._paths, self._leaves, strict=True)
            for unit in range(shape.numel())
            for part in ((".real", ".imag") if is_complex else ("",))
        )

    @property
    def call(self) -> CastCall:
        """The function, with its weights cast."""
        return self._call

    @property
    def modules(self) -> tuple[nn.Module, ...]:
        """Those that the function reaches."""
        return self._call.modules

    def initial_state(self, batch: int, like: Tensor) -> State:
        """The example the system was built with, repeated for the batch."""

        def repeated(leaf: Tensor) -> Tensor:
            leaf = leaf.to(like.device, like.dtype.to_complex()) if leaf.is_complex() else leaf
            return (leaf.to(like) if leaf.is_floating_point() else leaf).expand(batch, *leaf.shape[1:])

        return tree_map(repeated, self._example)

    def step(self, state: State, x: Input) -> State:
        """The user's function; a container that it refills at every step is not the state of two steps."""
        if not self._carries:
            with explained(state):
                new = in_new_containers(self._call(state, x))
            self._require_form(state, new)
            return new
        with explained(state):
            new = in_new_containers(self._call(state[0], x, state[1]))
        if not isinstance(new, tuple) or len(new) != 2:
            raise BadSystem(
                f"Expected step(state, x, carried) to return (state, carried), got {type(new).__name__}. Return the pair, or "
                "leave `carried` out."
            )
        self._require_form(state[0], new[0])
        return new

    @staticmethod
    def _require_form(old: State, new: State) -> None:
        """At every step: one that returns another form once in a while is not found in the first two."""
        if not (isinstance(old, Tensor) and isinstance(new, Tensor) and old.shape == new.shape and old.dtype == new.dtype):
            same_form(old, new)

    def push(self, state: State, x: Input, frames: Frames) -> tuple[State, Frames]:
        """Forward mode, of a large state a few columns at a time: what the step works out is there once for each of them."""
        (frame,) = frames
        few = max(1, AT_ONCE // max(frame.shape[0] * frame.shape[1], 1))
        if few >= frame.shape[-1]:
            return forward_mode_push(self, state, x, frames)
        pushed = [forward_mode_push(self, state, x, (part,)) for part in frame.split(few, dim=-1)]
        return pushed[0][0], (torch.cat([moved for _, (moved,) in pushed], dim=-1),)

    def vectors(self, state: State) -> tuple[Rows]:
        """All differentiated leaves, flattened and one after the other."""
        leaves = tree_flatten(state[0] if self._carries else state)[0]
        real = [torch.view_as_real(leaf) if leaf.is_complex() else leaf for leaf in leaves]
        return (torch.cat([leaf.reshape(leaf.shape[0], -1) for leaf in real], dim=-1),)

    def with_vectors(self, state: State, vectors: Vectors) -> State:
        """The leaves back in their shapes; what is carried stays."""
        (vector,) = vectors
        leaves = []
        for part, (shape, is_complex) in zip(vector.split(self._sizes, dim=-1), self._leaves, strict=True):
            if is_complex:
                leaves.append(as_complex(part, shape))
            else:
                leaves.append(part.reshape(part.shape[0], *shape))
        new = tree_unflatten(leaves, self._structure)
        return (new, state[1]) if self._carries else new

    @property
    def endless(self) -> bool:
        """Whether the step may run past the end of its inputs: not with `carried`, which may be a counter or a cache."""
        return not self._carries

    def carried(self, state: State) -> tuple[Tensor, ...]:
        """Leaves of real numbers; not counters, flags and masks."""
        leaves = tree_flatten(state[1])[0] if self._carries else []
        return tuple(leaf for leaf in leaves if leaf.is_floating_point())

    def with_carried(self, state: State, carried: tuple[Tensor, ...]) -> State:
        """In the order of `carried`."""
        if not carried:
            return state
        leaves, structure = tree_flatten(state[1])
        new = iter(carried)
        return state[0], tree_unflatten([next(new) if leaf.is_floating_point() else leaf for leaf in leaves], structure)

    def output(self, state: State) -> State:
        """The user's own state, without what is carried."""
        return state[0] if self._carries else state

    @contextmanager
    def running(self) -> Generator[None, None, None]:
        """With the weights of the moment, in evaluation mode; the modules are as before afterwards."""
        with plain_attention(), self._call.running():
            yield
