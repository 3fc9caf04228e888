"""`capture(...)`: the recurrent cores inside a user's model, with what they really receive, and who feeds whom."""

import math
import warnings
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import torch
from torch import nn

from lyapunov.errors import LyapunovWarning, Unsupported
from lyapunov.intake.capturing.calls import chains, starts_apart, stretch, together
from lyapunov.intake.capturing.captured import Captured, Core, plain_name, shown, weights_digest
from lyapunov.intake.capturing.preserving import preserving_state
from lyapunov.intake.capturing.turns import Turn, no_turn, turn_of
from lyapunov.intake.capturing.watch import Call, Pass, distance, watched, watched_replaced
from lyapunov.intake.foreign import is_recurrent, native, require_whole
from lyapunov.intake.languages import is_language_model
from lyapunov.intake.layers import CELLS, LAYERS, has_own_forward
from lyapunov.systems import eval_mode

_ROUNDING = 1e-3
"""Two passes from one random state may differ by so much: some sums on a GPU come in no fixed order."""
_SHOWN = 8
"""Types of modules that a message names."""


def capture(model: Any, /, *args: Any, **kwargs: Any) -> Captured:
    """The recurrent layers and cells inside a model, with the inputs, initial states and lengths they really receive.

    Runs `model(*args, **kwargs)` in evaluation mode, without gradients, and watches every `nn.RNN`, `nn.GRU`, `nn.LSTM` and
    cell inside: `lyapunov.spectrum(lyapunov.capture(model, tokens), k=4)`. Calls that hand the state on are one sequence in
    time; others are sequences of their own. Where a core is called more than once, or there are several, the model runs again
    with the outputs of each replaced by others: what then changes in the inputs of a core is fed by them. A core that is fed
    by its own output (a closed loop) is named, and `lyapunov.spectrum` refuses it with the remedies; `.closed_loop()` of what
    is returned is that loop, where what is fed back depends continuously on the core's last output.

    model: a module (compiled or not), or a method of one. Whatever a pass can change in it (training flags, parameters,
    buffers, gradients, hooks, attributes) and every random state are as before, also where it raises, which it may.
    Raises Unsupported where there is nothing recurrent, where none of it is called, or where two passes differ.
    """
    owner = _owner(model)
    cores = _cores(owner)
    run = partial(model.module if isinstance(model, nn.DataParallel) else model, *args, **kwargs)

    def preserved(watch: Callable[..., Pass], *more: Any) -> Pass:
        with preserving_state(owner, (args, kwargs)):
            return watch(run, cores, *more)

    first = preserved(watched)
    called = [name for name in cores if first.calls[name]]
    if not called:
        raise Unsupported(
            f"Expected a pass that calls {' or '.join(map(repr, cores))}, got one that calls none of them. Pass arguments for "
            "which the model does, and let it call them as modules: layer(x), not layer.forward(x)."
        )
    asked = called if len(called) > 1 else [name for name in called if len(first.calls[name]) > 1]
    tolerance = _tolerance(first, preserved(watched)) if asked else 0.0
    changes = {name: Change(first, preserved(watched_replaced, first, name), tolerance) for name in asked}
    reached = {source: frozenset(filter(change.reaches_inputs, called)) for source, change in changes.items()}
    found = [_core(name, module, first, changes.get(name), reached) for name, module in cores.items()]

    def turn(core: Core) -> Turn | Unsupported | None:
        if core.name not in core.fed_by or core.received is None:
            return None
        if core.through:
            return no_turn(core.name, f"its loop goes through {' and '.join(core.through)}")
        stretches = [stretch(core.module, call) for call in first.calls[core.name]]
        with preserving_state(owner, (args, kwargs)):
            return turn_of(run, core.module, first, changes[core.name].other, core.name, stretches)

    return Captured(tuple(replace(core, turn=turn(core), sources=_sources(core, cores)) for core in found))


@dataclass(frozen=True)
class Change:
    """What changes in the calls of all cores once one of them returns other outputs."""

    first: Pass
    other: Pass
    tolerance: float

    def reaches_inputs(self, name: str) -> bool:
        """Whether a core receives other inputs, or is called more or less often (the pass may have ended before)."""
        before, after = self.first.calls[name], self.other.calls[name]
        pairs = zip(before, after, strict=False)
        return len(before) != len(after) or any(distance(one.input, two.input) > self.tolerance for one, two in pairs)

    def reaches_state(self, name: str, at: int) -> bool:
        """Whether one call of a core starts from another state; what ended before is in a loop, and told by its inputs."""
        before, after = self.first.calls[name], self.other.calls[name]
        return at < len(after) and distance(before[at].state, after[at].state) > self.tolerance


def _owner(model: Any) -> nn.Module:
    owner = model if isinstance(model, nn.Module) else getattr(model, "__self__", None)
    if not isinstance(owner, nn.Module):
        found = f"the class {model.__name__}" if isinstance(model, type) else type(model).__name__
        raise Unsupported(f"Expected a torch.nn.Module, or a method of one, got {found}. Pass the model itself.")
    require_whole(owner)
    native(owner)  # raises for what cannot be watched, or is a layer that is refused
    return owner


