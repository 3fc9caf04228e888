"""Where a run is, and how the columns of its frames lie in their blocks."""

from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from lyapunov._shapes import Frames, State
from lyapunov.tangent.divergence import is_finite_state


class Point(NamedTuple):
    """After t steps: the state, the frames, and the second frames that go along with them, if any do."""

    t: int
    state: State
    frames: Frames
    second: Frames | None = None

    @property
    def is_finite(self) -> bool:
        """Whether the state and both frames hold no NaN and no infinity."""
        return is_finite_state((self.state, self.frames, () if self.second is None else self.second))


@dataclass(frozen=True)
class Columns:
    """Of the frames of all blocks, one after the other: `sizes`, how many each block has; `square`: it has all there are.

    `block`, `rank` (columns,): which block a column belongs to, and which column of its block it is.
    """

    sizes: tuple[int, ...]
    square: bool
    block: Tensor
    rank: Tensor

    @classmethod
    def of(cls, frames: Frames) -> "Columns":
        """Describe these frames: each block's columns, their ranks in it, and whether every block is square."""
        sizes = tuple(frame.shape[-1] for frame in frames)
        block = torch.repeat_interleave(torch.arange(len(sizes)), torch.tensor(sizes))
        rank = torch.cat([torch.arange(size) for size in sizes])
        return cls(sizes, all(frame.shape[-1] == frame.shape[-2] for frame in frames), block, rank)

    @property
    def count(self) -> int:
        """How many columns the frames of all blocks have together."""
        return sum(self.sizes)

    def among_first(self, sizes: tuple[int, ...]) -> Tensor:
        """(columns,): whether a column is among the first so many of its block."""
        return self.rank < torch.tensor(sizes)[self.block]
