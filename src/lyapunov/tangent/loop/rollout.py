"""The one loop over time: settle the state, align the frame, count growth."""

import math
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from typing import NamedTuple

import torch
from torch import Tensor

from lyapunov._frames import join_columns
from lyapunov._shapes import Frames, State
from lyapunov._trees import tree_map
from lyapunov.errors import Diverged
from lyapunov.systems import System
from lyapunov.tangent.criteria import SHORTEST, CollapsedColumns, RankMonitor, Rounding, find_burn_in
from lyapunov.tangent.divergence import diverged_error
from lyapunov.tangent.frames import ROBUST, Factorization, Orthonormalisation, VolumeAccumulator, suited_to
from lyapunov.tangent.input_sequences import InputSequences, running_at
from lyapunov.tangent.loop.aligning import Aligned, Aligning
from lyapunov.tangent.loop.counting import Counting
from lyapunov.tangent.loop.growth import Growth
from lyapunov.tangent.loop.interval import Interval, log_unit
from lyapunov.tangent.loop.propagation import AT_ONCE, Propagated, TangentPropagator
from lyapunov.tangent.loop.volume_samples import Samples, VolumeSamples
from lyapunov.tangent.point import Columns, Point
from lyapunov.tangent.rollout_options import RolloutOptions
from lyapunov.tangent.workers import Workers

NOISE_LIMIT_ADAPTIVE, NOISE_LIMIT_FIXED = 2e-5, 2e-2
"""The root mean square of rounding, relative to what remains of a column, up to which its exponent is reliable: with the
interval left open, to 1e-3; at an interval that was asked for, to 1e-2."""
_NOTHING_COUNTED = "; nothing was counted before"


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
        propagator = TangentPropagator(system, inputs, workers)
        point, distance = _settled(propagator, Point(0, state, frames), options, on_step)
        run = _Run(propagator, point, options, on_step)
        return run.count(run.align(distance, other_frames), columns, shadow)


def _settled(
    propagator: TangentPropagator, point: Point, options: RolloutOptions, on_step: Callable[[int], None]
) -> tuple[Point, float | None]:
    """The state alone to where it has settled, and how far apart copies of it still are there."""
    found = find_burn_in(propagator.system, propagator.inputs, propagator.step, point.state, options)
    if found.state is not None:
        point = point._replace(t=found.steps, state=found.state)
    state = propagator.advance(point.state, point.t, found.steps, on_step=on_step, more=_NOTHING_COUNTED)
    return point._replace(t=found.steps, state=state), found.distance


class _Moved(NamedTuple):
    """An interval that is not accepted yet: from one point to the next, whose frames are pushed and not factored.

    `states`: before each step. `samples`: of ln |det J|, where growth is counted.
    """

    start: Point
    end: Point
    states: list[State]
    samples: Samples | None


