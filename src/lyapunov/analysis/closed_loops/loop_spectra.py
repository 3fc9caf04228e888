"""The exponents of one network driven by data and left to itself, and what the two say together."""

import math
from dataclasses import dataclass

import torch

from lyapunov._shown import Shown
from lyapunov.analysis.closed_loops.comparison import Comparison, Reference, compare
from lyapunov.analysis.closed_loops.predictability import Predictability, predictability
from lyapunov.errors import InvalidInput
from lyapunov.estimate import Spectrum, spectrum
from lyapunov.intake import ClosedLoop, Problem, loop_of, problem
from lyapunov.systems.known import Known

ENOUGH = 4.0
"""Standard errors from which on a sign counts as known."""


@dataclass(frozen=True)
class EchoState(Shown):
    """Whether a driven network forgets where it started. It prints as a sentence.

    Attributes:
        holds: True where the largest exponent is surely negative, False where it is surely positive, None where its sign is
            open.
        exponent: the largest exponent, nats per step.
        error: its standard error.

    Example:
        >>> rnn = torch.nn.RNN(2, 6, batch_first=True)
        >>> lyapunov.echo_state(lyapunov.spectrum(rnn, torch.randn(4, 200, 2), k=1)).holds
        True
    """

    holds: bool | None
    exponent: float
    error: float

    def __str__(self) -> str:
        answer = {True: "yes", False: "no", None: "not determined"}[self.holds]
        margin = f"{abs(self.exponent) / self.error:.0f} from zero" if self.error > 0 else "no error"
        return (
            f"echo state: {answer} at {ENOUGH:g} standard errors (largest conditional exponent {self.exponent:.4f} ± "
            f"{self.error:.4f}, {margin})"
        )


@dataclass(frozen=True)
class ConditionalGap(Shown):
    """The largest conditional exponent against the most negative one of the true system. It prints as a sentence.

    `gap` is the difference, with its standard `error`; below zero, the driven network forgets faster than the true system
    contracts. `in_errors` is gap / error. `ratio` is that of the two exponents, above 1 where the gap is below zero.

    Attributes:
        conditional, conditional_error: the largest exponent of the driven network, and its standard error.
        true, true_error: the most negative one of the true system, and its standard error.

    Example:
        >>> gap = lyapunov.ConditionalGap(-2.0, 0.1, -1.5, 0.0)
        >>> round(gap.gap, 6), gap.error
        (-0.5, 0.1)
    """

    conditional: float
    conditional_error: float
    true: float
    true_error: float

    @property
    def gap(self) -> float:
        """Largest conditional exponent - most negative true one."""
        return self.conditional - self.true

    @property
    def error(self) -> float:
        """One standard error of the gap."""
        return math.hypot(self.conditional_error, self.true_error)

    @property
    def in_errors(self) -> float:
        """The gap in standard errors."""
        return self.gap / self.error if self.error else math.copysign(math.inf, self.gap)

    @property
    def ratio(self) -> float:
        """Largest conditional exponent over the most negative true one."""
        return self.conditional / self.true

    def __str__(self) -> str:
        side = "below" if self.gap < 0 else "above"
        return (
            f"largest conditional exponent {self.conditional:.4f} ± {self.conditional_error:.4f}, {abs(self.gap):.4f} ± "
            f"{self.error:.4f} {side} the most negative exponent of the true system, {self.true:.4f} ± {self.true_error:.4f} "
            f"(ratio {self.ratio:.2f}); a faithful attractor with all its exponents asks for well below it (Hart 2024)"
        )


@dataclass(frozen=True, eq=False, repr=False)
class LoopSpectra(Shown):
    """One network's conditional exponents (driven by data) and free ones (fed by its own output). It prints both.

    Attributes:
        conditional: how the network forgets where it started, given the data.
        free: the exponents of the loop, to be compared with those of the true system.

    Example:
        >>> loop = lyapunov.closed_loop(torch.nn.GRUCell(2, 6), torch.nn.Linear(6, 2))
        >>> both = lyapunov.loop_spectra(loop, torch.randn(4, 80, 2), steps=100, k=2)
        >>> len(both.conditional), len(both.free)
        (2, 2)
    """

    conditional: Spectrum
    free: Spectrum

    @property
    def echo_state(self) -> EchoState:
        """Whether the driven network forgets where it started, at four standard errors."""
        return echo_state(self.conditional)

    @property
    def predictability(self) -> Predictability:
        """Lyapunov time, doubling time and forcing interval of the free loop."""
        return predictability(self.free)

    def compare(self, true: Spectrum | Known) -> Comparison:
        """The free exponents next to those of the true system; see `lyapunov.compare`.

        Args:
            true: a `Spectrum` or a system of `lyapunov.known`.

        Returns:
            A `Comparison`.
        """
        return compare(self.free, true)

    def gap_to(self, true: Spectrum | Known) -> ConditionalGap:
        """How far the largest conditional exponent lies from the most negative one of the true system.

        Hart 2024 finds that a reservoir reproduces an attractor with all its exponents where the former is well below the
        latter; where it is above, the slow directions of the network hide the fast ones of the system.

        Args:
            true: a `Spectrum` of all exponents, or a system of `lyapunov.known` of which all are known.

        Returns:
            A `ConditionalGap`.
        """
        reference = Reference.of(true)
        if len(reference.exponents) < reference.size:
            raise InvalidInput(
                f"Expected all {reference.size} exponents of the true system, got {len(reference.exponents)}: the most "
                "negative one is not among them. Compute its spectrum without `k`."
            )
        error = float(self.conditional.standard_errors[0])
        return ConditionalGap(self.conditional.max, error, float(reference.exponents[-1]), float(reference.errors[-1]))

    def __repr__(self) -> str:
        parts = ["Conditional (driven by data)", repr(self.conditional), "", "Free (fed by its own output)", repr(self.free)]
        return "\n".join([*parts, "", str(self.echo_state), str(self.predictability)])


