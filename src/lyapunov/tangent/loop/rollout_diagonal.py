"""Growth in closed form, of systems whose Jacobians are triangular: the logarithms of their diagonals, added up over time."""

from collections.abc import Callable
from dataclasses import replace

import torch
from torch import Tensor

from lyapunov._shapes import State
from lyapunov._trees import tree_map
from lyapunov.systems import System, total_size
from lyapunov.tangent.criteria import BurnIn, StateMeans, find_burn_in
from lyapunov.tangent.divergence import diverged_error, is_finite_state
from lyapunov.tangent.input_sequences import InputSequences, running_at
from lyapunov.tangent.loop.growth import Growth
from lyapunov.tangent.loop.propagation import AT_ONCE, TangentPropagator
from lyapunov.tangent.loop.time_bins import MAX_BINS, TimeBins
from lyapunov.tangent.rollout_options import RolloutOptions
from lyapunov.tangent.workers import Workers

_LARGEST_HISTORY = 2**26
"""Numbers of history at most; large states have fewer time bins."""
_FEWEST_BINS = 50


def rollout_diagonal(
    system: System,
    inputs: InputSequences,
    state: State,
    options: RolloutOptions,
    *,
    workers: Workers,
    on_step: Callable[[int], None] = lambda _: None,
) -> Growth:
    """The state through time and ln |diag J| of every counted step, in the order of the rows; raises `Diverged`.

    There is no frame: `align` left open is 0, and where it is given its steps are passed over, so that the two ways count the
    same ones. The columns of the `Growth` are all rows of the system.
    """
    propagator = TangentPropagator(system, inputs, workers)
    align = options.align or 0
    found = BurnIn(options.settle or 0, None, None)
    if not _same_from_elsewhere(system, propagator, state, total=options.steps):
        found = find_burn_in(system, inputs, propagator.step, state, replace(options, align=align))
    settle, start = found.steps, found.steps + align
    total = options.steps + (start if options.autonomous else 0)
    state = propagator.advance(state, 0, start, on_step=on_step)
    columns = total_size(system)
    count = _Count(system, inputs, start, total, columns, (settle, align, found.distance))
    for t in range(start, total, AT_ONCE):
        states, logs = propagator.log_diagonal(state, t, min(AT_ONCE, total - t))
        for at, new in enumerate(states[1:]):
            if not is_finite_state(new):
                raise diverged_error("state", t + at, partial=count.growth() if count.counted else None)
            count.add(t + at, new, logs[at])
            on_step(t + at + 1)
        state = states[-1]
    return replace(count.growth(), state=state)


def _same_from_elsewhere(system: System, propagator: TangentPropagator, state: State, *, total: int) -> bool:
    """Whether the diagonals of the first steps are the same from another state: then there is nothing to settle.

    The other state is one step further, the next sequence's where there are several, and larger.
    """
    steps = min(AT_ONCE, total)
    ahead = system.vectors(propagator.step(state, 0))
    other = system.with_vectors(state, tree_map(lambda part: 1.1 * part.roll(1, dims=0), ahead))
    own, others = (propagator.log_diagonal(start, 0, steps)[1] for start in (state, other))
    return torch.equal(own.nan_to_num(), others.nan_to_num())


class _Count:
    """Sums in time bins, and when a row was lost."""

    def __init__(
        self,
        system: System,
        inputs: InputSequences,
        start: int,
        stop: int,
        columns: int,
        transient: tuple[int, int, float | None],
    ) -> None:
        self._system, self._inputs, self._start, self._transient = system, inputs, start, transient
        most = max(_FEWEST_BINS, min(MAX_BINS, _LARGEST_HISTORY // max(1, inputs.batch * columns)))
        self._bins, self._state_means = TimeBins(start, most), StateMeans(start, stop)
        self._lost = torch.full((inputs.batch, columns), -1)
        self.counted = 0

    def add(self, t: int, state: State, log_diagonal: Tensor) -> None:
        """Step t, and the state after it."""
        log_diagonal, running = log_diagonal.double().cpu(), running_at(self._inputs, t)
        log_diagonal = torch.where(running.unsqueeze(-1), log_diagonal, 0.0)
        self._lost = torch.where((self._lost < 0) & log_diagonal.isneginf(), t + 1, self._lost)
        self._bins.add(t + 1, log_diagonal, None, torch.zeros(len(log_diagonal), dtype=torch.long))
        self._state_means.add(t + 1, self._system.vectors(state))
        self.counted += 1

    def growth(self) -> Growth:
        """The `Growth` of the steps counted, with ln |det J| as a sum of growth where no direction collapsed."""
        steps, grown = self._bins.steps(self._inputs), self._bins.growth()
        sizes = torch.tensor(self._system.block_sizes)
        block = torch.repeat_interleave(torch.arange(len(sizes)), sizes)
        settle, align, distance = self._transient
        whole = not bool((self._lost >= 0).any())
        volume = torch.stack([grown[..., block == at].sum(-1) for at in range(len(sizes))], dim=-1) if whole else None
        return Growth(
            log_growth=grown,
            steps=steps,
            noise=torch.zeros(grown.shape[-1], dtype=torch.float64),
            block=block,
            lost_since=self._lost,
            window=None,
            log_volume=volume,
            volume_steps=steps.clone() if whole else None,
            residual=torch.zeros(self._inputs.batch, len(sizes), dtype=torch.float64),
            residual_steps=torch.zeros(self._inputs.batch, dtype=torch.float64),
            drift=self._state_means.means,
            sizes=self._state_means.log_sizes,
            settle=settle,
            align=align,
            count=self.counted,
            qr_every=1,
            distance=distance,
            disagreement=None,
        )
