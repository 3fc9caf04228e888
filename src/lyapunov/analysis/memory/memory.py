"""How long a network remembers where it started: outputs of paired runs along the same inputs, from different states."""

import math
import warnings
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from lyapunov import _checks
from lyapunov._optional import import_optional
from lyapunov._shown import Parts, Shown, three_digits
from lyapunov.analysis.memory.paired_runs import PairedRuns, of_model, of_system
from lyapunov.analysis.whole_model import WholeModel
from lyapunov.errors import InvalidInput, LyapunovError, LyapunovWarning
from lyapunov.estimate import Finding, Spectrum, Timescale, Verdict, checked_level, half_widths, spectrum
from lyapunov.intake import Captured, Problem, is_captured, problem, require_full

if TYPE_CHECKING:
    from pandas import DataFrame

APART = 1.5
"""Factor between the intervals of the measured and of the predicted memory from which on the two are said to part."""


@dataclass(frozen=True, eq=False, repr=False)
class Memory(Shown):
    """Steps after which runs from different starts, along the same inputs, have the same output within a tolerance.

    Attributes:
        steps: (starts, batch), of each pair the last step whose outputs differ by more than `tolerance` standard deviations of
            the output, plus one; infinite where they still do at the end. Steps are counted from 1, whatever `dt` is.
        sources: (starts, batch), the sequence whose run ended in the state that a run started from.
        differences: (starts, steps, batch), the distance of the two outputs in standard deviations of the output.
        lengths: (batch,), the steps of each sequence.
        deviation: that standard deviation, root mean square over outputs.
        tolerance: the distance below which outputs count as the same.
        independent: the fraction of the sequences that is independent of each other.
        spectrum: the largest exponent of the same run, which predicts the memory, or None.
        reason: why there is no spectrum.
        system: what was run.
        dt: the time of one step; `value` and `interval()` are in its unit.

    Example:
        >>> leaky, inputs = lambda state, x: 0.5 * state + x, torch.randn(8, 60, 1)
        >>> found = lyapunov.memory(leaky, inputs, state=torch.zeros(8, 1))
        >>> tuple(found.steps.shape)[1], found.longest < 60
        (8, True)
    """

    steps: Tensor
    sources: Tensor
    differences: Tensor
    lengths: Tensor
    deviation: float
    tolerance: float
    independent: float
    spectrum: Spectrum | None
    reason: str
    system: str
    dt: float

    @property
    def value(self) -> float:
        """The mean over sequences and starts; infinite where a pair still differs at the end of the inputs."""
        return float(self.per_sequence.mean())

    @property
    def per_sequence(self) -> Tensor:
        """(batch,): of each sequence, the mean over starts."""
        return self.steps.mean(0) * self.dt

    @property
    def longest(self) -> float:
        """The largest of all pairs: how much of a sequence to discard so that no start shows in what is left."""
        return float(self.steps.max()) * self.dt

    @property
    def standard_error(self) -> float:
        """One standard error of `value`, over sequences and starts; NaN with one sequence, or a pair beyond the inputs."""
        return self._error(self.steps)[0]

    def interval(self, level: float = 0.95) -> tuple[float, float]:
        """The Student-t interval of `value`. Of pairs that never agreed only the low end is known.

        Args:
            level: the probability that the interval holds the truth.

        Returns:
            The lower and the upper end, in steps or in the unit of `dt`.
        """
        seen = torch.minimum(self.steps, self.lengths.double())
        error, degrees = self._error(seen)
        level = checked_level(level)
        half = float(half_widths(torch.tensor([error]).double(), torch.tensor([degrees]).double(), level)[0])
        middle = float(seen.mean()) * self.dt
        return middle - half, (math.inf if math.isinf(self.value) else middle + half)

    @property
    def predicted(self) -> Timescale | None:
        """ln(tolerance) / the largest exponent, with its 95 % interval: the memory if nothing but that decided it."""
        if self.spectrum is None:
            return None
        found, scale = self.spectrum.timescales[0], -math.log(self.tolerance) * self.dt
        return Timescale(found.kind, found.value * scale, found.low * scale, found.high * scale)

    @property
    def parting(self) -> str:
        """Where the measured memory and the one that the exponent predicts differ, in a sentence; empty where they agree."""
        found = self.predicted
        if found is None or found.kind == "not determined":
            return ""
        low, high = (end if math.isfinite(end) else self.value for end in self.interval())
        if found.kind == "Lyapunov":
            later, sooner = False, math.isfinite(self.value)
        else:
            later, sooner = low > APART * found.high, APART * high < found.low
        if later:
            return (
                "The outputs agree later than the exponent predicts: memory that switches (kept through some stretches of the "
                "input, dropped at others), or a start that is far away."
            )
        if sooner:
            return "The outputs agree sooner than the exponent predicts: they do not show the slowest direction."
        return ""

    @property
    def verdict(self) -> Verdict:
        """What speaks against the number: pairs that never agreed, no pairs to tell an error from."""
        findings, beyond = [], int(self.steps.isinf().sum())
        if beyond:
            message = f"{beyond} of {self.steps.numel()} pairs still differ at the end, after {self._extent}."
            findings.append(
                Finding("too short", f"{message} Pass longer inputs; where that changes nothing, memory has no end.")
            )
        if self._error(torch.minimum(self.steps, self.lengths.double()))[1] < 1:
            findings.append(Finding("too short", "one sequence has no error. Pass several, or cut it into some."))
        return Verdict(tuple(findings))

    def to_pandas(self) -> "DataFrame":
        """A pandas DataFrame with a row per sequence and start: `sequence`, `start` and its `memory`; needs pandas."""
        starts, batch = self.steps.shape
        pandas = import_optional("pandas", "pandas")
        columns = {
            "sequence": torch.arange(batch).repeat(starts).numpy(),
            "start": torch.arange(1, starts + 1).repeat_interleave(batch).numpy(),
            "memory": (self.steps * self.dt).flatten().numpy(),
        }
        table = pandas.DataFrame(columns)
        table.attrs["verdict"] = str(self.verdict)
        return table

    def _parts(self) -> Parts:
        starts, batch = self.steps.shape
        runs = f"{starts} start{'s' * (starts > 1)} x {batch} sequence{'s' * (batch > 1)} x {self._extent}"
        title = f"Memory of {self.system}: outputs within {self.tolerance:g} of their standard deviation; {runs}"
        unit = "steps" if self.dt == 1 else "units of time"
        rows = [("", unit, "95 % interval"), ("measured", self._shown(self.value), self._between(*self.interval()))]
        rows.append(("longest", self._shown(self.longest), ""))
        found = self.predicted
        if found is not None and found.kind == "memory":
            rows.append(("predicted", three_digits(found.value), self._between(found.low, found.high)))
        elif found is not None:
            rows.append(("predicted", "never" if found.kind == "Lyapunov" else "not determined", ""))
        lines = []
        if self.spectrum is not None:
            error = float(self.spectrum.standard_errors[0])
            lines.append(f"predicted: ln(tolerance) / largest exponent, {self.spectrum.max:.4f} ± {error:.4f} per step")
        elif self.reason:
            lines.append(f"nothing predicted: {self.reason}")
        return Parts([title], rows, [*lines, *([self.parting] if self.parting else []), f"verdict: {self.verdict}"])

    @property
    def _extent(self) -> str:
        least, most = int(self.lengths.min()), int(self.lengths.max())
        return f"{most} steps" if least == most else f"{least} to {most} steps"

    def _shown(self, value: float) -> str:
        return f"> {three_digits(float(self.lengths.max()) * self.dt)}" if math.isinf(value) else three_digits(value)

    def _between(self, low: float, high: float) -> str:
        if math.isnan(low):
            return "-"
        return f"{three_digits(low)} to {three_digits(high)}" if math.isfinite(high) else f"over {three_digits(low)}"

    def _error(self, steps: Tensor) -> tuple[float, float]:
        """One standard error and its degrees of freedom.

        Pairs share a sequence, or the sequence whose end they start from. Sums of residues over either vary by what their pairs
        share; added, they count each pair's own twice (two-way clusters: Cameron, Gelbach and Miller 2011).
        """
        starts, batch = steps.shape
        if batch < 2:
            return math.nan, 0.0
        residues = steps - steps.mean()
        along, alone = residues.sum(0).square().sum(), residues.square().sum()
        come = torch.zeros(batch).double().index_add(0, self.sources.flatten(), residues.flatten()).square().sum()
        largest = max(float(along), float(come), float(along + come - alone)) * batch / (batch - 1)
        error = (largest / self.independent) ** 0.5 / (starts * batch) * self.dt
        return error, (batch - 1) * self.independent


