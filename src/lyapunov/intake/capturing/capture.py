"""`capture(...)`: the recurrent cores inside a user's model, with what they really receive, and who feeds whom."""

import math
import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from types import FunctionType
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from lyapunov._trees import tree_map
from lyapunov._warning import warn
from lyapunov.errors import InvalidInput, Unsupported
from lyapunov.intake.capturing.calls import Part, own_starts, sequences, stretch, together
from lyapunov.intake.capturing.captured import Captured, weights_digest
from lyapunov.intake.capturing.cells import called_step, cells_in, depends_on_itself
from lyapunov.intake.capturing.core import Core, plain_name, shown
from lyapunov.intake.capturing.preserving import preserving_state
from lyapunov.intake.capturing.subclasses import calls_within
from lyapunov.intake.capturing.turns import Turn, no_turn, turn_of
from lyapunov.intake.capturing.watch import Call, Pass, distance, watched, watched_replaced
from lyapunov.intake.foreign import is_recurrent, native, require_whole, scripted_kind, unscripted
from lyapunov.intake.inputs import digest
from lyapunov.intake.kinds import CELLS, LAYERS
from lyapunov.intake.languages import is_language_model
from lyapunov.intake.layers import has_own_forward
from lyapunov.intake.rebuilt import plain
from lyapunov.systems import eval_mode

_ROUNDING = 1e-3
"""Two passes from one random state may differ by so much: some sums on a GPU come in no fixed order."""
_RECURRENT = re.compile(
    "|".join(layer.__name__ for layer in LAYERS)
    + r"|recurrent|cell|mamba|ssm|s4|s5|rwkv|reservoir|echo|esn|memory|lif|ltc|cfc|spik",
    re.IGNORECASE,
)
"""In the name of a class that may be recurrent, and is named before others."""
_SHOWN = 8
"""Types of modules that a message names."""


def capture(model: Any, /, *args: Any, core: str | None = None, **kwargs: Any) -> Captured:
    """The recurrent layers and cells inside a model, with the inputs, initial states and lengths they really receive.

    Runs `model(*args, **kwargs)` in evaluation mode, without gradients, and watches every `nn.RNN`, `nn.GRU`, `nn.LSTM` and
    cell inside: `lyapunov.spectrum(lyapunov.capture(model, tokens), k=4)`. Calls that hand the state on are one sequence in
    time; others are sequences of their own. Where a core is called more than once, or there are several, the model runs again
    with the outputs of each replaced by others: what then changes in the inputs of a core is fed by them. A core that is fed
    by its own output (a closed loop) is named, and `lyapunov.spectrum` refuses it with the remedies; `.closed_loop()` of what
    is returned is that loop, where what is fed back depends continuously on the core's last output.

    A cell of the user's own is captured as a step where its calls show which arguments are its state: those that are what the
    call before returned.

    Args:
        model: a module (compiled or not), or a method of one. Whatever a pass can change in it (training flags, parameters,
            buffers, gradients, hooks, attributes) and every random state are as before, also where it raises.
        args, kwargs: what the model is called with.
        core: the name in `model.named_modules()` of a cell of your own; it can be left out where there is no other core.

    Returns:
        What `lyapunov.spectrum`, `lyapunov.gradient_exponents` and the others take in the place of a system and inputs.

    Raises:
        Unsupported: where there is nothing recurrent, where none of it is called, or where two passes differ.

    Example:
        >>> class Model(torch.nn.Module):
        ...     def __init__(self):
        ...         super().__init__()
        ...         self.lstm, self.readout = torch.nn.LSTM(2, 6, batch_first=True), torch.nn.Linear(6, 1)
        ...     def forward(self, x):
        ...         return self.readout(self.lstm(x)[0])
        >>> len(lyapunov.spectrum(lyapunov.capture(Model(), torch.randn(3, 60, 2)), k=2))
        2
    """
    owner = _owner(model)
    cores, called_with = _cores(owner, core), digest(tree_map(_plain_value, (args, kwargs)))
    run = partial(model.module if isinstance(model, nn.DataParallel) else model, *args, **kwargs)

    def preserved(watch: Callable[..., object], *more: object) -> Any:
        with preserving_state(owner, (args, kwargs)):
            return watch(run, *more)

    if not cores:
        return Captured((_cell(owner, core, preserved),), called=called_with)
    first, seen = _first_pass(owner, cores, preserved)
    called = [name for name in cores if first.calls[name]]
    if not called:
        raise Unsupported(
            f"Expected a pass that calls {' or '.join(map(repr, cores))}, got one that calls none of them. Pass arguments for "
            "which the model does, and let it call them as modules: layer(x), not layer.forward(x)."
        )
    asked = called if len(called) > 1 else [name for name in called if len(first.calls[name]) > 1]
    tolerance = _tolerance(first, preserved(watched, *seen)) if asked else 0.0
    changes = {name: Change(first, preserved(watched_replaced, *seen, first, name), tolerance) for name in asked}
    reached = {source: frozenset(filter(change.reaches_inputs, called)) for source, change in changes.items()}
    found = [_core(name, module, first, changes.get(name), reached) for name, module in cores.items()]

    def turn(core: Core) -> Turn | Unsupported | None:
        if core.name not in core.fed_by or core.received is None:
            return None
        if cores_of(owner).get(core.name) is not core.module:
            return no_turn(core.name, "it is not one of PyTorch's own layers and cells")
        if core.through:
            return no_turn(core.name, f"its loop goes through {' and '.join(core.through)}")
        preserving = partial(preserving_state, owner, (args, kwargs))
        return turn_of(run, preserving, core.module, first, changes[core.name].other, core.name)

    return Captured(tuple(replace(core, turn=turn(core), sources=_sources(core, cores)) for core in found), called=called_with)


