"""Growth over time in a bounded number of bins."""

from dataclasses import dataclass

import torch
from torch import Tensor

from lyapunov.tangent.input_sequences import InputSequences

MAX_BINS = 1000
"""History is kept in at most this many time bins, so memory does not grow with time."""


@dataclass
class _Bin:
    stop: int
    growth: Tensor
    volume: Tensor | None
    sampled: Tensor


class TimeBins:
    """Sums over stretches of time. When there are too many, neighbours are merged and the bins become twice as long."""

    def __init__(self, start: int, most: int | None = None) -> None:
        self._start, self._width, self._most = start, 1, most or MAX_BINS
        self._bins: list[_Bin] = []

    def add(self, stop: int, growth: Tensor, volume: Tensor | None, sampled: Tensor) -> None:
        """What grew since the last stop: `growth` (batch, columns), `volume` (batch, blocks) over `sampled` (batch,) steps."""
        new = _Bin(stop, growth, volume, sampled)
        if self._bins and stop - self._start_of(len(self._bins) - 1) <= self._width:
            self._bins[-1] = _merged(self._bins[-1], new)
        else:
            self._bins.append(new)
        if len(self._bins) > self._most:
            self._width *= 2
            pairs = [self._bins[at : at + 2] for at in range(0, len(self._bins), 2)]
            self._bins = [_merged(*pair) if len(pair) == 2 else pair[0] for pair in pairs]

    def growth(self) -> Tensor:
        """Growth summed over each time bin, (bins, batch, columns), in nats."""
        return torch.stack([one.growth for one in self._bins])

    def volume(self) -> tuple[Tensor, Tensor] | None:
        """(bins, batch, blocks), and how many steps stand behind it, (bins, batch); None where nothing was counted."""
        volumes = [one.volume for one in self._bins if one.volume is not None]
        if not volumes:
            return None
        zero = torch.zeros_like(volumes[0])
        filled = torch.stack([zero if one.volume is None else one.volume for one in self._bins])
        return filled, torch.stack([one.sampled for one in self._bins])

    def edges(self) -> Tensor:
        """(bins + 1,): the steps at which bins start and stop."""
        return torch.tensor([self._start, *(one.stop for one in self._bins)])

    def steps(self, inputs: InputSequences) -> Tensor:
        """(bins, batch): the steps that each sequence made within each bin, before it ended."""
        edges, lengths = self.edges().unsqueeze(-1), inputs.lengths
        reached = edges.expand(-1, inputs.batch) if lengths is None else torch.minimum(edges, lengths)
        return reached.diff(dim=0).double()

    def __len__(self) -> int:
        return len(self._bins)

    def _start_of(self, at: int) -> int:
        return self._bins[at - 1].stop if at else self._start


def _merged(one: _Bin, two: _Bin) -> _Bin:
    volumes = [part.volume for part in (one, two) if part.volume is not None]
    volume = None if not volumes else torch.stack(volumes).sum(0)
    return _Bin(two.stop, one.growth + two.growth, volume, one.sampled + two.sampled)