class _Run:
    """A run in progress: the point that it has reached, and what watches the frames on the way.

    An interval is a transaction. It starts from the point and changes nothing until it is accepted; where it was too long
    for the arithmetic, it is dropped, and a shorter one starts from the same point.
    """

    def __init__(
        self, propagator: TangentPropagator, point: Point, options: RolloutOptions, on_step: Callable[[int], None]
    ) -> None:
        self.propagator, self.options, self.on_step = propagator, options, on_step
        parts, inputs = point.frames, propagator.inputs
        log_range = min(self._way(part).log_range(log_unit(part.dtype)) for part in parts)
        resolved = {"stretches": options.stretches, "first": options.first, "log_range": log_range}
        self.interval = Interval(options.qr_every, parts[0].dtype, options.steps, **resolved)
        lengths = None if inputs.lengths is None else inputs.lengths.to(parts[0].device)
        monitor = RankMonitor(propagator.system, inputs.at, lengths, inputs.batch)
        self.collapsed = CollapsedColumns(monitor, Columns.of(point.frames), inputs.batch)
        self.measured_at = 0
        self._start_from(point)

    def _start_from(self, point: Point) -> None:
        """From here on, with orthonormal frames: all counts by column start again, except for collapsed columns."""
        self.point, self.columns = point, Columns.of(point.frames)
        self.volumes = self._accumulator(point.frames)
        self.rounding = Rounding(self.columns.count, self._log_unit)

    @property
    def _log_unit(self) -> float:
        return log_unit(self.point.frames[0].dtype)

    def _accumulator(self, frames: Frames) -> VolumeAccumulator:
        ways = [self._way(part) for part in frames]
        return VolumeAccumulator(ways, (self.propagator.inputs.batch, Columns.of(frames).count))

    def _way(self, part: Tensor) -> Orthonormalisation:
        """An interval that was asked for ends in orthonormal columns."""
        return suited_to(part, orthonormal=bool(self.options.qr_every))

    def align(self, distance: float | None, other: Frames | None) -> Aligned:
        """State and frame, not counted; left open, a second frame goes along until both grow alike."""
        start, options = self.point.t, self.options
        last = start + (options.longest_align if options.align is None else options.align)
        second = None if other is None else (Columns.of(other), self._accumulator(other))
        aligning = Aligning(self.columns, second, self._log_unit)
        self.point = self.point._replace(second=other)
        while self.point.t < last and not aligning.done:
            self._advance(last, aligning, None)
        self.interval.forget()
        self.point = self.point._replace(second=None)
        if self.point.t - start >= SHORTEST:
            self._start_from(self.point._replace(frames=aligning.leading.turned(self._orthonormal(self.point.frames))))
        disagreement = aligning.agreement.distance if options.align is None else None
        return Aligned(start, self.point.t - start, distance, disagreement, aligning.agreement.tolerated)

    def count(self, aligned: Aligned, columns: Sequence[int] | None, shadow: Frames | None) -> Growth:
        """State and frame, counted; beside them a frame that starts at random."""
        if columns is not None and tuple(columns) != self.columns.sizes:
            self._keep(tuple(columns))
        self.point = self.point._replace(second=shadow)
        start, inputs = self.point.t, self.propagator.inputs
        stop = self.options.steps + (start if self.options.autonomous else 0)
        volumes = VolumeSamples(self.options, inputs, start, len(self.columns.sizes))
        counting = Counting(inputs, self.columns, aligned, stop, volumes, shadow)
        while self.point.t < stop:
            self._advance(stop, None, counting)
        return self._growth(counting)

    def _keep(self, sizes: tuple[int, ...]) -> None:
        """The first columns of each block."""
        few, kept = iter(sizes), self.columns.among_first(sizes)
        frames = tree_map(lambda part: join_columns((part[..., : next(few)],)), self.point.frames)
        self.collapsed = self.collapsed.kept(Columns.of(frames), kept)
        self._start_from(self.point._replace(frames=frames))

    def _growth(self, counting: Counting) -> Growth:
        return counting.growth(self.rounding, self.collapsed, self.interval.usual, self.point)

    def _orthonormal(self, frames: Frames) -> Frames:
        return tree_map(lambda part: ROBUST.factor(part, self.propagator.workers).frame, frames)

    def _advance(self, last: int, aligning: Aligning | None, counting: Counting | None) -> None:
        """One interval, accepted or dropped."""
        taken = min(self.interval.steps, last - self.point.t)
        moved = self._moved(taken, None if counting is None else counting.volumes)
        if not moved.end.is_finite:
            if taken == 1 or self.interval.fixed:
                raise self._broken(moved.start, moved.end.t, counting)
            self.interval.shorten(taken)  # a frame may recover; a state comes to the step at which it broke
            return
        reads = moved.end.t >= last or moved.end.t - self.measured_at >= self.interval.longest
        found = self._factored(moved, measured=reads or self.volumes.exact or (aligning is not None and aligning.compares))
        if found is not None:
            self._accept(moved, found, aligning, counting)

    def _moved(self, taken: int, volumes: VolumeSamples | None) -> _Moved:
        """State, frames and second frames through `taken` steps."""
        start, states, samples = self.point, [], None
        point = start
        for first in range(0, taken, AT_ONCE):
            steps = min(AT_ONCE, taken - first)
            propagated, frames, second = self._propagated(point, steps, volumes=volumes is not None and volumes.wanted)
            if volumes is not None:
                new = volumes.take(propagated, point.t, start.t)
                samples = new if samples is None else samples + new
            states += propagated.states[:-1]
            point = Point(point.t + steps, propagated.states[-1], frames, second)
        return _Moved(start, point, states, samples)

    def _propagated(self, point: Point, steps: int, *, volumes: bool) -> tuple[Propagated, Frames, Frames | None]:
        t, state, frames, second = point
        if second is None:
            found = self.propagator.propagate(state, frames, t, steps, volumes=volumes)
            return found, found.frames, None
        both: Frames = tree_map(lambda *pair: join_columns(pair), frames, second)
        found = self.propagator.propagate(state, both, t, steps, volumes=volumes)
        first = tree_map(lambda old, new: new[..., : old.shape[-1]], frames, found.frames)
        return found, first, tree_map(lambda old, new: new[..., -old.shape[-1] :], second, found.frames)

    def _factored(self, moved: _Moved, *, measured: bool) -> Factorization | None:
        """The frames at the end of an interval; None where it was too long for the arithmetic."""
        frames, workers = moved.end.frames, self.propagator.workers
        found = self.volumes.factorize(frames, workers, measured=measured)
        tolerated = NOISE_LIMIT_FIXED if self.interval.fixed else NOISE_LIMIT_ADAPTIVE
        most = tolerated**2 * self.propagator.inputs.batch * self.options.most
        steering = self.collapsed.nowhere & (self.rounding.squares <= most)
        taken, behind = moved.end.t - moved.start.t, found.log_dynamic_range[:, steering]
        if self.interval.too_long(taken, behind, found.diagonal[:, steering]):
            return None
        if not found.measured and bool((behind + self._log_unit > math.log(NOISE_LIMIT_ADAPTIVE)).any()):
            return self.volumes.factorize(frames, workers, measured=True)  # a step that loses much is never guessed
        return found

    def _accept(self, moved: _Moved, found: Factorization, aligning: Aligning | None, counting: Counting | None) -> None:
        """Notes what grew, and moves on."""
        start, end = moved.start, moved.end
        running, taken = running_at(self.propagator.inputs, start.t), end.t - start.t
        if counting is not None:
            self.rounding.add((found.log_dynamic_range - found.range_uncertainty)[running])
        self.collapsed.remember(start.t, moved.states)
        if found.measured:
            self.collapsed.check(end.t, self.rounding.fractions(found.log_dynamic_range)[running])
            self.measured_at = end.t
        resolved = self._resolved(found)
        growth, second = self.volumes.add(found, resolved), end.second
        if aligning is not None:
            second = aligning.compare(taken, found, growth, second, running, self.propagator.workers)
            aligning.leading.add(end.frames, found.frames)
        if counting is not None:
            second = counting.follow(end.t, taken, found.frames, second, growth, running, self.propagator.workers)
            self.interval.keep(taken)
            if moved.samples is not None:
                counting.volumes.accept(moved.samples, resolved, self.columns, start.t, end.t)
            counting.note(end.t, self.propagator.system.vectors(end.state), growth)
        self.point = Point(end.t, end.state, found.frames, second)
        for t in range(start.t + 1, end.t + 1):
            self.on_step(t)

    def _resolved(self, found: Factorization) -> Tensor:
        """The growth to count: -inf where the direction is lost, the floor where it merely vanished in the arithmetic."""
        diagonal = found.diagonal
        longest = torch.where(diagonal.isneginf(), -math.inf, diagonal + found.log_dynamic_range).cummax(dim=-1).values
        floor = longest.nan_to_num(neginf=0.0) + self._log_unit
        return torch.where(diagonal.isneginf(), floor, diagonal).masked_fill(self.collapsed.lost, -math.inf)

    def _broken(self, start: Point, until: int, counting: Counting | None) -> Diverged:
        """Replays the last interval to name the step at which the first NaN or infinity appeared."""
        t, broken = self.propagator.broken(start.t, start.state, start.frames, until=until, pushing=True)
        if counting is None or not counting.counted:
            return diverged_error(broken, t, _NOTHING_COUNTED)
        kept = f"; the {counting.counted} steps counted before are in .partial"
        return diverged_error(broken, t, kept, partial=self._growth(counting))