def _plain_value(leaf: object) -> Any:
    """What of an argument can be told again: numbers and words; of other objects their class."""
    if isinstance(leaf, Tensor | np.ndarray):
        leaf = torch.as_tensor(leaf).detach()
        return leaf.double() if leaf.is_floating_point() else leaf
    return leaf if isinstance(leaf, bool | int | float | complex | str | None) else type(leaf).__name__


def _first_pass(owner: nn.Module, cores: dict[str, Any], preserved: Callable[..., Any]) -> tuple[Pass, tuple[Any, set[str]]]:
    """What the cores receive and return; and how they are watched: the modules, and which of them by their operators.

    Subclasses that compute what the plain layer does become that in `cores`; those that do not are in `refusals`.
    """
    watching, by_operators = dict(cores), set(cores) - set(cores_of(owner))
    first = preserved(watched, watching, by_operators)
    derived = {name: plain(module) for name, module in cores.items() if has_own_forward(module) and first.calls[name]}
    inner = preserved(watched, derived, derived).calls if derived else {}
    for name, twin in derived.items():
        try:
            calls = calls_within(cores[name], first.calls[name], inner[name])
        except Unsupported as error:
            first.refusals[name] = str(error)
            continue
        cores[name] = twin
        if calls is not first.calls[name]:
            first.calls[name], watching[name] = calls, twin
            by_operators.add(name)
    return first, (watching, by_operators)


