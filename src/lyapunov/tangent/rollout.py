"""The one loop over time: settle the state, align the frame, count growth."""

import math
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from typing import Any

import torch
from torch import Tensor
from torch.utils._pytree import tree_flatten, tree_map

from lyapunov._checks import is_finite
from lyapunov._shapes import Frames, State, blocks
from lyapunov.errors import Diverged
from lyapunov.systems import System
from lyapunov.tangent.alignment import LAST_PART, Alignment, Sensitivity, leading
from lyapunov.tangent.burn_in import burn_in
from lyapunov.tangent.collapsed_directions import RankMonitor
from lyapunov.tangent.growth import Growth, RolloutOptions, earliest
from lyapunov.tangent.input_sequences import InputSequences
from lyapunov.tangent.interval import Interval, log_unit
from lyapunov.tangent.leading import Leading
from lyapunov.tangent.orthonormal import QRMethod, factored, usual_method
from lyapunov.tangent.propagation import AT_ONCE, Propagated, TangentPropagator
from lyapunov.tangent.stationarity import Stretches
from lyapunov.tangent.time_bins import TimeBins
from lyapunov.tangent.transients import SHORTEST, Agreement
from lyapunov.tangent.volume_accumulator import Factorization, VolumeAccumulator
from lyapunov.tangent.workers import Workers

NOISE_LIMIT_ADAPTIVE, NOISE_LIMIT_FIXED = 2e-5, 2e-2
"""The root mean square of rounding, relative to what remains of a column, up to which its exponent is reliable: with the
interval left open, to 1e-3; at an interval that was asked for, to 1e-2."""
_SUSPICIOUS = 1e-2
"""Rounding relative to what remains of a column from which on the column may be lost altogether."""
_SETTLE_AT_ONCE = 100
_REMEDY = {
    "state": "The map does not stay bounded from this state on these inputs: check the weights, the scale of the inputs, the "
    "step size.",
    "frame": "The state is finite, so orthonormalise more often (a smaller `qr_every`) or use float64.",
}


def rollout(
    system: System,
    inputs: InputSequences,
    state: State,
    frames: Frames,
    options: RolloutOptions,
    *,
    columns: Sequence[int] | None = None,
    other_frames: Frames | None = None,
    shadow: Frames | None = None,
    workers: Workers | None = None,
    on_step: Callable[[int], None] = lambda _: None,
) -> Growth:
    """Push state and frames through time; raises `Diverged`, its `.partial` a `Growth` or None, on NaN or infinity.

    `columns`: how many of each block are counted (None: all); further ones help to align them. `other_frames`, a second random
    start, tells when to stop where `align` is left open. `shadow`: random frames of fewer columns that go along with the
    counted ones as long as they differ, and show what alignment left. `workers`: those of a context around the run. `on_step`
    receives the step, and once the counted part begins, all steps of the run are known to be `options.most` or fewer.
    """
    with nullcontext(workers) if workers else Workers.suited_to(system, inputs.batch) as workers:
        run = _Run(system, inputs, state, frames, options, on_step, workers)
        run.settle()
        run.align(other_frames)
        run.count(columns, shadow)
        return run.growth()


