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


class Part(NamedTuple):
    """One sequence of one call, by their numbers."""

    call: int
    row: int


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


def sequences(stretches: list[Stretch]) -> list[list[Part]]:
    """The parts that make up each sequence: of one call, the row that starts from the very state another one ended in.

    A row that starts from another state, or from zeros (as where an episode begins), is a sequence of its own.
    """
    found: list[list[Part]] = []
    ended: dict[bytes, list[int]] = {}
    """By a state: numbers of the sequences that are now in it."""
    for at, now in enumerate(stretches):
        starts = [None] * now.batch if now.start is None else _states(now.start)
        ends = _states(now.end)
        for row, start in enumerate(starts):
            going = ended.get(start, []) if start is not None else []
            same = [number for number in going if found[number][-1] == (at - 1, row)]
            if start is not None and not any(start):
                going = []  # of zeros alone, one can say where they are from only for the same row of the call before
            number = next(iter(same or going), None)
            if number is None:
                found.append([])
                number = len(found) - 1
            else:
                ended[start].remove(number)  # type: ignore[index]
            found[number].append(Part(at, row))
            ended.setdefault(ends[row], []).append(number)
    return found


def own_starts(stretches: list[Stretch]) -> list[Part]:
    """Where a state is given that no earlier call ended in."""
    known: set[bytes] = set()
    found = []
    for at, now in enumerate(stretches):
        if at and now.start is not None:
            found += [Part(at, row) for row, start in enumerate(_states(now.start)) if start not in known]
        known.update(_states(now.end))
    return found


def _states(parts: tuple[Tensor, ...]) -> list[bytes]:
    """The state of each row as its bytes; equal where all numbers are."""
    rows = torch.cat([part.transpose(0, 1).flatten(1) + 0.0 for part in parts], dim=1)  # no -0.0
    return [row.tobytes() for row in rows.cpu().contiguous().view(torch.uint8).numpy()]


def together(stretches: list[Stretch], found: list[list[Part]]) -> Received:
    """The parts of each sequence one after the other in time, the sequences beside each other in the batch."""
    rows = [torch.cat([stretches[at].row(row) for at, row in parts]) for parts in found]
    if len(stretches) > 1 and any(len(row) > 1 for row in rows):  # one step from zeros is one that was masked
        kept = [at for at, row in enumerate(rows) if len(row) > 1]
        rows, found = [rows[at] for at in kept], [found[at] for at in kept]
    values = pad_sequence(rows)
    ends = torch.tensor([len(row) for row in rows])
    padded = bool((ends != len(values)).any()) or any(one.lengths is not None for one in stretches)
    state = None
    if any(stretches[parts[0].call].start is not None for parts in found):
        starts = [_start(stretches[at], row) for (at, row), *_ in found]
        state = tuple(torch.stack(part, dim=1) for part in zip(*starts, strict=True))
    unbatched = len(rows) == 1 and all(one.unbatched for one in stretches)
    return Received(values, ends if padded else None, state, unbatched, max(map(len, found)))


def _start(stretch: Stretch, row: int) -> tuple[Tensor, ...]:
    parts = tuple(torch.zeros_like(end) for end in stretch.end) if stretch.start is None else stretch.start
    return tuple(part[:, row] for part in parts)


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
