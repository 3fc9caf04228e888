"""A user's whole model, from its inputs through all its layers to its outputs: run from the states one likes."""

import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import cached_property, partial
from typing import Any

import torch
from torch import Tensor, nn

from lyapunov._shapes import State
from lyapunov._trees import tree_flatten, tree_map, tree_unflatten
from lyapunov.errors import InvalidInput, Unsupported
from lyapunov.intake import CELLS, Captured, cores_of, preserving_state

States = dict[str, State]
"""The state of each core, as the core itself takes it, by its name."""


@dataclass(frozen=True)
class WholeModel:
    """A model (or a method of one) with what it is called with: one tensor, a tuple of arguments, or a mapping of them by name.

    Batch first: the first tensor has a row per sequence, and so has what the model returns.
    """

    model: Any
    inputs: object

    @classmethod
    def of(cls, model: Any, inputs: object) -> "WholeModel":
        """What a tokenizer returns is a dictionary, whatever it is."""
        return cls(model, dict(inputs) if isinstance(inputs, Mapping) else inputs)

    @property
    def first(self) -> Tensor:
        """The first tensor it is called with: its sequences and steps are those of the run."""
        found = next((leaf for leaf in tree_flatten(self.inputs)[0] if isinstance(leaf, Tensor) and leaf.dim() >= 2), None)
        if found is None:
            raise InvalidInput(
                f"Expected `inputs` with a tensor (batch, time, ...), got {type(self.inputs).__name__}. Pass what the model is "
                "called with: a tensor, a tuple of arguments, or a dictionary of them."
            )
        return found

    @property
    def owner(self) -> nn.Module:
        """The module itself, or that of which the model is a method."""
        return self.model if isinstance(self.model, nn.Module) else self.model.__self__

    def call(self) -> object:
        """The model's own output."""
        if isinstance(self.inputs, tuple):
            return self.model(*self.inputs)
        return self.model(**self.inputs) if isinstance(self.inputs, Mapping) else self.model(self.inputs)

    def arguments(self) -> tuple[tuple[object, ...], dict[str, Any]]:
        """What `lyapunov.capture` is called with besides the model."""
        if isinstance(self.inputs, Mapping):
            return (), dict(self.inputs)
        return (self.inputs if isinstance(self.inputs, tuple) else (self.inputs,)), {}

    def outputs(self) -> Tensor:
        """(batch, steps, outputs): every number the model returns for a step of a sequence."""
        return self._rows(self.call())

    def _rows(self, returned: object) -> Tensor:
        output, steps = tensor_of(returned, len(self.first)), self.first.shape[1]
        if output.dim() > 2:
            return output.flatten(2)
        return output.unsqueeze(-1 if output.shape[1] == steps and self._has_one_number_a_step else 1)

    @cached_property
    def _has_one_number_a_step(self) -> bool:
        """Of outputs (batch, steps): whether inputs one step shorter have one number less.

        The last step's outputs alone have that shape, too, where there are as many classes as steps.
        """
        shape, (leaves, form) = self.first.shape[:2], tree_flatten(self.inputs)
        if shape[1] < 2:
            return True
        shorter = [leaf[:, :-1] if isinstance(leaf, Tensor) and leaf.shape[:2] == shape else leaf for leaf in leaves]
        try:
            with preserving_state(self.owner, self.inputs):
                found = tensor_of(WholeModel(self.model, tree_unflatten(shorter, form)).call(), shape[0]).shape[1:]
        except Exception as error:  # the model's own: it may take so many steps and no others
            raise _ambiguous(shape) from error
        if found not in ((shape[1] - 1,), (shape[1],)):
            raise _ambiguous(shape)
        return found[0] < shape[1]

    def run_from(self, states: States | None) -> tuple[Tensor, States]:
        """The outputs, and the state that each core ends in; `states`: what they start from in the place of their own."""
        ends: States = {}
        with ExitStack() as back:
            if "torch._dynamo" in sys.modules:  # compiled code does not see hooks that come later
                back.enter_context(torch.compiler.set_stance("force_eager"))
            for name, core in cores_of(self.owner).items():
                if states is not None and name in states:
                    give = partial(_given, waiting=[states[name]])
                    back.callback(core.register_forward_pre_hook(give, with_kwargs=True).remove)
                back.callback(core.register_forward_hook(partial(_ended, name, ends)).remove)
            returned = self.call()
        return self._rows(returned), ends


def _ambiguous(shape: torch.Size) -> InvalidInput:
    return InvalidInput(
        f"Expected outputs (batch, time, outputs), got {tuple(shape)} of {shape[1]} steps: one number at each step, or so many "
        "of the last step. Wrap the model in a module that returns (batch, time, 1), or (batch, 1, outputs) of the last step."
    )


