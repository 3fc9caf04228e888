"""What was captured from a user's model: its recurrent cores with what drives them, and the problem they are."""

from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any, Literal

import torch
from torch import Tensor, nn

from lyapunov import _checks
from lyapunov._shown import Shown
from lyapunov._trees import tree_flatten
from lyapunov.errors import InvalidInput, Unsupported
from lyapunov.intake.capturing.calls import Piece, as_taken
from lyapunov.intake.capturing.cells import CalledStep
from lyapunov.intake.capturing.core import Core, plain_name, shown
from lyapunov.intake.capturing.directions import layers_of
from lyapunov.intake.capturing.turns import Turn, as_loop, no_turn
from lyapunov.intake.closed_loops import ClosedLoop
from lyapunov.intake.inputs import PaddedSequences, digest
from lyapunov.intake.kinds import LAYERS
from lyapunov.intake.layers import cell_problem, layer_problem, require_plain
from lyapunov.intake.problem import CastProblem, Problem
from lyapunov.intake.steps import step_problem
from lyapunov.systems import IndependentLayers

Direction = Literal["forward", "backward"]


@dataclass(frozen=True, eq=False, repr=False, init=False)
class Captured(Problem, Shown):
    """The recurrent cores of a model, with the inputs, states and lengths they really received: a problem.

    Several cores that feed each other in a chain are analysed together, layer by layer; else `core(name)` picks one.

    Attributes:
        cores: in the order of `model.named_modules()`, those that were never called included.
        direction, called: the direction that was picked, if any; a hash of what the model was called with.
        padded: (batch,), the valid steps of sequences that the model pads and does not pack; the user alone knows them.

    Methods take:
        name, direction: a core's name in `model.named_modules()` (None: the only one); "forward", "backward" or None.
        given, words: what a problem leaves open, by name (linearization, coupled, dt, lengths).

    Example:
        >>> len(lyapunov.capture(torch.nn.LSTM(2, 6), torch.randn(40, 3, 2)).cores)
        1
    """

    cores: tuple[Core, ...]
    direction: Direction | None
    called: str
    padded: Any

    def __init__(
        self, cores: tuple[Core, ...], direction: Direction | None = None, called: str = "", *, padded: Any = None, **words: Any
    ) -> None:
        own = {"cores": cores, "direction": direction, "called": called, "padded": padded}
        self.__dict__.update(
            {"carried": None, "steps": None, "linearization": "full", "coupled": False, "dt": 1.0} | words | own
        )
        self.__post_init__()

    def core(self, name: str | None = None, *, direction: Direction | None = None) -> "Captured":
        """One core alone, and one direction of it."""
        found = self._only() if name is None else self._named(name)
        if not found.calls:
            raise Unsupported(
                f"Expected a core that the model calls, got {found.shown}, which was not called in this pass. Capture the "
                "model with arguments for which it is."
            )
        _checks.one_of(direction, (None, "forward", "backward"), "direction")
        if direction is not None and not getattr(found.module, "bidirectional", False):
            raise InvalidInput(
                f"Expected `direction` with a bidirectional layer, got {found.shown}, a {found.kind}. Leave it out."
            )
        return Captured((found,), direction, self.called, padded=self.padded, **self._words())

    def replaced(self, **given: Any) -> "Captured":
        """The same but for what is given. Raises InvalidInput where the model's pass says it."""
        for name in ("inputs", "state", "carried", "steps"):
            if name in given:
                raise InvalidInput(
                    f"Expected `{name}` left out with what was captured, got it. To change it, pass the pieces: "
                    "captured.module, captured.inputs, captured.state, captured.lengths."
                )
        padded = given.pop("lengths", self.padded)
        return Captured(self.cores, self.direction, self.called, padded=padded, **(self._words() | given))

    def _own(self, name: str) -> Any:
        said = self._words() | {"lengths": self.padded}
        return said.get(name)  # what the pass says is refused, as it is replaced

    def _words(self) -> dict[str, Any]:
        return {name: self.__dict__[name] for name in ("linearization", "coupled", "dt")}

    def closed_loop(self, name: str | None = None) -> ClosedLoop:
        """The loop of a core that the model feeds with its own output, as `lyapunov.closed_loop` makes it.

        `lyapunov.spectrum(captured.closed_loop(), steps=1000)` warms it up along what the core received, then leaves it
        to itself. To find the way from the core's output to its next input, the model runs some sixty times.

        Raises:
            Unsupported: where there is no such loop of one core, where its input depends on more than its last output, where
                that is sampled, jumps (argmax) or cannot be differentiated, and where the model has changed since.
        """
        core = (self.core(name) if name is not None else self)._only()
        if core.turn is None or core.received is None:
            own = "it is a cell of your own" if core.name in core.fed_by else "it is not fed by its own output"
            raise no_turn(core.name, own)
        if isinstance(core.turn, Unsupported):
            raise Unsupported(str(core.turn))
        pieces(core, None)  # refuses states that are changed, and weights that are not its own
        return as_loop(core.module, core.received, core.turn)

    @property
    def names(self) -> tuple[str, ...]:
        """The cores that were called, by their names in `model.named_modules()`."""
        return tuple(core.name for core in self.cores if core.calls)

    @property
    def module(self) -> nn.Module:
        """The only core itself; for a direction, a one-directional module with its weights."""
        return self._piece().module if self.direction else self._only().module

    @property  # a problem's own, read when it is asked for
    def system(self) -> nn.Module:  # type: ignore[bad-override]
        """The same, as problems call it."""
        return self.module

    @property  # a problem's own, read when it is asked for
    def inputs(self) -> Tensor:  # type: ignore[bad-override]
        """What the only core received, as it takes it: `lyapunov.spectrum(captured.module, captured.inputs, ...)`."""
        return self._piece().inputs

    @property  # a problem's own, read when it is asked for
    def state(self) -> Any:  # type: ignore[bad-override]
        """The state it started from, as it takes it; None for its own."""
        return self._piece().state

    @property  # a problem's own, read when it is asked for
    def lengths(self) -> Tensor | None:  # type: ignore[bad-override]
        """(batch,): the valid steps of each sequence; None where all are as long."""
        found = self._piece().lengths
        return self.padded if found is None else found

    def __repr__(self) -> str:
        of = f", {self.direction} direction" if self.direction else ""
        title = f"Captured: {len(self.cores)} recurrent core{'s' * (len(self.cores) > 1)}{of}"
        return "\n".join([title, *(f"  {_line(core)}" for core in self.cores)])

    def _only(self) -> Core:
        called = [core for core in self.cores if core.calls]
        if len(called) > 1:
            raise InvalidInput(f"Expected one core, got {_listed(called)}. {_name_one(called)}")
        return called[0]

    def _named(self, name: str) -> Core:
        wanted = plain_name(name)
        found = next((core for core in self.cores if core.name == wanted), None)
        if found is None:
            raise InvalidInput(f"Expected the name of a core, got {name!r}. Choose among {_listed(self.cores)}.")
        return found

    def _piece(self) -> Piece:
        core = self._only()
        if self.direction and core.module.num_layers > 1:
            raise Unsupported(
                f"Expected a direction of a single layer, got one of {core.module.num_layers}: each is driven by both "
                "directions below it, so they are no module together. Pass what was captured: lyapunov.spectrum(captured)."
            )
        return pieces(core, self.direction)[0]


