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
from lyapunov.intake.problem import CastProblem, Problem, compute_device, same_device, sequences_of, state_batch
from lyapunov.systems import Step, System, require_order


def _checked_tree(value: object, name: str) -> Any:
    checked = tree_map(lambda leaf: _checks.tensor(leaf, name), value)
    _checks.finite_tree(checked, name)
    return checked


def _tree_sequences(problem: Problem, dtype: torch.dtype, device: torch.device, batch: int) -> PaddedSequences:
    """Inputs of a step or System: a pytree of (batch, time, ...)."""
    if problem.inputs is None:
        return autonomous(problem.steps, batch)
    inputs = _checked_tree(problem.inputs, "inputs")
    if any(leaf.dim() < 2 for leaf in tree_flatten(inputs)[0]):
        raise InvalidInput("Expected `inputs` of shape (batch, time, ...), got fewer axes. Add the missing axis.")
    return sequences_of(
        tree_map(lambda leaf: leaf.transpose(0, 1), inputs), problem.lengths, problem, dtype, device, batch=batch
    )


def system_problem(system: System, problem: Problem, dtype: torch.dtype) -> CastProblem:
    """A System with inputs and state as it takes them, pytrees of (batch, time, ...) and (batch, ...)."""
    same_device(problem, system.device)
    state = None if problem.state is None else _checked_tree(problem.state, "state")
    sequences = _tree_sequences(problem, dtype, system.device, state_batch(state, 0))
    if state is None:
        state = system.initial_state(sequences.batch, torch.empty(0, dtype=dtype, device=system.device))
    _same_batch(state, sequences.batch, inputs=problem.inputs)
    return CastProblem(system, sequences, copied(cast(state, dtype, system.device)), dtype)


def step_problem(function: Callable[..., Any], problem: Problem, dtype: torch.dtype) -> CastProblem:
    """A user's step(state, x) with its initial state, and what it carries."""
    require_usable(function)
    if problem.inputs is not None:
        require_order(function)
    if problem.state is None or not tree_flatten(problem.state)[0]:
        raise InvalidInput(
            "Expected `state` with a step function, got none: its shape cannot be guessed. Pass the initial state, batch first."
        )
    tensors = tree_map(lambda leaf: _checks.tensor(leaf, "state"), problem.state)
    same_device(problem, tree_flatten(tensors)[0][0].device)
    state = _checked_tree(tensors, "state")
    leaves = tree_flatten(state)[0]
    for leaf in leaves:
        _checks.continuous(leaf, "state")
    device = compute_device(leaves[0].device, dtype)
    sequences = _tree_sequences(problem, dtype, device, state_batch(state, 0))
    _same_batch(state, sequences.batch, inputs=problem.inputs)
    state = copied(cast(state, dtype, device))
    if problem.carried is None:
        return CastProblem(Step(function, state, dtype=dtype), sequences, state, leaves[0].dtype)
    carried = _checked_tree(problem.carried, "carried")
    _same_batch(carried, sequences.batch, "carried")
    carried = copied(cast(carried, dtype, device))
    system = Step(function, state, dtype=dtype, carried=carried)
    return CastProblem(system, sequences, (state, carried), leaves[0].dtype)


def _same_batch(state: State, batch: int, name: str = "state", inputs: object = None) -> None:
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
