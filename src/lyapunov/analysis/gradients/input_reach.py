"""How far an input reaches: the derivative of an output by the inputs before it, through everything in between."""

from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from lyapunov import _checks
from lyapunov._optional import import_optional
from lyapunov._progress import progress_bar
from lyapunov._shapes import State
from lyapunov._shown import Parts
from lyapunov._trees import tree_flatten, tree_unflatten
from lyapunov.analysis.lag_decay import LagDecay, mean, starting_times
from lyapunov.analysis.whole_model import WholeModel, inputs_that_vary
from lyapunov.errors import BadSystem, InvalidInput, Unsupported
from lyapunov.estimate import Finding, Verdict, checked_level, half_widths, number
from lyapunov.intake import (
    CELLS,
    LAYERS,
    Captured,
    CastProblem,
    Problem,
    is_captured,
    preserving_state,
    problem,
    recognize,
    require_full,
    unwrapped,
)
from lyapunov.systems import System, check_contract, joined, total_size
from lyapunov.tangent import TangentPropagator, Workers, diverged_error, is_finite_state

if TYPE_CHECKING:
    from pandas import DataFrame

_AT_ONCE = 2**22
"""Numbers in the graph of one sweep back, roughly: so many starting times are taken together."""


@dataclass(frozen=True, eq=False, repr=False)
class InputReach(LagDecay):
    """ln of the Frobenius norm of d output_T / d input_(T-n) against the lag n, over starting times T and sequences.

    Attributes:
        lags: (lags,), from 0 to the longest, in steps; lag 0 is the input of the same step.
        log_norms: (lags, starts, batch), -inf where the output does not depend on that input, or by less than the dtype holds.
        starts: (starts,), T, the number of steps made.
        log_features: (lags, starts, batch, features), the same of each input feature by itself, or None; see `feature`.
        system: what was differentiated.

    Example:
        >>> reach = lyapunov.input_reach(torch.nn.GRU(2, 6, batch_first=True), torch.randn(3, 40, 2), lags=10)
        >>> reach.log_norms.shape[0]
        11
    """

    log_features: Tensor | None
    system: str

    @property
    def gain(self) -> float:
        """exp of the mean at lag 0: by how much an output follows the input of its own step."""
        return float(self.mean[0].exp())

    def interval(self, level: float = 0.95) -> Tensor:
        """Student-t intervals of the mean at each lag.

        Args:
            level: the probability that an interval holds the truth.

        Returns:
            (lags, 2), the lower and the upper end.
        """
        found = mean(self._values, self._weights)
        half = half_widths(found.standard_error, found.degrees, checked_level(level))
        return torch.stack([found.value - half, found.value + half], dim=-1)

    def feature(self, index: int) -> "InputReach":
        """The reach of one input feature alone. Squared and summed over all features, it is that of the whole input.

        Args:
            index: which feature.

        Returns:
            An `InputReach`.
        """
        if self.log_features is None:
            raise InvalidInput("Expected a reach by feature, got one of whole inputs. Pass by_feature=True to input_reach.")
        at = _checks.whole_number(index, "index", least=0, most=self.log_features.shape[-1] - 1)
        name = f"{self.system}, input feature {at}"
        return replace(self, log_norms=self.log_features[..., at], log_features=None, system=name)

    @property
    def verdict(self) -> Verdict:
        """What speaks against it: one starting time of one sequence, derivatives below what the dtype holds."""
        findings = []
        if self.log_norms[0].numel() < 2:
            findings.append(
                Finding("too short", "one starting time of one sequence has no error. Pass more starts, or sequences.")
            )
        part = self.log_norms.isneginf() & ~self.log_norms.isneginf().all(-1, keepdim=True).all(-2, keepdim=True)
        if bool(part.any()):
            lag = int(self.lags[part.any(-1).any(-1)][0])
            message = f"some derivatives are zero, the first at lag {lag}, others not: their mean logarithm is -inf."
            findings.append(Finding("unreliable tail", f"{message} Compute in float64 (model.double()), or use shorter lags."))
        return Verdict(tuple(findings))

    def to_pandas(self) -> "DataFrame":
        """A pandas DataFrame with a row per lag: `mean`, `standard_error`, `low_95`, `high_95`, of logarithms; needs pandas."""
        pandas, interval = import_optional("pandas", "pandas"), self.interval()
        columns = {
            "mean": self.mean,
            "standard_error": self.standard_errors,
            "low_95": interval[:, 0],
            "high_95": interval[:, 1],
        }
        index = pandas.Index(self.lags.numpy(), name="lag")
        table = pandas.DataFrame({name: values.numpy() for name, values in columns.items()}, index=index)
        table.attrs["verdict"] = str(self.verdict)
        return table

    def _parts(self) -> Parts:
        title = f"Reach of the input of {self.system}: {self._extent}"
        lines = [f"gain at lag 0: {number(self.gain)}"]
        try:
            lines.append(f"slope: {self.slope()}")
            lines.append(f"falls to 1 %: {self.lag_at(0.01)}")
        except InvalidInput:
            lines.append("slope: none, some derivatives are zero")
        rows = self._rows("mean ln |d output / d input|")
        return Parts([title], rows, [*lines, f"verdict: {self.verdict}"])