def _cell(owner: nn.Module, name: str | None, preserved: Callable[..., Any]) -> Core:
    """A cell of the user's own as a step: the named one, or the only one that hands a state on."""
    if isinstance(owner, torch.jit.ScriptModule):
        raise _nothing_recurrent(owner)
    found = cells_in(owner, preserved, name)
    if len(found) > 1:
        raise InvalidInput(
            f"Expected one cell, got {', '.join(found)}, each of which passes a state from call to call. Name one: "
            f"lyapunov.capture(model, ..., core={next(iter(found))!r})."
        )
    if not found:
        raise _nothing_recurrent(owner)
    name, calls = next(iter(found.items()))
    cell = called_step(name, owner.get_submodule(name), calls)
    cells: Any = {name: cell.step.module}
    first = Pass({name: calls})
    _tolerance(first, preserved(watched, cells, ()))
    other = preserved(watched_replaced, cells, (), first, name)
    loop = depends_on_itself(cell.step, calls, other.calls[name])
    piece, left_out = cell.piece()
    return Core(
        name,
        piece.module,
        len(calls),
        fed_by=frozenset({name}) if loop else frozenset(),
        state_changed=not loop and cell.changed(other.calls[name]),
        failure=other.failure,
        piece=piece,
        left_out=left_out,
    )


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

    def reaches_state(self, name: str, module: nn.Module, part: Part) -> bool:
        """Whether a row of a call starts from another state; a call that is gone is in a loop, and told by its inputs."""
        before, after = self.first.calls[name], self.other.calls[name]
        if part.call >= len(after):
            return False
        starts = [stretch(module, calls[part.call]).start for calls in (before, after)]
        rows = [None if start is None else tuple(half[:, part.row : part.row + 1] for half in start) for start in starts]
        return distance(*rows) > self.tolerance


def _owner(model: object) -> nn.Module:
    owner = owner_of(model)
    if owner is None:
        raise Unsupported(f"Expected a torch.nn.Module, or a method of one, got {_what(model)}.")
    require_whole(owner)
    native(owner)  # raises for what cannot be watched, or is a layer that is refused
    return owner


def _what(model: object) -> str:
    """What is no module, in words, and what to pass in its place: a module that it, or what it is a method of, holds."""
    if isinstance(model, type):
        return f"the class {model.__name__}. Make one, and pass that"
    holder = getattr(model, "__self__", model)
    held = [name for name, value in getattr(holder, "__dict__", {}).items() if isinstance(value, nn.Module)]
    found = type(holder).__name__ if holder is model else f"a method of {type(holder).__name__}, which is none"
    if isinstance(model, FunctionType):
        return f"{found}. Pass the model itself; a loop around it as a method of a module, capture(rollout.forward, ...)"
    if not held:
        return f"{found}. Pass the model itself"
    return f"{found}. It holds {', '.join(f'.{name}' for name in held)}: capture that one, called as it is called there"


def owner_of(model: object) -> nn.Module | None:
    """The module itself, or that of which it is a method."""
    if isinstance(model, torch._C.ScriptMethod):
        return torch.jit._recursive.wrap_cpp_module(model.owner)
    owner = model if isinstance(model, nn.Module) else getattr(model, "__self__", None)
    return owner if isinstance(owner, nn.Module) else None


def cores_of(model: nn.Module) -> dict[str, Any]:
    """PyTorch's recurrent layers and cells in a model, by their names."""
    return {plain_name(name): module for name, module in model.named_modules() if isinstance(module, LAYERS + CELLS)}


def scripted_cores_of(model: nn.Module) -> dict[str, Any]:
    """Those that `torch.jit` scripted or traced, as they were before; but for traced cells, which were taken apart."""
    kinds = [(name, module, scripted_kind(module)) for name, module in model.named_modules()]
    return {
        name: unscripted(module, kind)
        for name, module, kind in kinds
        if kind is not None and (issubclass(kind, nn.RNNBase) or hasattr(module, "hidden_size"))
    }


def is_captured(system: object) -> bool:
    """Whether it is a model (or a method of one) around its cores, which is to be captured, and not analysed as it is."""
    owner = owner_of(system)
    return owner is not None and not (owner is system and (is_recurrent(system) or is_language_model(system)))


