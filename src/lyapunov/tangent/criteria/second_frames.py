"""Second frames that go along with the counted one: what alignment left in it, and what rounding may have done to it."""

from collections.abc import Sequence

import torch
from torch import Tensor

from lyapunov._shapes import Frames
from lyapunov._trees import tree_map
from lyapunov.tangent.frames import ROBUST, VolumeAccumulator, orthonormalise
from lyapunov.tangent.workers import Workers

NEGLIGIBLE = 1e-3
"""Nats in all, root mean square over sequences, below which what a frame still misses is not followed any further."""
SHADOWED = 4
"""Columns of each block that a second frame has at most."""
LAST_PART = 0.75
"""Fraction of the counted steps after which a second frame has shown enough of alignment, and one is made for rounding."""
PERTURBED, STRETCH = 1e5, 200
"""Units of rounding by which a frame is perturbed at each orthonormalisation, and for how many steps at most."""


class SecondFrame:
    """A frame of fewer columns on the same trajectories, and the growth that it lacks beside the counted one.

    `frames`: (batch, rows, few). `columns`: how many the counted frame has in each block.
    """

    def __init__(self, frames: Frames, columns: Sequence[int]) -> None:
        few = [part.shape[-1] for part in frames]
        self._batch = len(frames[0])
        self._seen = torch.cat([torch.arange(own) < least for own, least in zip(columns, few, strict=True)])
        self._accumulator = VolumeAccumulator([ROBUST] * len(few), (self._batch, sum(few)))
        self._at = self._taken = 0
        self._grown: Tensor = torch.zeros(self._batch, sum(few), dtype=torch.float64)
        self._stops: list[int] = []
        self._lacked: list[Tensor] = []

    def follow(self, frames: Frames, taken: int, counted: Tensor | None, running: Tensor, workers: Workers) -> Frames | None:
        """The second frames after `taken` more steps, orthonormal again; None where nothing more is to be seen.

        `counted`: ln diag R of the counted frame since it was last reported (batch, columns); None where it is not read yet.
        `running`: (batch,), sequences that have not ended.
        """
        factorization = self._accumulator.factorize(frames, workers, measured=True)
        self._grown = self._grown + torch.where(running.unsqueeze(-1), factorization.diagonal, 0.0)
        self._taken += taken
        if counted is None:
            return self._next(factorization.frames)
        own = torch.where(running.unsqueeze(-1), counted[:, self._seen], 0.0)
        self._lacked.append((own - self._grown).nan_to_num(nan=0.0, posinf=0.0, neginf=0.0))
        self._at += self._taken
        self._stops.append(self._at)
        self._grown, self._taken = torch.zeros_like(self._grown), 0
        return None if self._is_over() else self._next(factorization.frames)

    def _next(self, frames: Frames) -> Frames:
        return frames

    def _is_over(self) -> bool:
        return False

    def _between(self, start: int, stop: int) -> Tensor:
        """(batch, columns): lacked in these steps; an interval counts where its middle lies. NaN for columns not seen."""
        found, begin = torch.zeros_like(self._grown), 0
        for end, lacked in zip(self._stops, self._lacked, strict=True):
            if start <= (begin + end) / 2 < stop:
                found = found + lacked
            begin = end
        whole = torch.full((self._batch, len(self._seen)), torch.nan, dtype=torch.float64)
        whole[:, self._seen] = found
        return whole


class Alignment(SecondFrame):
    """Growth that a random frame lacks beside the counted one, by the age of the random one.

    A frame that starts at random grows more slowly than an aligned one until it is aligned, too. The counted frame was
    aligned for `age` steps before counting began. A second frame that starts at random where counting begins shows, along the
    same trajectories, what such a frame lacks before that age, and after it; the latter is what the counted frame lacks.
    """

    def __init__(self, frames: Frames, columns: Sequence[int], *, age: int) -> None:
        super().__init__(frames, columns)
        self._age = age

    def lacked(self) -> tuple[Tensor, Tensor]:
        """(batch, columns) before the age of the counted frame, and from it on.

        Where the second frame does not reach twice that age, the second half of what it reaches.
        """
        age = min(self._age, self._at // 2) if self._at < 2 * self._age else self._age
        return self._between(0, age), self._between(age, self._at)

    def _is_over(self) -> bool:
        """Whether the rest is NEGLIGIBLE: what was lacked over the later half of the steps is."""
        if self._at <= max(2 * self._age, 8):
            return False
        later = self._between(self._at // 2, self._at)[:, self._seen]
        return bool((later.square().mean(0).sqrt() <= NEGLIGIBLE).all())


class Sensitivity(SecondFrame):
    """How growth changes where the frame is perturbed at every orthonormalisation, by PERTURBED times what rounding does.

    Jacobians that are far from normal amplify what is rounded off in a frame from one interval to the next, so that their
    growth is that of the rounding (a pseudospectrum): exponents that move with the size of a perturbation are not reliable.
    """

    def __init__(self, frames: Frames, columns: Sequence[int]) -> None:
        super().__init__(frames, columns)
        self._source = torch.Generator().manual_seed(0)

    def rates(self) -> Tensor | None:
        """(columns,): by how much the growth of a perturbed frame differs, per step, at the least; None where it was not seen.

        Over the later half, for what is amplified from one interval to the next shows after some of them; mean over sequences
        less its error, for columns that change places in one of them are chance.
        """
        if not self._at:
            return None
        start = self._at // 2
        found = self._between(start, self._at) / (self._at - start)
        mean, few = found.mean(0).abs(), self._batch < 3
        return mean if few else (mean - found.std(0) / self._batch**0.5).clamp(min=0.0)

    def _next(self, frames: Frames) -> Frames:
        return tree_map(self._perturbed, frames)

    def _perturbed(self, frame: Tensor) -> Tensor:
        drawn = torch.randn(frame.mT.shape, generator=self._source, dtype=torch.float64).to(frame).mT
        return frame + min(PERTURBED * torch.finfo(frame.dtype).eps, 1e-3) * drawn

    def _is_over(self) -> bool:
        return self._at >= STRETCH


def leading(frames: Frames) -> Frames:
    """The first columns, at most SHADOWED of each block, orthonormal."""
    return tree_map(lambda part: orthonormalise(part[..., :SHADOWED])[0], frames)