def pieces(core: Core, direction: Direction | None) -> list[Piece]:
    """A core as it is, or the layers of one direction of it.

    Raises Unsupported where the state is changed between calls, and where the core does not compute what its kind does.
    """
    if core.state_changed:
        raise Unsupported(
            f"Expected a state that is handed on as it is, got {core.shown}, whose state is changed between calls (masked, "
            f"normalised, mixed). {_around(core)}Write what happens between two of them, and the call, as step(state, x), and "
            "pass that."
        )
    if core.other_weights:
        raise Unsupported(
            f"Expected a core that computes with the weights it holds, got {core.shown}, which in this pass did not (weights "
            "put in from outside, or changed while it ran). Write the step that uses them as step(state, x), and pass that."
        )
    if core.refusal:
        raise Unsupported(core.refusal)
    if core.forgets:
        raise Unsupported(
            f"Expected a state that is passed from call to call, got {core.shown}, called {core.calls} times, each time "
            f"from {core.start}: no state is passed from step to step, so this network has no memory. Pass the state "
            "that a call returned to the next one, or whole sequences in one call."
        )
    if core.piece is not None:
        return [core.piece]
    if core.received is not None and len(core.received.values) == 1:
        raise Unsupported(
            f"Expected a pass over time, got one step of {core.shown}. Where the loop that calls the model is outside it, put "
            "that into a method of a module, rollout(inputs), and capture the method."
        )
    require_plain(core.module)
    received: Any = core.received  # there, as the core was called and is plain
    if direction is None:
        return [as_taken(core.module, received)]
    if received.in_turn > 1:
        raise Unsupported(
            f"Expected a bidirectional layer that is called once for each sequence, got {core.shown} with states passed from "
            "call to call: its two directions then meet the same inputs in different orders. Capture a single call."
        )
    return layers_of(core.module, received, direction == "backward")