def input_reach(
    model: object,
    inputs: object = None,
    *,
    lags: int = 40,
    starts: int = 20,
    by_feature: bool = False,
    state: object = None,
    carried: object = None,
    dtype: torch.dtype = torch.float64,
    check: bool = True,
    progress: bool | None = None,
) -> InputReach:
    """How strongly the output at T depends on the input n steps before: E ln |d output_T / d input_(T-n)|, Frobenius norm.

    Exact derivatives by backpropagation, end to end: through convolutions and embeddings in front, all recurrent layers, and
    the readout. Its slope over long lags is the largest exponent wherever every direction is driven and seen.

    Args:
        model: a model, run as a whole in evaluation mode and in its own dtype, outputs (batch, time, ...); or a layer, a cell,
            a `step(state, x)` or a System, whose output is what it hands on (of a step: its state), in `dtype`.
        inputs: what a model is called with, batch first; tokens are differentiated at the embedding that they enter. Else as
            for `lyapunov.spectrum`.
        lags: the longest lag. All from 0 on are measured.
        starts: how many starting times T, spread over the steps with that many before them.
        by_feature: whether to keep the reach of each input feature, too.
        state, carried, dtype, check: as for `lyapunov.spectrum`; not for a whole model.
        progress: a bar (None: on a terminal, after two seconds).

    Returns:
        An `InputReach`: `mean` and `standard_errors` by lag, `gain`, `slope()`, `lag_at(0.01)`, `feature(i)`.

    Raises:
        InvalidInput, Unsupported, BadSystem, Diverged: for what cannot be differentiated, with the remedy.

    Example:
        >>> leaky = lambda state, x: 0.5 * state + x
        >>> reach = lyapunov.input_reach(leaky, torch.zeros(2, 30, 1), state=torch.zeros(2, 1), lags=10)
        >>> round(reach.slope().value, 4), reach.lag_at(0.01).value
        (-0.6931, 7.0)
    """
    longest, count = _checks.whole_number(lags, "lags", least=1), _checks.whole_number(starts, "starts", least=1)
    kept = _checks.flag(by_feature, "by_feature")
    asked = require_full(problem(model, inputs, state=state, carried=carried))
    if isinstance(asked, Captured):
        raise Unsupported("Expected the model itself, got what was captured of it. Pass the model and what it is called with.")
    if _is_whole(asked.system) and asked.state is None:
        name, times, squares = _of_model(WholeModel.of(asked.system, asked.inputs), longest, count, progress)
    else:
        name, times, squares = _of_system(asked, dtype, longest, count, check=check, progress=progress)
    norms, features = squares.sum(-1).log() / 2, (squares.log() / 2 if kept else None)
    return InputReach(torch.arange(longest + 1), norms, torch.tensor(times), features, name)


