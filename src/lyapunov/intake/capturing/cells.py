"""A recurrent cell of the user's own inside a model, as a step: told by what it hands on from call to call."""

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, TypeGuard

import torch
from torch import Tensor, nn

from lyapunov._trees import tree_flatten, tree_unflatten
from lyapunov.errors import Unsupported
from lyapunov.intake.capturing.calls import Piece, Stretch, own_starts, sequences, states_of, together
from lyapunov.intake.capturing.watch import Call, distance, watched

Watched = Callable[..., Any]
"""Runs the model and watches modules in it: (a function of the run, modules by name, more arguments)."""
_LEAST = 3
"""Calls by which a state is told."""
_ROUNDING = 1e-3


class CalledStep(nn.Module):
    """step(state, x) of a module that is called with both among its arguments, and returns the next state among others."""

    def __init__(self, module: nn.Module, call: Call, state: dict[int, int], inputs: list[int]) -> None:
        super().__init__()
        self.module = module
        leaves, self._form = tree_flatten((call.args, call.kwargs))
        self.state, self.inputs = state, inputs
        self.state_shapes = [leaves[at].shape[1:] for at in state]
        self.input_shapes = [leaves[at].shape[1:] for at in inputs]
        self.__name__ = type(module).__name__
        varying = {*state, *inputs}
        self._constants = [None if at in varying else leaf for at, leaf in enumerate(leaves)]

    def forward(self, state: tuple[Tensor, ...], x: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        """The next state, its parts in the order in which the module takes them."""
        leaves = [leaf.to(state[0]) if _is_float(leaf) else leaf for leaf in self._constants]
        driven = zip(self.inputs, x, strict=True) if self.inputs else ()
        for at, value in (*zip(self.state, state, strict=True), *driven):
            leaves[at] = value
        args, kwargs = tree_unflatten(leaves, self._form)
        returned = tree_flatten(self.module(*args, **kwargs))[0]
        return tuple(returned[at] for at in self.state.values())


def cells_in(model: nn.Module, preserved: Watched, name: str | None) -> dict[str, list[Call]]:
    """The calls of one module; of None, of the outermost ones that hand on what they returned from call to call."""
    if name is not None:
        return preserved(watched, {name: model.get_submodule(name)}, ()).calls
    modules = {name: module for name, module in model.named_modules() if name and not _is_pytorchs(module)}
    if not modules:
        return {}
    counts = preserved(_counted, modules)
    often = {name: module for name, module in modules.items() if counts[name] >= _LEAST}
    calls = preserved(watched, often, ()).calls if often else {}
    found = {name: one for name, one in calls.items() if handed_on(one)}
    return {name: one for name, one in found.items() if not any(name.startswith(f"{outer}.") for outer in found)}


def handed_on(calls: list[Call]) -> dict[int, int]:
    """Which argument is which part of what the call before returned, by their places; empty where there is none.

    Row by row: in most calls at least one row is given what the call before returned for a row.
    """
    votes: Counter[tuple[int, int]] = Counter()
    alike = _alike(calls)
    for before, now in pairwise(alike):
        returned = [_rows(one) for one in tree_flatten(before.output)[0]]
        for at, leaf in enumerate(map(_rows, _given(now))):
            votes.update((at, place) for place, rows in enumerate(returned) if leaf & rows)
    found: dict[int, int] = {}
    for (at, place), count in votes.most_common():
        if 2 * count >= len(alike) - 1:
            found.setdefault(at, place)
    return dict(sorted(found.items()))


def called_step(name: str, module: nn.Module, calls: list[Call]) -> "CalledCell":
    """A cell as a step, with the inputs and the initial states of its calls. Raises Unsupported where they are not all told."""
    alike, state = _alike(calls), handed_on(calls)
    if not state or len(alike) < _LEAST:
        raise Unsupported(
            f"Expected a cell that is called step by step with the state that it returned, got {name}, called {len(calls)} "
            f"time{'s' * (len(calls) != 1)}, of which no argument is what the call before returned. Pass its step by itself, "
            "as step(state, x)."
        )
    given = [_given(call) for call in alike]
    batch = len(given[0][next(iter(state))])
    others = [at for at in range(len(given[0])) if at not in state]
    # What has a row for each sequence is an input, also where it stays the same.
    by_row = [at for at in others if _is_float(given[0][at]) and given[0][at].dim() and len(given[0][at]) == batch]
    for at in others:
        if at not in by_row and not all(_equal(one[at], given[0][at]) for one in given):
            raise Unsupported(
                f"Expected inputs of {name} in numbers, a row for each of {batch} sequences, got {_described(given[0][at])} "
                "that changes from call to call. Make numbers of it (mask.float()), or pass its step by itself, as "
                "step(state, x)."
            )
    shapes = [tuple(one[at].shape) for one in given for at in (*state, *by_row)]
    if any(not shape or shape[0] != batch for shape in shapes) or not all(_is_float(given[0][at]) for at in state):
        raise Unsupported(
            f"Expected state and inputs of {name} batch first, got the shapes {', '.join(sorted(set(map(str, shapes))))}. Pass "
            "its step by itself, as step(state, x)."
        )
    step = CalledStep(module, alike[0], state, by_row)
    return CalledCell(step, [_stretch(step, call) for call in alike], len(calls) - len(alike))


@dataclass(frozen=True)
class CalledCell:
    """A cell's step, and its calls in the form of all kinds, but for some `first` ones without a state."""

    step: CalledStep
    stretches: list[Stretch]
    first: int

    def piece(self) -> tuple[Piece, int]:
        """The step with what drives it, and how many sequences of a single step were left out."""
        received = together(self.stretches, sequences(self.stretches))
        state: Any = received.state
        inputs: Any = torch.zeros(*received.values.shape[1::-1], 1)
        if self.step.inputs:
            parts = received.values.transpose(0, 1).split([shape.numel() for shape in self.step.input_shapes], dim=-1)
            inputs = tuple(part.unflatten(-1, shape or (1,)) for part, shape in zip(parts, self.step.input_shapes, strict=True))
            inputs = tuple(part if shape else part[..., 0] for part, shape in zip(inputs, self.step.input_shapes, strict=True))
        start = tuple(part[0].reshape(-1, *shape) for part, shape in zip(state, self.step.state_shapes, strict=True))
        return Piece(self.step, inputs, start, received.lengths), received.left_out

    def changed(self, others: list[Call]) -> bool:
        """Whether a row starts from a state that depends on one that was returned, without being it.

        others: the calls of a pass in which it returned other things.
        """
        moved = [_stretch(self.step, call) for call in others[self.first :]]
        starts = [(self.stretches, moved, part) for part in own_starts(self.stretches) if part.call < len(moved)]
        return any(
            distance(one[:, part.row], other[:, part.row]) > _ROUNDING
            for mine, theirs, part in starts
            for one, other in zip(mine[part.call].start or (), theirs[part.call].start or (), strict=True)
        )


def _stretch(step: "CalledStep", call: Call) -> Stretch:
    given, returned = _given(call), tree_flatten(call.output)[0]
    start = tuple(given[at].flatten(1).unsqueeze(0) if given[at].dim() > 1 else given[at].view(1, -1, 1) for at in step.state)
    end = tuple(
        returned[place].flatten(1).unsqueeze(0) if returned[place].dim() > 1 else returned[place].view(1, -1, 1)
        for place in step.state.values()
    )
    rows = [given[at].reshape(len(given[at]), -1) for at in step.inputs]
    values = torch.cat(rows, dim=-1) if rows else start[0][0].new_zeros(start[0].shape[1], 1)
    return Stretch(values.unsqueeze(0), None, start, end, unbatched=False)


def depends_on_itself(step: CalledStep, calls: list[Call], others: list[Call]) -> bool:
    """Whether what drives a cell is another one in a pass in which it returned something else: a closed loop."""
    pairs = zip(map(_given, calls), map(_given, others), strict=False)
    alike = [(one, other) for one, other in pairs if len(one) == len(other)]
    driven = [(one[at], other[at]) for one, other in alike for at in step.inputs]
    return any(distance(one, other) > _ROUNDING for one, other in driven)


def _rows(leaf: object) -> frozenset[bytes]:
    """The rows of a tensor of numbers by their bytes, but for those of zeros and those of one number."""
    if not _is_float(leaf) or leaf.dim() < 1 or leaf.numel() < 2:
        return frozenset()
    found = states_of((leaf.reshape(1, len(leaf), -1),))
    return frozenset(row for row in found if any(row))


def _described(leaf: object) -> str:
    return f"a tensor of {leaf.dtype} {tuple(leaf.shape)}" if isinstance(leaf, Tensor) else f"a {type(leaf).__name__}"


def _counted(run: Callable[[], object], modules: dict[str, nn.Module]) -> dict[str, int]:
    counts = dict.fromkeys(modules, 0)

    def count(name: str) -> Callable[..., None]:
        def hook(*_: object) -> None:
            counts[name] += 1

        return hook

    handles = [module.register_forward_hook(count(name)) for name, module in modules.items()]
    try:
        run()
    finally:
        for handle in handles:
            handle.remove()
    return counts


def _alike(calls: list[Call]) -> list[Call]:
    """The calls, but for a first one without a state."""
    forms = [tree_flatten((call.args, call.kwargs))[1] for call in calls]
    kinds = [[isinstance(leaf, Tensor) for leaf in _given(call)] for call in calls]
    rest = calls[1:] if len(calls) > 1 and (forms[0] != forms[1] or kinds[0] != kinds[1]) else calls
    alike = all(form == forms[-1] and kind == kinds[-1] for form, kind in list(zip(forms, kinds, strict=True))[-len(rest) :])
    return rest if alike else []


def _given(call: Call) -> list[Any]:
    return tree_flatten((call.args, call.kwargs))[0]


def _equal(one: object, other: object) -> bool:
    if isinstance(one, Tensor) and isinstance(other, Tensor):
        return one.shape == other.shape and one.dtype == other.dtype and torch.equal(one, other)
    return type(one) is type(other) and bool(one == other)


def _is_float(leaf: object) -> TypeGuard[Tensor]:
    return isinstance(leaf, Tensor) and leaf.is_floating_point()


def _is_pytorchs(module: nn.Module) -> bool:
    return type(module).__module__.startswith("torch.")
