"""What a readout's gradients see of the past: singular values of d readout_T / d state_(T-n)."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from lyapunov import _checks
from lyapunov._progress import progress_bar
from lyapunov._shapes import State
from lyapunov._shown import Parts, Shown
from lyapunov.analysis.gradients.readout import LinearizedReadout, Readout
from lyapunov.analysis.lag_decay import Mean, Slope, mean, slope, starting_times
from lyapunov.analysis.trajectory import Trajectory, settled
from lyapunov.analysis.verdicts import unsettled
from lyapunov.errors import InvalidInput
from lyapunov.estimate import Finding, Verdict, half_widths, memory_time, number
from lyapunov.intake import problem, require_full
from lyapunov.systems import joined
from lyapunov.tangent import TangentPropagator, diverged_error, is_finite_state, triangularise

QR_EVERY = 4
"""Steps between orthonormalisations; what they lose is below what the accumulated product resolves anyway."""
_AT_ONCE = 2**22
"""Entries of the frames that are pulled back together."""


@dataclass(frozen=True, eq=False, repr=False)
class GradientExponents(Shown):
    """How gradients that reach a readout at step T decay with the lag n to the state they come from, in nats per step.

    M_n = d readout_T / d state_(T-n), (outputs, n), over starting times T and sequences.

    Attributes:
        lags: the lags n, ascending, in steps.
        starts: (starts,), the steps T after which the readout is taken.
        log_singular: (lags, starts, batch, k), ln of the k largest singular values of M_n. NaN below what float64 resolves
            relative to the largest.
        log_readout: (starts, batch, k), those of the readout itself, n = 0.
        weights: (starts, batch), 1 where a sequence reaches that starting time, else 0.
        mean_square, variance: (lags,), over all singular values s: the mean of s^2, and its variance within one M. Isometry at
            finite time is a variance that is small compared with the squared mean square.
        condition: (lags,), the median of the largest singular value over the smallest; near 1 for isometry, infinite beyond
            what float64 resolves.
        system: what was analysed.
        settle: steps of burn-in.
        distance: how far apart copies of the state from different starts still were after settling; None where nothing was
            discarded. The verdict uses it.

    Example:
        >>> gru = torch.nn.GRU(2, 6, batch_first=True)
        >>> found = lyapunov.gradient_exponents(gru, torch.randn(3, 60, 2), lags=(5, 10), settle=10)
        >>> tuple(found.exponents.shape)
        (2, 6)
    """

    lags: tuple[int, ...]
    starts: Tensor
    log_singular: Tensor
    log_readout: Tensor
    weights: Tensor
    mean_square: Tensor
    variance: Tensor
    condition: Tensor
    system: str
    settle: int
    distance: float | None

    @property
    def verdict(self) -> Verdict:
        """What speaks against them at the longest lag: the state, too few starts for an error, values not resolved."""
        findings = unsettled(self.settle, self.distance, float(self.exponents[-1, 0]))
        if bool(self.standard_errors[-1, 0].isnan()) and not bool(self.exponents[-1, 0].isnan()):
            message = "one starting time of one sequence has no error. Pass more starts, or several sequences."
            findings.append(Finding("too short", message))
        lost = torch.nonzero(self.exponents[-1].isnan()).flatten().tolist()
        if lost:
            kept = f"k={lost[0]} to leave them out, or " if lost[0] else ""
            message = f"{len(lost)} singular values at lag {self.lags[-1]} are not resolved by the arithmetic, from number"
            findings.append(Finding("unreliable tail", f"{message} {lost[0] + 1} on. Pass {kept}a shorter lag."))
        return Verdict(tuple(findings))

    @property
    def exponents(self) -> Tensor:
        """(lags, k): mean growth of the singular values over the lag, (ln s_i(n) - ln s_i(0)) / n."""
        return torch.stack([one.value for one in self._means])

    @property
    def standard_errors(self) -> Tensor:
        """(lags, k): of `exponents`, over starting times and sequences."""
        return torch.stack([one.standard_error for one in self._means])

    def interval(self, level: float = 0.95) -> Tensor:
        """Student-t intervals of `exponents`.

        Args:
            level: the probability that an interval holds the truth.

        Returns:
            (lags, k, 2), the lower and the upper end.
        """
        half = torch.stack([half_widths(one.standard_error, one.degrees, level) for one in self._means])
        return torch.stack([self.exponents - half, self.exponents + half], dim=-1)

    @property
    def e_folding_lag(self) -> float:
        """Steps over which the leading gradient falls by a factor e, at the longest lag; infinite where it does not."""
        return memory_time(float(self.exponents[-1, 0]))

    def slope(self, first: int | None = None, last: int | None = None) -> Slope:
        """The decay per step: least squares of the mean ln of the largest singular value over the lags.

        Args:
            first, last: the lags from which and up to which; None: all.

        Returns:
            Nats per step.
        """
        return slope(torch.tensor(self.lags), self.log_singular[..., 0], self.weights, first, last)

    @cached_property
    def _means(self) -> list[Mean]:
        """Of the growth rates at each lag, (k,)."""
        grown = zip(self.log_singular, self.lags, strict=True)
        return [mean((value - self.log_readout) / lag, self.weights) for value, lag in grown]

    def _parts(self) -> Parts:
        starts, batch = self.weights.shape
        times = f"{starts} starting time{'s' * (starts > 1)} x {batch} sequences"
        title = f"Gradients of {self.system} seen from the readout: {times}, nats per step"
        rows: list[tuple[str, ...]] = [("lag", "exponent", "± error", "e-folding lag", "mean square", "variance", "condition")]
        for at, lag in enumerate(self.lags):
            leading, error = (float(one[at, 0]) for one in (self.exponents, self.standard_errors))
            moments = (f"{float(one[at]):.3g}" for one in (self.mean_square, self.variance, self.condition))
            rows.append((str(lag), number(leading), number(error), number(memory_time(leading), 1), *moments))
        return Parts([title], rows, [f"verdict: {self.verdict}"])


def gradient_exponents(
    system: object,
    inputs: object = None,
    *,
    readout: Readout = "hidden",
    lags: int | Sequence[int] = (10, 20, 40, 80),
    k: int | None = None,
    starts: int = 20,
    state: object = None,
    carried: object = None,
    steps: int | None = None,
    lengths: object = None,
    settle: int | None = None,
    dtype: torch.dtype = torch.float64,
    check: bool = True,
    progress: bool | None = None,
) -> GradientExponents:
    """Growth rates of gradients: frames pulled back from the readout at step T through J^T, over one or several lags.

    M_n = W J_T ... J_(T-n+1), with W = d readout / d state at T. With C_n R_n = J_(T-n+1)^T C_(n-1), M_n^T = C_n (R_n ... R_0),
    and the singular values are those of the accumulated triangle. Its diagonal alone would be right only after many steps. A
    direction that the readout cannot see, such as a saturated cell of an LSTM, does not count, however long the state keeps it.

    Args:
        system, inputs, state, carried, steps, lengths, settle, dtype, check, progress: as for `lyapunov.spectrum`. An LSTM is
            taken with its full state (h, c), a stack with all its layers.
        readout: a module or function of the top layer's output (of a step: of its state), which is linearized; a matrix
            (outputs, units); "hidden": that output itself; or "state": all coordinates.
        lags: the lags n, ascending, in steps.
        k: how many singular values to keep; None: all. All are computed.
        starts: how many starting times T, spread over the steps that have the longest lag before them.

    Returns:
        `GradientExponents`.

    Raises:
        InvalidInput, Unsupported, BadSystem, Diverged: as `lyapunov.spectrum`.

    Example:
        >>> lstm, readout = torch.nn.LSTM(2, 6, batch_first=True), torch.nn.Linear(6, 1)
        >>> found = lyapunov.gradient_exponents(lstm, torch.randn(3, 60, 2), readout=readout, lags=(5, 10), settle=10)
        >>> bool(found.exponents[0, 0] < 0)
        True

    References:
        docs/gradients.md. Saxe, McClelland, Ganguli 2013 and Pennington, Schoenholz, Ganguli 2017 for isometry.
    """
    wanted = tuple(lags) if isinstance(lags, Sequence) else (lags,)
    _checks.require_nonempty(wanted, "lags", "lags=(20, 80)")
    wanted = _checks.ascending([_checks.whole_number(one, "lags", least=1) for one in wanted], "lags")
    asked = require_full(problem(system, inputs, state=state, carried=carried, steps=steps, lengths=lengths))
    with settled(asked, dtype, settle=settle, check=check) as along:
        linearized = LinearizedReadout(readout, along)
        times = _times(along, wanted[-1], _checks.whole_number(starts, "starts", least=1))
        total = len(times) * wanted[-1]
        with linearized.running(), progress_bar("Gradients seen from the readout", total, enabled=progress) as advance:
            return _measured(along, linearized, times, wanted, k, advance)


def _times(along: Trajectory, longest: int, starts: int) -> list[int]:
    """Numbers of steps made, at which the readout reads."""
    first = along.start + longest
    if first > along.stop:
        raise InvalidInput(
            f"Expected `inputs` longer than settle + lag = {along.start} + {longest}, got {along.stop} steps. Pass longer "
            "sequences, a shorter lag, or a smaller settle."
        )
    return starting_times(first, along.stop, starts)


def _measured(
    along: Trajectory,
    linearized: LinearizedReadout,
    times: list[int],
    lags: tuple[int, ...],
    k: int | None,
    advance: Callable[[int], None],
) -> GradientExponents:
    batch, lengths = along.inputs.batch, along.inputs.lengths
    stops = torch.full((batch,), along.stop) if lengths is None else lengths
    weights = (torch.tensor(times).unsqueeze(-1) <= stops).double()
    if not bool(weights.any()):
        raise InvalidInput("Expected a sequence longer than settle + lag, got none. Pass a shorter lag.")
    found, done = [], 0
    for group, states in _groups(along, linearized, times, lags[-1]):
        pulled = _pulled_back(along, linearized, group, states, lags, done, advance)
        found.append(pulled.unflatten(1, (len(group), batch)))
        done += len(group) * lags[-1]
    logs = torch.cat(found, dim=1)
    kept = logs.shape[-1] if k is None else _checks.whole_number(k, "k", least=1, most=logs.shape[-1])
    there, lagged = weights > 0, logs[1:]
    squares = (2 * lagged).exp().nan_to_num(nan=0.0)[:, there]
    ratio = (lagged[..., 0] - lagged[..., -1]).exp().nan_to_num(nan=float("inf"))[:, there]
    return GradientExponents(
        lags=lags,
        starts=torch.tensor(times),
        log_singular=lagged[..., :kept],
        log_readout=logs[0, ..., :kept],
        weights=weights,
        mean_square=squares.mean((-1, -2)),
        variance=squares.var(-1, correction=0).mean(-1),
        condition=ratio.median(-1).values,
        system=along.system.name,
        settle=along.start,
        distance=along.distance(),
    )


def _groups(
    along: Trajectory, linearized: LinearizedReadout, times: list[int], longest: int
) -> Iterator[tuple[list[int], dict[int, State]]]:
    """Starting times that are worked on together, with the states that lead to them, by the number of steps made."""
    inputs = along.inputs
    width = max(1, _AT_ONCE // (inputs.batch * along.size * linearized.outputs))
    size = 1 if along.system.grows else width  # caches of different length are no batch
    propagator = TangentPropagator(along.system, inputs, along.workers)
    states, state, t = {along.start: along.state}, along.state, along.start
    for first in range(0, len(times), size):
        group = times[first : first + size]
        while t < group[-1]:
            state, t = propagator.step(state, t), t + 1
            states[t] = state
        if not is_finite_state(state):
            raise diverged_error("state", t, at="by")
        states = {at: kept for at, kept in states.items() if at >= group[0] - longest}
        yield group, states


def _pulled_back(
    along: Trajectory,
    linearized: LinearizedReadout,
    group: list[int],
    states: dict[int, State],
    lags: tuple[int, ...],
    done: int,
    advance: Callable[[int], None],
) -> Tensor:
    """(1 + lags, group x batch, r): ln of the singular values of the readout itself and at every lag."""
    system, inputs = along.system, along.inputs
    frame, triangle = linearized.frame(joined([states[t] for t in group]))
    scale = torch.zeros(len(frame), 1, dtype=frame.dtype, device=frame.device)
    found = [_log_singular(triangle, scale)]
    for lag in range(1, lags[-1] + 1):
        state, x = joined([states[t - lag] for t in group]), joined([inputs.at(t - lag) for t in group])
        (frame,) = system.pull(state, x, (frame,))
        if lag % QR_EVERY == 0 or lag in lags:
            frame, factor = triangularise(frame)
            triangle = factor @ triangle
            largest = triangle.abs().amax((-2, -1)).clamp(min=torch.finfo(frame.dtype).tiny)
            triangle, scale = triangle / largest.view(-1, 1, 1), scale + largest.log().unsqueeze(-1)
        if lag in lags:
            found.append(_log_singular(triangle, scale))
        advance(done + len(group) * lag)
    return torch.stack(found)


def _log_singular(triangle: Tensor, scale: Tensor) -> Tensor:
    """NaN below what rounding leaves of the smaller ones beside the largest; -inf where all vanish."""
    values = torch.linalg.svdvals(triangle)
    floor = values[:, :1] * len(triangle[0]) * torch.finfo(values.dtype).eps
    return (values.log().masked_fill(values < floor, torch.nan) + scale).double().cpu()