def _is_whole(model: object) -> bool:
    """A module that is called with its inputs alone: with recurrent cores inside, or without any."""
    return is_captured(model) or (isinstance(model, nn.Module) and not isinstance(unwrapped(model), LAYERS + CELLS))


def _times(steps: int, longest: int, count: int) -> list[int]:
    """Numbers of steps made, each with so many lags before it."""
    if longest > steps - 1:
        raise InvalidInput(
            f"Expected `lags` below the {steps} steps of the inputs, got {longest}. Pass fewer, or longer sequences."
        )
    return starting_times(longest + 1, steps, count)


def _of_model(whole: WholeModel, longest: int, count: int, progress: bool | None) -> tuple[str, list[int], Tensor]:
    model, first = whole.owner, whole.first
    with ExitStack() as stack:
        stack.enter_context(torch.inference_mode(False))
        stack.enter_context(preserving_state(model, whole.inputs))
        stack.enter_context(torch.enable_grad())
        stack.enter_context(torch.backends.cudnn.flags(enabled=False))  # its backward asks for training mode
        stack.enter_context(Workers())
        if first.is_floating_point():
            varied = first.detach().clone().requires_grad_()
            outputs = _with_first(whole, varied).outputs()
        else:
            found = stack.enter_context(inputs_that_vary(whole))
            outputs = whole.outputs()
            varied = found()
        times, columns = _columns(outputs, varied.shape[1], longest, count)
        _require_apart(outputs, varied, columns[0])
        done = []
        with progress_bar("Reach of the input", len(times), enabled=progress) as advance:
            for at, (time, column) in enumerate(zip(times, columns, strict=True), 1):
                squares = _squares(outputs[:, column], [varied])[0].flatten(2)
                done.append(squares[:, time - longest - 1 : time].flip(1).transpose(0, 1))
                advance(at)
    return type(model).__name__, times, torch.stack(done, dim=1)


def _with_first(whole: WholeModel, varied: Tensor) -> WholeModel:
    """The same with another first tensor."""
    leaves, form = tree_flatten(whole.inputs)
    return WholeModel(whole.model, tree_unflatten([varied if leaf is whole.first else leaf for leaf in leaves], form))


def _columns(outputs: Tensor, steps: int, longest: int, count: int) -> tuple[list[int], list[int]]:
    """Starting times, and where the outputs of each stand."""
    if outputs.shape[1] == 1 and steps > 1:
        _times(steps, longest, 1)
        return [steps], [0]
    if outputs.shape[1] != steps:
        raise InvalidInput(
            f"Expected as many outputs as inputs, {steps} steps, or those of the last one alone, got {outputs.shape[1]}. "
            "Measure the part of the model that keeps the steps."
        )
    times = _times(steps, longest, count)
    return times, [time - 1 for time in times]


def _require_apart(outputs: Tensor, varied: Tensor, column: int) -> None:
    """The output of one sequence does not depend on the inputs of others: they are differentiated together."""
    if len(outputs) < 2:
        return
    (grad,) = _gradients(outputs[0, column].sum(), [varied])
    if grad is not None and bool((grad[1:] != 0).any()):
        raise BadSystem(
            "Expected sequences that do not see each other, got outputs of the first one that depend on the inputs of others. "
            "Put the batch first, and remove what mixes it."
        )


def _gradients(output: Tensor, inputs: list[Tensor]) -> tuple[Tensor | None, ...]:
    """By each input, None where the output does not depend on it; refused where it depends on none.

    That a gradient is required does not tell: weights ask for one, too.
    """
    grads = torch.autograd.grad(output, inputs, retain_graph=True, allow_unused=True) if output.requires_grad else ()
    if all(grad is None for grad in grads):
        raise InvalidInput(
            "Expected outputs that depend on the inputs, got ones that do not. Leave .detach() out, and name the sequences "
            "before other arguments: the reach is that of the first tensor."
        )
    return grads


