"""A block looped in depth, with the state and the injected input that it brings."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import torch

from lyapunov import _checks
from lyapunov._shapes import State
from lyapunov._trees import tree_flatten, tree_map
from lyapunov.errors import InvalidInput
from lyapunov.intake.foreign import require_usable
from lyapunov.intake.inputs import with_tensors
from lyapunov.intake.problem import CastProblem, Problem, compute_device, same_device
from lyapunov.intake.steps import step_problem
from lyapunov.systems import Loop, Step, TokenStep, cast_tensor, require_order


def loop_problem(loop: Loop, problem: Problem, dtype: torch.dtype) -> CastProblem:
    """The block as a step whose state and constant input are the loop's own."""
    for name in ("state", "carried"):
        if getattr(problem, name) is not None:
            raise InvalidInput(
                f"Expected `{name}` left out with a Loop, which has its own, got it. Make another: "
                "Loop(block, state, injected)."
            )
    if not callable(loop.block):
        raise InvalidInput(
            f"Expected a module or function as the `block` of a Loop, got {type(loop.block).__name__}. Pass block(h, e) -> h."
        )
    require_usable(loop.block)
    state, injected = with_tensors(loop.state), with_tensors(loop.injected)
    require_order(loop.block)
    same_device(replace(problem, state=injected), next(iter(_tensors(state)), torch.empty(0)).device)
    function = _looped(loop.block, _cast_with_graph(injected, dtype), driven=problem.inputs is not None)
    found = replace(step_problem(function, replace(problem, state=state), dtype), constant=_detached(injected))
    if loop.by_token is False:
        return found
    tokens, whole = _tokens(loop.by_token, found.state), found.system
    return replace(found, system=TokenStep(whole, found.state, tokens) if isinstance(whole, Step) else whole)


def _looped(block: Callable[..., object], injected: object, *, driven: bool) -> Callable[..., Any]:
    """`step(h, x)` of a block that takes what is there: h, then e, then x."""

    def looped(h: State, x: object) -> State:
        return block(h, *(() if injected is None else (injected,)), *((x,) if driven else ()))

    looped.__name__ = getattr(block, "__name__", type(block).__name__)
    return looped


def _tokens(by_token: Any, state: object) -> tuple[int, ...]:
    """Positions of the tokens whose exponents are asked for."""
    if not isinstance(state, torch.Tensor) or state.dim() < 3:
        shown = f"shape {tuple(state.shape)}" if isinstance(state, torch.Tensor) else type(state).__name__
        raise InvalidInput(
            f"Expected a `state` of shape (batch, tokens, width) with by_token, got {shown}. Pass such a tensor, or leave "
            "by_token out: exponents are then those of the whole state."
        )
    count = state.shape[1]
    if by_token is True:
        return tuple(range(count))
    try:
        positions = tuple(by_token)
    except TypeError:
        raise InvalidInput(
            f"Expected `by_token` False, True or some positions of tokens, got {by_token!r}. "
            f"Pass by_token=({by_token!r},) for one of them."
        ) from None
    _checks.require_nonempty(positions, "positions of tokens as `by_token`", "by_token=(0, 5)")
    why = f" (the state has {count} tokens)"
    return _checks.ascending(
        [_checks.whole_number(one, "by_token", least=0, most=count - 1, why=why) for one in positions], "by_token"
    )


def _tensors(value: object) -> list[torch.Tensor]:
    return [leaf for leaf in tree_flatten(value)[0] if isinstance(leaf, torch.Tensor)]


def _cast_with_graph(value: object, dtype: torch.dtype) -> Any:
    """In the run's precision, still attached to what it was computed from: `exponent_sum` differentiates by that."""

    def one(leaf: object) -> Any:
        if not isinstance(leaf, torch.Tensor):
            return leaf
        return cast_tensor(leaf.clone() if leaf.is_inference() else leaf, dtype, compute_device(leaf.device, dtype))

    return tree_map(one, value)


def _detached(value: object) -> Any:
    return tree_map(lambda leaf: leaf.detach() if isinstance(leaf, torch.Tensor) else leaf, value)
