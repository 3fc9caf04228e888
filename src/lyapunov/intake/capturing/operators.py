"""The calls of cores in which no hooks run: by the operators of PyTorch that they come to, told apart by their weights."""

import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import PackedSequence

from lyapunov.intake.kinds import KINDS
from lyapunov.intake.rebuilt import first_weight

_LAYERS = [name for kind in KINDS for name in kind.operators]
_CELLS = [f"{name}_cell" for name in _LAYERS]


@contextmanager
def watched_operators(cores: Mapping[str, nn.Module], seen: Callable[[str, tuple[Any, Any], Any], Any]) -> Iterator[None]:
    """Tells `seen` the name, the arguments (input, state) and the output of each call, and puts what it returns in its place.

    cores: by name, each as PyTorch's own layer or cell around the very weights of the one that is called.
    """
    names = {first_weight(core).data_ptr(): name for name, core in cores.items()}
    devices = {first_weight(core).device.type.upper() for core in cores.values()}
    overloads = [getattr(torch.ops.aten, name).default for name in _CELLS]
    overloads += [getattr(getattr(torch.ops.aten, name), overload) for name in _LAYERS for overload in ("input", "data")]
    with torch.library._scoped_library("aten", "IMPL") as kernels:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # that a kernel takes the place of another one
            for operator in overloads:
                for key in (key for device in devices for key in (device, f"Autograd{device}")):
                    kernels.impl(operator, partial(_kernel, operator, names, seen), key)
        yield


def _kernel(operator: Any, names: Mapping[int, str], seen: Callable[..., Any], *args: Any) -> Any:
    output = operator.decompose(*args)
    packed, is_cell = operator._overloadname == "data", operator._overloadname == "default"
    state, weights = args[1 + packed], args[2 + packed]
    name = names.get((weights if is_cell else weights[0]).data_ptr())
    if name is None:
        return output
    values = PackedSequence(args[0], args[1].cpu()) if packed else args[0]
    state = state if isinstance(state, Tensor) else tuple(state)
    if is_cell:
        other = seen(name, (values, state), output)
        return output if other is None else other
    rows = PackedSequence(output[0], args[1].cpu()) if packed else output[0]
    other = seen(name, (values, state), (rows, output[1] if len(output) == 2 else tuple(output[1:])))
    if other is None:
        return output
    rows = other[0].data if packed else other[0]
    return rows, *(other[1:] if isinstance(other[1], Tensor) else other[1])
