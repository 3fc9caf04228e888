"""Ginelli's two sweeps: frames forwards, and back again the combinations of their columns that keep their direction."""

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from lyapunov._shapes import Frame
from lyapunov.errors import InvalidInput
from lyapunov.tangent import Segment


@dataclass(frozen=True)
class Stretch:
    """Covariant vectors along a segment: `vectors` (steps + 1, batch, n, k), one per state, and `growth` (steps, batch, k)."""

    segment: Segment
    vectors: Tensor
    growth: Tensor


class Combinations:
    """C_t (batch, k, k), upper triangular with columns of length 1: V_t = Q_t C_t obey J_t V_t = V_(t+1) diag e^growth.

    J_t Q_t = Q_(t+1) R_t, so C_t is R_t^-1 C_(t+1) with its columns brought to length 1. Which C the way back starts from does
    not matter after some steps: two, from different random starts, tell after how many.
    """

    def __init__(self, frame: Frame, seed: int) -> None:
        batch, _, k = frame.shape
        self._both = [_random_triangle(k, seed + at).to(frame).expand(batch, -1, -1) for at in range(2)]
        self.disagreement = self._distance()
        """(k,): sine of the angle between vectors from the two starts, where they were last together; the largest."""

    def converge(self, segment: Segment, down_to: int) -> None:
        """Back through the steps of a segment, to the state before step `down_to` at the earliest; none of it is kept."""
        steps = range(max(down_to - segment.first, 0), segment.steps)
        for at in reversed(steps):
            self._both = [_before(segment.factors[at], one)[0] for one in self._both]
        if len(steps):
            self.disagreement = self._distance()

    def _distance(self) -> Tensor:
        one, other = self._both
        cosines = (one * other).sum(1).abs().clamp(max=1.0)
        return (1 - cosines.square()).sqrt().amax(0)

    def pull_back(self, segment: Segment, steps: range) -> Stretch:
        """Back through some steps of a segment, numbered within it."""
        current, growth = self._both[0], []
        vectors = [segment.frames[steps.stop] @ current]
        for at in reversed(steps):
            current, grown = _before(segment.factors[at], current)
            growth.append(grown)
            vectors.append(segment.frames[at] @ current)
        self._both[0] = current
        batch, k = current.shape[0], current.shape[-1]
        grown = torch.stack(growth[::-1]) if growth else current.new_zeros(0, batch, k)
        return Stretch(segment, torch.stack(vectors[::-1]), grown)


def _before(factor: Tensor, after: Tensor) -> tuple[Tensor, Tensor]:
    """C before a step, and by what its vectors grow in it, (batch, k) nats."""
    solved = torch.linalg.solve_triangular(factor, after, upper=True)
    lengths = torch.linalg.vector_norm(solved, dim=1)
    return solved / lengths.unsqueeze(1), -lengths.log()


def _random_triangle(k: int, seed: int) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    drawn = torch.randn(k, k, dtype=torch.float64, generator=generator).triu()
    return drawn / torch.linalg.vector_norm(drawn, dim=0)


def subspaces_apart(one: Frame, other: Frame) -> Tensor:
    """(k,): how far the span of the first columns of `one` is from that of as many of `other`; the largest over sequences."""
    cosines = (other.mT @ one).square()
    inside = torch.stack([cosines[:, : at + 1, at].sum(1) for at in range(one.shape[-1])], dim=-1)
    return (1 - inside).clamp(min=0.0).sqrt().amax(0)


def require_directions(segments: Iterator[Segment]) -> Iterator[Segment]:
    """Segments as they are; raises InvalidInput once what remains of a column is rounding of the longest up to it."""
    for segment in segments:
        vanished = segment.vanished.any(0).any(0)
        lost = torch.nonzero(vanished)
        if lost.numel():
            number = int(lost[0])
            raise InvalidInput(
                f"Expected directions that are not lost, got number {number + 1} of {len(vanished)} lost, or too small beside "
                f"the others to be computed, by step {segment.stop}: it has no covariant vector. Pass k={number} or fewer."
            )
        yield segment