def _around(core: Core) -> str:
    """What to try first where the core is a part of a cell of the user's own."""
    outer = core.name.rpartition(".")[0]
    return f"Where the module around it is the cell, name that: lyapunov.capture(model, ..., core={outer!r}). " if outer else ""


def captured_problem(captured: Captured, dtype: torch.dtype) -> CastProblem:
    """The problem of one core, or of several in a chain: layers beside each other, each along its own inputs."""
    _padded(captured)
    cores = _chain(captured)
    for core in cores:
        _refuse_loop(core)
        _refuse_outdated(core)
    found = [piece for core in cores for piece in pieces(core, captured.direction)]
    if len(found) > 1 and captured.coupled:
        raise Unsupported(
            "Expected coupled=False with layers that have inputs of their own, got coupled=True: how one drives the next is "
            "not in what was captured. Write one step of all of them as step(state, x), and pass that."
        )
    problems = [_problem(piece, captured, dtype) for piece in found]
    return replace(problems[0] if len(problems) == 1 else _beside(problems, cores), called=captured.called)


def _padded(captured: Captured) -> None:
    """Lengths are given only with sequences that were captured whole and forwards."""
    if captured.padded is None:
        return
    if captured.direction == "backward" or any(core.received and core.received.lengths is not None for core in captured.cores):
        raise InvalidInput(
            "Expected `lengths` only with sequences that were captured whole and forwards, got them with others. Leave them "
            "out: packed sequences bring theirs; for a backward direction, pack the sequences in the model."
        )


def _problem(piece: Piece, captured: Captured, dtype: torch.dtype) -> CastProblem:
    layered = isinstance(piece.module, LAYERS)
    build: Any = step_problem if isinstance(piece.module, CalledStep) else layer_problem if layered else cell_problem
    lengths = captured.padded if piece.lengths is None else piece.lengths
    words = {"linearization": captured.linearization, "coupled": captured.coupled}
    return build(piece.module, Problem(piece.module, piece.inputs, piece.state, lengths=lengths, **words), dtype)


def _chain(captured: Captured) -> list[Core]:
    """The called cores from the bottom up, each of which feeds the next."""
    called = [core for core in captured.cores if core.calls]
    ordered = sorted(called, key=lambda core: len(core.fed_by - {core.name}))
    if all(below.name in above.fed_by for below, above in pairwise(ordered)):
        return ordered
    raise InvalidInput(
        f"Expected one core, or several of which each feeds the next, got {_listed(called)}. {_name_one(called)}"
    )


