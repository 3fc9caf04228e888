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
from lyapunov.intake.kinds import CELLS, LAYERS
from lyapunov.intake.languages import is_language_model, language_problem
from lyapunov.intake.layers import cell_problem, has_own_forward, layer_problem
from lyapunov.intake.loops import loop_problem
from lyapunov.intake.problem import CastProblem, Problem
from lyapunov.intake.steps import step_problem, system_problem
from lyapunov.systems import Loop, Step, System


def recognize(problem: Problem, dtype: torch.dtype) -> CastProblem:
    """The problem as it is run, whatever kind of system it has; refuses what it does not know, with the remedy."""
    _checks.one_of(dtype, (torch.float64, torch.float32), "dtype")
    if isinstance(problem, Captured):
        return captured_problem(problem, dtype)
    both = problem.inputs is not None and problem.steps is not None
    if both and not isinstance(problem.system, ClosedLoop):
        raise InvalidInput("Expected `inputs` or `steps`, got both. Cut the inputs to the steps you want, or drop `steps`.")
    given = {name: with_tensors(getattr(problem, name)) for name in ("inputs", "state", "carried")}
    found = _recognized(replace(problem, **given), dtype)
    if problem.carried is not None and not isinstance(found.system, Step):
        raise InvalidInput(
            f"Expected `carried` with a step(state, x, carried) only, got it with {type(problem.system).__name__}. Leave it "
            "out."
        )
    return found


def _recognized(problem: Problem, dtype: torch.dtype) -> CastProblem:
    system = problem.system
    if isinstance(system, ClosedLoop):
        return closed_loop_problem(system, problem, dtype, recognize)
    problem = replace(problem, state=native_state(system, problem.state))
    system, inputs = native(system), problem.inputs
    if isinstance(system, LAYERS + CELLS) and has_own_forward(system) and isinstance(inputs, Tensor | PackedSequence):
        system = as_derived_from(system, inputs, problem.state)
    if isinstance(system, LAYERS):
        return layer_problem(system, problem, dtype)
    if isinstance(system, CELLS):
        return cell_problem(system, problem, dtype)
    if problem.linearization == "hidden":
        raise InvalidInput(
            f"Expected linearization='full' with {type(system).__name__}, got 'hidden'. Leave it out: only PyTorch's LSTMs "
            "have a cell state to hold; in a step of your own, pass c as `carried`."
        )
    if isinstance(system, Loop):
        return loop_problem(system, problem, dtype)
    if is_language_model(system):
        return language_problem(system, problem, dtype)
    if isinstance(system, System):
        return system_problem(system, problem, dtype)
    if isinstance(system, type):
        raise Unsupported(f"Expected an instance, got the class {system.__name__}. Make one: {system.__name__}(...).")
    _refuse_containers(system, problem)
    if callable(system):
        return step_problem(system, problem, dtype)
    raise Unsupported(
        f"Expected a recurrent module, a cell, a `step(state, x)`, a System or what lyapunov.capture returned, got "
        f"{type(system).__name__}. Pass one of those."
    )


def _refuse_containers(system: Any, problem: Problem) -> None:
    if not isinstance(system, nn.Module) or problem.state is not None:
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
