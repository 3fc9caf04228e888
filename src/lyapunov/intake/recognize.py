"""Module, cell, callable or System -> a System with its inputs and state: the only place that knows the kinds."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import PackedSequence
from torch.utils._pytree import tree_flatten, tree_map

from lyapunov import _checks
from lyapunov._shapes import State
from lyapunov.errors import InvalidInput, Unsupported
from lyapunov.intake.inputs import Sequences, autonomous, cast, copied, driven, unpack, without_padding
from lyapunov.systems import GRU, LSTM, RNN, CoupledStack, Layer, Linearization, Stack, Step, System, evaluating

LAYERS = (nn.RNN, nn.GRU, nn.LSTM)
CELLS = (nn.RNNCell, nn.GRUCell, nn.LSTMCell)


@dataclass(frozen=True)
class Problem:
    """What is to be run: a system, what drives it, and where it starts."""

    system: System
    sequences: Sequences
    state: State
    source_dtype: torch.dtype
    """The dtype the user's weights or state had before the cast."""


@dataclass(frozen=True)
class Request:
    """What the user handed over besides the system itself."""

    inputs: Any
    state: Any
    steps: int | None
    lengths: Any
    linearization: Linearization
    coupled: bool
    dtype: torch.dtype


def recognize(system: Any, request: Request) -> Problem:
    """The problem behind whatever the user handed over; refuses what it does not know, with the remedy."""
    if request.inputs is not None and request.steps is not None:
        raise InvalidInput("Expected `inputs` or `steps`, got both. Cut the inputs to the steps you want, or drop `steps`.")
    request = replace(request, inputs=_with_tensors(request.inputs), state=_with_tensors(request.state))
    if isinstance(system, LAYERS):
        return _layers(system, request)
    if isinstance(system, CELLS):
        return _cell(system, request)
    if isinstance(system, System):
        return _system(system, request)
    if isinstance(system, type):
        raise Unsupported(f"Expected an instance, got the class {system.__name__}. Make one: {system.__name__}(...).")
    _refuse_containers(system, request)
    if callable(system):
        return _step(system, request)
    raise Unsupported(
        f"Expected a recurrent module, a cell, a `step(state, x)` or a System, got {type(system).__name__}. Pass one of those."
    )


def _with_tensors(value: Any) -> Any:
    """NumPy arrays as tensors; the rest as it is."""
    if isinstance(value, PackedSequence):
        return value
    return tree_map(lambda leaf: torch.as_tensor(leaf) if isinstance(leaf, np.ndarray) else leaf, value)


def compute_device(device: torch.device, dtype: torch.dtype) -> torch.device:
    """The module's device, or the CPU where that device has no float64."""
    return torch.device("cpu") if device.type == "mps" and dtype == torch.float64 else device


def _layers(module: nn.RNNBase, request: Request) -> Problem:
    if module.bidirectional:
        raise Unsupported(
            "Expected a one-directional module, got bidirectional=True: the backward pass runs against time, so the two are "
            "not one map. Analyse each direction by itself: load its weights (the backward one's end in `_reverse`) into a "
            "one-directional module, and give the backward one its inputs reversed in time."
        )
    source: Any = module.weight_hh_l0
    _same_device(request, source.device)
    device = compute_device(source.device, request.dtype)
    _require_plain(module, request)
    build = _LayerBuilder(module, request, device)
    with evaluating(module):
        layers = [build(f"_l{at}", at) for at in range(module.num_layers)]
    system = layers[0] if len(layers) == 1 else (CoupledStack if request.coupled else Stack)(layers)
    inputs, lengths = unpack(request.inputs, request.lengths, batch_first=module.batch_first)
    values, unbatched = _time_major(inputs, module, module.batch_first, unbatched_allowed=True)
    sequences = _sequences(values, lengths, request, device, batch=_state_batch(request.state, 1))
    state = _module_state(module, request.state, sequences.batch, unbatched=unbatched)
    states = _split_layers(cast(state, request.dtype, device), system, sequences, request.dtype)
    return Problem(system, sequences, states, source.dtype)


