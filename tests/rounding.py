"""Every step of states and frames rounded in another way, as another processor may do it: `pytest --other-rounding`.

The order in which a processor adds moves the last digit of every sum. With this option each number that leaves a step is
multiplied by 1 + eps or 1 - eps, with signs drawn anew in every run. Two computations of the same number then differ in their
last digits, and a test that compares these fails on this machine, too.
"""

import sys
from typing import Any

import torch
from torch import Tensor

from lyapunov._trees import tree_map
from lyapunov.tangent.input_sequences import still_running

_source = torch.Generator()


def install() -> None:
    """Replaces the function through which every step of the library's loops passes."""
    _source.seed()
    for name, module in list(sys.modules.items()):
        if name.startswith("lyapunov.") and getattr(module, "still_running", None) is still_running:
            module.still_running = _rounded


def _rounded(new: Any, *rest: Any) -> Any:
    return still_running(tree_map(_moved, new), *rest)


def _moved(value: Any) -> Any:
    """Floating-point numbers that autograd does not follow."""
    if not isinstance(value, Tensor) or not value.dtype.is_floating_point or value.requires_grad:
        return value
    signs = torch.randint(0, 2, value.shape, generator=_source, dtype=torch.int8).to(value) * 2 - 1
    return value * (1 + signs * torch.finfo(value.dtype).eps)