def cores_of(model: nn.Module) -> dict[str, Any]:
    """PyTorch's recurrent layers and cells in a model, by their names."""
    return {plain_name(name): module for name, module in model.named_modules() if isinstance(module, LAYERS + CELLS)}


def holds_cores(system: Any) -> bool:
    """Whether it is a module with such cores inside, which is to be captured, and not one that is analysed as it is."""
    if not isinstance(system, nn.Module) or is_recurrent(system) or is_language_model(system):
        return False
    return bool(cores_of(system))


def _cores(owner: nn.Module) -> dict[str, Any]:
    modules = list(owner.named_modules())
    cores = cores_of(owner)
    others = _foreign(modules)
    if cores:
        if others:
            warnings.warn(
                f"Expected PyTorch's own recurrent layers only, got {_not_followed(others)}", LyapunovWarning, stacklevel=3
            )
        return cores
    if others:
        raise Unsupported(f"Expected one of PyTorch's own recurrent layers inside, got {_not_followed(others)}")
    kinds = list(dict.fromkeys(type(module).__name__ for _, module in modules))
    more = f" and {len(kinds) - _SHOWN} more" if len(kinds) > _SHOWN else ""
    known = ", ".join(f"nn.{kind.__name__}" for kind in LAYERS + CELLS)
    raise Unsupported(
        f"Expected a model with one of {known} inside, got modules of the types {', '.join(kinds[:_SHOWN])}{more}. Pass one "
        "step of its recurrence as step(state, x) to lyapunov.spectrum, with the inputs it receives."
    )


def _foreign(modules: list[tuple[str, nn.Module]]) -> dict[str, nn.Module]:
    """Recurrent parts that are not PyTorch's own, without what they consist of."""
    found: dict[str, nn.Module] = {}
    for name, module in modules:
        within = any(name.startswith(f"{outer}." if outer else "") for outer in found)
        if not within and not isinstance(module, LAYERS + CELLS) and (is_recurrent(module) or is_language_model(module)):
            found[name] = module
    return found


def _not_followed(others: dict[str, nn.Module]) -> str:
    """The names of foreign parts, and what to do with them; raises where the first one would be refused by itself."""
    native(next(iter(others.values())))
    named = ", ".join(f"{shown(name)} ({type(module).__name__})" for name, module in others.items())
    return (
        f"{named}, whose calls are not followed. Pass it by itself, with the inputs that it receives: "
        "lyapunov.spectrum(part, inputs)."
    )


def _tolerance(first: Pass, again: Pass) -> float:
    """Ten times what two equal passes differ by: nothing, but for sums in no fixed order."""
    calls = [(before, again.calls[name]) for name, before in first.calls.items()]
    pairs = [pair for before, after in calls for pair in zip(before, after, strict=False)]
    gap = max((distance((one.args, one.kwargs), (two.args, two.kwargs)) for one, two in pairs), default=0.0)
    gap = gap if all(len(before) == len(after) for before, after in calls) else math.inf
    if gap > _ROUNDING:
        raise Unsupported(
            f"Expected a model that does the same from the same random state, got inputs of its cores that differ by {gap:.2g} "
            "between two passes. Make its noise come from PyTorch's, NumPy's or Python's generators, or hand it over."
        )
    return 10 * gap


def _core(name: str, module: nn.Module, first: Pass, change: Change | None, reached: dict[str, frozenset[str]]) -> Core:
    calls = first.calls[name]
    sources = frozenset(source for source, cores in reached.items() if name in cores)
    through = tuple(sorted(source for source in sources & reached.get(name, frozenset()) if source != name))
    known = Core(name, module, len(calls), fed_by=sources, through=through, failure=change.other.failure if change else "")
    if not calls or has_own_forward(module):
        return known
    stretches = [stretch(module, call) for call in calls]
    own_starts = [at for at in range(1, len(calls)) if starts_apart(stretches, at)]
    changed = change is not None and any(change.reaches_state(name, at) for at in own_starts)
    other_weights = any(distance(_again(module, call), call.output) > _ROUNDING for call in (calls[0], calls[-1]))
    received = together(stretches, chains(stretches))
    return replace(known, received=received, state_changed=changed, other_weights=other_weights)


def _sources(core: Core, cores: dict[str, Any]) -> tuple[tuple[nn.Module, str], ...]:
    """The other cores that feed it, with the weights they have now."""
    return tuple((cores[name], weights_digest(cores[name])) for name in sorted(core.fed_by - {core.name}))


def _again(module: Any, call: Call) -> Any:
    """What a core returns of itself, by the weights that it holds and without hooks."""
    with eval_mode(module), torch.no_grad():
        return type(module).forward(module, *call.args, **call.kwargs)