def echo_state(conditional: Spectrum) -> EchoState:
    """Whether a driven network has the echo-state property along these inputs, as its largest exponent says.

    Args:
        conditional: of the driven network, which forgets where it started where its largest exponent is below zero.

    Returns:
        yes or no where the sign is known at four standard errors, else not determined. It holds for these inputs.

    Raises:
        InvalidInput: for anything but a spectrum.

    Example:
        >>> rnn = torch.nn.RNN(3, 20, batch_first=True)
        >>> answer = lyapunov.echo_state(lyapunov.spectrum(rnn, torch.randn(8, 300, 3), k=1)).holds

    References:
        Jaeger 2001 (the echo-state property).
    """
    if not isinstance(conditional, Spectrum):
        raise InvalidInput(f"Expected a Spectrum, got {type(conditional).__name__}. Pass what lyapunov.spectrum returned.")
    exponent, error = conditional.max, float(conditional.standard_errors[0])
    known = not math.isnan(error) and abs(exponent) > ENOUGH * error
    return EchoState(exponent < 0 if known else None, exponent, error)


def loop_spectra(
    loop: ClosedLoop | Problem,
    inputs: object = None,
    *,
    steps: int | None = None,
    k: int | None = None,
    state: object = None,
    dt: float = 1.0,
    settle: int | None = None,
    align: int | None = None,
    dtype: torch.dtype = torch.float64,
    seed: int = 0,
    progress: bool | None = None,
) -> LoopSpectra:
    """The conditional and the free exponents of one network, each with errors and a verdict.

    The conditional ones are those of the core along `inputs`; the free ones are those of the loop over `steps` steps after it.

    Args:
        loop: what `closed_loop` returned, or `captured.closed_loop()`, which brings its inputs and state; or a problem of one.
        inputs: (batch, time, features), as the core takes them: the data that it was trained on, several sequences.
        steps: of the free run that count, after those to settle and to align.
        k: how many leading exponents of both; None: all.
        state: where the core starts.
        dt: the time of one step; exponents are divided by it.
        settle, align: of the free run, as for `spectrum`. The conditional run finds its own in the inputs.
        dtype: of the computation.
        seed: of the first frames.
        progress: a bar, as for `spectrum`.

    Returns:
        Both spectra, and what follows from them: `.echo_state`, `.predictability`, `.compare(true)`, `.gap_to(true)`.

    Raises:
        InvalidInput, Unsupported, BadSystem, Diverged: as `spectrum` does.

    Example:
        >>> loop = lyapunov.closed_loop(torch.nn.GRUCell(3, 16), torch.nn.Linear(16, 3))
        >>> both = lyapunov.loop_spectra(loop, torch.randn(8, 300, 3), steps=400, k=2)
        >>> both.conditional.max, both.free.max  # doctest: +SKIP

    References:
        Hart 2024 (what conditional exponents say about a faithful attractor).
    """
    asked = problem(loop, inputs, steps=steps, state=state, dt=dt)
    closed = loop_of(asked)
    along = (closed.inputs, closed.state) if asked.inputs is None and asked.state is None else (asked.inputs, asked.state)
    if along[0] is None:
        raise InvalidInput("Expected `inputs` that drive the core, got none: without them there are no conditional exponents.")
    core = problem(closed.core, along[0], state=along[1], coupled=True, dt=asked.dt)
    conditional = spectrum(core, k=k, dtype=dtype, seed=seed, progress=progress)
    whole = asked.replaced(inputs=along[0], state=along[1])
    free = spectrum(whole, k=k, settle=settle, align=align, dtype=dtype, seed=seed, progress=progress)
    return LoopSpectra(conditional, free)
