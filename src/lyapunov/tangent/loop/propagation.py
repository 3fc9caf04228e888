"""State and frames through several steps: all sequences together, or groups of them by a thread each."""

from collections.abc import Callable, Sequence
from functools import partial

import torch
from torch import Tensor

from lyapunov._shapes import Frames, State
from lyapunov._trees import tree_map
from lyapunov.systems import StepByStep, System, Trace, joined
from lyapunov.tangent.divergence import diverged_error, is_finite_state
from lyapunov.tangent.input_sequences import InputSequences, still_running
from lyapunov.tangent.workers import Workers

AT_ONCE = 16
"""Steps whose Jacobians are worked out at once."""
CHECKED_EVERY = 100
"""Steps of a state alone between two looks at whether it is finite."""


class Propagated:
    """What came of several steps: the state before each and after the last, and the frames."""

    def __init__(self, states: list[State], frames: Frames, traces: Sequence[Trace], workers: Workers) -> None:
        self.states, self.frames, self._traces, self._workers = states, frames, traces, workers

    def log_volumes(self, wanted: Sequence[int]) -> Tensor | None:
        """ln |det J| (wanted, batch, ...) of some of the steps; None where there is no such number."""
        found = [trace.log_volumes(wanted, self._workers.map) for trace in self._traces]
        known = [volumes for volumes in found if volumes is not None]
        return torch.cat(known, dim=1) if known else None


class TangentPropagator:
    """Moves state and frames along the inputs; sequences that have ended stay as they are.

    The system says how it is traced, and which sequences together: groups of them by a thread each, or all in the calling
    thread. Where a sequence ends on the way, it goes step by step.
    """

    def __init__(self, system: System, inputs: InputSequences, workers: Workers) -> None:
        self.system, self.inputs, self.workers = system, inputs, workers
        self._lengths = None if inputs.lengths is None else inputs.lengths.to(system.device)
        self._everyone = slice(0, inputs.batch)

    def step(self, state: State, t: int) -> State:
        """The state alone through step t."""
        return self._alive(self.system.step(state, self.inputs.at(t)), state, t, self._everyone)

    def push(self, state: State, frames: Frames, t: int) -> tuple[State, Frames]:
        """State and frames through step t."""
        new, moved = self.system.push(state, self.inputs.at(t), frames)
        return self._alive(new, state, t, self._everyone), self._alive(moved, frames, t, self._everyone)

    def advance(
        self, state: State, t: int, until: int, *, on_step: Callable[[int], None] = lambda _: None, more: str = ""
    ) -> State:
        """The state alone from step t to step `until`; raises `Diverged`, with `more` to be said, on NaN or infinity."""
        while t < until:
            before, first = state, t
            for _ in range(min(CHECKED_EVERY, until - t)):
                state = self.step(state, t)
                t += 1
                on_step(t)
            if not is_finite_state(state):
                at, broken = self.broken(first, before, (), until=t, pushing=False)
                raise diverged_error(broken, at, more)
        return state

    def broken(self, t: int, state: State, frames: Frames, *, until: int, pushing: bool) -> tuple[int, str]:
        """The step at which the first NaN or infinity appears on the way from step t, and whether in the state or a frame."""
        for at in range(t, until):
            if pushing:
                state, frames = self.push(state, frames, at)
            else:
                state = self.step(state, at)
            if not is_finite_state(state):
                return at, "state"
            if not is_finite_state(frames):
                return at, "frame"
        return until - 1, "frame"

    def log_diagonal(self, state: State, t: int, steps: int) -> tuple[list[State], Tensor]:
        """`System.log_diagonal` of `steps` steps from step t on."""
        inputs = [self.inputs.at(at) for at in range(t, t + steps)]
        return self.system.log_diagonal(state, inputs, partial(self._alive_after, first=t, group=self._everyone))

    def propagate(self, state: State, frames: Frames, t: int, steps: int, *, volumes: bool = False) -> Propagated:
        """State and frames through `steps` steps from step t on, at most AT_ONCE. `volumes`: ln |det J| will be asked for."""
        inputs = [self.inputs.at(at) for at in range(t, t + steps)]
        groups = [self._everyone] if self._ends_within(t, steps) else self.system.groups(frames, self.workers.count)
        if len(groups) == 1:
            keep = partial(self._alive_after, first=t, group=self._everyone)
            trace = (
                StepByStep(self.system, [state], inputs, keep)
                if self._ends_within(t, steps)
                else self.system.trace(state, inputs, keep)
            )
            moved = trace.propagate(frames, volumes=volumes)
            return Propagated(trace.states, moved, [trace], self.workers)
        columns: tuple[Tensor, ...] = tuple(
            torch.empty_like(frame.mT, memory_format=torch.contiguous_format) for frame in frames
        )

        def one(group: slice) -> Trace:
            own, driven, start = tree_map(lambda leaf: leaf if leaf is None else leaf[group], (frames, inputs, state))
            trace = self.system.trace(start, driven, partial(self._alive_after, first=t, group=group))
            for whole, moved in zip(columns, trace.propagate(own, volumes=volumes), strict=True):
                whole[group].copy_(moved.mT)
            return trace

        traces = self.workers.map(one, groups)
        states = [joined(at) for at in zip(*(trace.states for trace in traces), strict=True)]
        return Propagated(states, tuple(whole.mT for whole in columns), traces, self.workers)

    def _ends_within(self, t: int, steps: int) -> bool:
        lengths = self.inputs.lengths
        return lengths is not None and bool(((lengths > t) & (lengths < t + steps)).any())

    def _alive_after(self, new: State, old: State, at: int, *, first: int, group: slice) -> State:
        return self._alive(new, old, first + at, group)

    def _alive(self, new: State, old: State, t: int, group: slice) -> State:
        return still_running(new, old, None if self._lengths is None else self._lengths[group], t)