def memory(
    model: object,
    inputs: object = None,
    *,
    tolerance: float = 1e-3,
    starts: int = 3,
    state: object = None,
    carried: object = None,
    steps: int | None = None,
    lengths: object = None,
    dt: float = 1.0,
    predict: bool = True,
    dtype: torch.dtype = torch.float64,
    seed: int = 0,
    check: bool = True,
    progress: bool | None = None,
) -> Memory:
    """How many steps a network needs to forget where it started, seen on its outputs.

    The first run starts from the model's own state (zeros, or `state`), every further one where the first has ended along
    another sequence's inputs: a state that the network really visits. (Of a single sequence, where it has ended itself.) Memory
    is the last step t with |y_t - y'_t| > tolerance * sd(y), plus one. The prediction is ln(tolerance) / lambda_1.

    Args:
        model: a model with recurrent layers inside, run as a whole, outputs (batch, time, ...) of every step; or whatever
            `lyapunov.spectrum` takes: a layer, a cell, a `step(state, x)`, a System, what was captured. The output of a layer
            is its hidden state, that of a step all of its state.
        inputs: what the model is called with (a tensor, a tuple of arguments, a dictionary), batch first; else as for
            `lyapunov.spectrum`.
        tolerance: a fraction of the output's standard deviation over all steps, sequences and starts (root mean square over
            the numbers of one output), between 0 and 1.
        starts: how many starts are compared with the first, at most one for every other sequence.
        state, carried, steps, lengths, dtype, check: as for `lyapunov.spectrum`; not for a whole model, which runs in its own
            dtype. What is carried starts as it is in every run.
        dt: the time of one step, 10.0 for frames of ten milliseconds.
        predict: whether to compute the largest exponent, too.
        seed: of the choice whose sequence's end starts which, and of the exponent's frames.
        progress: a bar (None: on a terminal, after two seconds).

    Returns:
        A `Memory`: `value`, `interval()`, `per_sequence`, `longest`, `predicted`, `verdict`; it prints as a table.

    Raises:
        InvalidInput, Unsupported, BadSystem: for what cannot be run, with the remedy.

    Example:
        >>> leaky = lambda state, x: 0.9 * state + x
        >>> inputs = torch.randn(16, 400, 1, generator=torch.Generator().manual_seed(0))
        >>> found = lyapunov.memory(leaky, inputs, state=torch.zeros(16, 1))
        >>> 55 < found.value < 75, round(found.predicted.value, 1)
        (True, 65.6)
    """
    if not 0 < _checks.fraction(tolerance, "tolerance") < 1:
        raise InvalidInput(f"Expected `tolerance` between 0 and 1, got {tolerance!r}. Pass 1e-3, say.")
    count = _checks.whole_number(starts, "starts", least=1)
    seed = _checks.whole_number(seed, "seed", least=0, most=2**62)
    asked = require_full(problem(model, inputs, state=state, carried=carried, steps=steps, lengths=lengths, dt=dt))
    whole = not isinstance(asked, Captured) and is_captured(asked.system) and asked.state is None
    if whole:
        _refuse(carried=asked.carried, steps=asked.steps, lengths=asked.lengths)
        paired = of_model(WholeModel.of(asked.system, asked.inputs), count, seed, progress)
    else:
        paired = of_system(asked, dtype, count, seed, check=check, progress=progress)
    found, reason = None, ""
    if _checks.flag(predict, "predict"):
        found, reason = _exponent(paired.measured, dtype=dtype, seed=seed, check=whole)
    return _result(paired, tolerance, found, reason, asked.dt)


