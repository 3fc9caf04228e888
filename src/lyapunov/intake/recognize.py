"""Module, cell, callable, Captured or System -> a System with its inputs and state: the only place that knows the kinds."""

from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import PackedSequence

from lyapunov import _checks
from lyapunov.errors import InvalidInput, Unsupported
from lyapunov.intake.capturing import Captured, as_derived_from, captured_problem
from lyapunov.intake.closed_loops import ClosedLoop, closed_loop_problem
from lyapunov.intake.foreign import is_recurrent, native, native_state
from lyapunov.intake.inputs import with_tensors
from lyapunov.intake.languages import is_language_model, language_problem
from lyapunov.intake.layers import CELLS, LAYERS, cell_problem, has_own_forward, layer_problem
from lyapunov.intake.loops import loop_problem
from lyapunov.intake.problem import Problem, SystemInputs
from lyapunov.intake.steps import step_problem, system_problem
from lyapunov.systems import Loop, Step, System


def recognize(system: Any, system_inputs: SystemInputs) -> Problem:
    """The problem behind whatever the user passed; refuses what it does not know, with the remedy."""
    _checks.one_of(system_inputs.dtype, (torch.float64, torch.float32), "dtype")
    both = system_inputs.inputs is not None and system_inputs.steps is not None
    if both and not isinstance(system, ClosedLoop):
        raise InvalidInput("Expected `inputs` or `steps`, got both. Cut the inputs to the steps you want, or drop `steps`.")
    system_inputs = replace(
        system_inputs,
        inputs=with_tensors(system_inputs.inputs),
        state=with_tensors(system_inputs.state),
        carried=with_tensors(system_inputs.carried),
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
        return closed_loop_problem(system, system_inputs, recognize)
    system_inputs = replace(system_inputs, state=native_state(system, system_inputs.state))
    system = native(system)
    drive = system_inputs.inputs
    if isinstance(system, LAYERS + CELLS) and has_own_forward(system) and isinstance(drive, Tensor | PackedSequence):
        system = as_derived_from(system, drive, system_inputs.state)
    if isinstance(system, LAYERS):
        return layer_problem(system, system_inputs)
    if isinstance(system, CELLS):
        return cell_problem(system, system_inputs)
    if system_inputs.linearization == "hidden":
        raise InvalidInput(
            f"Expected linearization='full' with {type(system).__name__}, got 'hidden'. Leave it out: only PyTorch's LSTMs "
            "have a cell state to hold; in a step of your own, pass c as `carried`."
        )
    if isinstance(system, Loop):
        return loop_problem(system, system_inputs)
    if is_language_model(system):
        return language_problem(system, system_inputs)
    if isinstance(system, System):
        return system_problem(system, system_inputs)
    if isinstance(system, type):
        raise Unsupported(f"Expected an instance, got the class {system.__name__}. Make one: {system.__name__}(...).")
    _refuse_containers(system, system_inputs)
    if callable(system):
        return step_problem(system, system_inputs)
    raise Unsupported(
        f"Expected a recurrent module, a cell, a `step(state, x)`, a System or what lyapunov.capture returned, got "
        f"{type(system).__name__}. Pass one of those."
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
