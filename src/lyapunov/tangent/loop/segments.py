"""States and frames along the inputs, kept where segments start and worked out again within them: for sweeps back in time."""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from lyapunov._shapes import Frame, Input, State
from lyapunov.errors import Diverged
from lyapunov.systems import System
from lyapunov.tangent.criteria import settled_after
from lyapunov.tangent.divergence import diverged_error, is_finite_state
from lyapunov.tangent.frames import triangularise
from lyapunov.tangent.input_sequences import InputSequences, running_at, still_running
from lyapunov.tangent.loop.propagation import TangentPropagator
from lyapunov.tangent.workers import Workers

SHORTEST, ENTRIES = 64, 2**22
"""Steps that a segment has, where all its frames have no more entries than that; else the root of the sequence's length."""
ROUNDING = 64
"""In units of the last place: what remains of a column that lies in the span of those before it."""


@dataclass(frozen=True)
class Segment:
    """Some steps in a row, from step `first` on, with the `inputs` of each.

    `states`: before each step, and after the last. `frames`: orthonormal, likewise; `factors`: the R (batch, k, k) of each
    step, J Q_before = Q_after R. Both empty where only the state was followed.
    """

    first: int
    inputs: list[Input]
    states: list[State]
    frames: list[Frame]
    factors: list[Tensor]
    _pull: Callable[[int, Frame], Frame]

    @property
    def steps(self) -> int:
        """How many steps the segment has, one for each of its inputs."""
        return len(self.inputs)

    @property
    def stop(self) -> int:
        """The step after the last one."""
        return self.first + self.steps

    def frames_at(self, t: int) -> list[Frame]:
        """The frame before step t, or after the last one; none where that is in another segment."""
        return self.frames[t - self.first : t - self.first + 1] if t >= self.first else []

    @property
    def vanished(self) -> Tensor:
        """(steps, batch, k): where what remains of a column is rounding of the longest up to it: lost, or too small to tell."""
        factors = torch.stack(self.factors)
        lengths = torch.linalg.vector_norm(factors, dim=-2).cummax(-1).values
        return ~(factors.diagonal(dim1=-2, dim2=-1) > ROUNDING * torch.finfo(factors.dtype).eps * lengths)

    def pull(self, at: int, frame: Frame) -> Frame:
        """J^T @ frame of its step number `at`; sequences that have ended keep theirs."""
        return self._pull(at, frame)


class CheckpointedTrajectory:
    """The trajectory of a state, and of a frame with it, checkpointed: a backward sweep needs memory of the root of its length.

    The frame is orthonormalised at every step. `forward` must have been gone through once before `backward`.
    """

    def __init__(
        self,
        system: System,
        inputs: InputSequences,
        state: State,
        steps: range,
        *,
        frame: Frame | None = None,
        segment: int | None = None,
    ) -> None:
        self._system, self._inputs, self._steps = system, inputs, steps
        entries = 1 if frame is None else frame.numel()
        self._size = segment or max(1, math.isqrt(len(steps)), min(SHORTEST, ENTRIES // entries))
        self._lengths = None if inputs.lengths is None else inputs.lengths.to(system.device)
        self._start = (state, frame)
        self._kept: list[tuple[State, Frame | None]] = []
        self._latest: Segment | None = None

    def forward(self) -> Iterator[Segment]:
        """Segment by segment; raises `Diverged` where a state is no longer finite."""
        self._kept, at = [], self._start
        for first in self._steps[:: self._size]:
            self._kept.append(at)
            self._latest = None
            with torch.no_grad():
                segment = self._segment(first, *at)
            at = segment.states[-1], (segment.frames[-1] if segment.frames else None)
            if not is_finite_state((at[0], *segment.frames[-1:])):
                raise _diverged(segment)
            self._latest = segment
            yield segment

    def backward(self) -> Iterator[Segment]:
        """The same segments, the last one first, which is still there."""
        starts = self._steps[:: self._size]
        for first, at in zip(reversed(starts), reversed(self._kept), strict=True):
            segment, self._latest = self._latest, None
            if segment is None or segment.first != first:
                with torch.no_grad():
                    segment = self._segment(first, *at)
            yield segment

    def running(self, t: int) -> Tensor:
        """(batch,): which sequences make step t."""
        return running_at(self._inputs, t).to(self._system.device)

    def _segment(self, first: int, state: State, frame: Frame | None) -> Segment:
        inputs = [self._inputs.at(t) for t in range(first, min(first + self._size, self._steps.stop))]
        trace = self._system.trace(state, inputs, lambda new, old, at: self._alive(new, old, first + at))
        frames, factors = ([], []) if frame is None else ([frame], [])
        for at in range(len(inputs) if frames else 0):
            (moved,) = trace.push(at, (frames[-1],))
            self._close(moved, frames, factors)
        return Segment(first, inputs, trace.states, frames, factors, lambda at, frame: trace.pull(at, (frame,))[0])

    @staticmethod
    def _close(moved: Frame, frames: list[Frame], factors: list[Tensor]) -> None:
        frame, factor = triangularise(moved)
        frames.append(frame)
        factors.append(factor)

    def _alive(self, new: State, old: State, t: int) -> State:
        return still_running(new, old, self._lengths, t)


def settled_state(
    system: System, inputs: InputSequences, state: State, settle: int | None, limit: int, workers: Workers
) -> tuple[int, State]:
    """The steps that a state settles for, None: found in the data, at most `limit`; and where it gets to."""
    propagator = TangentPropagator(system, inputs, workers)
    if settle is None:
        settle, _ = settled_after(system, inputs, propagator.step, state, limit)
    return settle, propagator.advance(state, 0, settle)


def _diverged(segment: Segment) -> Diverged:
    valid = [is_finite_state(state) for state in segment.states]
    at = segment.first + (valid.index(False) - 1 if False in valid else segment.steps - 1)
    return diverged_error("frame" if all(valid) else "state", at, at="by")
