"""What other frameworks and wrappers made of a recurrent layer, as PyTorch's own layer, or why that cannot be."""

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy

from lyapunov._shapes import State
from lyapunov.errors import InvalidInput, Unsupported
from lyapunov.intake.foreign.keras_layers import from_keras, is_keras_recurrent, keras_state, refuse_keras_model
from lyapunov.intake.foreign.scripted import scripted_kind, unscripted
from lyapunov.intake.kinds import CELLS, LAYERS
from lyapunov.intake.layers import has_own_forward
from lyapunov.intake.rebuilt import plain

_WRAPPERS = {
    "OptimizedModule": "_orig_mod",  # torch.compile
    "DistributedDataParallel": "module",
    "DataParallel": "module",
    "FullyShardedDataParallel": "module",
    "AveragedModel": "module",  # torch.optim.swa_utils
    "TorchModuleWrapper": "module",  # keras.layers
}
"""Modules that only call another, and where they keep it."""
_ROUNDING = (
    "torch.ao.nn.quantized",
    "torch.ao.nn.quantizable",
    "torch.ao.nn.qat",
    "torch.ao.nn.intrinsic.quantized",
    "torch.ao.nn.intrinsic.qat",
    "torch.ao.quantization.fake_quantize",
)
_RECURRENT = {kind.__name__ for kind in (*LAYERS, *CELLS)}
_SUMMON = (
    "On every rank: with FullyShardedDataParallel.summon_full_params(model, writeback=False): lyapunov.spectrum(...), with the "
    "layer inside model."
)


def native(module: object) -> Any:
    """PyTorch's own layer or cell behind what another framework or a wrapper made of it; anything else as it is.

    Unwraps DDP, DataParallel, FSDP, `torch.compile` and averaged models; rebuilds layers of Keras 3 (on the PyTorch backend),
    of `torch.jit`, and of `fully_shard` around their weights as they are now, with their graph; changes nothing of the user's.
    Gathering the weights of `fully_shard` (or any DTensor) is collective: every rank must call this.
    Raises Unsupported or InvalidInput, with the remedy, for a recurrent layer that cannot be had: quantised, exported, on
    another backend, sharded by FSDP outside `summon_full_params`, without weights.
    """
    if _is(module, "torch.export", "ExportedProgram"):
        raise Unsupported(
            "Expected a module, got an ExportedProgram, in which layers are taken apart. Pass the module that it was exported "
            "from; or, if it is one step of a recurrence, step = program.module(), with state=..."
        )
    if is_keras_recurrent(module):
        return from_keras(module)
    if not isinstance(module, nn.Module):
        return module
    if (kind := scripted_kind(module)) is not None:
        return unscripted(module, kind)
    if is_quantised(module) and type(module).__name__ in _RECURRENT:
        raise _quantised(type(module).__name__)
    if isinstance(module, LAYERS + CELLS):
        return _whole(module)
    _refuse_sharded(module)
    refuse_keras_model(module)
    inner = _inner(module)
    return module if inner is None else native(inner)


def unwrapped(module: object) -> Any:
    """The module inside DDP, DataParallel, `torch.compile` and the like: the one that is trained, never a copy of it."""
    inner = _inner(module)
    return module if inner is None else unwrapped(inner)


def _inner(module: object) -> Any:
    place = next((_WRAPPERS[kind.__name__] for kind in type(module).__mro__ if _is_wrapper(kind)), None)
    return None if place is None else getattr(module, place)


def native_state(module: object, state: State) -> State:
    """The state as the layer that `native` gives takes it, from one as the module itself does."""
    return keras_state(module, state) if state is not None and is_keras_recurrent(module) else state


def is_recurrent(module: object) -> bool:
    """Whether it is a recurrent layer or cell: PyTorch's own, or one that `native` makes one of, or refuses."""
    if isinstance(module, LAYERS + CELLS) or is_keras_recurrent(module) or scripted_kind(module) is not None:
        return True
    return is_quantised(module) and type(module).__name__ in _RECURRENT


def is_quantised(module: object) -> bool:
    """Whether it rounds, or is made of parts that will; `FloatFunctional` lies in the same place and does not."""
    kind = type(module)
    return kind.__module__.startswith(_ROUNDING) and "FloatFunctional" not in kind.__name__


