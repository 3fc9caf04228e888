"""The steps before those that are counted: the frame aligns, and a second random one tells when it has."""

import math
from typing import NamedTuple

import torch
from torch import Tensor

from lyapunov._shapes import Frames
from lyapunov.tangent.criteria import SUSPICIOUS, Agreement
from lyapunov.tangent.frames import Factorization, Leading, VolumeAccumulator
from lyapunov.tangent.point import Columns
from lyapunov.tangent.workers import Workers


class Aligned(NamedTuple):
    """What was done before counting: steps to `settle` and to `align`, the `distance` of copies of the state after them.

    `disagreement`: of two random frames, with what is `tolerated`; None where `align` was given.
    """

    settle: int
    align: int
    distance: float | None
    disagreement: float | None
    tolerated: float

    @property
    def start(self) -> int:
        """The first step that is counted."""
        return self.settle + self.align


class Aligning:
    """Compares the growth of the frames with that of a second one, and notes which directions within them grow most.

    `second`: of a second random frame, its columns and what it has grown by; None where `align` was given.
    """

    def __init__(self, columns: Columns, second: tuple[Columns, VolumeAccumulator] | None, log_unit: float) -> None:
        self._columns, self._second, self._log_unit = columns, second, log_unit
        self.agreement, self.leading = Agreement(), Leading()

    @property
    def compares(self) -> bool:
        """Whether there is a second frame: then growth is read after every interval."""
        return self._second is not None

    @property
    def done(self) -> bool:
        """Both frames grow alike, and the first direction has left the next ones behind."""
        return self.compares and self.agreement.reached and self.leading.told_apart

    def compare(
        self,
        taken: int,
        found: Factorization,
        growth: Tensor | None,
        second: Frames | None,
        running: Tensor,
        workers: Workers,
    ) -> Frames | None:
        """The second frames, factored, where there are any. `growth` (batch, columns): of the first ones over `taken` steps."""
        if self._second is None or second is None or growth is None:
            return second
        columns, volumes = self._second
        other = volumes.factorize(second, workers, measured=True)
        other_growth = volumes.add(other, other.diagonal)
        if other_growth is None:
            return other.frames
        both = self._columns.among_first(columns.sizes)
        sure, growth = (found.log_dynamic_range + self._log_unit < math.log(SUSPICIOUS))[:, both], growth[:, both]
        leading = (growth - other_growth)[:, self._columns.rank[both] == 0]
        leading = torch.where(running.unsqueeze(-1), leading.nan_to_num(nan=0.0, posinf=0.0, neginf=0.0), 0.0)
        self.agreement.add(taken, growth.masked_fill(~sure, torch.nan)[running], other_growth[running], leading)
        return other.frames