def _refuse_loop(core: Core) -> None:
    if core.name not in core.fed_by:
        return
    through = f" through {' and '.join(core.through)}" if core.through else ""
    failed = f" (when it returned other outputs, the model raised {core.failure})" if core.failure else ""
    remedy = f"Pass lyapunov.spectrum(captured.closed_loop({core.name!r}), steps=1000) for those of the loop."
    if not isinstance(core.turn, Turn) or core.turn.problem is not None:
        remedy = "Write one turn of the loop as step(state, x), or step(state, x, carried), and pass that."
    raise Unsupported(
        f"Expected inputs that do not depend on the core's own output, got {core.shown}, fed by its own output{through}"
        f"{failed}: its exponents along fixed inputs are not those of the loop. {remedy} "
        "To measure the core along these very inputs all the same, pass its pieces: "
        f"core = captured.core({core.name!r}); lyapunov.spectrum(core.module, core.inputs, state=core.state, "
        "lengths=core.lengths)."
    )


def _refuse_outdated(core: Core) -> None:
    """The cores below still have the weights by which its inputs came about."""
    if all(weights_digest(module) == before for module, before in core.sources):
        return
    raise InvalidInput(
        f"Expected a model as it was captured, got {core.shown} along inputs from before the weights of a core that feeds it "
        "moved. Capture the model again, after each change: lyapunov.capture(model, ...)."
    )


def weights_digest(module: nn.Module) -> str:
    """A hash of the weights a module has now, whatever their dtype and device."""
    return digest([weight.detach().double() for weight in module.parameters()])


def _beside(problems: list[CastProblem], cores: list[Core]) -> CastProblem:
    first = problems[0].sequences
    forms = {(str(one.system.device), _form(one.sequences)) for one in problems}
    if len(forms) > 1:
        raise InvalidInput(
            f"Expected cores that run side by side, on one device, got {_listed(cores)} with other sequences or steps. "
            f"{_name_one(cores)}"
        )
    systems: Any = [one.system for one in problems]
    values = tuple(one.sequences.values for one in problems)
    state = tuple(one.state for one in problems)
    sequences = PaddedSequences(values, first.batch, first.steps, first.lengths)
    return CastProblem(IndependentLayers(systems), sequences, state, problems[0].precision)


def _form(sequences: PaddedSequences) -> tuple[int, int, tuple[int, ...]]:
    lengths = () if sequences.lengths is None else tuple(sequences.lengths.tolist())
    return sequences.batch, sequences.steps, lengths


def _listed(cores: list[Core] | tuple[Core, ...]) -> str:
    return ", ".join(f"{core.shown} ({core.kind})" for core in cores)


def _name_one(cores: list[Core]) -> str:
    return f"Name one: captured.core({cores[0].name!r})."


def _line(core: Core) -> str:
    if not core.calls:
        return f"{core.shown}: {core.kind}, never called"
    parts = [f"{core.shown}: {core.kind}"]
    if core.piece is not None:
        shape = tree_flatten(core.piece.inputs)[0][0].shape
        parts.append(_extent(shape[1], shape[0], core.piece.lengths))
    elif core.received is not None:
        steps, batch = core.received.values.shape[:2]
        parts.append(_extent(steps, batch, core.received.lengths))
    else:
        parts.append("with a forward of its own")
    parts.append(f"{core.calls} call{'s' * (core.calls > 1)}{_handed_on(core)}")
    if core.left_out:
        parts.append(f"{core.left_out} of a single step left out")
    sources = [shown(name) for name in sorted(core.fed_by - {core.name})]
    sources += ["its own output"] if core.name in core.fed_by else []
    parts += [f"fed by {' and '.join(sources)}"] if sources else []
    parts += ["its state changed between calls"] if core.state_changed else []
    return ", ".join(parts)


def _handed_on(core: Core) -> str:
    if not core.forgets or core.state_changed:
        return ""
    return f", each from {core.start}: no state is passed on, so this network has no memory"


def _extent(steps: int, batch: int, lengths: Tensor | None) -> str:
    least = steps if lengths is None else int(lengths.min())
    span = str(steps) if least == steps else f"{least} to {steps}"
    return f"{batch} sequence{'s' * (batch > 1)} x {span} step{'s' * (steps > 1)}"
