"""Growth step by step, beside the inputs: which of them make a network expand or forget."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from lyapunov import _checks
from lyapunov._progress import progress_bar
from lyapunov._shown import Parts, Shown
from lyapunov.analysis.trajectory import Trajectory, settled
from lyapunov.analysis.verdicts import misaligned, too_few, unsettled
from lyapunov.estimate import Verdict, number
from lyapunov.intake import problem
from lyapunov.systems import Linearization

LONGEST = 100
"""Steps to align in, at the most, where the caller does not say."""
_SHOWN = 5


class SymbolGrowth(NamedTuple):
    """Mean growth over the steps that one symbol drove: nats per step, with one standard error (NaN for a single step)."""

    name: str
    count: int
    growth: float
    standard_error: float


@dataclass(frozen=True, eq=False, repr=False)
class LocalExponents(Shown):
    """Growth of each direction at every step: ln R_ii, whose mean over time is the i-th exponent.

    Step t is the one that input t drives. The first column is the growth of the direction that has grown most so far; the sum
    of the first j columns is the growth of their volume.

    Attributes:
        growth: (batch, steps, k), nats. NaN before `first`; -inf where a direction is lost in a step, or too small compared
            with the others to be told from that.
        first: the first step with a number.
        system: what was analysed.
        verdict: what speaks against taking the growth for that of the leading directions.

    Example:
        >>> local = lyapunov.local_exponents(torch.nn.GRU(2, 6, batch_first=True), torch.randn(3, 60, 2), settle=10, align=10)
        >>> tuple(local.growth.shape), local.first
        ((3, 60, 1), 20)
    """

    growth: Tensor
    first: int
    system: str
    verdict: Verdict

    @property
    def exponents(self) -> Tensor:
        """(k,): the mean over all steps and sequences."""
        return self.growth.nanmean((0, 1))

    @property
    def volume(self) -> Tensor:
        """(batch, steps): the sum over the k columns, how the volume of the leading directions grows."""
        return self.growth.sum(-1)

    def by_symbol(self, symbols: object, names: Sequence[str] | None = None, *, column: int = 0) -> tuple[SymbolGrowth, ...]:
        """Mean growth of one column by what drove the step, the most expanding symbol first.

        The errors take each step as one observation of its symbol, whatever came before it.

        Args:
            symbols: (batch, steps), whole numbers.
            names: a name for each number; None: the numbers.
            column: which direction, 0 for the leading one.

        Returns:
            A list with an entry for each symbol.
        """
        symbols, found = torch.as_tensor(symbols), []
        _checks.shape(symbols, tuple(self.growth.shape[:2]), "symbols", "One whole number per step of every sequence.")
        at = _checks.whole_number(column, "column", least=0, most=self.growth.shape[-1] - 1)
        values = self.growth[..., at]
        counted = ~torch.isnan(values)
        for symbol in symbols[counted].unique().tolist():
            mine = values[counted & (symbols == symbol)]
            error = float(mine.std() / len(mine) ** 0.5) if len(mine) > 1 else float("nan")
            found.append(SymbolGrowth(str(symbol) if names is None else names[symbol], len(mine), float(mine.mean()), error))
        return tuple(sorted(found, key=lambda one: -one.growth))

    def _parts(self) -> Parts:
        batch, steps, _ = self.growth.shape
        deviations = self.growth[:, self.first :].std((0, 1))
        leading = zip(self.exponents[:_SHOWN].tolist(), deviations.tolist(), strict=False)
        rows = [("i", "mean growth", "spread over steps")]
        rows += [(str(at), number(value), number(wide)) for at, (value, wide) in enumerate(leading, 1)]
        title = f"Growth of {self.system} by step: {batch} sequences x {steps - self.first} steps, nats"
        return Parts([title], rows, [f"verdict: {self.verdict}"])


def local_exponents(
    system: object,
    inputs: object = None,
    *,
    k: int = 1,
    state: object = None,
    carried: object = None,
    steps: int | None = None,
    linearization: Linearization = "full",
    settle: int | None = None,
    align: int | None = None,
    dtype: torch.dtype = torch.float64,
    seed: int = 0,
    check: bool = True,
    progress: bool | None = None,
) -> LocalExponents:
    """Growth of the k leading directions at every single step: the terms whose time means are the exponents.

    J_t Q_(t-1) = Q_t R_t: ln (R_t)_ii for each t. In a step above zero small changes of the state grow; far below zero the step
    forgets. `by_symbol` averages over inputs, and `lyapunov.plots.under_text` shows growth below a text.

    Args:
        system, inputs, state, carried, steps, linearization, settle, dtype, seed, check, progress: as for `lyapunov.spectrum`,
            with sequences of one length.
        k: how many directions.
        align: steps in which the frame finds the leading directions; None: a quarter of the rest, at most 100.

    Returns:
        `LocalExponents`.

    Raises:
        InvalidInput, Unsupported, BadSystem, Diverged: as `lyapunov.spectrum`.

    Example:
        >>> local = lyapunov.local_exponents(torch.nn.GRU(2, 6, batch_first=True), torch.randn(3, 60, 2), settle=10, align=10)
        >>> local.growth[:, 20:].mean().item() < 0
        True
    """
    asked = problem(system, inputs, state=state, carried=carried, steps=steps, linearization=linearization)
    with settled(asked, dtype, settle=settle, check=check, equal=True) as along:
        why = f" (the system has {along.size} exponents)"
        count = _checks.whole_number(k, "k", least=1, most=along.size, why=why)
        first = along.start + along.aligned(align, most=LONGEST)
        growth = torch.full((along.inputs.batch, along.stop, count), torch.nan, dtype=torch.float64)
        with progress_bar("Growth by step", along.stop, enabled=progress) as advance:
            for segment in along.checkpointed(count, seed).forward():
                grown = torch.stack([factor.diagonal(dim1=-2, dim2=-1).log() for factor in segment.factors])
                grown = grown.masked_fill(segment.vanished, -torch.inf)
                growth[:, segment.first : segment.stop] = grown.transpose(0, 1).double().cpu()
                advance(segment.stop)
        verdict = _verdict(along, growth, first, seed)
    growth[:, :first] = torch.nan
    return LocalExponents(growth, first, along.system.name, verdict)


def _verdict(along: Trajectory, growth: Tensor, first: int, seed: int) -> Verdict:
    """From a second frame along the steps that align, a second state along those that settle, and the growth that counts."""
    aligning, counted, findings = growth[:, along.start : first], growth[:, first:].transpose(0, 1), []
    if along.size > 1:  # of one direction there is nothing to align
        other = torch.zeros_like(aligning)
        trajectory = along.checkpointed(growth.shape[-1], seed + 1, stop=first) if first > along.start else None
        for segment in () if trajectory is None else trajectory.forward():
            grown = torch.stack([factor.diagonal(dim1=-2, dim2=-1).log() for factor in segment.factors])
            other[:, segment.first - along.start : segment.stop - along.start] = grown.transpose(0, 1).double().cpu()
        findings = misaligned(aligning, other)
    state = unsettled(along.start, along.distance(), float(counted[..., 0].mean()))
    return Verdict((*state, *findings, *too_few(counted, torch.ones(counted.shape[:2], dtype=torch.float64))))
