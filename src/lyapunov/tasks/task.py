"""What a task is to a training loop: batches, a held-out part, a loss at every step."""

from abc import ABC, abstractmethod
from collections.abc import Iterator

import torch
from torch import Tensor

Batch = tuple[Tensor, Tensor]
"""Inputs and targets, batch first."""


def stream_of(seed: int, epoch: int) -> torch.Generator:
    """The random numbers of one epoch's batches."""
    return torch.Generator().manual_seed(1_000_003 * seed + epoch)


class Task(ABC):
    """Sequences to learn from. Batches are functions of seed and epoch alone, so that a run that was ended goes on the same."""

    name: str
    unit: str
    """Of the loss."""
    input_size: int
    output_size: int

    @abstractmethod
    def batches(self, seed: int, epoch: int) -> Iterator[Batch]:
        """One epoch of training."""

    @abstractmethod
    def held_out(self) -> Iterator[Batch]:
        """What the loss is judged by."""

    @abstractmethod
    def probe(self) -> Batch:
        """Held-out sequences, the same always, that exponents are taken along."""

    @abstractmethod
    def losses(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """(batch, time) of every step, or (batch,) of the last one, before any mean."""

    def encoded(self, inputs: Tensor) -> Tensor:
        """(batch, time, input_size): what the network receives."""
        return inputs
