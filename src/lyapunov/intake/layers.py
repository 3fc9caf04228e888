"""PyTorch's own recurrent layers and cells as closed forms, with their inputs and state."""

from collections.abc import Callable
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from lyapunov import _checks
from lyapunov._shapes import State
from lyapunov._trees import tree_flatten
from lyapunov.errors import InvalidInput, Unsupported
from lyapunov.intake.inputs import cast, unpack
from lyapunov.intake.kinds import kind_of, known_kind
from lyapunov.intake.problem import CastProblem, Problem, compute_device, same_device, sequences_of, state_batch
from lyapunov.systems import CoupledStack, Layer, Stack, System, eval_mode

Hook = TypeVar("Hook", bound=Callable[..., Any])


def layer_system(module: nn.RNNBase, problem: Problem, dtype: torch.dtype) -> System:
    """One or several layers of `nn.RNN`, `nn.GRU` or `nn.LSTM`, without what drives them."""
    require_plain(module)
    if module.bidirectional:
        raise Unsupported(
            "Expected a one-directional module, got bidirectional=True: the backward pass runs against time, so the two are "
            "not one map. Analyse each direction by itself: captured = lyapunov.capture(module, inputs), or that of the model "
            "around it; lyapunov.spectrum(captured.core(direction='forward')), and the same with 'backward'."
        )
    source: Any = module.weight_hh_l0
    same_device(problem, source.device)
    _require_fitting(module, problem)
    build = _LayerBuilder(module, problem, dtype, compute_device(source.device, dtype))
    with eval_mode(module):
        layers = [build(f"_l{at}", at) for at in range(module.num_layers)]
    return layers[0] if len(layers) == 1 else (CoupledStack if problem.coupled else Stack)(layers)


def layer_problem(module: nn.RNNBase, problem: Problem, dtype: torch.dtype) -> CastProblem:
    """The same with inputs and state as the module takes them."""
    system = layer_system(module, problem, dtype)
    device = system.device
    inputs, lengths = unpack(problem.inputs, problem.lengths, batch_first=module.batch_first)
    values, unbatched = _time_major(inputs, module, module.batch_first, unbatched_allowed=True)
    sequences = sequences_of(values, lengths, problem, dtype, device, batch=state_batch(problem.state, 1))
    state = _module_state(module, problem.state, sequences.batch, unbatched=unbatched)
    if state is None:
        start = system.initial_state(sequences.batch, torch.empty(0, dtype=dtype, device=device))
    else:
        start = split_layers(cast(state, dtype, device), system)
    return CastProblem(system, sequences, start, module.weight_hh_l0.dtype)  # type: ignore[union-attr]


def cell_problem(module: nn.RNNCellBase, problem: Problem, dtype: torch.dtype) -> CastProblem:
    """A cell, driven along the time axis of (batch, time, features)."""
    require_plain(module)
    _require_hooks_that_watch(module)
    same_device(problem, module.weight_hh.device)
    device = compute_device(module.weight_hh.device, dtype)
    _require_fitting(module, problem)
    with eval_mode(module):
        layer = _LayerBuilder(module, problem, dtype, device)("", 0)
    values, _ = _time_major(problem.inputs, module, True, unbatched_allowed=False)
    sequences = sequences_of(values, problem.lengths, problem, dtype, device, batch=state_batch(problem.state, 0))
    state = problem.state
    if state is not None:
        parts = _state_parts(module, state)
        for part in parts:
            _checks.shape(
                part,
                (sequences.batch, module.hidden_size),
                "state",
                "The cell's state is batch first; its inputs are (batch, time, features).",
            )
        _checks.finite_tree(state, "state")
        state = tuple(parts) if len(parts) > 1 else parts[0]
    state = cast(state, dtype, device)
    if state is None:
        state = layer.initial_state(sequences.batch, torch.empty(0, dtype=dtype, device=device))
    return CastProblem(layer, sequences, state, module.weight_hh.dtype)


def _require_hooks_that_watch(module: nn.RNNCellBase) -> None:
    """Forward hooks of a cell make its next state where they return something."""
    if not module._forward_hooks:
        return
    one = torch.ones(1, module.input_size, dtype=module.weight_hh.dtype, device=module.weight_hh.device)
    hooked, unhooked = module(one), type(module).forward(module, one)
    pairs = zip(tree_flatten(hooked)[0], tree_flatten(unhooked)[0], strict=False)
    if not all(one.shape == other.shape and torch.equal(one, other) for one, other in pairs):
        raise Unsupported(
            f"Expected a {type(module).__name__} whose forward hooks only watch, got one that changes the state. Pass it as "
            "a step: step(state, x) that calls it."
        )


def has_own_forward(module: nn.Module) -> bool:
    """Whether it computes something else than the layer or cell that it is called."""
    return type(module).forward is not kind_of(module).forward or "forward" in vars(module)


def only_watches(hook: Hook) -> Hook:
    """Marks a forward pre-hook of ours that changes neither inputs nor weights."""
    hook.only_watches = True  # type: ignore[attr-defined]
    return hook