def _result(paired: PairedRuns, tolerance: float, exponent: Spectrum | None, reason: str, dt: float) -> Memory:
    """Without the variance there is nothing to compare with: then every difference counts."""
    deviation = paired.variance**0.5
    inside = torch.arange(paired.squares.shape[1]).unsqueeze(-1) < paired.lengths
    distances = paired.squares.sqrt().masked_fill(~inside, 0.0)
    apart = distances > tolerance * deviation
    numbers = torch.arange(1, apart.shape[1] + 1).view(1, -1, 1)
    last = (numbers * apart).amax(1).double()
    steps = torch.where(last == paired.lengths, math.inf, last + 1)
    relative = distances / deviation if deviation > 0 else distances
    given = (paired.lengths, deviation, tolerance, paired.independent, exponent, reason, paired.system, dt)
    return Memory(steps, paired.sources, relative, *given)


def _exponent(measured: Problem, *, dtype: torch.dtype, seed: int, check: bool) -> tuple[Spectrum | None, str]:
    """The largest exponent per step of the same run, or why there is none."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", LyapunovWarning)
            return spectrum(measured, k=1, dtype=dtype, seed=seed, check=check, progress=False), ""
    except LyapunovError as error:
        return None, str(error)


def _refuse(**given: object) -> None:
    """What a whole model does not take."""
    for name, value in given.items():
        if value is not None:
            raise InvalidInput(
                f"Expected `{name}` left out with a whole model, got it. Pass it to the model as one of its own inputs, or "
                "measure the core by itself."
            )
