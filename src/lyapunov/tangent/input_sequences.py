"""The input sequences of a run, as the rollout asks for them."""

from typing import Protocol, runtime_checkable

import torch
from torch import Tensor

from lyapunov._shapes import Input, State
from lyapunov._trees import tree_map


@runtime_checkable
class InputSequences(Protocol):
    """The inputs of all sequences, step by step: how many sequences, their lengths, and the input of step t."""

    @property
    def batch(self) -> int: ...  # noqa: D102
    @property
    def lengths(self) -> Tensor | None: ...  # noqa: D102
    def at(self, t: int) -> Input: ...  # noqa: D102


def running_at(inputs: InputSequences, t: int) -> Tensor:
    """(batch,): which sequences make step t."""
    return torch.ones(inputs.batch, dtype=torch.bool) if inputs.lengths is None else inputs.lengths > t


def still_running(new: State, old: State, lengths: Tensor | None, t: int) -> State:
    """The new values of sequences that still run at step t, the old ones of those that have ended."""
    if lengths is None:
        return new
    running = lengths > t
    return tree_map(lambda a, b: torch.where(running.view(-1, *[1] * (a.dim() - 1)), a, b), new, old)