def require_plain(module: nn.Module) -> None:
    """The closed forms hold for PyTorch's own forward."""
    kind = kind_of(module)
    if has_own_forward(module):
        raise Unsupported(
            f"Expected the forward of nn.{kind.__name__} itself, got {type(module).__name__} with one of its own. Pass it "
            "as a step: a function step(state, x) that calls it."
        )
    hooks = [hook for hook in module._forward_pre_hooks.values() if not getattr(hook, "only_watches", False)]
    if hooks:
        raise Unsupported(
            f"Expected a {kind.__name__} without forward pre-hooks, got {len(hooks)}: they can change "
            "inputs or weights. Remove them (weight norms: use torch.nn.utils.parametrizations)."
        )


def _require_fitting(module: nn.RNNBase | nn.RNNCellBase, problem: Problem) -> None:
    """Inputs that are given, and a linearization that the kind has."""
    kind = kind_of(module)
    if problem.inputs is None:
        raise InvalidInput(
            f"Expected `inputs` with a {kind.__name__}, got none. For a network without a drive pass zeros of shape "
            f"(batch, time, {module.input_size})."
        )
    if problem.linearization == "hidden" and "c" not in known_kind(kind).system.state_parts:
        raise InvalidInput(
            f"Expected linearization='full' with a {kind.__name__}, got 'hidden'. Leave it out: "
            "only an LSTM has a cell state to hold."
        )


class _LayerBuilder:
    """Closed forms from a module's weights, read through its attributes (so that parametrizations work) and cast."""

    def __init__(self, module: nn.RNNBase | nn.RNNCellBase, problem: Problem, dtype: torch.dtype, device: torch.device) -> None:
        self._module, self._problem, self._dtype, self._device = module, problem, dtype, device

    def __call__(self, suffix: str, at: int) -> Layer:
        names = ["weight_ih", "weight_hh", *(["bias_ih", "bias_hh"] if self._module.bias else [])]
        weights = {name: self._weight(name + suffix) for name in names}
        if getattr(self._module, "proj_size", 0):
            weights["weight_hr"] = self._weight("weight_hr" + suffix)
        system = known_kind(type(self._module)).system
        return system.of_module(self._module, weights, at, self._problem.linearization)

    def _weight(self, name: str) -> Tensor:
        weight = getattr(self._module, name)
        _checks.finite(weight, name)
        return weight.to(self._device, self._dtype)


def _time_major(inputs: object, module: nn.Module, batch_first: bool, *, unbatched_allowed: bool) -> tuple[Any, bool]:
    """Inputs of a layer or cell as (time, batch, features), and whether they came without a batch axis."""
    if inputs is None:
        return None, False
    inputs = _checks.tensor(inputs, "inputs")
    _checks.floating(inputs, "inputs")
    features: int = module.input_size  # type: ignore[assignment]
    if unbatched_allowed and inputs.dim() == 2:
        _checks.shape(inputs, ("time", features), "inputs", "The last axis must be the module's input_size.")
        return inputs.unsqueeze(1), True
    axes = ("batch", "time", features) if batch_first else ("time", "batch", features)
    remedy = f"The last axis must be the module's input_size; batch_first is {batch_first}."
    if inputs.dim() == 3 and inputs.shape[-1] != features and features in inputs.shape:
        at = tuple(inputs.shape).index(features)
        remedy = f"The last axis must be the module's input_size: move it there, x.movedim({at}, -1)."
    _checks.shape(inputs, axes, "inputs", remedy)
    return (inputs.transpose(0, 1) if batch_first else inputs), False


def _state_parts(module: nn.Module, state: object) -> list[Tensor]:
    """h, or h and c, as the module takes them."""
    wanted = len(known_kind(type(module)).system.state_parts)
    parts = list(state) if isinstance(state, tuple | list) else [state]
    if len(parts) != wanted:
        form = "a tuple (h, c)" if wanted == 2 else "one tensor h"
        raise InvalidInput(f"Expected `state` as {form}, as the module takes it, got {len(parts)} part(s). Pass {form}.")
    parts = [_checks.tensor(part, "state") for part in parts]
    for part in parts:
        _checks.floating(part, "state")
    return parts


def _module_state(module: nn.RNNBase, state: object, batch: int, *, unbatched: bool) -> list[Tensor] | None:
    """Parts of shape (layers, batch, size), checked."""
    if state is None:
        return None
    parts = [part.unsqueeze(1) if unbatched and part.dim() == 2 else part for part in _state_parts(module, state)]
    sizes = [module.proj_size or module.hidden_size, module.hidden_size]
    for part, size in zip(parts, sizes, strict=False):
        _checks.shape(part, (module.num_layers, batch, size), "state", "It has (layers, batch, size) whatever batch_first.")
    _checks.finite_tree(state, "state")
    return parts


def split_layers(parts: list[Tensor], system: System) -> State:
    """The state of a layer or stack, from h, or h and c, of shape (layers, batch, size)."""
    states = [tuple(layer) if len(layer) > 1 else layer[0] for layer in zip(*(part.unbind(0) for part in parts), strict=True)]
    return tuple(states) if isinstance(system, Stack | CoupledStack) else states[0]