def _cell(module: nn.RNNCellBase, request: Request) -> Problem:
    _same_device(request, module.weight_hh.device)
    device = compute_device(module.weight_hh.device, request.dtype)
    _require_plain(module, request)
    with evaluating(module):
        layer = _LayerBuilder(module, request, device)("", 0)
    values, _ = _time_major(request.inputs, module, True, unbatched_allowed=False)
    sequences = _sequences(values, request.lengths, request, device, batch=_state_batch(request.state, 0))
    state = request.state
    if state is not None:
        parts = _state_parts(module, state)
        for part in parts:
            _checks.shape(part, (sequences.batch, module.hidden_size), "state", "The cell's state is batch first.")
        _checks.finite_tree(state, "state")
        state = tuple(parts) if isinstance(module, nn.LSTMCell) else parts[0]
    state = cast(state, request.dtype, device)
    if state is None:
        state = layer.initial_state(sequences.batch, torch.empty(0, dtype=request.dtype, device=device))
    return Problem(layer, sequences, state, module.weight_hh.dtype)


def _require_plain(module: nn.RNNBase | nn.RNNCellBase, request: Request) -> None:
    """The closed forms hold for PyTorch's own forward on inputs that are given."""
    kind = next(kind for kind in (*LAYERS, *CELLS) if isinstance(module, kind))
    if type(module).forward is not kind.forward or "forward" in vars(module):
        raise Unsupported(
            f"Expected the forward of nn.{kind.__name__} itself, got {type(module).__name__} with one of its own. Pass it "
            "as a step: a function step(state, x) that calls it."
        )
    if module._forward_pre_hooks:
        raise Unsupported(
            f"Expected a {kind.__name__} without forward pre-hooks, got {len(module._forward_pre_hooks)}: they can change "
            "inputs or weights. Remove them (weight norms: use torch.nn.utils.parametrizations)."
        )
    if request.inputs is None:
        raise InvalidInput(
            f"Expected `inputs` with a {kind.__name__}, got none. For a network without a drive pass zeros of shape "
            f"(batch, time, {module.input_size})."
        )
    if request.linearization == "hidden" and kind not in (nn.LSTM, nn.LSTMCell):
        raise InvalidInput(
            f"Expected linearization='full' with a {kind.__name__}, got 'hidden'. Leave it out: "
            "only an LSTM has a cell state to hold."
        )


class _LayerBuilder:
    """Closed forms from a module's weights, read through its attributes (so that parametrizations work) and cast."""

    def __init__(self, module: nn.RNNBase | nn.RNNCellBase, request: Request, device: torch.device) -> None:
        self._module, self._request, self._device = module, request, device

    def __call__(self, suffix: str, at: int) -> Layer:
        names = ["weight_ih", "weight_hh", *(["bias_ih", "bias_hh"] if self._module.bias else [])]
        weights = {name: self._weight(name + suffix) for name in names}
        if isinstance(self._module, nn.LSTM | nn.LSTMCell):
            if getattr(self._module, "proj_size", 0):
                weights["weight_hr"] = self._weight("weight_hr" + suffix)
            return LSTM(**weights, linearization=self._request.linearization, layer=at)
        if isinstance(self._module, nn.GRU | nn.GRUCell):
            return GRU(**weights, layer=at)
        return RNN(**weights, nonlinearity=self._module.nonlinearity, layer=at)  # type: ignore[arg-type]

    def _weight(self, name: str) -> Tensor:
        weight = getattr(self._module, name)
        _checks.finite(weight, name)
        return weight.to(self._device, self._request.dtype)


def _time_major(inputs: Any, module: nn.Module, batch_first: bool, *, unbatched_allowed: bool) -> tuple[Any, bool]:
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
    _checks.shape(inputs, axes, "inputs", remedy)
    return (inputs.transpose(0, 1) if batch_first else inputs), False


def _sequences(values: Any, lengths: Any, request: Request, device: torch.device, *, batch: int) -> Sequences:
    if values is None:
        return autonomous(request.steps, batch)
    sequences = driven(values, lengths)
    if sequences.lengths is None:
        _checks.finite_tree(request.inputs, "inputs")
    else:
        values = without_padding(values, sequences.lengths)
        _checks.finite_tree(tree_map(lambda leaf: leaf.transpose(0, 1), values), "inputs")
    return Sequences(cast(values, request.dtype, device), sequences.batch, sequences.steps, sequences.lengths)


def _state_parts(module: nn.Module, state: Any) -> list[Tensor]:
    """h, or h and c, as the module takes them."""
    wanted = 2 if isinstance(module, nn.LSTM | nn.LSTMCell) else 1
    parts = list(state) if isinstance(state, tuple | list) else [state]
    if len(parts) != wanted:
        form = "a tuple (h, c)" if wanted == 2 else "one tensor h"
        raise InvalidInput(f"Expected `state` as {form}, as the module takes it, got {len(parts)} part(s). Pass {form}.")
    parts = [_checks.tensor(part, "state") for part in parts]
    for part in parts:
        _checks.floating(part, "state")
    return parts


