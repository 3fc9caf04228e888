"""Any `step(state, x)`: its state a tensor or a pytree of tensors, its tangent by forward mode."""

from collections.abc import Callable, Generator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.utils._pytree import tree_flatten, tree_map, tree_unflatten

from lyapunov._shapes import Input, Rows, State
from lyapunov.systems.system import System


class Step(System):
    """A callable `step(state, x) -> state` as a system; every floating entry of the state is differentiated.

    `function` maps a state (pytree of tensors, batch first) and one step's input to a state of the same structure. A module,
    or a method of one, is called with its weights cast to `dtype` and on the run's device, in evaluation mode; the module
    itself is left as it was. `example` is a state, for its structure and shapes; it is also the initial state (one sequence is
    repeated for a batch).
    """

    def __init__(self, function: Callable[[State, Input], State], example: State, *, dtype: torch.dtype) -> None:
        leaves, self._structure = tree_flatten(example)
        self._example = example
        self._shapes = [leaf.shape[1:] for leaf in leaves]
        self.device = leaves[0].device
        self.name = getattr(function, "__name__", type(function).__name__)
        self._module, self._method = _module_of(function)
        self._call = function if self._module is None else _cast_call(self._module, self._method, dtype, self.device)

    @property
    def tangent_size(self) -> int:
        """All entries of one sequence's state."""
        return sum(shape.numel() for shape in self._shapes)

    def initial_state(self, batch: int, like: Tensor) -> State:
        """The example the system was built with, repeated for the batch."""
        return tree_map(lambda leaf: leaf.to(like).expand(batch, *leaf.shape[1:]), self._example)

    def step(self, state: State, x: Input) -> State:
        """The user's function."""
        return self._call(state, x)

    def vector(self, state: State) -> Rows:
        """All leaves, flattened and one after the other."""
        leaves = tree_flatten(state)[0]
        return torch.cat([leaf.reshape(leaf.shape[0], -1) for leaf in leaves], dim=-1)

    def with_vector(self, state: State, vector: Rows) -> State:  # noqa: ARG002
        """The leaves back in their shapes."""
        parts = vector.split([shape.numel() for shape in self._shapes], dim=-1)
        leaves = [part.reshape(part.shape[0], *shape) for part, shape in zip(parts, self._shapes, strict=True)]
        return tree_unflatten(leaves, self._structure)

    def running(self) -> AbstractContextManager[None]:
        """The module in evaluation mode, and every training flag back afterwards."""
        return nullcontext() if self._module is None else evaluating(self._module)


@contextmanager
def evaluating(module: nn.Module) -> Generator[None, None, None]:
    """A module in evaluation mode, and every training flag back afterwards."""
    flags = [(part, part.training) for part in module.modules()]
    try:
        for part, _ in flags:
            part.training = False
        yield
    finally:
        for part, training in flags:
            part.training = training


class _Method(nn.Module):
    """A method of a module in the place of its `forward`, so that `functional_call` can reach it."""

    def __init__(self, module: nn.Module, name: str) -> None:
        super().__init__()
        self.module, self._name = module, name

    def forward(self, *args: Any) -> Any:
        return getattr(self.module, self._name)(*args)


def _module_of(function: Callable[..., Any]) -> tuple[nn.Module | None, str]:
    if isinstance(function, nn.Module):
        return function, "__call__"
    owner = getattr(function, "__self__", None)
    return (owner, function.__name__) if isinstance(owner, nn.Module) else (None, "")


def _cast_call(module: nn.Module, method: str, dtype: torch.dtype, device: torch.device) -> Callable[..., Any]:
    wrapped = _Method(module, method)
    tensors = {**dict(wrapped.named_parameters()), **dict(wrapped.named_buffers())}
    cast = {
        name: tensor.to(device, dtype) if tensor.is_floating_point() else tensor.to(device) for name, tensor in tensors.items()
    }
    return lambda state, x: functional_call(wrapped, cast, (state, x))
