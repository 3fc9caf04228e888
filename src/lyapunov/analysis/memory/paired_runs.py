"""Runs along the same inputs from different starts, and how far their outputs are apart."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor

from lyapunov import _checks
from lyapunov._progress import progress_bar
from lyapunov._shapes import State
from lyapunov._trees import tree_map
from lyapunov.analysis.whole_model import States, WholeModel, require_one_run, rolled
from lyapunov.errors import InvalidInput
from lyapunov.intake import CastProblem, PaddedSequences, Problem, capture, independent, preserving_state, recognize
from lyapunov.systems import check_contract
from lyapunov.tangent import TangentPropagator, Workers


@dataclass(frozen=True)
class PairedRuns:
    """Outputs of runs from different starts, beside those of the first run.

    squares (starts, steps, batch): squared distances, the mean over the numbers of one output. sources (starts, batch): which
    sequence's run ended in the state that a run started from. variance: of all outputs, the mean over their numbers.
    lengths (batch,): steps of each sequence. independent: the fraction of sequences that are no copies. measured: what
    `lyapunov.spectrum` takes of it, in steps.
    """

    squares: Tensor
    sources: Tensor
    variance: float
    lengths: Tensor
    independent: float
    system: str
    measured: Problem


class _Comparison:
    """Outputs (steps, batch, outputs) of run after run, each beside the first."""

    def __init__(self, first: Tensor, lengths: Tensor) -> None:
        self._inside = torch.arange(len(first)).unsqueeze(-1) < lengths
        self._first, self._kept = first.double().cpu(), self._inside.sum()
        self._require_finite(self._first)
        self._middle = (self._first * self._inside.unsqueeze(-1)).sum((0, 1)) / self._kept
        self._sums, self._products, self._runs = 0.0 * self._middle, 0.0 * self._middle, 0
        self._add(self._first)
        self.squares: list[Tensor] = []

    def add(self, outputs: Tensor) -> None:
        """Keeps the outputs of one more run."""
        outputs = outputs.double().cpu()
        self._require_finite(outputs)
        self._add(outputs)
        self.squares.append((outputs - self._first).square().mean(-1))

    @property
    def variance(self) -> float:
        """Of all runs, steps and sequences, the mean over outputs."""
        total = self._runs * self._kept
        return float((self._products / total - (self._sums / total).square()).clamp(min=0).mean())

    def _add(self, outputs: Tensor) -> None:
        moved = (outputs - self._middle) * self._inside.unsqueeze(-1)
        self._sums, self._products = self._sums + moved.sum((0, 1)), self._products + moved.square().sum((0, 1))
        self._runs += 1

    @staticmethod
    def _require_finite(outputs: Tensor) -> None:
        if not _checks.is_finite(outputs):
            raise InvalidInput("Expected finite outputs, got NaN or infinity. Check the weights, the inputs and the state.")


def of_system(asked: Problem, dtype: torch.dtype, starts: int, seed: int, *, check: bool, progress: bool | None) -> PairedRuns:
    """Of whatever `lyapunov.spectrum` takes, step by step."""
    with torch.inference_mode(False), torch.no_grad():
        problem = recognize(asked, dtype)
        inputs, own = problem.sequences, problem.state
        threads = Workers.suited_to(problem.system, inputs.batch)
        off = torch.autocast(problem.system.device.type, enabled=False)
        bar = progress_bar("Memory", (starts + 1) * inputs.steps, enabled=progress)
        with problem.system.running(), off, threads as workers, bar as advance:
            if _checks.flag(check, "check"):
                check_contract(problem.system, own, inputs.at(0), inputs.at(1))
            go = partial(_run, problem, TangentPropagator(problem.system, inputs, workers))
            lengths = torch.full((inputs.batch,), inputs.steps) if inputs.lengths is None else inputs.lengths
            outputs, end = go(own, advance, 0)
            compared = _Comparison(outputs, lengths)
            shifts = _shifts(inputs.batch, starts, seed)
            for at, shift in enumerate(shifts, 1):
                moved = tree_map(partial(torch.roll, shifts=shift, dims=0), problem.system.vectors(end))
                compared.add(go(problem.system.with_vectors(own, moved), advance, at * inputs.steps)[0])
            rows = torch.cat(problem.system.vectors(own), dim=-1)
            different = len(rows.unique(dim=0)) / inputs.batch
    return _paired(compared, shifts, lengths, inputs, problem.system.name, asked.replaced(dt=1.0), different)


def _run(
    problem: CastProblem, propagator: TangentPropagator, state: State, advance: Callable[[int], None], done: int
) -> tuple[Tensor, State]:
    """Outputs (steps, batch, outputs), and the state in the end."""
    system, shown = problem.system, []
    for t in range(problem.sequences.steps):
        state = propagator.step(state, t)
        output = system.output(state)
        real = isinstance(output, Tensor) and not output.is_complex()
        shown.append(output.flatten(1) if real else torch.cat(system.vectors(state), dim=-1))
        advance(done + t)
    return torch.stack(shown), state


def of_model(whole: WholeModel, starts: int, seed: int, progress: bool | None) -> PairedRuns:
    """Of a model as a whole: its cores are given another state at their first call."""
    args, kwargs = whole.arguments()
    captured = capture(whole.model, *args, **kwargs)
    with torch.inference_mode(False):
        outputs, ends = _run_alone(whole, None)
        batch, steps = outputs.shape[:2]
        require_one_run(captured, ends, batch)
        if steps < 2:
            raise InvalidInput(
                f"Expected a model that returns an output for every step, (batch, time, ...), got {tuple(outputs.shape)}. "
                "Return those of all steps, not of the last one alone."
            )
        lengths = torch.full((batch,), steps)
        compared, shifts = _Comparison(outputs.transpose(0, 1), lengths), _shifts(batch, starts, seed)
        with progress_bar("Memory", starts, enabled=progress) as advance:
            for at, shift in enumerate(shifts, 1):
                compared.add(_run_alone(whole, rolled(ends, whole.owner, shift))[0].transpose(0, 1))
                advance(at)
    first = whole.first
    sequences = PaddedSequences(first.detach().transpose(0, 1), first.shape[0], first.shape[1])
    return _paired(compared, shifts, lengths, sequences, type(whole.owner).__name__, captured)


def _run_alone(whole: WholeModel, states: States | None) -> tuple[Tensor, States]:
    """Outputs and ends of one run that begins as every other does: with the same noise, statistics, caches."""
    with preserving_state(whole.owner, whole.inputs):
        outputs, ends = whole.run_from(states)
        return outputs.clone(), ends


def _paired(
    compared: _Comparison,
    shifts: list[int],
    lengths: Tensor,
    inputs: PaddedSequences,
    name: str,
    measured: Problem,
    different: float = 0.0,
) -> PairedRuns:
    """`different`: the fraction of sequences whose own starts differ; those are no copies, whatever drives them."""
    fraction = max(different, 1.0 if inputs.values is None else independent(inputs.values, inputs.lengths))
    sources = torch.stack([torch.arange(len(lengths)).roll(shift) for shift in shifts])
    return PairedRuns(torch.stack(compared.squares), sources, compared.variance, lengths, fraction, name, measured)


def _shifts(batch: int, starts: int, seed: int) -> list[int]:
    """By how much sequences are shifted, another number in each run: each starts where another one has ended, if any."""
    if batch < 2:
        return [0]
    return (1 + torch.randperm(batch - 1, generator=torch.Generator().manual_seed(seed))[:starts]).tolist()
