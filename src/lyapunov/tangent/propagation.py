"""State and frames through several steps: all sequences together, or groups of them by a thread each."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import torch
from torch import Tensor

from lyapunov._shapes import Frames, State
from lyapunov._trees import tree_flatten, tree_map
from lyapunov.systems import ClosedForm, System, Tangent, joined
from lyapunov.tangent.divergence import is_finite_state
from lyapunov.tangent.input_sequences import InputSequences, still_running
from lyapunov.tangent.orthonormal import is_large
from lyapunov.tangent.workers import Workers

AT_ONCE = 16
"""Steps whose Jacobians are worked out at once."""
WORTH_THREADS = 2.5e7
"""Multiplications in a step, over all sequences, from which on dealing them out to threads costs less than it gains."""


class Propagated:
    """What came of several steps: the state before each and after the last, the frames, and ln |det J| where it is wanted."""

    def __init__(self, states: list[State], frames: Frames, log_volumes: Callable[[Sequence[int]], list[Tensor]]) -> None:
        self.states, self.frames, self.log_volumes = states, frames, log_volumes


@dataclass(frozen=True)
class _Part:
    """The same of a group of sequences; `volumes` (steps, group, ...) where they were asked for."""

    states: list[State]
    frames: Any
    tangent: Tangent
    volumes: Tensor | None


class TangentPropagator:
    """Moves state and frames along the inputs; sequences that have ended stay as they are.

    With a closed form the state goes ahead alone, the Jacobians of all steps come from one pass over the weights, and the
    frames follow, each step a product and a few rows. Sequences with large frames go one by one, others in as many groups as
    there are threads. Anything else is pushed step by step, in the calling thread: a user's step may not bear more.
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
        system = self.system
        if not isinstance(system, ClosedForm) or self._ends_within(t, steps):
            return self._step_by_step(state, frames, t, steps)
        at_once = volumes and system.volume_cost == "linear"
        groups = self._groups(frames)
        if len(groups) == 1:
            part = self._part(system, state, frames, (t, steps), groups[0], volumes=at_once)
            return Propagated(part.states, part.frames, lambda wanted: self._log_volumes([part], wanted))
        columns: Any = tree_map(lambda leaf: torch.empty_like(leaf.mT, memory_format=torch.contiguous_format), frames)

        def one(group: slice) -> _Part:
            part = self._part(system, state, frames, (t, steps), group, volumes=at_once)
            tree_map(lambda whole, own: whole[group].copy_(own.mT), columns, part.frames)
            return replace(part, frames=None)

        parts = self.workers.map(one, groups)
        states = [joined(at) for at in zip(*(part.states for part in parts), strict=True)]
        moved: Any = tree_map(lambda leaf: leaf.mT, columns)
        return Propagated(states, moved, lambda wanted: self._log_volumes(parts, wanted))

    def _step_by_step(self, state: State, frames: Frames, t: int, steps: int) -> Propagated:
        states = [state]
        for at in range(t, t + steps):
            state, frames = self.push(state, frames, at)
            states.append(state)
        return Propagated(states, frames, lambda wanted: self._asked(states, t, wanted))

    def _asked(self, states: list[State], t: int, wanted: Sequence[int]) -> list[Tensor]:
        volumes = (self.system.log_volume(states[at], self.inputs.at(t + at)) for at in wanted)
        return [volume for volume in volumes if volume is not None]

    def _groups(self, frames: Frames) -> list[slice]:
        batch = self.inputs.batch
        if frames[0].device.type != "cpu":
            return [self._everyone]
        if any(is_large(part) for part in frames):
            return [slice(one, one + 1) for one in range(batch)]
        worth = batch * sum(part.shape[1] ** 2 * part.shape[2] for part in frames) >= WORTH_THREADS
        size = -(-batch // self.workers.count) if worth else batch
        return [slice(first, min(first + size, batch)) for first in range(0, batch, size)]

    def _part(
        self, system: ClosedForm, state: State, frames: Frames, when: tuple[int, int], group: slice, *, volumes: bool
    ) -> _Part:
        t, steps = when
        own: Any = frames
        inputs = [self.inputs.at(at) for at in range(t, t + steps)]
        if group != self._everyone:
            own, inputs, state = tree_map(lambda leaf: leaf if leaf is None else leaf[group], (frames, inputs, state))
        keep = partial(self._alive_after, first=t, group=group)
        states, tangent = system.trace(state, inputs, keep)
        moved = self._alive(tangent.propagate(own, steps), own, t, group)
        found = tangent.log_volume() if volumes else None
        return _Part(states, moved, tangent, None if found is None else found.unflatten(0, (steps, -1)))

    def _log_volumes(self, parts: list[_Part], wanted: Sequence[int]) -> list[Tensor]:
        known = [part.volumes for part in parts if part.volumes is not None]
        if known:
            return list(torch.cat(known, dim=1)[list(wanted)])
        if self.system.device.type != "cpu":  # all of a step at once, in the caller's stream
            steps = [parts[0].tangent.part(slice(at * self.inputs.batch, (at + 1) * self.inputs.batch)) for at in wanted]
            return [volume for volume in (tangent.log_volume() for tangent in steps) if volume is not None]
        sizes = [len(tree_flatten(part.states[0])[0][0]) for part in parts]
        single = [
            part.tangent.part(slice(entry, entry + 1))
            for at in wanted
            for part, size in zip(parts, sizes, strict=True)
            for entry in range(at * size, (at + 1) * size)
        ]
        volumes = self.workers.map(lambda tangent: tangent.log_volume(), single)
        found = [volume for volume in volumes if volume is not None]
        return list(torch.cat(found).unflatten(0, (len(wanted), -1))) if found else []

    def _ends_within(self, t: int, steps: int) -> bool:
        lengths = self.inputs.lengths
        return lengths is not None and bool(((lengths > t) & (lengths < t + steps)).any())

    def _alive_after(self, new: State, old: State, at: int, *, first: int, group: slice) -> State:
        return self._alive(new, old, first + at, group)

    def _alive(self, new: State, old: State, t: int, group: slice) -> State:
        return still_running(new, old, None if self._lengths is None else self._lengths[group], t)
