"""ln |det J| of some of the counted steps: sums that go with the growth, and certify it."""

from typing import NamedTuple

import torch
from torch import Tensor

from lyapunov.tangent.input_sequences import InputSequences, running_at
from lyapunov.tangent.loop.propagation import Propagated
from lyapunov.tangent.point import Columns
from lyapunov.tangent.rollout_options import RolloutOptions


class Samples(NamedTuple):
    """Of one interval: sums (batch, blocks) of ln |det J|, one per piece; `sampled` (batch,) and `steps` behind them."""

    sums: tuple[Tensor, ...]
    sampled: Tensor
    steps: int

    def __add__(self, other: "Samples") -> "Samples":  # type: ignore[override]
        return Samples(self.sums + other.sums, self.sampled + other.sampled, self.steps + other.steps)


class VolumeSamples:
    """Takes ln |det J| at every so many counted steps, or at all steps of an interval now and then.

    What is taken in an interval counts once the interval is accepted.
    """

    def __init__(self, options: RolloutOptions, inputs: InputSequences, start: int, blocks: int) -> None:
        self._every, self._whole_intervals = options.volume_every, options.whole_intervals
        self._inputs, self._start, self._next, batch = inputs, start, 0, inputs.batch
        self._pending = self._nothing = Samples((), torch.zeros(batch, dtype=torch.long), 0)
        self.residual = torch.zeros(batch, blocks, dtype=torch.float64)
        """(batch, blocks): how far the growth of square frames is from ln |det J|, over `residual_steps` (batch,)."""
        self.residual_steps = torch.zeros(batch, dtype=torch.long)

    @property
    def wanted(self) -> bool:
        """Whether any are taken."""
        return bool(self._every)

    def take(self, propagated: Propagated, t: int, first: int) -> Samples:
        """Of the steps from t on, in the interval that begins with step `first`; 0 for sequences that have ended."""
        steps = range(len(propagated.states) - 1)
        if not self._takes_whole(first):
            turn = self.wanted and not self._whole_intervals
            steps = [at for at in steps if turn and (t + at - self._start) % self._every == 0]
        if not steps:
            return self._nothing
        volumes = propagated.log_volumes(steps)
        alive = torch.stack([running_at(self._inputs, t + at) for at in steps])
        if volumes is None:
            return Samples((), alive.sum(0), 0)
        found = volumes.double().cpu().reshape(*alive.shape, -1)
        return Samples((torch.where(alive.unsqueeze(-1), found, 0.0).sum(0),), alive.sum(0), len(steps))

    def accept(self, samples: Samples, growth: Tensor, columns: Columns, first: int, last: int) -> None:
        """Those of an interval that is kept; square frames have a volume of 1, which certifies the arithmetic.

        `growth` (batch, columns): of the interval, from step `first` up to, not including, step `last`.
        """
        if self._takes_whole(first):
            self._next = first + self._every
        self._pending = self._pending + samples
        if samples.steps == last - first and columns.square:
            sums = torch.zeros_like(self.residual).index_add(1, columns.block, growth)
            self.residual += sums - torch.stack(samples.sums).sum(0)
            ends = torch.tensor(last) if self._inputs.lengths is None else self._inputs.lengths.clamp(max=last)
            self.residual_steps += (ends - first).clamp(min=0)

    def read(self) -> tuple[Tensor | None, Tensor]:
        """(batch, blocks) and (batch,): sums and steps since they were last read."""
        pending, self._pending = self._pending, self._nothing
        return torch.stack(pending.sums).sum(0) if pending.sums else None, pending.sampled

    def _takes_whole(self, first: int) -> bool:
        return self.wanted and self._whole_intervals and first >= self._next
