"""One pass of a model, watched: what its recurrent cores receive and return; and what changes if one returned other things."""

import math
import sys
from collections.abc import Callable, Collection, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from lyapunov._trees import tree_flatten, tree_map
from lyapunov.intake.capturing.operators import watched_operators

_SEED = 20203
"""Of the noise in replaced outputs."""


@dataclass(frozen=True)
class Call:
    """What one call of a core received and returned, as copies."""

    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    output: Any

    @property
    def input(self) -> Any:
        """The first argument of PyTorch's layers and cells."""
        return self.args[0] if self.args else self.kwargs.get("input")

    @property
    def state(self) -> Any:
        """Their second; None where none was given."""
        return self.args[1] if len(self.args) > 1 else self.kwargs.get("hx")


@dataclass
class Pass:
    """The calls of every core in one pass, in their order, and what ended the pass before its time."""

    calls: dict[str, list[Call]]
    failure: str = field(default="")
    refusals: dict[str, str] = field(default_factory=dict)
    """Why a core with a forward of its own is not taken."""


class _MoreCalls(BaseException):
    """A core is called more often than before: enough is known, and a loop may never end. No model may catch it."""


def watched(run: Callable[[], object], cores: Mapping[str, nn.Module], scripted: Collection[str]) -> Pass:
    """What the cores receive and return while the model runs. scripted: names of cores in which no hooks run."""
    calls: dict[str, list[Call]] = {name: [] for name in cores}
    _run(run, cores, scripted, lambda name, call: calls[name].append(call))
    return Pass(calls)


def watched_replaced(
    run: Callable[[], object], cores: Mapping[str, nn.Module], scripted: Collection[str], first: Pass, replaced: str
) -> Pass:
    """The pass `first` again, with every output y of one core replaced by y + (1 + |y|) noise, with its y of that pass.

    Ends, without an error, where the model raises one or calls a core more often than it did.
    """
    calls: dict[str, list[Call]] = {name: [] for name in cores}
    noise = torch.Generator().manual_seed(_SEED)

    def seen(name: str, call: Call) -> Any:
        before, at = first.calls[name], len(calls[name])
        calls[name].append(call)
        if at == len(before):
            raise _MoreCalls
        if name != replaced:
            return None
        output = before[at].output if math.isfinite(distance(before[at].output, call.output)) else call.output
        return tree_map(partial(_noised, noise=noise), output)

    try:
        _run(run, cores, scripted, seen)
    except _MoreCalls:
        return Pass(calls)
    except Exception as error:
        lines = str(error).strip().splitlines() or [""]
        return Pass(calls, f"{type(error).__name__}: {lines[0].rstrip('.')}")
    return Pass(calls)


def distance(one: object, other: object) -> float:
    """The largest difference of two pytrees of tensors, relative to 1 + their size; infinite where their forms differ."""
    (ones, form), (others, other_form) = tree_flatten(one), tree_flatten(other)
    if form != other_form:
        return math.inf
    return max((_gap(a, b) for a, b in zip(ones, others, strict=True)), default=0.0)


def _run(
    run: Callable[[], object], cores: Mapping[str, nn.Module], scripted: Collection[str], seen: Callable[[str, Call], Any]
) -> None:
    with ExitStack() as back:
        if "torch._dynamo" in sys.modules:  # compiled code does not see hooks that come later
            back.enter_context(torch.compiler.set_stance("force_eager"))
        for name, core in cores.items():
            if name not in scripted:
                # Before the user's own hooks: what they make of an output is not what the core returned.
                handle = core.register_forward_hook(partial(_hook, seen, name), prepend=True, with_kwargs=True)
                back.callback(handle.remove)
        if scripted:
            back.enter_context(watched_operators({name: cores[name] for name in scripted}, partial(_operator, seen)))
        run()


def _hook(seen: Callable[[str, Call], Any], name: str, _: nn.Module, args: object, kwargs: object, output: object) -> Any:
    return seen(name, Call(_copied(args), _copied(kwargs), _copied(output)))


def _operator(seen: Callable[[str, Call], Any], name: str, args: tuple[object, ...], output: object) -> Any:
    return seen(name, Call(_copied(args), {}, _copied(output)))


def _copied(value: object) -> Any:
    """Copies: a model may change in place what it passed."""
    return tree_map(lambda leaf: leaf.detach().clone() if isinstance(leaf, Tensor) else leaf, value)


def _noised(leaf: object, *, noise: torch.Generator) -> Any:
    if not isinstance(leaf, Tensor) or not leaf.is_floating_point():
        return leaf
    return leaf + (1 + leaf.abs()) * torch.randn(leaf.shape, generator=noise).to(leaf)


def _gap(one: object, other: object) -> float:
    if not isinstance(one, Tensor) or not isinstance(other, Tensor):
        return math.inf if isinstance(one, Tensor) or isinstance(other, Tensor) else 0.0
    if one.shape != other.shape or one.dtype != other.dtype:
        return math.inf
    if torch.equal(one, other):
        return 0.0
    a, b = one.double(), other.double()
    gap = torch.where((a == b) | (a.isnan() & b.isnan()), 0.0, (a - b).abs() / (1 + a.abs()))
    return float(gap.nan_to_num(nan=math.inf).max())
