"""A user's own step, or System, with inputs and state: pytrees of tensors, batch first."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from lyapunov import _checks
from lyapunov._shapes import State
from lyapunov._trees import keystr, tree_flatten, tree_flatten_with_path, tree_map
from lyapunov.errors import InvalidInput
from lyapunov.intake.foreign import require_usable
from lyapunov.intake.inputs import PaddedSequences, autonomous, cast, copied
from lyapunov.intake.problem import Problem, SystemInputs, compute_device, same_device, sequences_of, state_batch
from lyapunov.systems import Step, System, require_order


def _checked_tree(value: Any, name: str) -> Any:
    checked = tree_map(lambda leaf: _checks.tensor(leaf, name), value)
    _checks.finite_tree(checked, name)
    return checked


def _tree_sequences(system_inputs: SystemInputs, device: torch.device, batch: int) -> PaddedSequences:
    """Inputs of a step or System: a pytree of (batch, time, ...)."""
    if system_inputs.inputs is None:
        return autonomous(system_inputs.steps, batch)
    inputs = _checked_tree(system_inputs.inputs, "inputs")
    if any(leaf.dim() < 2 for leaf in tree_flatten(inputs)[0]):
        raise InvalidInput("Expected `inputs` of shape (batch, time, ...), got fewer axes. Add the missing axis.")
    return sequences_of(
        tree_map(lambda leaf: leaf.transpose(0, 1), inputs), system_inputs.lengths, system_inputs, device, batch=batch
    )


def system_problem(system: System, system_inputs: SystemInputs) -> Problem:
    """A System with inputs and state as it takes them, pytrees of (batch, time, ...) and (batch, ...)."""
    same_device(system_inputs, system.device)
    state = None if system_inputs.state is None else _checked_tree(system_inputs.state, "state")
    sequences = _tree_sequences(system_inputs, system.device, state_batch(state, 0))
    if state is None:
        state = system.initial_state(sequences.batch, torch.empty(0, dtype=system_inputs.dtype, device=system.device))
    _same_batch(state, sequences.batch, inputs=system_inputs.inputs)
    return Problem(system, sequences, copied(cast(state, system_inputs.dtype, system.device)), system_inputs.dtype)


def step_problem(function: Callable[..., Any], system_inputs: SystemInputs) -> Problem:
    """A user's step(state, x) with its initial state, and what it carries."""
    require_usable(function)
    if system_inputs.inputs is not None:
        require_order(function)
    if system_inputs.state is None or not tree_flatten(system_inputs.state)[0]:
        raise InvalidInput(
            "Expected `state` with a step function, got none: its shape cannot be guessed. Pass the initial state, batch first."
        )
    tensors = tree_map(lambda leaf: _checks.tensor(leaf, "state"), system_inputs.state)
    same_device(system_inputs, tree_flatten(tensors)[0][0].device)
    state = _checked_tree(tensors, "state")
    leaves = tree_flatten(state)[0]
    for leaf in leaves:
        _checks.continuous(leaf, "state")
    device = compute_device(leaves[0].device, system_inputs.dtype)
    sequences = _tree_sequences(system_inputs, device, state_batch(state, 0))
    _same_batch(state, sequences.batch, inputs=system_inputs.inputs)
    state = copied(cast(state, system_inputs.dtype, device))
    if system_inputs.carried is None:
        return Problem(Step(function, state, dtype=system_inputs.dtype), sequences, state, leaves[0].dtype)
    carried = _checked_tree(system_inputs.carried, "carried")
    _same_batch(carried, sequences.batch, "carried")
    carried = copied(cast(carried, system_inputs.dtype, device))
    system = Step(function, state, dtype=system_inputs.dtype, carried=carried)
    return Problem(system, sequences, (state, carried), leaves[0].dtype)


def _same_batch(state: State, batch: int, name: str = "state", inputs: Any = None) -> None:
    for path, leaf in tree_flatten_with_path(state)[0]:
        if leaf.dim() >= 1 and leaf.shape[0] == batch:
            continue
        shape, where = tuple(leaf.shape), f"`{name}{keystr(path)}`"
        driven = [one for one in tree_flatten(inputs)[0] if isinstance(one, Tensor) and one.dim() >= 2]
        turned = [one for one in driven if leaf.dim() >= 1 and one.shape[1] == leaf.shape[0] != 1]
        if batch in shape:
            at = shape.index(batch)
            remedy = f"Its axis {at} has them: move it to the front on the way in and out of the step, s.movedim({at}, 0)."
        elif turned:
            remedy = f"Inputs are (batch, time, ...): these have {shape[0]} along their second axis, so pass x.transpose(0, 1)."
        else:
            remedy = f"Expand it: {name}.expand(batch, ...)."
        raise InvalidInput(f"Expected {where} batch first with {batch} sequences, as the inputs, got shape {shape}. {remedy}")