def tensor_of(output: object, batch: int) -> Tensor:
    """What a model returned for so many sequences: a tensor, the first of several, or the logits of transformers."""
    for name in ("logits", "last_hidden_state"):
        output = getattr(output, name, output)
    if isinstance(output, tuple | list) and output:
        output = output[0]
    fits = isinstance(output, Tensor) and output.is_floating_point() and output.dim() >= 2 and len(output) == batch
    if not fits:
        got = tuple(output.shape) if isinstance(output, Tensor) else type(output).__name__
        raise InvalidInput(
            f"Expected a model that returns a tensor ({batch}, time, outputs) of {batch} sequences, or that first, got {got}. "
            "Wrap it in a module whose forward takes and returns sequences batch first."
        )
    return output


def require_one_run(captured: Captured, ends: States, batch: int) -> None:
    """Every core runs forwards, its calls continue each other, and hooks see them: else one state does not start it.

    And it runs as many sequences as the model is called with: else ends are not those of the model's sequences.
    """
    for core in captured.cores:
        if core.calls and core.name not in ends:
            raise Unsupported(
                f"Expected PyTorch's own layers or cells, called as modules, got {core.shown}, of another kind, scripted, "
                "or called by its forward. Measure it by itself: lyapunov.memory(lyapunov.capture(model, ...))."
            )
        if getattr(core.module, "bidirectional", False):
            raise Unsupported(
                f"Expected cores that run forwards in time, got {core.shown}, which is bidirectional: its backward half starts "
                "at the end. Measure one direction: lyapunov.memory(captured.core(direction='forward'))."
            )
        if core.calls and core.received is not None and core.received.in_turn != core.calls:
            raise Unsupported(
                f"Expected a core whose calls continue each other, got {core.shown}, called {core.calls} times for sequences "
                "of their own. Pass the sequences as one batch."
            )
        for leaf in tree_flatten(ends.get(core.name, ()))[0]:
            axis = _batch_axis(leaf, core.module)
            if axis is not None and leaf.shape[axis] != batch:
                raise InvalidInput(
                    f"Expected a model that runs {batch} sequences, the rows of its first tensor, got {core.shown} that ran "
                    f"{leaf.shape[axis]}. Wrap a model that has time first in a module whose forward takes and returns "
                    "(batch, time, ...); else measure the core by itself: lyapunov.memory(lyapunov.capture(model, ...))."
                )


def rolled(states: States, model: nn.Module, shift: int) -> States:
    """Each sequence's state in the place of the one `shift` further on."""
    cores = cores_of(model)
    return {name: tree_map(partial(_rolled, core=cores[name], shift=shift), state) for name, state in states.items()}


@contextmanager
def inputs_that_vary(whole: WholeModel) -> Iterator[Callable[[], Tensor]]:
    """Within it, what the derivative is taken by: the inputs, or the embeddings of tokens. Ask after the model has run.

    The model is called with a copy of its inputs that requires a gradient; tokens are followed to the embedding they enter.
    """
    first = whole.first
    if first.is_floating_point():
        raise InvalidInput("Expected tokens here, got numbers: they are differentiated as they are.")
    found: list[Tensor] = []

    def watch(module: nn.Module, args: tuple[object, ...], output: Tensor) -> Tensor | None:  # noqa: ARG001
        given = args[0] if args else None
        if found or not isinstance(given, Tensor) or given.shape != first.shape or not torch.equal(given, first):
            return None
        found.append(output.detach().requires_grad_())
        return found[0]

    handles = [part.register_forward_hook(watch) for part in whole.owner.modules() if isinstance(part, nn.Embedding)]
    try:
        yield lambda: _found(found)
    finally:
        for handle in handles:
            handle.remove()


def _found(found: list[Tensor]) -> Tensor:
    if found:
        return found[0]
    raise Unsupported(
        "Expected tokens that enter an nn.Embedding as they are, got none that does. Pass floating-point inputs (one-hot "
        "vectors, or embeddings) to a model that takes them."
    )


def _given(
    core: nn.Module,  # noqa: ARG001 the signature of a hook
    args: tuple[object, ...],
    kwargs: Mapping[str, object],
    *,
    waiting: list[State],
) -> tuple[tuple[object, ...], dict[str, object]] | None:
    """The core's arguments with another state, at its first call only."""
    if not waiting:
        return None
    state, others = waiting.pop(), {name: value for name, value in kwargs.items() if name != "hx"}
    if args:
        return (args[0], state), others
    return (), {**others, "hx": state}


def _ended(name: str, ends: States, core: nn.Module, args: object, output: State) -> None:  # noqa: ARG001
    state = output if isinstance(core, CELLS) else output[1]
    ends[name] = tree_map(lambda leaf: leaf.detach().clone(), state)


def _rolled(leaf: Tensor, *, core: nn.Module, shift: int) -> Tensor:
    axis = _batch_axis(leaf, core)
    return leaf if axis is None else leaf.roll(shift, dims=axis)


def _batch_axis(leaf: Tensor, core: nn.Module) -> int | None:
    """Where a part of a core's state has its sequences; None where it is that of a single one."""
    axis = 0 if isinstance(core, CELLS) else 1
    return axis if leaf.dim() == axis + 2 else None
