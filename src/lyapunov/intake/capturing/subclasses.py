"""Layers and cells with a forward of their own, taken for what they are derived from where they return the same."""

import math
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import PackedSequence, pad_packed_sequence

from lyapunov._trees import tree_flatten, tree_map
from lyapunov.errors import Unsupported
from lyapunov.intake.capturing.preserving import preserving_state
from lyapunov.intake.capturing.watch import Call, distance, watched
from lyapunov.intake.kinds import CELLS, kind_of, known_kind
from lyapunov.intake.rebuilt import first_weight, plain

_ROUNDING = 1e-5
"""Of float32: PyTorch's operators come in several kinds."""


def calls_within(module: nn.Module, own: list[Call], inner: list[Call]) -> list[Call]:
    """The calls of PyTorch's own forward within those of a subclass; `own` itself where it does the same without them.

    own: what the subclass received and returned; inner: what PyTorch's operators did within it.
    Raises Unsupported where it returned something else.
    """
    if len(own) == len(inner):
        orders = [_order(module, *pair) for pair in zip(own, inner, strict=True)]
        if None not in orders:
            return [_ordered(call, order) for call, order in zip(inner, orders, strict=True) if order is not None]
    twin = plain(module)
    gap = max(_gap(module, twin, call) for call in own)
    if gap <= _ROUNDING:
        return own
    kind, by = type(module), f" (off by {gap:.2g})" if math.isfinite(gap) else ""
    raise Unsupported(
        f"Expected the forward of nn.{kind_of(module).__name__} itself, or one that returns the same, got "
        f"{kind.__module__}.{kind.__qualname__}, which returned something else{by}. Pass it as a step: {_as_step(module)}."
    )


def _as_step(module: Any) -> str:
    """Code of a step that calls a layer or a cell; its state is batch first, (batch, layers, units) of several layers."""
    pair = len(known_kind(type(module)).system.state_parts) > 1
    if isinstance(module, CELLS):
        return "lambda s, x: cell(x, s)"
    x = "x[:, None]" if module.batch_first else "x[None]"
    into, back = "{}[None]", "{}[0]"
    if module.num_layers > 1:
        into, back = "{}.transpose(0, 1).contiguous()", "{}.transpose(0, 1)"
    given = f"tuple({into.format('p')} for p in s)" if pair else into.format("s")
    called = f"layer({x}, {given})[1]"
    return "lambda s, x: " + (f"tuple({back.format('p')} for p in {called})" if pair else back.format(called))


def as_derived_from(module: Any, inputs: Any, state: Any) -> nn.Module:
    """The plain layer or cell in the place of a subclass that returns the same along these inputs.

    inputs: as the layer takes them; for a cell (batch, time, features).

    Raises Unsupported where it does not, or cannot be called so.
    """
    if any(hasattr(one, "full_tensor") for one in module.parameters()):
        return module  # sharded: not to be called
    twin = plain(module)
    weight = first_weight(twin)
    inputs, state = tree_map(
        lambda leaf: leaf.detach().to(weight) if isinstance(leaf, Tensor) and leaf.is_floating_point() else leaf,
        (inputs, state),
    )
    steps = inputs.unbind(1) if isinstance(module, CELLS) else [inputs]

    def run() -> None:
        given = () if state is None else (state,)
        for x in steps:
            given = (module(x, *given),)

    try:
        with preserving_state(module, (inputs, state)):
            own = watched(run, {"": module}, ())
    except Exception as error:
        lines = str(error).strip().splitlines() or [type(error).__name__]
        raise Unsupported(
            f"Expected a {type(module).__name__} that is called as nn.{kind_of(module).__name__} is, got one with a forward of "
            f"its own: {lines[0].rstrip('.')}. Pass it as a step, a function step(state, x) that calls it; or capture the "
            "model that calls it."
        ) from error
    calls_within(module, own.calls[""], [])
    return twin


def _order(module: object, own: Call, inner: Call) -> list[int] | None:
    """Which sequence of the subclass each one of PyTorch's forward is; None where inputs or outputs are other ones."""
    given, returned = _first(own.args, own.kwargs), _first(own.output)
    if given is None or returned is None:
        return None
    mine = list(zip(_rows(module, given), _rows(module, returned), strict=False))
    order: list[int] = []
    for x, y in zip(_rows(module, inner.input), _rows(module, _first(inner.output)), strict=True):
        free = [at for at in range(len(mine)) if at not in order]
        at = next((at for at in free if _begins(mine[at][0], x) and _begins(mine[at][1], y)), None)
        if at is None:
            return None
        order.append(at)
    return order if len(order) == len(mine) else None


def _ordered(call: Call, order: list[int]) -> Call:
    """A packed call, which has its sequences by length, with them in the order in which the subclass has them."""
    if not isinstance(call.input, PackedSequence):
        return call
    to = torch.tensor(order, device=call.input.data.device)
    back = to.argsort()

    def packed(values: Any) -> PackedSequence:
        return PackedSequence(values.data, values.batch_sizes, to, back)

    state, end = tree_map(lambda part: part.index_select(1, back), (call.state, call.output[1]))
    return Call((packed(call.input), state), {}, (packed(call.output[0]), end))


def _first(*values: object) -> Tensor | PackedSequence | None:
    """The first tensor, or packed sequence."""
    leaves = tree_flatten(values, is_leaf=lambda value: isinstance(value, PackedSequence))[0]
    return next((leaf for leaf in leaves if isinstance(leaf, Tensor | PackedSequence)), None)


def _rows(module: Any, values: Any) -> list[Tensor]:
    """(time, features) of each sequence."""
    if isinstance(values, PackedSequence):
        padded, lengths = pad_packed_sequence(values)
        return [padded[: int(length), at] for at, length in enumerate(lengths)]
    if isinstance(module, CELLS):
        return list(values.reshape(-1, 1, values.shape[-1]))
    if values.dim() == 2:
        return [values]
    return list(values.unbind(0 if module.batch_first else 1))


def _begins(whole: Tensor, part: Tensor) -> bool:
    return len(whole) >= len(part) and distance(whole[: len(part)], part) <= _ROUNDING


def _gap(module: Any, twin: nn.Module, call: Call) -> float:
    """Of what it returned and what PyTorch's forward makes of its first two arguments."""
    try:
        with torch.no_grad():
            expected = kind_of(module).forward(twin, call.input, call.state)
    except Exception:
        return math.inf
    if isinstance(module, nn.RNNBase) and isinstance(call.output, Tensor | PackedSequence) and isinstance(expected, tuple):
        expected = expected[0]  # it keeps its state to itself, as nobody hands it on
    return distance(call.output, expected)
