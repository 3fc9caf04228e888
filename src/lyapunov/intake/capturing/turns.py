"""A model that feeds its own output back, seen as a loop: from what the core returned in one call to what it is given next."""

import sys
from collections.abc import Callable
from contextlib import AbstractContextManager, ExitStack
from functools import cached_property
from typing import Any

import torch
from torch import Tensor, nn

from lyapunov.errors import LyapunovError, Unsupported
from lyapunov.intake.capturing.calls import Part, Received, Stretch, as_taken, sequences, stretch
from lyapunov.intake.capturing.watch import Call, Pass, distance
from lyapunov.intake.closed_loops import ClosedLoop
from lyapunov.intake.continuity import require_continuous
from lyapunov.intake.inputs import cast
from lyapunov.intake.kinds import CELLS
from lyapunov.systems import Feed

_SAME = 1e-3
"""Inputs that a turn of the loop reproduces to within so much, relative, are those that the model made."""
_TRIED = 32
"""Turns of the pass that are made again, at most: each runs the model from its start."""


class Turn:
    """output -> next input: the model run up to the call `at` of its core, which returns `output`, and on to the next call.

    Calls before `at` return what they did. The pass ends where the core is called once more: its input there is the result.
    pairs: outputs of the pass and the inputs that followed them. preserving: around the runs that `problem` needs.
    """

    def __init__(
        self,
        run: Callable[[], object],
        module: nn.Module,
        calls: list[Call],
        pairs: list[tuple[Tensor, Tensor]],
        name: str,
        preserving: Callable[[], AbstractContextManager[Any]],
    ) -> None:
        self._run, self._module, self._calls, self._at = run, module, calls, len(calls) - 1
        self._pairs, self._name, self._preserving = pairs, name, preserving

    @cached_property
    def problem(self) -> Unsupported | None:
        """Why it is no differentiable map from the core's last output to its next input; found once it is asked for.

        It takes many runs of the model, which whoever wants no loop need not wait for.
        """
        try:
            return self._discontinuity() or self._deviation()
        except LyapunovError as error:
            return Unsupported(str(error))  # without the frames that it came through
        except Exception as error:  # the user's own code, differentiated: it may raise anything
            line = (str(error).strip().splitlines() or [""])[0].rstrip(".")
            line = f"{type(error).__name__}: {line}"
            return no_turn(self._name, f"the way to its next input cannot be run in float64 and differentiated ({line})")

    def _discontinuity(self) -> None:
        output = self.output.double()
        feed = Feed(self, None, dtype=output.dtype, device=output.device)
        with self._preserving(), feed.running():
            require_continuous(feed, output)

    def _deviation(self) -> Unsupported | None:
        """Of the inputs in the pass from those that the turn makes of the outputs before."""
        with self._preserving():
            for number, (output, given) in enumerate(self._pairs):
                made = self(output)
                if distance(made, given.reshape(made.shape)) <= _SAME:
                    continue
                if number:
                    more = "its input depends on more than its last output (an earlier one, its cell state, the time, data)"
                    return no_turn(self._name, more)
                return Unsupported(
                    "Expected a model as it was captured, got one that makes another input of the core's first output that it "
                    "feeds back. Capture the model again, after each change: lyapunov.capture(model, ...)."
                )
        return None

    @property
    def output(self) -> Tensor:
        """(batch, units): what the core returned in that call."""
        return _output(self._module, self._calls[self._at])

    def __call__(self, output: Tensor) -> Tensor:
        """(n x batch, units) -> (n x batch, features), each batch by itself: the model's own arguments are for one."""
        return torch.cat([self._once(part) for part in output.split(len(self.output))])

    def _once(self, output: Tensor) -> Tensor:
        seen: list[Any] = []

        def before(_: nn.Module, args: tuple[object, ...], kwargs: dict[str, Any]) -> Any:
            if len(seen) == self._at + 1:
                seen.append(args[0] if args else kwargs["input"])
                raise _Reached
            seen.append(None)
            call = self._calls[len(seen) - 1]  # what it received then, in this dtype: models make zeros in their own
            return cast((call.args, call.kwargs), output.dtype, output.device)

        def after(_: nn.Module, args: object, kwargs: object, found: object) -> Any:  # noqa: ARG001
            recorded = cast(self._calls[len(seen) - 1].output, output.dtype, output.device)
            return recorded if len(seen) <= self._at else _with_output(self._module, recorded, output.clone())

        run: Any = self._run
        given = cast((run.args, run.keywords), output.dtype, output.device)
        with ExitStack() as back:
            if "torch._dynamo" in sys.modules:  # compiled code does not see hooks that come later
                back.enter_context(torch.compiler.set_stance("force_eager"))
            for hook in (
                self._module.register_forward_pre_hook(before, with_kwargs=True),
                self._module.register_forward_hook(after, prepend=True, with_kwargs=True),
            ):
                back.callback(hook.remove)
            try:
                run.func(*given[0], **given[1])
            except _Reached:
                return seen[-1].reshape(output.shape[0], -1)
        raise Unsupported("Expected a model that calls its core as often as when it was captured. Capture it again.")


