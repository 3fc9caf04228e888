"""PyTorch's layers and cells that `torch.jit` scripted, traced or loaded, as they were before."""

import re
from typing import Any

import torch
from torch import nn

from lyapunov.errors import Unsupported
from lyapunov.intake.kinds import CELLS, KINDS, LAYERS, known_kind
from lyapunov.intake.rebuilt import rebuilt

_KINDS = {kind.__name__: kind for kind in (*LAYERS, *CELLS)}
_NAME = re.compile(r"__torch__\.torch\.nn\.modules\.rnn\.(?:___torch_mangle_\d+\.)?(\w+)")
_NODES = tuple(f"aten::{name}" for kind in KINDS for name in kind.operators)
_READERS = {*_NODES, "aten::size", "aten::linear", "aten::unsqueeze"}
"""What PyTorch's own forward does with its input."""


def scripted_kind(module: object) -> type[nn.Module] | None:
    """Which of PyTorch's layers or cells it was before `torch.jit`, by its qualified name: no class of a user's has it."""
    if not isinstance(module, torch.jit.ScriptModule):
        return None
    found = _NAME.fullmatch(module._c._type().qualified_name())
    return _KINDS.get(found[1]) if found else None


def unscripted(module: Any, kind: type[nn.Module]) -> nn.Module:
    """The layer or cell with the parameters of the scripted one; raises Unsupported where those cannot be read."""
    weights = dict(module.named_parameters())
    if not weights:
        raise Unsupported(
            f"Expected a scripted {kind.__name__} with parameters, got one without (frozen: its weights became constants). "
            "Pass it as it was before torch.jit.freeze."
        )
    constants = _of_script if hasattr(module, "hidden_size") else _of_trace
    return rebuilt(kind, weights, **constants(module, kind), like=module)


def _of_script(module: Any, kind: type[nn.Module]) -> dict[str, Any]:
    """A scripted module keeps its attributes."""
    constants = {"batch_first": module.batch_first} if issubclass(kind, nn.RNNBase) else {}
    return constants | ({"nonlinearity": module.nonlinearity} if _has_nonlinearity(kind) else {})


def _of_trace(module: Any, kind: type[nn.Module]) -> dict[str, Any]:
    """A traced one keeps nothing but its graph."""
    nodes = list(module.graph.nodes())
    used = {use.user.kind() for use in list(module.graph.inputs())[1].uses()}
    calls = [node for node in nodes if node.kind() in _NODES]
    if not used <= _READERS or len(calls) != issubclass(kind, nn.RNNBase):
        raise Unsupported(
            f"Expected a traced {kind.__name__} that does nothing else, got one that uses its input in "
            f"{', '.join(sorted(used - _READERS)) or 'several calls'}. Pass the module that was traced."
        )
    if not calls:
        relu = any(node.kind().startswith("aten::relu") for node in nodes)
        return {"nonlinearity": "relu" if relu else "tanh"} if _has_nonlinearity(kind) else {}
    constants = {"batch_first": bool(list(calls[0].inputs())[-1].toIValue())}
    return constants | ({"nonlinearity": calls[0].kind().rpartition("_")[2]} if _has_nonlinearity(kind) else {})


def _has_nonlinearity(kind: type[nn.Module]) -> bool:
    return "nonlinearity" in known_kind(kind).system.options