def _squares(outputs: Tensor, inputs: list[Tensor]) -> list[Tensor]:
    """Sums over the outputs (batch, outputs) of the squared derivative by each input, in float64 on the CPU."""
    sums = [torch.zeros(leaf.shape, dtype=torch.float64) for leaf in inputs]
    for column in outputs.flatten(1).unbind(-1):
        for total, grad in zip(sums, _gradients(column.sum(), inputs), strict=True):
            if grad is not None:
                total += grad.double().cpu().square()
    return sums


def _of_system(
    asked: Problem, dtype: torch.dtype, longest: int, count: int, *, check: bool, progress: bool | None
) -> tuple[str, list[int], Tensor]:
    with torch.inference_mode(False), torch.no_grad():
        cast = recognize(asked, dtype)
        system, inputs = cast.system, cast.sequences
        _require_numbers(cast)
        if inputs.lengths is not None:
            raise InvalidInput("Expected sequences of one length here, got `lengths`. Pass those of one length, or cut them.")
        times = _times(inputs.steps, longest, count)
        off = torch.autocast(system.device.type, enabled=False)
        with system.running(), off, Workers.suited_to(system, inputs.batch) as workers:
            if _checks.flag(check, "check"):
                check_contract(system, cast.state, inputs.at(0), inputs.at(1))
            propagator, done = TangentPropagator(system, inputs, workers), []
            with progress_bar("Reach of the input", len(times), enabled=progress) as advance:
                for group, states in _groups(cast, propagator, times, longest):
                    found = _swept_back(cast, group, states, longest)
                    done.append(found.unflatten(1, (len(group), inputs.batch)))
                    advance(len(done) * len(group))
    return system.name, times, torch.cat(done, dim=1)


def _require_numbers(problem: CastProblem) -> None:
    if not problem.system.differentiable:
        raise Unsupported(
            f"Expected a system that reverse mode can follow, got {problem.system.name}. Pass the model itself, with tokens."
        )
    leaves = tree_flatten(problem.sequences.values)[0]
    if not any(isinstance(leaf, Tensor) and leaf.is_floating_point() for leaf in leaves):
        raise InvalidInput(
            "Expected floating-point `inputs` to differentiate by, got none. Embed symbols, or one-hot encode them."
        )


def _groups(
    problem: CastProblem, propagator: TangentPropagator, times: list[int], longest: int
) -> Iterator[tuple[list[int], list[State]]]:
    """Starting times that are taken together, with the state before the first input of each."""
    system, inputs = problem.system, problem.sequences
    per_time = inputs.batch * max(total_size(system), 1) * (longest + 1)
    size = 1 if system.grows else max(1, _AT_ONCE // per_time)
    state, t = problem.state, 0
    for first in range(0, len(times), size):
        group, states = times[first : first + size], []
        for time in group:
            while t < time - longest - 1:
                state, t = propagator.step(state, t), t + 1
            states.append(state)
        if not is_finite_state(state):
            raise diverged_error("state", t, at="by")
        yield group, states


def _swept_back(problem: CastProblem, group: list[int], states: list[State], longest: int) -> Tensor:
    """(lags + 1, group x batch, features): squared derivatives of the output after each time by the inputs, lag 0 first."""
    system, inputs = problem.system, problem.sequences
    state, varied = joined(states), []
    with torch.enable_grad():
        for back in range(longest, -1, -1):
            leaves, form = tree_flatten(joined([inputs.at(time - 1 - back) for time in group]))
            leaves = [leaf.detach().requires_grad_() if leaf.is_floating_point() else leaf for leaf in leaves]
            varied.append([leaf for leaf in leaves if leaf.is_floating_point()])
            state = system.step(state, tree_unflatten(leaves, form))
        squares = _squares(_output(system, state), [leaf for leaves in varied for leaf in leaves])
    width = len(varied[0])
    lagged = [torch.cat([leaf.flatten(1) for leaf in squares[at : at + width]], -1) for at in range(0, len(squares), width)]
    return torch.stack(lagged[::-1])


def _output(system: System, state: State) -> Tensor:
    output = system.output(state)
    real = isinstance(output, Tensor) and not output.is_complex()
    return output.flatten(1) if real else torch.cat(system.vectors(state), dim=-1)
