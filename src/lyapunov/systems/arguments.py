"""Which of a step's two arguments is its state: told by their names, and by what its modules are called with."""

import inspect
import re
from collections.abc import Generator, Iterable
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from lyapunov._shapes import Input, State
from lyapunov.errors import BadSystem
from lyapunov.systems.faults import tensors_of

_INPUT = re.compile(r"(x|u|inp|inputs?|tokens?|emb|embeddings?|embedded|obs|observations?)_*(t|in|now|\d)?_*")
_STATE = re.compile(
    r"((prev|last|old)_?)?(h|hx|hc|hidden|hidden_?states?|states?|rnn_?state|carry|caches?)_*(t|0|\d|tm1|prev|last|old|in)?_*"
)


def require_order(function: object) -> None:
    """Refuses a step whose parameters say that it takes (x, h), as PyTorch's cells do. Raises BadSystem."""
    names = _positional(function)
    if len(names) >= 2 and _takes_input_first(names):
        shown = getattr(function, "__name__", type(function).__name__)
        shown = "step" if shown == "<lambda>" else shown
        raise BadSystem(
            f"Expected step(state, x), the state first, got a step with the parameters ({', '.join(names[:2])}), the input "
            f"first. Wrap it: lambda state, x: {shown}(x, state); where {names[1]!r} is not its state, give it another name."
        )


@contextmanager
def refusing_swapped(modules: Iterable[nn.Module], state: State, x: Input) -> Generator[None, None, None]:
    """Within it, a step is made: modules that take (input, hx) must not get the state as input, and the input as state."""
    found: list[str] = []
    states, inputs = tensors_of(state), tensors_of(x)

    def check_order(module: nn.Module, args: tuple[object, ...], kwargs: dict[str, Any]) -> None:
        first, second = _positional(module)[:2]
        named = dict(zip((first, second), args, strict=False)) | kwargs
        if _is_one_of(named.get(first), states) and _is_one_of(named.get(second), inputs):
            found.append(f"{type(module).__name__}({first}, {second})")

    with ExitStack() as back:
        for part in (part for module in modules for part in module.modules()):
            if _takes_input_first(_positional(part)):
                back.callback(part.register_forward_pre_hook(check_order, with_kwargs=True).remove)
        yield
    if found:
        raise BadSystem(
            f"Expected step(state, x), the state first, got one that hands its state to {found[0]} as the input, and its input "
            "as the state. Swap them: lambda state, x: cell(x, state)."
        )


def _takes_input_first(names: list[str]) -> bool:
    return len(names) >= 2 and bool(_INPUT.fullmatch(names[0].lower()) and _STATE.fullmatch(names[1].lower()))


def _positional(function: Any) -> list[str]:
    """The names of the parameters that are given by position; none where they cannot be known."""
    function = getattr(function, "_torchdynamo_orig_callable", function)
    try:
        signature = inspect.signature(function.forward if isinstance(function, nn.Module) else function)
    except (TypeError, ValueError, AttributeError):
        return []
    by_position = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    return [name for name, parameter in signature.parameters.items() if parameter.kind in by_position]


def _is_one_of(value: object, tensors: list[Tensor]) -> bool:
    """Whether a value consists of some of these tensors, whatever axes of length one were added."""
    parts = tensors_of(value)
    return bool(parts) and all(any(_same(part, one) for one in tensors) for part in parts)


def _same(one: Tensor, other: Tensor) -> bool:
    return one.numel() == other.numel() and one.dtype == other.dtype and torch.equal(one.flatten(), other.flatten())
