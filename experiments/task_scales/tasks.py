"""The eleven tasks, and the time scale of each: the lag; of motion and text, how long the input stays like itself."""

from collections.abc import Callable, Iterator

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy, one_hot

from lyapunov.tasks import Adding, NextCharacter, NextFrame, Task, demo_corpus
from lyapunov.tasks.task import Batch, stream_of

BATCH, BATCHES = 32, 100
"""Sequences in a batch; batches in an epoch."""
PROBE = (10, 200)
"""Sequences and steps that exponents are taken along."""
HELD_OUT = 400
"""Sequences of the tasks that are drawn."""
SYMBOLS = 8
"""Of the copy tasks."""


class Delayed(Task):
    """Random symbols; the target is the one of `lag` steps ago, or, of bits, whether it and the one before it differ."""

    def __init__(self, lag: int, symbols: int = SYMBOLS, *, parity: bool = False) -> None:
        self.name, self.unit = f"{'parity' if parity else 'copy'} after {lag} steps", "nats"
        self.input_size = self.output_size = symbols
        self.lag, self._parity, self._steps = lag, parity, 30 + lag

    def batches(self, seed: int, epoch: int) -> Iterator[Batch]:
        """Draw new sequences for an epoch: the same for the same seed and epoch."""
        generator = stream_of(seed, epoch)
        for _ in range(BATCHES):
            yield self._drawn(BATCH, self._steps, generator)

    def held_out(self) -> Iterator[Batch]:
        """Sequences that no training draws (another stream of numbers)."""
        yield self._drawn(HELD_OUT, self._steps, torch.Generator().manual_seed(2**40))

    def probe(self) -> Batch:
        """Long ones, drawn apart."""
        return self._drawn(*PROBE, torch.Generator().manual_seed(2**40 + 1))

    def losses(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Cross-entropy, from the first step on at which there is something to name."""
        known = self.lag + self._parity
        return cross_entropy(outputs[:, known:].mT, targets[:, known:], reduction="none")

    def encoded(self, inputs: Tensor) -> Tensor:
        """One-hot vectors."""
        return one_hot(inputs, self.input_size)

    def _drawn(self, batch: int, steps: int, generator: torch.Generator) -> Batch:
        symbols = torch.randint(self.input_size, (batch, steps), generator=generator)
        targets = symbols.roll(self.lag, dims=1)
        return symbols, targets ^ targets.roll(1, dims=1) if self._parity else targets


def _adding(steps: int) -> Task:
    return Adding(steps=steps, batch=BATCH, batches=BATCHES, probe=PROBE[0] * PROBE[1] // steps)


def _motion(every: int) -> Task:
    return NextFrame(batch=BATCH, steps=25, batches=BATCHES, probe=(PROBE[0], 400 // every), every=every)


def _text() -> Task:
    return NextCharacter(demo_corpus(), batch=BATCH, steps=50, probe=PROBE)


TASKS: dict[str, Callable[[], Task]] = {
    **{f"adding-{lag}": lambda lag=lag: _adding(lag) for lag in (20, 40, 80)},
    **{f"copy-{lag}": lambda lag=lag: Delayed(lag) for lag in (3, 8, 16)},
    "parity-8": lambda: Delayed(8, 2, parity=True),
    **{f"motion-{120 // every}": lambda every=every: _motion(every) for every in (1, 2, 4)},
    "text": _text,
}
"""By name: the lag in steps, or the frames in a second."""


def probe_inputs(task: Task) -> Tensor:
    """(sequences, steps, features) in double precision; short sequences one after the other."""
    inputs = task.encoded(task.probe()[0]).double()
    return inputs.reshape(PROBE[0], -1, inputs.shape[-1]) if len(inputs) > PROBE[0] else inputs


def time_scale(name: str, task: Task) -> float:
    """In steps: the lag that the name has, or the e-folding time of the input's autocorrelation, between two lags by a line."""
    kind, _, lag = name.partition("-")
    if kind not in ("motion", "text"):
        return float(lag)
    inputs = probe_inputs(task)
    left = inputs - inputs.mean((0, 1))
    steps = left.shape[1]
    found = torch.stack([(left[:, : steps - by] * left[:, by:]).sum(-1).mean() for by in range(steps // 2)])
    found = found / found[0]
    first = int((found < torch.e**-1).double().argmax())
    above, below = float(found[first - 1]), float(found[first])
    return first - 1 + (above - torch.e**-1) / (above - below)
