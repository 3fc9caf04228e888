"""The next character of a text."""

from collections.abc import Iterator

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy, one_hot

from lyapunov.errors import InvalidInput
from lyapunov.tasks.task import Batch, Task, stream_of
from lyapunov.tasks.text import Corpus


class NextCharacter(Task):
    """Windows of a text, each from a state of zero; the targets are the characters that follow, without wrap-around.

    An epoch is as many windows, from random places, as cover the training text once.
    """

    unit = "nats per character"

    def __init__(self, data: Corpus, *, batch: int, steps: int, probe: tuple[int, int]) -> None:
        self.name, self._data, self._batch, self._steps, self._probe = data.name, data, batch, steps, probe
        self.input_size = self.output_size = len(data.vocabulary)
        wanted = probe[0] * (probe[1] + 1)
        if len(data.valid) < wanted:
            raise InvalidInput(
                f"Expected a text with at least {wanted} characters held out (a tenth), got {len(data.valid)} in {data.name}. "
                "Use a longer one."
            )

    def batches(self, seed: int, epoch: int) -> Iterator[Batch]:
        """Windows of the training text from random starts: as many as cover it once, in an epoch."""
        generator = stream_of(seed, epoch)
        for _ in range(len(self._data.train) // (self._batch * self._steps)):
            starts = torch.randint(len(self._data.train) - self._steps, (self._batch,), generator=generator)
            yield self._windows(self._data.train, starts, self._steps)

    def held_out(self) -> Iterator[Batch]:
        """The validation text, window after window."""
        starts = torch.arange(0, len(self._data.valid) - self._steps, self._steps)
        for part in starts.split(self._batch):
            yield self._windows(self._data.valid, part, self._steps)

    def probe(self) -> Batch:
        """Long windows, spread over the validation text without overlap."""
        count, steps = self._probe
        starts = torch.linspace(0, len(self._data.valid) - steps - 1, count).long()
        return self._windows(self._data.valid, starts, steps)

    def losses(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Cross-entropy of the character that follows."""
        return cross_entropy(outputs.mT, targets, reduction="none")

    def encoded(self, inputs: Tensor) -> Tensor:
        """One-hot vectors of the symbols, as the network receives them."""
        return one_hot(inputs, self.input_size)

    @staticmethod
    def _windows(text: Tensor, starts: Tensor, steps: int) -> Batch:
        windows = text[starts.unsqueeze(-1) + torch.arange(steps + 1)]
        return windows[:, :-1], windows[:, 1:]
