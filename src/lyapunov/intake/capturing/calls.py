"""The calls of one recurrent core put together: which continue each other in time, and which are sequences of their own."""

from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import PackedSequence, pad_packed_sequence, pad_sequence

from lyapunov.intake.capturing.watch import Call
from lyapunov.intake.kinds import CELLS, known_kind


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
    left_out: int = 0
    """Sequences of a single step."""


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


class _Sequences:
    """Sequences as they grow, call by call."""

    def __init__(self) -> None:
        self.parts: list[list[Part]] = []
        self.states: list[bytes] = []
        """In which each of them is now."""
        self.before: list[bytes] = []
        """From which its last part started, where that was one step and not its first; else nothing."""
        self.again: set[int] = set()
        """Those whose last part stands in the place of one that was thrown away."""
        self._ended: dict[bytes, set[int]] = {}
        self._before: dict[bytes, set[int]] = {}

    def going_on(self, part: Part, start: bytes) -> int | None:
        """The one that is in this state: the same row of the call before, if it is."""
        found = self._ended.get(start, set())
        same = next((number for number in found if self.parts[number][-1] == (part.call - 1, part.row)), None)
        # Of zeros alone, one can say where they are from only for the same row.
        return same if same is not None or not any(start) else min(found, default=None)

    def thrown_away(self, part: Part, start: bytes) -> int | None:
        """The one whose last step started from this state, too: that step was thrown away."""
        found = self._before.get(start, set()) if any(start) else set()
        same = (number for number in found if self.parts[number][-1].row == part.row)
        return next(same, min(found, default=None))

    def add(self, number: int | None, part: Part, start: bytes, end: bytes, *, single: bool, instead: bool) -> None:
        """One more part of a sequence (None: of a new one), after its last one or instead of that."""
        if number is None:
            number = len(self.parts)
            self.parts.append([])
            self.states.append(b"")
            self.before.append(b"")
        self._ended.get(self.states[number], set()).discard(number)
        self._before.get(self.before[number], set()).discard(number)
        (self.again.add if instead else self.again.discard)(number)
        if instead:
            self.parts[number].pop()
        self.parts[number].append(part)
        self.states[number] = end
        self.before[number] = start if single and len(self.parts[number]) > 1 else b""
        self._ended.setdefault(end, set()).add(number)
        self._before.setdefault(self.before[number], set()).add(number)


def sequences(stretches: list[Stretch]) -> list[list[Part]]:
    """The parts that make up each sequence: of one call, the row that starts from the very state another one ended in.

    A row that starts from another state, or from zeros (as where an episode begins), is a sequence of its own. A row that
    starts once more from where a single step started has thrown that step away (a mask): it is no part of the sequence, and
    neither is a last one that stands in its place.
    """
    found = _Sequences()
    for at, now in enumerate(stretches):
        starts = [b""] * now.batch if now.start is None else states_of(now.start)
        single = len(now.values) == 1
        for row, (start, end) in enumerate(zip(starts, states_of(now.end), strict=True)):
            part = Part(at, row)
            number = found.going_on(part, start) if start else None
            thrown = found.thrown_away(part, start) if start and single and number is None else None
            instead = thrown is not None
            found.add(thrown if instead else number, part, start, end, single=single, instead=instead)
    return [parts[:-1] if number in found.again else parts for number, parts in enumerate(found.parts)]


def own_starts(stretches: list[Stretch]) -> list[Part]:
    """Where a state is given that no earlier call ended in."""
    known: set[bytes] = set()
    found = []
    for at, now in enumerate(stretches):
        if at and now.start is not None:
            found += [Part(at, row) for row, start in enumerate(states_of(now.start)) if start not in known]
        known.update(states_of(now.end))
    return found


def states_of(parts: tuple[Tensor, ...]) -> list[bytes]:
    """The state of each row as its bytes; equal where all numbers are."""
    rows = torch.cat([part.transpose(0, 1).flatten(1) + 0.0 for part in parts], dim=1)  # no -0.0
    return [row.tobytes() for row in rows.cpu().contiguous().view(torch.uint8).numpy()]


def together(stretches: list[Stretch], found: list[list[Part]]) -> Received:
    """The parts of each sequence one after the other in time, the sequences beside each other in the batch."""
    rows = [torch.cat([stretches[at].row(row) for at, row in parts]) for parts in found]
    single = 0
    if len(stretches) > 1 and any(len(row) > 1 for row in rows):  # one step from zeros is one that was masked
        kept = [at for at, row in enumerate(rows) if len(row) > 1]
        single = len(rows) - len(kept)
        rows, found = [rows[at] for at in kept], [found[at] for at in kept]
    values = pad_sequence(rows)
    ends = torch.tensor([len(row) for row in rows])
    padded = bool((ends != len(values)).any()) or any(one.lengths is not None for one in stretches)
    state = None
    if any(stretches[parts[0].call].start is not None for parts in found):
        starts = [_start(stretches[at], row) for (at, row), *_ in found]
        state = tuple(torch.stack(part, dim=1) for part in zip(*starts, strict=True))
    unbatched = len(rows) == 1 and all(one.unbatched for one in stretches)
    return Received(values, ends if padded else None, state, unbatched, max(map(len, found)), single)


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
    if state is not None and len(known_kind(type(module)).system.state_parts) == 1:
        return Piece(module, values.contiguous(), state[0], received.lengths)
    return Piece(module, values.contiguous(), state, received.lengths)