def require_usable(step: object) -> None:
    """A step whose weights are there, whole and not rounded, as far as it is a module or a method of one.

    Raises InvalidInput for weights without values, and Unsupported for quantised and sharded parts.
    """
    owner = step if isinstance(step, nn.Module) else getattr(step, "__self__", None)
    if not isinstance(owner, nn.Module):
        return
    for name, part in owner.named_modules():
        if is_quantised(part):
            raise _quantised(f"{type(part).__name__} at {name or 'the top'}")
    require_whole(owner)


def require_whole(model: nn.Module) -> None:
    """Weights that are there and whole, for a module that is to be called. Raises InvalidInput and Unsupported."""
    for name, part in model.named_modules():
        if _is_sharded(part):
            raise Unsupported(
                f"Expected whole weights, got {name or type(part).__name__} sharded by fully_shard: a call of it would run its "
                "collectives, and leave it broken. Pass its recurrent layer by itself, on every rank; or load a copy from "
                "state_dict = torch.distributed.checkpoint.state_dict.get_model_state_dict(model, "
                "options=StateDictOptions(full_state_dict=True)), and pass that."
            )
        _require_values(part)
        _refuse_sharded(part)


def _whole(module: Any) -> Any:
    """PyTorch's layer or cell itself; where its weights are sharded, one with the gathered ones."""
    if not _is_sharded(module):
        _require_values(module)
        return module
    return module if has_own_forward(module) else plain(module)


def _is_sharded(part: nn.Module) -> bool:
    """Whether it is one of `fully_shard`, or holds distributed tensors."""
    return _is(part, "torch.distributed", "FSDPModule") or any(hasattr(one, "full_tensor") for one in _held(part).values())


def _held(part: nn.Module) -> dict[str, Tensor]:
    """A module's own tensors as it keeps them: no parametrization is computed."""
    held = {**vars(part), **part._buffers, **part._parameters}
    return {name: value for name, value in held.items() if isinstance(value, Tensor)}


def _require_values(part: nn.Module) -> None:
    """Weights that are there and whole."""
    kind = type(part).__name__
    for name, weight in _held(part).items():
        if is_lazy(weight) or weight.is_meta:
            where = "not initialised" if is_lazy(weight) else "on the meta device"
            raise InvalidInput(
                f"Expected weights with values, got {name} of {kind} {where}. Call the model once, or load it: "
                "module.to_empty(device='cpu'), then module.load_state_dict(...)."
            )
        dense = type(weight) in (Tensor, nn.Parameter) and weight.layout == torch.strided
        freed = dense and weight.numel() > 0 and weight.untyped_storage().nbytes() == 0
        flat = isinstance(part, LAYERS + CELLS) and name.startswith("weight_") and weight.dim() != 2
        if freed or flat:
            raise Unsupported(f"Expected whole weights, got a shard of {name} of {kind}, {tuple(weight.shape)}. {_SUMMON}")


def _refuse_sharded(module: nn.Module) -> None:
    """FSDP holds flat shards; reading a weight of them outside `summon_full_params` can crash the process."""
    if not _is(module, "torch.distributed.fsdp", "FullyShardedDataParallel"):
        return
    for part in module.modules():
        handle: Any = getattr(part, "_handle", None)
        if handle is not None and handle.uses_sharded_strategy and part.training_state.name != "SUMMON_FULL_PARAMS":  # type: ignore[union-attr]
            raise Unsupported(f"Expected whole weights, got a module sharded by FullyShardedDataParallel. {_SUMMON}")


def _quantised(what: str) -> Unsupported:
    return Unsupported(
        f"Expected floating-point weights and states, got a quantised {what}: what rounds has derivative zero almost "
        "everywhere and jumps in between, so it has no exponents. Pass the floating-point module that it was made from."
    )


def _is(module: object, root: str, name: str) -> bool:
    """Whether a class of that name from there is among its own; nothing is imported for it."""
    return any(kind.__name__ == name and kind.__module__.startswith(root) for kind in type(module).__mro__)


def _is_wrapper(kind: type) -> bool:
    return kind.__name__ in _WRAPPERS and kind.__module__.split(".")[0] in ("torch", "keras")
