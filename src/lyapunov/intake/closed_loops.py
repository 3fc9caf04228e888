"""`closed_loop(...)`: a core fed by its own output, warmed up along data and then left to itself."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from lyapunov import _checks
from lyapunov._shapes import State
from lyapunov._trees import tree_flatten, tree_map
from lyapunov.errors import InvalidInput
from lyapunov.intake.continuity import feedback_explained, require_continuous
from lyapunov.intake.inputs import autonomous
from lyapunov.intake.kinds import CELLS, LAYERS
from lyapunov.intake.problem import CastProblem, Problem, state_batch
from lyapunov.systems import Feed, fed_back

Recognize = Callable[[Problem, torch.dtype], CastProblem]


@dataclass(frozen=True, eq=False)
class ClosedLoop:
    """A core and the way from its output to its next input. `lyapunov.spectrum` takes it as a system.

    Attributes:
        core: the layer, cell or step.
        readout: from the core's output to what the loop puts out.
        feedback: from that to the core's next input; None: as it is.
        inputs, state: what the loop is warmed up along, and from which state, unless others are given.

    Example:
        >>> loop = lyapunov.closed_loop(torch.nn.GRUCell(2, 6), torch.nn.Linear(6, 2))
        >>> len(lyapunov.spectrum(loop, torch.randn(3, 20, 2), steps=100, k=2, settle=20, align=20))
        2
    """

    core: Any
    readout: Callable[..., Any]
    feedback: Callable[..., Any] | None = None
    inputs: Any = None
    state: Any = None


def closed_loop(core: object, readout: Callable[..., object], *, feedback: Callable[..., object] | None = None) -> ClosedLoop:
    """A core fed by its own output, as a system: h' = core(h, x) with x = feedback(readout(output(h))).

    `lyapunov.spectrum(loop, inputs, steps=1000, dt=dt)` warms the core up along `inputs` and then leaves it to itself: settling
    and aligning happen in the free run, and `steps` of it count. The exponents are those of the whole loop.

    Args:
        core: `nn.RNN`, `nn.GRU`, `nn.LSTM` of any depth, a cell of theirs, or a `step(state, x) -> state`, batch first.
        readout: from the core's output, (batch, units), to its prediction, (batch, features). The output of PyTorch's layers
            and cells is the h of the top layer; that of a step is its whole state.
        feedback: from the prediction to the core's next input, (batch, input size). None: the prediction itself.

    Returns:
        The loop: pass it to `spectrum`, `loop_spectra`, `predict`, or anything else that takes a system.

    Raises:
        InvalidInput: where readout or feedback cannot be called. `spectrum` raises Unsupported where what is fed back is drawn
            at random, or jumps (argmax): such a loop is not one differentiable map; and BadSystem where readout or feedback
            raise an error, or cannot be differentiated.

    Example:
        >>> core, readout = torch.nn.GRUCell(3, 16), torch.nn.Linear(16, 3)
        >>> loop = lyapunov.closed_loop(core, readout)
        >>> free = lyapunov.spectrum(loop, torch.randn(4, 50, 3), steps=400, k=2)

    References:
        Jaeger & Haas 2004 (reservoirs in a closed loop); Pathak et al. 2017 (their Lyapunov exponents).
    """
    for value, name in ((readout, "readout"), (feedback, "feedback")):
        if not callable(value) and not (name == "feedback" and value is None):
            raise InvalidInput(
                f"Expected `{name}` to be a module or a function, got {type(value).__name__}. Pass one that takes a tensor."
            )
    return ClosedLoop(core, readout, feedback)


def loop_of(asked: Problem) -> ClosedLoop:
    """The closed loop that a problem is about."""
    system = asked.system if type(asked) is Problem else asked
    if isinstance(system, ClosedLoop):
        return system
    raise InvalidInput(
        f"Expected a closed loop, got {type(system).__name__}. Pass what lyapunov.closed_loop(core, readout) returned."
    )


def closed_loop_problem(loop: ClosedLoop, problem: Problem, dtype: torch.dtype, recognize: Recognize) -> CastProblem:
    """The autonomous problem of the loop, from the state that the core has reached along the inputs."""
    _require_fitting(problem)
    inputs = loop.inputs if problem.inputs is None else problem.inputs
    state = loop.state if problem.state is None and problem.inputs is None else problem.state
    if inputs is None and state is None:
        raise InvalidInput(
            "Expected `inputs` to warm the loop up along, or the `state` that it starts from, got neither. Pass one of them."
        )
    warming = replace(problem, system=loop.core, inputs=inputs, state=state, steps=None, coupled=True)
    core = _core(warming, dtype, recognize)
    feed = Feed(loop.readout, loop.feedback, dtype=dtype, device=core.system.device)
    system = fed_back(core.system, feed)
    with torch.no_grad():
        state = core.state if inputs is None else _warmed_up(core)
        output = core.system.output(state)
        with system.running(), torch.random.fork_rng(devices=[]), feedback_explained(output):
            _require_input(loop.core, core, system.feed, output)
            require_continuous(feed, output)
    return CastProblem(system, autonomous(problem.steps, core.sequences.batch), state, core.precision)


def _require_fitting(problem: Problem) -> None:
    if problem.steps is None:
        raise InvalidInput("Expected `steps` with a closed loop, got none: the free steps that count. Pass steps=1000, say.")
    if problem.lengths is not None or problem.carried is not None:
        name = "carried" if problem.lengths is None else "lengths"
        raise InvalidInput(
            f"Expected a closed loop without `{name}`, got it. Warm up along sequences of one length; what a step carries goes "
            "into one turn of the loop, step(state, x, carried), which is passed by itself."
        )
    if problem.linearization != "full":
        raise InvalidInput(
            "Expected linearization='full' with a closed loop, got 'hidden': the cell state moves with what is fed back. Leave "
            "it out."
        )


def _core(problem: Problem, dtype: torch.dtype, recognize: Recognize) -> CastProblem:
    """The core along its inputs; without any, along two steps that are never taken."""
    if problem.inputs is not None:
        return recognize(problem, dtype)
    core = problem.system
    if isinstance(core, LAYERS + CELLS):
        batch = state_batch(problem.state, 1 if isinstance(core, LAYERS) else 0)
        weight: Any = core.weight_hh if isinstance(core, CELLS) else core.weight_hh_l0
        first = (2, batch) if isinstance(core, LAYERS) and not core.batch_first else (batch, 2)
        nothing = torch.zeros(*first, core.input_size, dtype=weight.dtype, device=weight.device)
        return recognize(replace(problem, inputs=nothing), dtype)
    return recognize(replace(problem, steps=2), dtype)


def _warmed_up(core: CastProblem) -> State:
    """The state after the last input."""
    state = core.state
    with core.system.running():
        for t in range(core.sequences.steps):
            state = core.system.step(state, core.sequences.at(t))
    if not all(_checks.is_finite(leaf) for leaf in tree_flatten(state)[0] if isinstance(leaf, Tensor)):
        raise InvalidInput("Expected a finite state after the warm-up, got NaN or infinity. Check the inputs and the weights.")
    return tree_map(lambda leaf: leaf.clone() if isinstance(leaf, Tensor) else leaf, state)


def _require_input(module: Any, core: CastProblem, feed: Feed, output: Any) -> None:
    """That what is fed back has the form of an input."""
    found = feed(output)
    wanted = core.sequences.at(0)
    if isinstance(module, LAYERS + CELLS) and (not isinstance(found, Tensor) or found.shape != wanted.shape):
        shape = tuple(found.shape) if isinstance(found, Tensor) else type(found).__name__
        raise InvalidInput(
            f"Expected readout (and feedback) to return the core's next input, of shape {tuple(wanted.shape)}, got {shape}. "
            "Pass a `feedback` that makes the one of the other."
        )
