"""The adding problem: a long memory, and a loss that stays flat until it is found."""

from collections.abc import Iterator

import torch
from torch import Tensor

from lyapunov.tasks.task import Batch, Task, stream_of


class Adding(Task):
    """Two of `steps` numbers in [0, 1] are marked, one in each half; the target at the end is their sum.

    Answering 1 whatever comes has a mean squared error of 1/6: the plateau. Source: Hochreiter & Schmidhuber 1997.
    """

    name, unit = "the adding problem", "mean squared error"
    input_size, output_size = 2, 1

    def __init__(self, *, steps: int, batch: int, batches: int, probe: int) -> None:
        self._steps, self._batch, self._batches, self._probe = steps, batch, batches, probe

    def batches(self, seed: int, epoch: int) -> Iterator[Batch]:
        """Draw new sequences for an epoch: the same for the same seed and epoch."""
        generator = stream_of(seed, epoch)
        for _ in range(self._batches):
            yield self._drawn(self._batch, generator)

    def held_out(self) -> Iterator[Batch]:
        """A thousand sequences that no training draws (another stream of numbers)."""
        yield self._drawn(1000, torch.Generator().manual_seed(2**40))

    def probe(self) -> Batch:
        """Sequences for the monitor, drawn apart from those of training and of the held-out set."""
        return self._drawn(self._probe, torch.Generator().manual_seed(2**40 + 1))

    def losses(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """(batch,): squared error of the last output."""
        return (outputs[:, -1, 0] - targets).square()

    def _drawn(self, batch: int, generator: torch.Generator) -> Batch:
        half = self._steps // 2
        numbers = torch.rand(batch, self._steps, generator=generator)
        first = torch.randint(half, (batch, 1), generator=generator)
        second = half + torch.randint(self._steps - half, (batch, 1), generator=generator)
        marks = torch.zeros_like(numbers).scatter_(1, first, 1.0).scatter_(1, second, 1.0)
        return torch.stack([numbers, marks], dim=-1), (numbers * marks).sum(-1)
