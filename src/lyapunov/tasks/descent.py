"""The training loop that all tasks share."""

from collections.abc import Iterable, Iterator

import torch
from torch import Tensor, nn


def descent(network: nn.Module, optimizer: torch.optim.Optimizer, losses: Iterable[Tensor], clip: float) -> Iterator[float]:
    """A step for each loss, with its gradient clipped; each loss as a number once its step is taken.

    `losses` is asked for the next one after the step, so that it is computed with the weights of the moment.
    """
    for loss in losses:
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(network.parameters(), clip)
        optimizer.step()
        yield float(loss.detach())
