"""Long sequences as overlapping chunks that run side by side, each with its own alignment, joined again in time."""

import math
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from lyapunov._shapes import Frames, Input, State
from lyapunov._trees import tree_map
from lyapunov.errors import InvalidInput
from lyapunov.systems import System, joined
from lyapunov.tangent.criteria import PARTS, BurnIn, Window, find_burn_in
from lyapunov.tangent.input_sequences import InputSequences
from lyapunov.tangent.loop.growth import Growth, earliest
from lyapunov.tangent.loop.propagation import TangentPropagator
from lyapunov.tangent.loop.time_bins import MAX_BINS
from lyapunov.tangent.rollout_options import RolloutOptions
from lyapunov.tangent.workers import Workers

SHORTEST = 8
"""The fewest steps that a chunk may count."""


@dataclass(frozen=True)
class Chunks:
    """What drives the chunks, (chunks x batch) sequences: those of the first chunk, then those of the second, ...

    These are `InputSequences`. `starts`: the step at which each chunk begins to align; `state`: the state there, as the whole
    sequence gets to it.
    """

    whole: InputSequences
    starts: tuple[int, ...]
    state: State
    options: RolloutOptions
    before: BurnIn

    @property
    def batch(self) -> int:
        """Sequences of all chunks."""
        return self.whole.batch * len(self.starts)

    @property
    def lengths(self) -> Tensor | None:
        """(chunks x batch,): the steps of a chunk before its sequence ends; None where none does."""
        if self.whole.lengths is None:
            return None
        each = [(self.whole.lengths - start).clamp(0, self.options.steps) for start in self.starts]
        return torch.cat(each)

    def at(self, t: int) -> Input:
        """The inputs of step t of every chunk."""
        return joined([self.whole.at(start + t) for start in self.starts])

    def frames(self, frames: Frames) -> Frames:
        """Every chunk starts to align from the same ones."""
        copies = len(self.starts)
        return tree_map(lambda part: part.mT.repeat(copies, 1, 1).mT, frames)

    def joined(self, growth: Growth) -> Growth:
        """What the chunks counted, as the growth of whole sequences: chunk after chunk in time."""
        log_growth, steps = self._in_time(growth.log_growth), self._in_time(growth.steps)
        volume = None if growth.log_volume is None else self._in_time(growth.log_volume)
        volume_steps = None if growth.volume_steps is None else self._in_time(growth.volume_steps)
        copies = len(self.starts)
        offsets = torch.tensor(self.starts).repeat_interleave(self.whole.batch).unsqueeze(-1)
        lost = growth.lost_since + torch.where(growth.lost_since < 0, 0, offsets)
        most = int((lost >= 0).sum(-1).argmax())
        window = None if growth.window is None else Window(*(step + int(offsets[most]) for step in growth.window))
        return replace(
            growth,
            lost_since=_first(lost.unflatten(0, (copies, -1))),
            window=window,
            log_growth=log_growth,
            steps=steps,
            log_volume=volume,
            volume_steps=volume_steps,
            residual=growth.residual.unflatten(0, (copies, -1)).sum(0),
            residual_steps=growth.residual_steps.unflatten(0, (copies, -1)).sum(0),
            lacked=None if growth.lacked is None else (self._summed(growth.lacked[0]), self._summed(growth.lacked[1])),
            sizes=None,
            drift=None if growth.drift is None else self._parts(growth.drift),
            settle=self.before.steps,
            count=growth.count * copies,
            distance=self.before.distance,
            state=None,
            frames=None,
        )

    def _summed(self, lacked: Tensor) -> Tensor:
        """(chunks x batch, columns) as (batch, columns): every chunk had its own alignment."""
        return lacked.unflatten(0, (len(self.starts), -1)).sum(0)

    def _in_time(self, binned: Tensor) -> Tensor:
        """(bins, chunks x batch, ...) as (chunks x bins, batch, ...), neighbours summed where there are too many."""
        copies = len(self.starts)
        ordered = binned.unflatten(1, (copies, -1)).transpose(0, 1).flatten(0, 1)
        width = math.ceil(len(ordered) / MAX_BINS)
        return torch.stack([part.sum(0) for part in ordered.split(width)]) if width > 1 else ordered

    def _parts(self, means: Tensor) -> Tensor:
        """(parts, chunks x batch, n) as (parts, batch, n), over the whole time."""
        copies = len(self.starts)
        return means.unflatten(1, (copies, -1)).transpose(0, 1).flatten(0, 1).unflatten(0, (PARTS, copies)).mean(1)


def split(
    system: System, inputs: InputSequences, state: State, options: RolloutOptions, chunks: int, workers: Workers
) -> Chunks:
    """So many chunks, equally long. The state goes through the whole sequence, alone, to find where each of them starts.

    `align` left open is the most it may take, for all chunks alike; steps that do not divide evenly go to it as well.
    """
    propagator = TangentPropagator(system, inputs, workers)
    found = find_burn_in(system, inputs, propagator.step, state, options)
    settle = found.steps
    align = options.longest_align if options.align is None else options.align
    total = options.steps if options.autonomous else options.steps - settle - align
    count = total // chunks
    if count < SHORTEST:
        raise InvalidInput(
            f"Expected `chunks` of at least {SHORTEST} counted steps, got {chunks} of {max(total, 0) / chunks:.3g} (after "
            f"settle + align = {settle} + {align}). Pass fewer chunks, a smaller align, or longer sequences."
        )
    align += total - count * chunks
    starts = tuple(settle + at * count for at in range(chunks))
    states, t = [], 0
    for start in starts:
        state = propagator.advance(state, t, start, more=", on the way to where the chunks start")
        states.append(state)
        t = start
    inner = replace(options, steps=align + count, settle=0, align=align, autonomous=False, follow_copies=False)
    return Chunks(inputs, starts, joined(states), inner, found)


def _first(lost: Tensor) -> Tensor:
    """(chunks, batch, columns) to (batch, columns)."""
    return torch.stack([earliest(of_sequence) for of_sequence in lost.unbind(1)])
