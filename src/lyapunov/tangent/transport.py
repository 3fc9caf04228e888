"""State and frames through several steps: all sequences together, or each by a thread of its own."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.utils._pytree import tree_map

from lyapunov._shapes import Frames, Input, State, blocks
from lyapunov.systems import ClosedForm, System, Tangent
from lyapunov.tangent.drive import Drive
from lyapunov.tangent.orthonormal import is_large
from lyapunov.tangent.workers import Workers

TOGETHER = 16
"""Steps whose Jacobians are worked out at once."""


@dataclass(frozen=True)
class Passage:
    """What came of several steps: the state before each and after the last, the frames, and ln |det J| at one of them."""

    states: list[State]
    frames: Frames
    log_volume: Callable[[int], Tensor | None]


class Transport:
    """Moves state and frames along the drive; sequences that have ended stay as they are.

    With a closed form the state goes ahead alone, the Jacobians of all steps come from one pass over the weights, and the
    frames follow, each step a product and a few rows. Large frames go sequence by sequence. Anything else is pushed step by
    step.
    """

    def __init__(self, system: System, drive: Drive, lengths: Tensor | None, workers: Workers) -> None:
        self._system, self._drive, self._lengths, self._workers = system, drive, lengths, workers

    def step(self, state: State, t: int) -> State:
        """The state alone through step t."""
        return self._alive(self._system.step(state, self._drive.at(t)), state, t)

    def push(self, state: State, frames: Frames, t: int) -> tuple[State, Frames]:
        """State and frames through step t."""
        new, moved = self._system.push(state, self._drive.at(t), frames)
        return self._alive(new, state, t), self._alive(moved, frames, t)

    def through(self, state: State, frames: Frames, t: int, steps: int) -> Passage:
        """State and frames through `steps` steps from step t on, at most TOGETHER."""
        system = self._system
        if not isinstance(system, ClosedForm) or self._ends_within(t, steps):
            return self._step_by_step(state, frames, t, steps)
        states, inputs = [state], [self._drive.at(at) for at in range(t, t + steps)]
        for at in range(t, t + steps):
            states.append(self.step(states[-1], at))
        _, tangent = system.linearize(_joined(states[:-1]), _joined(inputs))
        moved = self._alive(self._moved(tangent, frames, steps), frames, t)
        return Passage(states, moved, lambda at: self._log_volume(tangent, at))

    def _log_volume(self, tangent: Tangent, at: int) -> Tensor | None:
        batch = self._drive.batch
        if self._system.volume_cost != "cubic":
            return tangent.part(slice(at * batch, (at + 1) * batch)).log_volume()
        entries = range(at * batch, (at + 1) * batch)
        volumes: list[Any] = self._workers.map(lambda entry: tangent.part(slice(entry, entry + 1)).log_volume(), entries)
        return torch.cat(volumes)

    def _step_by_step(self, state: State, frames: Frames, t: int, steps: int) -> Passage:
        states = [state]
        for at in range(t, t + steps):
            state, frames = self.push(state, frames, at)
            states.append(state)
        return Passage(states, frames, lambda at: self._system.log_volume(states[at], self._drive.at(t + at)))

    def _moved(self, tangent: Tangent, frames: Frames, steps: int) -> Frames:
        batch = self._drive.batch
        parts = blocks(frames)
        if batch > 1 and parts[0].device.type == "cpu" and any(is_large(part) for part in parts):
            moved = self._workers.map(lambda one: self._moved_one(tangent, frames, steps, one), range(batch))
            columns: Any = tree_map(lambda *ones: torch.cat([one.mT for one in ones]).mT, *moved)
            return columns
        for at in range(steps):
            frames = tangent.part(slice(at * batch, (at + 1) * batch)).push(frames)
        return frames

    def _moved_one(self, tangent: Tangent, frames: Frames, steps: int, one: int) -> Frames:
        frame: Any = tree_map(lambda part: part[one : one + 1], frames)
        for at in range(steps):
            entry = at * self._drive.batch + one
            frame = tangent.part(slice(entry, entry + 1)).push(frame)
        return frame

    def _ends_within(self, t: int, steps: int) -> bool:
        lengths = self._drive.lengths
        return lengths is not None and bool(((lengths > t) & (lengths < t + steps)).any())

    def _alive(self, new: State, old: State, t: int) -> State:
        """The new values of sequences that still run at step t, the old ones of those that have ended."""
        if self._lengths is None:
            return new
        running = self._lengths > t
        return tree_map(lambda a, b: torch.where(running.view(-1, *[1] * (a.dim() - 1)), a, b), new, old)


def _joined(values: list[Input]) -> Input:
    """Steps of a batch, one after the other, as one batch."""
    return values[0] if len(values) == 1 else tree_map(lambda *leaves: torch.cat(leaves), *values)
