"""Two tasks: a periodic sum of sines, and a delayed response. Times are steps of a tenth of a unit's time constant.

Both are endless streams of trials, so that a run may be as long as one likes.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice

import numpy as np

from experiments.force.network import Numbers

PULSE = 50
"""Steps of an input pulse, as in the authors' oscillation task (Full-FORCE)."""
Trial = tuple[Numbers, Numbers]
"""Inputs (steps, inputs) and targets (steps, outputs)."""


@dataclass(frozen=True)
class Sines:
    """The four sines of Sussillo and Abbott's demonstration; a trial is a period, which a pulse begins.

    `longer`: a pulse every second period only, so that the network runs on by itself for twice as long.
    """

    period: int = 200
    inputs = outputs = 1
    name = "sines"
    label = "sum of sines"

    def trial(self, source: np.random.Generator, *, longer: bool = False) -> Trial:  # noqa: ARG002
        """One trial, the same each time."""
        angle = 2 * np.pi * np.arange(self.period * (2 if longer else 1))[:, None] / self.period
        target = np.sin(angle) + np.sin(2 * angle) / 2 + np.sin(3 * angle) / 6 + np.sin(4 * angle) / 3
        pulse = np.zeros_like(target)
        pulse[:PULSE] = 1.0
        return pulse, 1.3 / 1.5 * target


@dataclass(frozen=True)
class DelayedResponse:
    """A cue of either sign, a delay, a go signal: the response has the cue's sign.

    Inputs: cue and go. Outputs: the response, half a sine, and what is to be remembered, from the cue on until the response
    ends. The second output is a hint, an idea of DePasquale et al.: without it, what has to be remembered is in no target.
    """

    delay: tuple[int, int] = (100, 300)
    pause: tuple[int, int] = (100, 200)
    response: int = 100
    inputs = outputs = 2
    name = "delay"
    label = "delayed response"

    def trial(self, source: np.random.Generator, *, longer: bool = False) -> Trial:
        """One trial; `longer`: a delay of one to two times the longest one of training."""
        low, high = (self.delay[1], 2 * self.delay[1]) if longer else self.delay
        sign, delay, pause = source.choice([-1.0, 1.0]), int(source.integers(low, high + 1)), int(source.integers(*self.pause))
        go = PULSE + delay
        start = go + PULSE
        end = start + self.response
        inputs, targets = np.zeros((end + pause, 2)), np.zeros((end + pause, 2))
        inputs[:PULSE, 0], inputs[go:start, 1] = sign, 1.0
        targets[start:end, 0] = sign * np.sin(np.pi * np.arange(self.response) / self.response)
        targets[:end, 1] = sign
        return inputs, targets


Task = Sines | DelayedResponse


def steps(task: Task, source: np.random.Generator) -> Iterator[tuple[Numbers, Numbers]]:
    """Inputs and targets, step after step, for ever."""
    while True:
        yield from zip(*task.trial(source), strict=True)


def batch(task: Task, count: int, length: int, seed: int) -> Trial:
    """`count` streams of `length` steps, each from somewhere in its first trial: (count, length, inputs) and (.., outputs)."""
    streams = []
    for at in range(count):
        source = np.random.default_rng([seed, at])
        skipped = int(source.integers(200))
        streams.append(islice(steps(task, source), skipped, skipped + length))
    both = [tuple(np.array(part) for part in zip(*stream, strict=True)) for stream in streams]
    return np.stack([one[0] for one in both]), np.stack([one[1] for one in both])


def trials(task: Task, count: int, seed: int, *, longer: bool = False) -> Trial:
    """So many trials one after the other."""
    source = np.random.default_rng(seed)
    found = [task.trial(source, longer=longer) for _ in range(count)]
    return np.concatenate([one[0] for one in found]), np.concatenate([one[1] for one in found])
