"""Module, cell, callable, Captured or System -> a System with its inputs and state: the only place that knows the kinds."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn.utils.rnn import PackedSequence

from lyapunov import _checks
from lyapunov._shapes import State
from lyapunov._trees import tree_flatten, tree_map
from lyapunov.errors import InvalidInput, Unsupported
from lyapunov.intake.capturing import Captured, captured_problem
from lyapunov.intake.foreign import is_recurrent, native, native_state, require_usable
from lyapunov.intake.inputs import PaddedSequences, autonomous, cast, copied
from lyapunov.intake.languages import is_language_model, language_problem
from lyapunov.intake.layers import CELLS, LAYERS, cell_problem, layer_problem
from lyapunov.intake.loops import ClosedLoop, loop_problem
from lyapunov.intake.problem import Problem, SystemInputs, compute_device, same_device, sequences_of, state_batch
from lyapunov.systems import Step, System, require_order


def recognize(system: Any, system_inputs: SystemInputs) -> Problem:
    """The problem behind whatever the user handed over; refuses what it does not know, with the remedy."""
    _checks.one_of(system_inputs.dtype, (torch.float64, torch.float32), "dtype")
    both = system_inputs.inputs is not None and system_inputs.steps is not None
    if both and not isinstance(system, ClosedLoop):
        raise InvalidInput("Expected `inputs` or `steps`, got both. Cut the inputs to the steps you want, or drop `steps`.")
    system_inputs = replace(
        system_inputs,
        inputs=_with_tensors(system_inputs.inputs),
        state=_with_tensors(system_inputs.state),
        carried=_with_tensors(system_inputs.carried),
    )
    problem = _problem(system, system_inputs)
    if system_inputs.carried is not None and not isinstance(problem.system, Step):
        raise InvalidInput(
            f"Expected `carried` with a step(state, x, carried) only, got it with {type(system).__name__}. Leave it out."
        )
    return problem


def _problem(system: Any, system_inputs: SystemInputs) -> Problem:
    if isinstance(system, Captured):
        return captured_problem(system, system_inputs)
    if isinstance(system, ClosedLoop):
        return loop_problem(system, system_inputs, recognize)
    system_inputs = replace(system_inputs, state=native_state(system, system_inputs.state))
    system = native(system)
    if isinstance(system, LAYERS):
        return layer_problem(system, system_inputs)
    if isinstance(system, CELLS):
        return cell_problem(system, system_inputs)
    if system_inputs.linearization == "hidden":
        raise InvalidInput(
            f"Expected linearization='full' with {type(system).__name__}, got 'hidden'. Leave it out: only PyTorch's LSTMs "
            "have a cell state to hold; in a step of your own, hand c over as `carried`."
        )
    if is_language_model(system):
        return language_problem(system, system_inputs)
    if isinstance(system, System):
        return _system(system, system_inputs)
    if isinstance(system, type):
        raise Unsupported(f"Expected an instance, got the class {system.__name__}. Make one: {system.__name__}(...).")
    _refuse_containers(system, system_inputs)
    if callable(system):
        return _step(system, system_inputs)
    raise Unsupported(
        f"Expected a recurrent module, a cell, a `step(state, x)`, a System or what lyapunov.capture returned, got "
        f"{type(system).__name__}. Pass one of those."
    )


def _with_tensors(value: Any) -> Any:
    """NumPy arrays as tensors; the rest as it is."""
    if isinstance(value, PackedSequence):
        return value
    return tree_map(lambda leaf: torch.as_tensor(leaf) if isinstance(leaf, np.ndarray) else leaf, value)


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


def _system(system: System, system_inputs: SystemInputs) -> Problem:
    same_device(system_inputs, system.device)
    state = None if system_inputs.state is None else _checked_tree(system_inputs.state, "state")
    sequences = _tree_sequences(system_inputs, system.device, state_batch(state, 0))
    if state is None:
        state = system.initial_state(sequences.batch, torch.empty(0, dtype=system_inputs.dtype, device=system.device))
    _same_batch(state, sequences.batch)
    return Problem(system, sequences, copied(cast(state, system_inputs.dtype, system.device)), system_inputs.dtype)


def _step(function: Callable[..., Any], system_inputs: SystemInputs) -> Problem:
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
    _same_batch(state, sequences.batch)
    state = copied(cast(state, system_inputs.dtype, device))
    if system_inputs.carried is None:
        return Problem(Step(function, state, dtype=system_inputs.dtype), sequences, state, leaves[0].dtype)
    carried = _checked_tree(system_inputs.carried, "carried")
    _same_batch(carried, sequences.batch, "carried")
    carried = copied(cast(carried, system_inputs.dtype, device))
    system = Step(function, state, dtype=system_inputs.dtype, carried=carried)
    return Problem(system, sequences, (state, carried), leaves[0].dtype)


def _same_batch(state: State, batch: int, name: str = "state") -> None:
    for leaf in tree_flatten(state)[0]:
        if leaf.dim() < 1 or leaf.shape[0] != batch:
            raise InvalidInput(
                f"Expected `{name}` batch first with {batch} sequences, as the inputs, got shape {tuple(leaf.shape)}. "
                f"Expand it: {name}.expand(batch, ...)."
            )


def _refuse_containers(system: Any, system_inputs: SystemInputs) -> None:
    if not isinstance(system, nn.Module) or system_inputs.state is not None:
        return
    name = type(system).__name__
    cores = [part for part, module in system.named_modules() if is_recurrent(module)]
    if cores:
        raise Unsupported(
            f"Expected a recurrent module itself, got {name}, which holds {', '.join(cores)}. Pass "
            f"lyapunov.capture(model, ...), called as the model is, or that part (model.{cores[0]}) with its own inputs."
        )
    languages = [part for part, module in system.named_modules() if is_language_model(module)]
    if languages:
        raise Unsupported(
            f"Expected a language model itself, got {name}, which holds {languages[0]}. Pass that part with its "
            f"tokens: model.{languages[0]}."
        )