def _cores(owner: nn.Module, core: str | None) -> dict[str, Any]:
    """What is watched: PyTorch's layers and cells; none where a `core` of another kind is asked for, or there are none."""
    modules = list(owner.named_modules())
    scripted = scripted_cores_of(owner)
    cores = {**cores_of(owner), **scripted}
    others = {name: module for name, module in _foreign(modules).items() if name not in scripted}
    if core is not None and not isinstance(core, str):
        raise InvalidInput(f"Expected `core` as one name, got {type(core).__name__}. Capture the model once for each.")
    if core is not None and plain_name(core) not in cores:
        if core not in dict(modules) or not core:
            named = ", ".join(map(repr, cores)) or "a part of the model by its name in model.named_modules()"
            raise InvalidInput(f"Expected `core` to be one of its parts, got {core!r}. Pass {named}, or leave it out.")
        return {}
    if cores:
        if others:
            warn(f"Expected PyTorch's own recurrent layers only, got {_not_followed(others)}")
        return cores
    if others:
        raise Unsupported(f"Expected one of PyTorch's own recurrent layers inside, got {_not_followed(others)}")
    return {}


def _nothing_recurrent(owner: nn.Module) -> Unsupported:
    modules = list(owner.named_modules())
    if isinstance(owner, torch.jit.ScriptModule):
        inside = [part.original_name for _, part in modules if isinstance(part, torch.jit.RecursiveScriptModule)]
        return Unsupported(
            f"Expected one of PyTorch's own recurrent layers or cells in a scripted model, got {', '.join(inside[:_SHOWN])}. "
            "Pass the module that it was made from: in what torch.jit made, other cells are not seen at work."
        )
    kinds = sorted(dict.fromkeys(type(module) for _, module in modules), key=lambda kind: not _RECURRENT.search(kind.__name__))
    more = f" and {len(kinds) - _SHOWN} more" if len(kinds) > _SHOWN else ""
    known = ", ".join(f"nn.{kind.__name__}" for kind in LAYERS + CELLS)
    return Unsupported(
        f"Expected a model with one of {known} inside, got modules of the types {', '.join(map(_kind, kinds[:_SHOWN]))}{more}. "
        "Pass one step of its recurrence as step(state, x) to lyapunov.spectrum, with the inputs it receives."
    )


def _kind(kind: type) -> str:
    """A class as it is told from another of the same name: with its module, but for PyTorch's."""
    return kind.__name__ if kind.__module__.startswith("torch.nn.") else f"{kind.__module__}.{kind.__qualname__}"


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
    named = ", ".join(f"{shown(name)} ({_kind(type(module))})" for name, module in others.items())
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
            "between two passes. Make its noise come from PyTorch's, NumPy's or Python's generators, or pass it in."
        )
    return 10 * gap


def _core(name: str, module: nn.Module, first: Pass, change: Change | None, reached: dict[str, frozenset[str]]) -> Core:
    calls = first.calls[name]
    sources = frozenset(source for source, cores in reached.items() if name in cores)
    through = tuple(sorted(source for source in sources & reached.get(name, frozenset()) if source != name))
    failure, refusal = change.other.failure if change else "", first.refusals.get(name, "")
    known = Core(name, module, len(calls), fed_by=sources, through=through, failure=failure, refusal=refusal)
    if not calls or refusal:
        return known
    stretches = [stretch(module, call) for call in calls]
    changed = change is not None and any(change.reaches_state(name, module, part) for part in own_starts(stretches))
    other_weights = any(distance(_again(module, call), call.output) > _ROUNDING for call in (calls[0], calls[-1]))
    received = together(stretches, sequences(stretches))
    return replace(known, received=received, state_changed=changed, other_weights=other_weights, left_out=received.left_out)


def _sources(core: Core, cores: dict[str, Any]) -> tuple[tuple[nn.Module, str], ...]:
    """The other cores that feed it, with the weights they have now."""
    return tuple((cores[name], weights_digest(cores[name])) for name in sorted(core.fed_by - {core.name}))


def _again(module: Any, call: Call) -> Any:
    """What a core returns of itself, by the weights that it holds and without hooks."""
    with eval_mode(module), torch.no_grad():
        return type(module).forward(module, *call.args, **call.kwargs)
