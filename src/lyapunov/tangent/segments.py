"""States and frames along a drive, kept where segments start and worked out again within them: for sweeps back in time."""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.utils._pytree import tree_flatten

from lyapunov._checks import is_finite
from lyapunov._shapes import Frame, State
from lyapunov.errors import Diverged
from lyapunov.systems import ClosedForm, System, Tangent
from lyapunov.tangent.drive import Drive, still_running
from lyapunov.tangent.orthonormal import triangularise

SHORTEST = 16
"""Steps that a segment has at the least; of a long sequence, the root of its length."""


@dataclass(frozen=True)
class Segment:
    """Some steps in a row, from step `first` on.

    `states`: before each step, and after the last. `frames`: orthonormal, likewise; `factors`: the R (batch, k, k) of each step,
    J Q_before = Q_after R. Both empty where only the state was followed.
    """

    first: int
    states: list[State]
    frames: list[Frame]
    factors: list[Tensor]
    _pull: Callable[[int, Frame], Frame]

    @property
    def steps(self) -> int:
        """How many."""
        return len(self.states) - 1

    def pull(self, at: int, frame: Frame) -> Frame:
        """J^T @ frame of its step number `at`; sequences that have ended keep theirs."""
        return self._pull(at, frame)


class Course:
    """The way of a state, and of a frame with it, that can be gone through backwards in memory of the root of its length.

    The frame is orthonormalised at every step. `forward` must have been gone through once before `backward`.
    """

    def __init__(
        self, system: System, drive: Drive, state: State, steps: range, *, frame: Frame | None = None, segment: int | None = None
    ) -> None:
        self._system, self._drive, self._steps = system, drive, steps
        self._size = segment or max(SHORTEST, math.isqrt(len(steps)))
        self._lengths = None if drive.lengths is None else drive.lengths.to(system.device)
        self._start = (state, frame)
        self._kept: list[tuple[State, Frame | None]] = []

    def forward(self) -> Iterator[Segment]:
        """Segment by segment; raises `Diverged` where a state is no longer finite."""
        self._kept, at = [], self._start
        for first in self._steps[:: self._size]:
            self._kept.append(at)
            segment = self._segment(first, *at)
            at = segment.states[-1], (segment.frames[-1] if segment.frames else None)
            if not all(is_finite(leaf) for leaf in (*tree_flatten(at[0])[0], *segment.frames[-1:])):
                raise _diverged(segment)
            yield segment

    def backward(self) -> Iterator[Segment]:
        """The same segments, the last one first."""
        starts = self._steps[:: self._size]
        for first, at in zip(reversed(starts), reversed(self._kept), strict=True):
            yield self._segment(first, *at)

    def _segment(self, first: int, state: State, frame: Frame | None) -> Segment:
        steps = range(first, min(first + self._size, self._steps.stop))
        states, tangent, frames, factors = [state], None, [], []
        if isinstance(self._system, ClosedForm):
            inputs = [self._drive.at(t) for t in steps]
            states, tangent = self._system.trace(state, inputs, lambda new, old, at: self._alive(new, old, first + at))
        if frame is not None:
            frames.append(frame)
        for at, t in enumerate(steps):
            if frame is None and tangent is None:
                states.append(self._alive(self._system.step(states[-1], self._drive.at(t)), states[-1], t))
            if frame is None:
                continue
            if tangent is None:
                new, moved = self._system.push(states[-1], self._drive.at(t), frame)
                states.append(self._alive(new, states[-1], t))
            else:
                moved = self._one(tangent, at).push(frame)
            frame, factor = triangularise(self._alive(moved, frame, t))
            frames.append(frame)
            factors.append(factor)

        def pull(at: int, frame: Frame) -> Frame:
            x = None if tangent is not None else self._drive.at(first + at)
            pulled = self._system.pull(states[at], x, frame) if tangent is None else self._one(tangent, at).pull(frame)
            return self._alive(pulled, frame, first + at)

        return Segment(first, states, frames, factors, pull)

    def _one(self, tangent: Tangent, at: int) -> Tangent:
        return tangent.part(slice(at * self._drive.batch, (at + 1) * self._drive.batch))

    def _alive(self, new: State, old: State, t: int) -> State:
        return still_running(new, old, self._lengths, t)


def _diverged(segment: Segment) -> Diverged:
    sound = [all(is_finite(leaf) for leaf in tree_flatten(state)[0]) for state in segment.states]
    at = segment.first + (sound.index(False) - 1 if False in sound else segment.steps - 1)
    what = "state" if False in sound else "frame"
    return Diverged(
        f"Expected a finite {what}, got NaN or infinity by step {at} (from 0). The map does not stay bounded from this state on "
        "these inputs: check the weights, the scale of the inputs, the step size.",
        step=at,
    )
