"""The calls of one recurrent core put together: which continue each other in time, and which are sequences of their own."""

from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import PackedSequence, pad_packed_sequence, pad_sequence

from lyapunov.intake.capturing.watch import Call
from lyapunov.intake.layers import CELLS


@dataclass(frozen=True)
class Stretch:
    """One call in the form of all kinds: `values` (time, batch, features), `start` and `end` parts (layers, batch, size)."""

    values: Tensor
    lengths: Tensor | None
    start: tuple[Tensor, ...] | None
    end: tuple[Tensor, ...]
    unbatched: bool

    @property
    def batch(self) -> int:
        """Sequences of this call."""
        return self.values.shape[1]

    def row(self, at: int) -> Tensor:
        """The valid steps of one sequence."""
        return self.values[: None if self.lengths is None else int(self.lengths[at]), at]


@dataclass(frozen=True)
class Received:
    """What a core received in all its calls: `values` (time, batch, features), `state` parts (layers, batch, size)."""

    values: Tensor
    lengths: Tensor | None
    state: tuple[Tensor, ...] | None
    unbatched: bool
    in_turn: int
    """The most calls that one sequence took."""


class Piece(NamedTuple):
    """A module with what drives it, as the module itself takes it (a cell: (batch, time, features))."""

    module: Any
    inputs: Tensor
    state: Any
    lengths: Tensor | None


def stretch(module: nn.Module, call: Call) -> Stretch:
    """A call of a layer (packed, unbatched, batch first or not) or of a cell."""
    values, lengths, is_cell = call.input, None, isinstance(module, CELLS)
    if isinstance(values, PackedSequence):
        values, lengths = pad_packed_sequence(values)
        unbatched = False
    else:
        unbatched = values.dim() == (1 if is_cell else 2)
        values = values.unsqueeze(-2) if unbatched else values
        values = values.unsqueeze(0) if is_cell else values
        if not is_cell and not unbatched and module.batch_first:
            values = values.transpose(0, 1)
    end = call.output if is_cell else call.output[1]
    start = None if call.state is None else _parts(call.state, is_cell, unbatched)
    return Stretch(values, lengths, start, _parts(end, is_cell, unbatched), unbatched)


def _parts(state: Any, is_cell: bool, unbatched: bool) -> tuple[Tensor, ...]:
    parts = tuple(state) if isinstance(state, tuple | list) else (state,)
    parts = tuple(part.unsqueeze(-2) for part in parts) if unbatched else parts
    return tuple(part.unsqueeze(0) for part in parts) if is_cell else parts


def chains(stretches: list[Stretch]) -> list[list[int]]:
    """Numbers of calls, those that continue each other together: each starts from the very state another ended in.

    A call may continue the first few sequences of another: those whose sequences go on.
    """
    found: list[list[int]] = []
    for at, now in enumerate(stretches):
        before = next((chain for chain in reversed(found) if _continues(stretches[chain[-1]], now)), None)
        if before is None:
            found.append([at])
        else:
            before.append(at)
    return found


def starts_apart(stretches: list[Stretch], at: int) -> bool:
    """Whether a call starts from a state of its own, which no earlier one ended in."""
    now = stretches[at]
    return now.start is not None and not any(_continues(before, now) for before in stretches[:at])


def _continues(before: Stretch, now: Stretch) -> bool:
    if now.start is None or now.batch > before.batch:
        return False
    pairs = zip(before.end, now.start, strict=True)
    return all(torch.equal(end[:, : now.batch], start) for end, start in pairs)


def together(stretches: list[Stretch], linked: list[list[int]]) -> Received:
    """Calls that continue each other one after the other in time, chains beside each other in the batch."""
    parts = [[stretches[at] for at in chain] for chain in linked]
    rows = [row for part in parts for row in _rows(part)]
    values = pad_sequence(rows)
    ends = torch.tensor([len(row) for row in rows])
    padded = bool((ends != len(values)).any()) or any(one.lengths is not None for one in stretches)
    state = None
    if any(part[0].start is not None for part in parts):
        starts = [_start(part[0]) for part in parts]
        state = tuple(torch.cat(part, dim=1) for part in zip(*starts, strict=True))
    unbatched = len(rows) == 1 and all(one.unbatched for one in stretches)
    return Received(values, ends if padded else None, state, unbatched, max(map(len, linked)))


def _rows(part: list[Stretch]) -> list[Tensor]:
    """Each sequence of a chain of calls, whole."""
    if all(one.lengths is None and one.batch == part[0].batch for one in part):
        return list(torch.cat([one.values for one in part]).unbind(1))
    return [torch.cat([one.row(at) for one in part if at < one.batch]) for at in range(part[0].batch)]


def _start(first: Stretch) -> tuple[Tensor, ...]:
    return tuple(torch.zeros_like(end) for end in first.end) if first.start is None else first.start


def as_taken(module: Any, received: Received) -> Piece:
    """What a core received, as the module itself takes it."""
    values, state = received.values, received.state
    if isinstance(module, CELLS):
        state = None if state is None else tuple(part[0] for part in state)
        values = values.transpose(0, 1)
    elif received.unbatched:
        state = None if state is None else tuple(part[:, 0] for part in state)
        values = values[:, 0]
    elif module.batch_first:
        values = values.transpose(0, 1)
    if state is not None and not isinstance(module, nn.LSTM | nn.LSTMCell):
        return Piece(module, values.contiguous(), state[0], received.lengths)
    return Piece(module, values.contiguous(), state, received.lengths)
