"""The one loop over time: settle the state, align the frame, count growth."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import torch
from torch import Tensor
from torch.utils._pytree import tree_flatten, tree_map

from lyapunov._shapes import Frames, Input, State, blocks
from lyapunov.errors import Diverged
from lyapunov.systems import System
from lyapunov.tangent.orthonormal import orthonormalise

MAX_BINS = 1000
"""History is kept in at most this many time bins, so memory does not grow with time."""
TOLERANCE = 1e-3
"""A column is trusted while rounding changes its growth per interval by less than this."""
_SETTLE_CHUNK = 100
_REMEDY = {
    "state": "The map does not stay bounded from this state on these inputs: check the weights, the scale of the inputs, the "
    "step size.",
    "frame": "The state is finite, so orthonormalise more often (a smaller `qr_every`) or use float64.",
}


@runtime_checkable
class Drive(Protocol):
    """What drives a run."""

    @property
    def batch(self) -> int: ...  # noqa: D102
    @property
    def lengths(self) -> Tensor | None: ...  # noqa: D102
    def at(self, t: int) -> Input: ...  # noqa: D102


@dataclass(frozen=True)
class Schedule:
    """Steps spent on each part, and the interval between orthonormalisations."""

    settle: int
    align: int
    count: int
    qr_every: int

    @property
    def start(self) -> int:
        """The first counted step."""
        return self.settle + self.align

    @property
    def total(self) -> int:
        """All steps."""
        return self.start + self.count


@dataclass(frozen=True)
class Growth:
    """What a run counted, in QR order: all tensors on the CPU, float64.

    `log_growth` (bins, batch, columns): sums of ln diag R; `steps` (bins, batch): the steps behind them; `trusted` (batch,
    columns): False where the column fell below the precision floor at some orthonormalisation; `block` (columns,): which
    independent block a column belongs to; `log_volume` (batch, blocks): sum of ln |det J| over the counted steps, or None.
    """

    log_growth: Tensor
    steps: Tensor
    trusted: Tensor
    block: Tensor
    log_volume: Tensor | None


def rollout(
    system: System,
    drive: Drive,
    state: State,
    frames: Frames,
    schedule: Schedule,
    *,
    volume: bool = False,
    on_step: Callable[[int], None] = lambda _: None,
) -> Growth:
    """Push state and frames through time; raises `Diverged`, its `.partial` a `Growth` or None, on NaN or infinity."""
    run = _Run(system, drive, state, frames, schedule, on_step)
    run.settle()
    run.push(schedule.align, counted=False, volume=False)
    run.push(schedule.count, counted=True, volume=volume)
    return run.growth()


class _Run:
    def __init__(
        self,
        system: System,
        drive: Drive,
        state: State,
        frames: Frames,
        schedule: Schedule,
        on_step: Callable[[int], None],
    ) -> None:
        self.system, self.drive, self.schedule, self.on_step = system, drive, schedule, on_step
        self.state, self.frames, self.t = state, frames, 0
        parts = blocks(frames)
        columns = [part.shape[-1] for part in parts]
        self.block = torch.repeat_interleave(torch.arange(len(parts)), torch.tensor(columns))
        self.floor = -math.log(torch.finfo(parts[0].dtype).eps / 2) + math.log(TOLERANCE)
        interval = schedule.qr_every
        self.width = math.ceil(math.ceil(schedule.count / MAX_BINS) / interval) * interval
        self.history = torch.zeros(math.ceil(schedule.count / self.width), drive.batch, sum(columns), dtype=torch.float64)
        self.trusted = torch.ones(drive.batch, sum(columns), dtype=torch.bool)
        self.dead = torch.zeros_like(self.trusted)
        self.volume: Tensor | None = None
        self.lengths = None if drive.lengths is None else drive.lengths.to(parts[0].device)
        self.good = (0, state, frames)

    def settle(self) -> None:
        while self.t < self.schedule.settle:
            for _ in range(min(_SETTLE_CHUNK, self.schedule.settle - self.t)):
                new = self.system.step(self.state, self.drive.at(self.t))
                self.state = self._alive(new, self.state, self.t)
                self._tick()
            self._check_finite(pushing=False)

    def push(self, steps: int, *, counted: bool, volume: bool) -> None:
        """So many steps with an orthonormalisation every interval and at the end."""
        last = self.t + steps
        while self.t < last:
            interval = min(self.schedule.qr_every, last - self.t)
            for _ in range(interval):
                x = self.drive.at(self.t)
                if volume:
                    self._add_volume(self.system.log_volume(self.state, x))
                self.state, self.frames = self._pushed(self.state, x, self.frames, self.t)
                self._tick()
            self._check_finite(pushing=True)
            self._close(interval, counted=counted)

    def growth(self, until: int | None = None) -> Growth:
        """What was counted, up to a step if the run ended early."""
        end = self.schedule.total if until is None else until
        bins = math.ceil((end - self.schedule.start) / self.width)
        edges = (self.schedule.start + self.width * torch.arange(bins + 1)).clamp(max=end).unsqueeze(-1)
        lengths = self.drive.lengths
        reached = edges.expand(-1, self.drive.batch) if lengths is None else torch.minimum(edges, lengths)
        volume = self.volume if until is None and self.volume is not None else None
        steps = reached.diff(dim=0).double()
        return Growth(self.history[:bins], steps, self.trusted, self.block, None if volume is None else volume.cpu())

    def _tick(self) -> None:
        self.t += 1
        self.on_step(self.t)

    def _close(self, interval: int, *, counted: bool) -> None:
        frames, logs = zip(*(orthonormalise(part) for part in blocks(self.frames)), strict=True)
        self.frames = frames if isinstance(self.frames, tuple) else frames[0]
        log_growth = torch.cat([self._judge(part, at, interval) for at, part in enumerate(logs)], dim=-1)
        if counted:
            self.history[(self.t - 1 - self.schedule.start) // self.width] += log_growth
        self.good = (self.t, self.state, self.frames)

    def _judge(self, log_diagonal: Tensor, at: int, interval: int) -> Tensor:
        """Growth of one block's columns; a column once lost stays lost, one below the precision floor stays untrusted."""
        mine = self.block == at
        dead = self.dead[:, mine]
        log_diagonal = log_diagonal.cpu().double().masked_fill(dead, -math.inf)
        zero = log_diagonal.isneginf()
        largest_before = log_diagonal.cummax(dim=-1).values
        above_floor = largest_before - log_diagonal <= self.floor
        vanished_in_one_step = zero & (interval == 1)
        self.trusted[:, mine] &= above_floor | vanished_in_one_step | dead
        self.dead[:, mine] = zero
        return log_diagonal

    def _pushed(self, state: State, x: Input, frames: Frames, t: int) -> tuple[State, Frames]:
        new, moved = self.system.push(state, x, frames)
        return self._alive(new, state, t), self._alive(moved, frames, t)

    def _alive(self, new: State, old: State, t: int) -> State:
        """The new values of sequences that still run at step t, the old ones of those that have ended."""
        if self.lengths is None:
            return new
        running = self.lengths > t
        return tree_map(lambda a, b: torch.where(running.view(-1, *[1] * (a.dim() - 1)), a, b), new, old)

    def _add_volume(self, volume: Tensor | None) -> None:
        if volume is None:
            return
        volume = volume.double().reshape(len(volume), -1)
        if self.lengths is not None:
            volume = torch.where((self.lengths > self.t).unsqueeze(-1), volume, 0.0)
        self.volume = volume if self.volume is None else self.volume + volume

    def _check_finite(self, *, pushing: bool) -> None:
        tensors = [*tree_flatten(self.state)[0], *(blocks(self.frames) if pushing else ())]
        if not all(_is_finite(part) for part in tensors):
            raise self._diverged(pushing=pushing)
        if not pushing:
            self.good = (self.t, self.state, self.frames)

    def _diverged(self, *, pushing: bool) -> Diverged:
        """Replays the last interval to name the step at which the first NaN or infinity appeared."""
        good, state, frames = self.good
        at, broken = self.t - 1, "frame"
        for t in range(good, self.t):
            if pushing:
                state, frames = self._pushed(state, self.drive.at(t), frames, t)
            else:
                state = self._alive(self.system.step(state, self.drive.at(t)), state, t)
            if not all(_is_finite(part) for part in tree_flatten(state)[0]):
                at, broken = t, "state"
                break
            if not all(_is_finite(part) for part in blocks(frames)):
                at = t
                break
        counted = good - self.schedule.start
        partial = self.growth(good) if counted > 0 else None
        kept = f"the {counted} steps counted before are in .partial" if counted > 0 else "nothing was counted before"
        message = f"Expected a finite {broken}, got NaN or infinity at step {at} (from 0); {kept}. {_REMEDY[broken]}"
        return Diverged(message, step=at, partial=partial)


def _is_finite(value: Tensor) -> bool:
    return bool(torch.isfinite(value).all())