class _Reached(BaseException):
    """The next call of the core: no model may catch it."""


def turn_of(
    run: Callable[[], object],
    preserving: Callable[[], AbstractContextManager[Any]],
    module: nn.Module,
    first: Pass,
    other: Pass,
    name: str,
) -> Turn | Unsupported:
    """The first turn of a core's loop, which is still to be asked for its `problem`, or why there is none.

    `first`: the recorded pass; `other`: the one in which the core returned other outputs, which tells the calls it reaches.
    """
    if getattr(module, "bidirectional", False):
        return no_turn(name, "it is bidirectional")
    calls = first.calls[name]
    stretches = [stretch(module, call) for call in calls]
    fed = [at for at, pair in enumerate(zip(calls, other.calls[name], strict=False)) if distance(*(c.input for c in pair)) > 0]
    single = [at for at in range(1, len(calls)) if _is_single(stretches[at - 1]) and _is_single(stretches[at])]
    start = next((at for at in fed if at in single), None)
    if start is None and other.failure:
        return no_turn(name, f"the model does not go on when it returns other outputs ({other.failure})")
    if start is None:
        return no_turn(name, "its calls are not single steps, each fed by the one before")
    if any(parts != [Part(at, parts[0].row) for at in range(len(stretches))] for parts in sequences(stretches)):
        return no_turn(name, "its calls are several sequences, or its state is changed between them")
    turns = [at for at in single if at >= start]  # all later ones: those that `other` did not change may be driven
    if any(stretches[at].batch != stretches[start].batch for at in turns):
        return no_turn(name, "some sequences end before others")
    pairs = [(_output(module, calls[at - 1]), calls[at].input) for at in _some(turns)]
    return Turn(run, module, calls[:start], pairs, name, preserving)


def _some(turns: list[int]) -> list[int]:
    """The first, the last, and others drawn between: evenly spaced ones would miss what comes in a period."""
    if len(turns) <= _TRIED:
        return turns
    drawn = torch.randperm(len(turns) - 2, generator=torch.Generator().manual_seed(20205))[: _TRIED - 2] + 1
    return [turns[at] for at in (0, *sorted(drawn.tolist()), len(turns) - 1)]


def no_turn(name: str, reason: str) -> Unsupported:
    """Of a core that is in no such loop."""
    return Unsupported(
        f"Expected a core that is fed by its own last output, one step at a time, got {name or 'the model itself'}: {reason}. "
        "Write one turn of the loop as step(state, x), or step(state, x, carried), and pass that."
    )


def as_loop(module: object, received: Received, turn: Turn) -> ClosedLoop:
    """The loop with what the core received as its warm-up. Raises Unsupported where the turn has a problem."""
    if turn.problem is not None:
        raise Unsupported(str(turn.problem))
    piece = as_taken(module, received)
    return ClosedLoop(module, turn, None, piece.inputs, piece.state)


def _is_single(one: Stretch) -> bool:
    return one.values.shape[0] == 1 and one.lengths is None


def _output(module: nn.Module, call: Call) -> Tensor:
    """(batch, units): h of the top layer after a call of one step."""
    found = call.output
    if isinstance(module, CELLS):
        found = found[0] if isinstance(found, tuple) else found
        return found.reshape(-1, found.shape[-1])
    return found[0].reshape(-1, found[0].shape[-1])


def _with_output(module: nn.Module, recorded: Any, output: Tensor) -> Any:
    """What a call returned, with another h of the top layer."""
    if isinstance(module, CELLS):
        if isinstance(recorded, tuple):
            return output.reshape(recorded[0].shape), *recorded[1:]
        return output.reshape(recorded.shape)
    state = recorded[1]
    h = state[0] if isinstance(state, tuple) else state
    h = torch.cat([h[:-1], output.reshape(h[-1:].shape)])
    return output.reshape(recorded[0].shape), (h, *state[1:]) if isinstance(state, tuple) else h