class _Run:
    def __init__(
        self,
        system: System,
        inputs: InputSequences,
        state: State,
        frames: Frames,
        options: RolloutOptions,
        on_step: Callable[[int], None],
        workers: Workers,
    ) -> None:
        self.system, self.inputs, self.options, self.on_step, self.workers = system, inputs, options, on_step, workers
        self.state, self.frames, self.t = state, frames, 0
        self.second_frame: Frames | None = None
        self._take(frames)
        parts = blocks(frames)
        self.log_unit = log_unit(parts[0].dtype)
        squared = "cholesky" in [self._method(part) for part in parts]
        resolved = {"stretches": options.stretches, "first": options.first, "squared": squared}
        self.interval = Interval(options.qr_every, parts[0].dtype, options.steps, **resolved)
        self.tolerated = NOISE_LIMIT_FIXED if self.interval.fixed else NOISE_LIMIT_ADAPTIVE
        self.judged = 0
        lengths = None if inputs.lengths is None else inputs.lengths.to(parts[0].device)
        self.propagator = TangentPropagator(system, inputs, workers)
        self.rank_monitor = RankMonitor(system, inputs.at, lengths, inputs.batch)
        self.measured_at = 0
        self.volumes: list[Tensor] = []
        self.next_volume, self.sampled_steps = 0, 0
        self.residual = torch.zeros(inputs.batch, len(parts), dtype=torch.float64)
        self.residual_steps, self.sampled = (torch.zeros(inputs.batch, dtype=torch.long) for _ in range(2))
        self.agreement, self.leading = Agreement(), Leading()
        self.alignment: Alignment | None = None
        self.sensitivity: Sensitivity | None = None
        self.settled, self.aligned, self.total = 0, 0, options.most
        self.good = (0, state, frames)

    def _take(self, frames: Frames, lost: Tensor | None = None, lost_since: Tensor | None = None) -> None:
        """These orthonormal frames from here on, and everything that is by column."""
        self.frames = frames
        parts = blocks(frames)
        self.columns = [part.shape[-1] for part in parts]
        self.block = torch.repeat_interleave(torch.arange(len(parts)), torch.tensor(self.columns))
        self.rank_of_column = torch.cat([torch.arange(count) for count in self.columns])
        self.square = all(part.shape[-1] == part.shape[-2] for part in parts)
        self.noise = torch.zeros(sum(self.columns), dtype=torch.float64)
        shape = (self.inputs.batch, sum(self.columns))
        self.lost = torch.zeros(shape, dtype=torch.bool) if lost is None else lost
        self.lost_since = torch.full(shape, -1) if lost_since is None else lost_since
        self.accumulator = VolumeAccumulator([self._method(part) for part in parts], shape)

    def _cut(self, columns: Sequence[int]) -> None:
        """Keeps the first columns of each block."""
        few = iter(columns)
        kept = self.rank_of_column < torch.tensor(list(columns))[self.block]
        frames = tree_map(lambda part: part[..., : next(few)].mT.contiguous().mT, self.frames)
        self._take(frames, self.lost[:, kept], self.lost_since[:, kept])

    @property
    def lost_at(self) -> Tensor:
        """(columns,): the step by which some sequence had lost it, -1 where none had."""
        return earliest(self.lost_since)

    @property
    def start(self) -> int:
        """The first counted step."""
        return self.settled + self.aligned

    def _method(self, part: Tensor) -> QRMethod:
        """An interval that was asked for ends in orthonormal columns."""
        usual = usual_method(part)
        return self.options.method or ("householder" if self.options.qr_every and usual == "lu" else usual)

    def settle(self) -> None:
        """The state alone."""
        found = burn_in(self.system, self.inputs, self.propagator.step, self.state, self.options)
        self.settled, self.distance = found.steps, found.distance
        if found.state is not None:
            self.state, self.t = found.state, self.settled
            self.good = (self.t, self.state, self.frames)
        while self.t < self.settled:
            for _ in range(min(_SETTLE_AT_ONCE, self.settled - self.t)):
                self.state = self.propagator.step(self.state, self.t)
                self._tick()
            if not self._is_finite():
                raise self._diverged(pushing=False)
            self.good = (self.t, self.state, self.frames)

    def align(self, other: Frames | None) -> None:
        """State and frame, not counted; left open, a second frame goes along until both grow alike."""
        align = self.options.longest_align if self.options.align is None else self.options.align
        last = self.t + align
        if other is not None:
            self.second_frame, parts = other, blocks(other)
            shape = (self.inputs.batch, sum(part.shape[-1] for part in parts))
            self.second_accumulator = VolumeAccumulator([self._method(part) for part in parts], shape)
        while self.t < last and not (other is not None and self.agreement.reached and self.leading.told_apart):
            self._advance(last)
        self.second_frame = None
        self.aligned = self.t - self.settled
        self.total = self.options.steps + (self.start if self.options.autonomous else 0)
        self.bins, self.drift = TimeBins(self.start), Stretches(self.start, self.total)
        self.interval.forget()

    def count(self, columns: Sequence[int] | None, shadow: Frames | None) -> None:
        """State and frame, counted; beside them a frame that starts at random."""
        if self.aligned >= SHORTEST:
            frames = tree_map(lambda part: factored(part, "householder", self.workers).frame, self.frames)
            self._take(self.leading.turned(frames), self.lost, self.lost_since)
        if columns is not None and list(columns) != self.columns:
            self._cut(columns)
        self.good = (self.t, self.state, self.frames)
        if shadow is not None:
            self.second_frame = shadow
            self.alignment = Alignment(shadow, self.columns, age=self.aligned)
        while self.t < self.total:
            self._advance(self.total, counted=True)

    def growth(self) -> Growth:
        """What was counted."""
        edges = self.bins.edges().unsqueeze(-1)
        lengths = self.inputs.lengths
        reached = edges.expand(-1, self.inputs.batch) if lengths is None else torch.minimum(edges, lengths)
        steps = reached.diff(dim=0).double()
        volume = self.bins.volume()
        return Growth(
            log_growth=self.bins.growth(),
            steps=steps,
            noise=(self.noise / max(self.judged, 1)).sqrt(),
            block=self.block,
            lost_since=self.lost_since,
            window=self.rank_monitor.window,
            log_volume=None if volume is None else volume[0],
            volume_steps=None if volume is None else volume[1].double(),
            residual=self.residual,
            residual_steps=self.residual_steps.double(),
            drift=self.drift.means,
            settle=self.settled,
            align=self.aligned,
            count=int(edges[-1]) - self.start,
            qr_every=self.interval.usual,
            distance=self.distance,
            disagreement=self.agreement.distance if self.options.align is None else None,
            tolerated=self.agreement.tolerated,
            state=self.state,
            frames=self.frames,
            lacked=None if self.alignment is None else self.alignment.lacked(),
            sensitivity=None if self.sensitivity is None else self.sensitivity.rates(),
            sizes=self.drift.log_sizes,
        )

    def _advance(self, last: int, *, counted: bool = False) -> None:
        """One interval, taken back where it was too long."""
        taken = min(self.interval.steps, last - self.t)
        self.good = (self.t, self.state, self.frames)
        self.sampled_steps = 0
        second_frame, volumes, sampled, next_volume = self.second_frame, len(self.volumes), self.sampled, self.next_volume
        wanted = counted and bool(self.options.volume_every)
        whole = wanted and self.options.whole_intervals and self.t >= self.next_volume
        if whole:
            self.next_volume = self.t + self.options.volume_every
        for start in range(0, taken, AT_ONCE):
            propagated = self._propagate(min(AT_ONCE, taken - start), volumes=wanted)
            self._sample(propagated, whole=whole, wanted=wanted)
            for state in propagated.states[:-1]:
                self.rank_monitor.remember(self.t, state)
                self._tick()
            self.state = propagated.states[-1]
        if not self._close(taken, last, volumes, counted=counted):
            self.t, self.state, self.frames = self.good
            self.second_frame, self.sampled, self.next_volume = second_frame, sampled, next_volume
            del self.volumes[volumes:]
            self.rank_monitor.forget(self.t)

    def _propagate(self, steps: int, *, volumes: bool) -> Propagated:
        """State and frames, and the second frame beside the first."""
        second_frame = self.second_frame
        if second_frame is None:
            propagated = self.propagator.propagate(self.state, self.frames, self.t, steps, volumes=volumes)
            self.frames = propagated.frames
            return propagated
        both: Any = tree_map(lambda a, b: torch.cat([a.mT, b.mT], dim=-2).mT, self.frames, second_frame)
        propagated = self.propagator.propagate(self.state, both, self.t, steps, volumes=volumes)
        self.frames = tree_map(lambda old, new: new[..., : old.shape[-1]], self.frames, propagated.frames)
        self.second_frame = tree_map(lambda old, new: new[..., -old.shape[-1] :], second_frame, propagated.frames)
        return propagated

    def _tick(self) -> None:
        self.t += 1
        self.on_step(self.t)

    def _close(self, taken: int, last: int, volumes: int, *, counted: bool) -> bool:
        """Factors the frames and notes the growth; False where the interval must be taken back."""
        if not self._is_finite():
            if taken == 1 or self.interval.fixed:
                raise self._diverged(pushing=True)
            self.interval.shorten(taken)  # a frame may recover; a state comes to the step at which it broke
            return False
        aligning = self.second_frame is not None and not counted
        due = aligning or self.t >= last or self.t - self.measured_at >= self.interval.longest
        factorization = self.accumulator.factorize(self.frames, self.workers, measured=due or self.accumulator.exact)
        steering = (self.lost_at < 0) & (self.noise <= self.tolerated**2 * self.inputs.batch * self.options.most)
        if self.interval.too_long(taken, factorization.log_dynamic_range[:, steering], factorization.diagonal[:, steering]):
            return False
        estimated = factorization.log_volume_correction is None
        if estimated and bool(
            (factorization.log_dynamic_range[:, steering] + self.log_unit > math.log(NOISE_LIMIT_ADAPTIVE)).any()
        ):
            # A step that loses much is never estimated.
            factorization = self.accumulator.factorize(self.frames, self.workers, measured=True)
        self._weigh(factorization.log_dynamic_range - factorization.range_uncertainty, counted=counted)
        if factorization.log_volume_correction is not None:
            self._check_rank(factorization.log_dynamic_range)
            self.measured_at = self.t
        resolved = self._resolved(factorization)
        growth = self.accumulator.add(factorization, resolved)
        if aligning and growth is not None:
            self._compare(taken, factorization, growth)
        if not counted:
            self.leading.add(self.frames, factorization.frames)
        self.frames = factorization.frames
        if counted:
            self._follow(taken, growth)
            self.interval.keep(taken)
            if self.sampled_steps == taken and self.square:
                self._certify(resolved, torch.stack(self.volumes[volumes:]).sum(0))
            self.drift.add(self.t, self.system.vector(self.state))
        self.good = (self.t, self.state, self.frames)
        if counted and growth is not None:
            self._note(growth)
        return True

    def _certify(self, growth: Tensor, volume: Tensor) -> None:
        """What the arithmetic lost over an interval: square frames have a volume of 1, whichever way they were factored."""
        sums = torch.zeros_like(self.residual).index_add(1, self.block, growth)
        self.residual += sums - volume
        reached = torch.full((self.inputs.batch,), self.t)
        if self.inputs.lengths is not None:
            reached = torch.minimum(reached, self.inputs.lengths)
        self.residual_steps += (reached - self.good[0]).clamp(min=0)

    def _compare(self, taken: int, factorization: Factorization, growth: Tensor) -> None:
        """With the growth of the second frame."""
        second_frame: Any = self.second_frame
        other = self.second_accumulator.factorize(second_frame, self.workers, measured=True)
        self.second_frame, other_growth = other.frames, self.second_accumulator.add(other, other.diagonal)
        if other_growth is None:
            return
        both = self.rank_of_column < torch.tensor([part.shape[-1] for part in blocks(other.frames)])[self.block]
        sure, growth = (factorization.log_dynamic_range + self.log_unit < math.log(_SUSPICIOUS))[:, both], growth[:, both]
        running = self._running(self.good[0])
        leading = (growth - other_growth)[:, self.rank_of_column[both] == 0]
        leading = torch.where(running.unsqueeze(-1), leading.nan_to_num(nan=0.0, posinf=0.0, neginf=0.0), 0.0)
        self.agreement.add(taken, growth.masked_fill(~sure, torch.nan)[running], other_growth[running], leading)

    def _follow(self, taken: int, growth: Tensor | None) -> None:
        """What a second frame lacks: one that started at random; then, for a while, one that is perturbed."""
        second = self.sensitivity or self.alignment
        if self.second_frame is not None and second is not None:
            self.second_frame = second.follow(self.second_frame, taken, growth, self._running(self.good[0]), self.workers)
        late = self.t - self.start >= LAST_PART * (self.total - self.start)
        aligned = self.alignment is not None and (self.second_frame is None or late)
        if aligned and self.sensitivity is None and growth is not None:
            self.second_frame = leading(self.frames)
            self.sensitivity = Sensitivity(self.second_frame, self.columns)

    def _note(self, growth: Tensor) -> None:
        """Into the bins, with the volumes taken since the last time."""
        volume = torch.stack(self.volumes).sum(0) if self.volumes else None
        self.bins.add(self.t, growth, volume, self.sampled)
        self.volumes, self.sampled = [], torch.zeros_like(self.sampled)

    def _weigh(self, log_dynamic_range: Tensor, *, counted: bool) -> None:
        """How much of each column is rounding."""
        if counted:
            running = self._running(self.good[0])
            self.noise += (log_dynamic_range[running] + self.log_unit).exp().clamp(max=1.0).square().sum(0)
            self.judged += int(running.sum())

    def _check_rank(self, log_dynamic_range: Tensor) -> None:
        """Whether a column is lost."""
        running = self._running(self.good[0])
        fraction = (log_dynamic_range + self.log_unit).exp().clamp(max=1.0)
        suspicious = bool((fraction[running][:, self.lost_at < 0] > _SUSPICIOUS).any())
        self.rank_monitor.check(self.t, suspicious=suspicious)
        self.lost = self.rank_of_column >= torch.stack(self.rank_monitor.ranks, dim=-1)[:, self.block]
        self.lost_since = torch.where((self.lost_since < 0) & self.lost, self.t, self.lost_since)

    def _resolved(self, factorization: Factorization) -> Tensor:
        """The growth to count: -inf where the direction is lost, the floor where it merely vanished in the arithmetic."""
        diagonal = factorization.diagonal
        longest = torch.where(diagonal.isneginf(), -math.inf, diagonal + factorization.log_dynamic_range).cummax(dim=-1).values
        floor = longest.nan_to_num(neginf=0.0) + self.log_unit
        resolved = torch.where(diagonal.isneginf(), floor, diagonal)
        return resolved.masked_fill(self.lost, -math.inf)

    def _running(self, t: int) -> Tensor:
        """(batch,): which sequences make step t."""
        lengths = self.inputs.lengths
        return torch.ones(self.inputs.batch, dtype=torch.bool) if lengths is None else lengths > t

    def _sample(self, propagated: Propagated, *, whole: bool, wanted: bool) -> None:
        """ln |det J| of the steps whose turn it is, not yet ticked; 0 for sequences that have ended."""
        steps = range(len(propagated.states) - 1)
        if not whole:
            every = self.options.volume_every
            turn = wanted and not self.options.whole_intervals
            steps = [at for at in steps if turn and (self.t + at - self.start) % every == 0]
        if not steps:
            return
        volumes = propagated.log_volumes(steps)
        running = torch.stack([self._running(self.t + at) for at in steps])
        self.sampled = self.sampled + running.sum(0)
        if volumes:
            found = torch.stack(volumes).double().cpu().view(*running.shape, -1)
            self.volumes.append(torch.where(running.unsqueeze(-1), found, 0.0).sum(0))
            self.sampled_steps += len(steps)

    def _is_finite(self) -> bool:
        second_frame = () if self.second_frame is None else blocks(self.second_frame)
        return all(is_finite(part) for part in (*tree_flatten(self.state)[0], *blocks(self.frames), *second_frame))

    def _diverged(self, *, pushing: bool) -> Diverged:
        """Replays the last interval to name the step at which the first NaN or infinity appeared."""
        at, broken = self.propagator.broken(*self.good, until=self.t, pushing=pushing)
        counted = int(self.bins.edges()[-1]) - self.start if hasattr(self, "bins") else 0
        partial = self.growth() if counted else None
        kept = f"the {counted} steps counted before are in .partial" if counted else "nothing was counted before"
        message = f"Expected a finite {broken}, got NaN or infinity at step {at} (from 0); {kept}. {_REMEDY[broken]}"
        return Diverged(message, step=at, partial=partial)