def _module_state(module: nn.RNNBase, state: Any, batch: int, *, unbatched: bool) -> list[Tensor] | None:
    """Parts of shape (layers, batch, size), checked."""
    if state is None:
        return None
    parts = [part.unsqueeze(1) if unbatched and part.dim() == 2 else part for part in _state_parts(module, state)]
    sizes = [module.proj_size or module.hidden_size, module.hidden_size]
    for part, size in zip(parts, sizes, strict=False):
        _checks.shape(part, (module.num_layers, batch, size), "state", "It has (layers, batch, size) whatever batch_first.")
    _checks.finite_tree(state, "state")
    return parts


def _split_layers(parts: list[Tensor] | None, system: System, sequences: Sequences, dtype: torch.dtype) -> State:
    if parts is None:
        return system.initial_state(sequences.batch, torch.empty(0, dtype=dtype, device=system.device))
    states = [tuple(layer) if len(layer) > 1 else layer[0] for layer in zip(*(part.unbind(0) for part in parts), strict=True)]
    return tuple(states) if isinstance(system, Stack | CoupledStack) else states[0]


def _state_batch(state: Any, axis: int) -> int:
    leaves = [leaf for leaf in tree_flatten(state)[0] if isinstance(leaf, Tensor)]
    return leaves[0].shape[axis] if leaves and leaves[0].dim() > axis else 1


def _same_device(request: Request, device: torch.device) -> None:
    _checks.same_device(request.inputs, device, "inputs")
    _checks.same_device(request.state, device, "state")


def _checked_tree(value: Any, name: str) -> Any:
    checked = tree_map(lambda leaf: _checks.tensor(leaf, name), value)
    _checks.finite_tree(checked, name)
    return checked


def _tree_sequences(request: Request, device: torch.device, batch: int) -> Sequences:
    """Inputs of a step or System: a pytree of (batch, time, ...)."""
    if request.inputs is None:
        return autonomous(request.steps, batch)
    inputs = _checked_tree(request.inputs, "inputs")
    if any(leaf.dim() < 2 for leaf in tree_flatten(inputs)[0]):
        raise InvalidInput("Expected `inputs` of shape (batch, time, ...), got fewer axes. Add the missing axis.")
    return _sequences(tree_map(lambda leaf: leaf.transpose(0, 1), inputs), request.lengths, request, device, batch=batch)


def _system(system: System, request: Request) -> Problem:
    _same_device(request, system.device)
    state = None if request.state is None else _checked_tree(request.state, "state")
    sequences = _tree_sequences(request, system.device, _state_batch(state, 0))
    if state is None:
        state = system.initial_state(sequences.batch, torch.empty(0, dtype=request.dtype, device=system.device))
    _same_batch(state, sequences.batch)
    return Problem(system, sequences, copied(cast(state, request.dtype, system.device)), request.dtype)


def _step(function: Callable[..., Any], request: Request) -> Problem:
    if request.state is None or not tree_flatten(request.state)[0]:
        raise InvalidInput(
            "Expected `state` with a step function, got none: its shape cannot be guessed. Pass the initial state, batch first."
        )
    tensors = tree_map(lambda leaf: _checks.tensor(leaf, "state"), request.state)
    _same_device(request, tree_flatten(tensors)[0][0].device)
    state = _checked_tree(tensors, "state")
    leaves = tree_flatten(state)[0]
    for leaf in leaves:
        _checks.floating(leaf, "state")
    device = compute_device(leaves[0].device, request.dtype)
    sequences = _tree_sequences(request, device, _state_batch(state, 0))
    _same_batch(state, sequences.batch)
    state = copied(cast(state, request.dtype, device))
    return Problem(Step(function, state, dtype=request.dtype), sequences, state, leaves[0].dtype)


def _same_batch(state: State, batch: int) -> None:
    for leaf in tree_flatten(state)[0]:
        if leaf.dim() < 1 or leaf.shape[0] != batch:
            raise InvalidInput(
                f"Expected `state` batch first with {batch} sequences, as the inputs, got shape {tuple(leaf.shape)}. "
                "Expand it: state.expand(batch, ...)."
            )


def _refuse_containers(system: Any, request: Request) -> None:
    if not isinstance(system, nn.Module) or request.state is not None:
        return
    cores = [name for name, part in system.named_modules() if isinstance(part, LAYERS + CELLS)]
    if cores:
        raise Unsupported(
            f"Expected a recurrent module itself, got {type(system).__name__}, which holds {', '.join(cores)}. Pass that part "
            f"(model.{cores[0]}) with the inputs it receives, not those of the whole model."
        )
