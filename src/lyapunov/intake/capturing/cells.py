"""A recurrent cell of the user's own inside a model, as a step: told by what it hands on from call to call."""

from collections.abc import Callable
from itertools import pairwise
from typing import Any, TypeGuard

import torch
from torch import Tensor, nn

from lyapunov._trees import tree_flatten, tree_unflatten
from lyapunov.errors import Unsupported
from lyapunov.intake.capturing.calls import Piece
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
        self._state, self.inputs = state, inputs
        varying = {*state, *inputs}
        self._constants = [None if at in varying else leaf for at, leaf in enumerate(leaves)]

    def forward(self, state: tuple[Tensor, ...], x: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        """The next state, its parts in the order in which the module takes them."""
        leaves = [leaf.to(state[0]) if _is_float(leaf) else leaf for leaf in self._constants]
        driven = zip(self.inputs, x, strict=True) if self.inputs else ()
        for at, value in (*zip(self._state, state, strict=True), *driven):
            leaves[at] = value
        args, kwargs = tree_unflatten(leaves, self._form)
        returned = tree_flatten(self.module(*args, **kwargs))[0]
        return tuple(returned[at] for at in self._state.values())


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
    """Which argument is which part of what the call before returned, by their places; empty where there is none."""
    return _sequences(_alike(calls))[0]


def _sequences(calls: list[Call]) -> tuple[dict[int, int], list[list[Call]]]:
    """The same, and the calls of each sequence; one that is given nothing of what the call before returned starts another."""
    found: dict[int, int] = {}
    sequences = [calls[:1]] if calls else []
    for before, now in pairwise(calls):
        returned = tree_flatten(before.output)[0]
        pairs = {}
        for at, leaf in enumerate(_given(now)):
            places = [place for place, one in enumerate(returned) if _is_same(leaf, one)]
            pairs |= {at: found.get(at, places[0]) if found.get(at) in places else places[0]} if places else {}
        if not pairs:
            sequences.append([now])
            continue
        sequences[-1].append(now)
        found = {at: place for at, place in pairs.items() if found.get(at, place) == place and (not found or at in found)}
        if not found:
            return {}, []
    return found, sequences


def called_step(name: str, module: nn.Module, calls: list[Call]) -> Piece:
    """A cell as a step, with the inputs and the initial state of its calls. Raises Unsupported where they are not all told."""
    state, sequences = _sequences(_alike(calls))
    sequences = [one for one in sequences if len(one) > 1]
    if not state or max(map(len, sequences)) < _LEAST:
        raise Unsupported(
            f"Expected a cell that is called step by step with the state that it returned, got {name}, called {len(calls)} "
            f"time{'s' * (len(calls) != 1)}, of which no argument is what the call before returned. Pass its step by itself, "
            "as step(state, x)."
        )
    given = [[_given(call) for call in one] for one in sequences]
    first = given[0][0]
    everywhere = [call for one in given for call in one]
    others = [at for at in range(len(first)) if at not in state]
    varying = [at for at in others if not all(_equal(call[at], first[at]) for call in everywhere)]
    if not all(_is_float(call[at]) for call in everywhere for at in varying):
        raise Unsupported(
            f"Expected inputs of {name} in numbers, got others that change from call to call. Pass its step by itself, as "
            "step(state, x)."
        )
    shapes = [tuple(one[0][at].shape) for one in given for at in (*state, *varying)]
    batches = {len(shape) and shape[0] for shape in shapes}
    if len(batches) != 1 or not all(_is_float(first[at]) for at in state):
        raise Unsupported(
            f"Expected state and inputs of {name} batch first, got the shapes {', '.join(map(str, shapes))}. Pass its step by "
            "itself, as step(state, x)."
        )
    start = tuple(torch.cat([one[0][at] for one in given]) for at in state)
    longest = max(map(len, given))
    inputs: Any = tuple(torch.cat([_padded([call[at] for call in one], longest) for one in given]) for at in varying)
    lengths = torch.tensor([len(one) for one in given]).repeat_interleave(batches.pop())
    inputs = inputs or torch.zeros(len(lengths), longest, 1)
    return Piece(CalledStep(module, sequences[0][0], state, varying), inputs, start, None if len(given) == 1 else lengths)


def depends_on_itself(step: CalledStep, calls: list[Call], others: list[Call]) -> bool:
    """Whether what drives a cell is another one in a pass in which it returned something else: a closed loop."""
    pairs = zip(map(_given, calls), map(_given, others), strict=False)
    alike = [(one, other) for one, other in pairs if len(one) == len(other)]
    driven = [(one[at], other[at]) for one, other in alike for at in step.inputs]
    return any(distance(one, other) > _ROUNDING for one, other in driven)


def _padded(steps: list[Tensor], length: int) -> Tensor:
    """(batch, length, ...), zeros behind the end."""
    whole = torch.stack(steps, 1)
    return torch.cat([whole, whole.new_zeros(len(whole), length - len(steps), *whole.shape[2:])], 1)


def _counted(run: Callable[[], Any], modules: dict[str, nn.Module]) -> dict[str, int]:
    counts = dict.fromkeys(modules, 0)

    def count(name: str) -> Callable[..., None]:
        def hook(*_: Any) -> None:
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


def _is_same(one: Any, other: Any) -> bool:
    return isinstance(one, Tensor) and isinstance(other, Tensor) and _equal(one, other) and one.numel() > 1


def _equal(one: Any, other: Any) -> bool:
    if isinstance(one, Tensor) and isinstance(other, Tensor):
        return one.shape == other.shape and one.dtype == other.dtype and torch.equal(one, other)
    return type(one) is type(other) and bool(one == other)


def _is_float(leaf: Any) -> TypeGuard[Tensor]:
    return isinstance(leaf, Tensor) and leaf.is_floating_point()


def _is_pytorchs(module: nn.Module) -> bool:
    return type(module).__module__.startswith("torch.")
