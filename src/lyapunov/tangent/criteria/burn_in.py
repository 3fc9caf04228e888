"""How long the state takes to forget where it started: seen on copies of it that start elsewhere."""

import math
from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from lyapunov._shapes import Input, State
from lyapunov._trees import tree_flatten, tree_map
from lyapunov.systems import System, joined, total_size
from lyapunov.tangent.input_sequences import InputSequences, running_at
from lyapunov.tangent.rollout_options import DEFAULT_BURN_IN, RolloutOptions

Step = Callable[[State, int], State]
"""A state through step t."""
SETTLED_RATIO = 1e-2
"""Copies have come together when their distance is this fraction of what it was."""
NOT_CONVERGING_RATIO = 0.3
"""Copies that far apart are taken to stay so (chaos, or several attractors): they settle for DEFAULT_BURN_IN steps."""
KEPT = 2**24
"""Numbers in states that are kept rather than found again."""
AT_LEAST, AT_MOST, ENTRIES, TIMES_AROUND = 2000, 10_000, 2**23, 10
"""Steps for which copies that stay apart are followed, the inputs over and over again where they are fewer: in between, as many
as states with so many entries in all take, and no more than so many times the steps of the run."""
COPIES, COPIED = 64, 2**12
"""Copies of small states in all, and entries in them: up to so many, a step costs hardly more than that of one."""
SMALLER = 1e-6
"""Part by which entries of these copies' states are smaller than they were where the system has been."""
_BETWEEN_CHECKS = 20
"""Steps between two checks of such copies."""
MERGED_RATIO = 1e-8
"""Copies whose distance is this fraction of what it was have come together permanently. Chaotic ones come near each other by
chance: in one dimension to within a thousandth in one of a thousand steps."""


class BurnIn(NamedTuple):
    """Steps that the state settles for, and how far apart copies are when counting begins, as a fraction of the start.

    `state`: after these steps, where it is still known. `distance`: over all sequences, None where that is not known.
    """

    steps: int
    state: State | None
    distance: float | None


def find_burn_in(system: System, inputs: InputSequences, step: Step, state: State, options: RolloutOptions) -> BurnIn:
    """How many steps to settle for, where that is open, and what is left of the start (None where copies are not followed)."""
    if options.settle is None:
        copies = Copies(system, inputs, step, state, options.longest_settle)
        steps, distance = _settled(copies, options.longest_settle)
    elif not options.follow_copies:
        return BurnIn(options.settle, None, None)
    else:
        steps = options.settle
        until = steps + (options.longest_align if options.align is None else options.align)
        usual = min(DEFAULT_BURN_IN, options.most)
        most_steps = max(until, usual) if system.carried(state) else steps or usual  # what is carried may be slow
        copies = Copies(system, inputs, step, state, most_steps)
        while copies.t < until and SETTLED_RATIO < copies.distance < math.inf:
            copies.advance()
        distance = copies.distance if math.isfinite(copies.distance) else None
    return BurnIn(steps, copies.after(steps), distance)


def remaining_distance(
    system: System, inputs: InputSequences, along: Callable[[InputSequences], Step], state: State, most: int
) -> Tensor:
    """(batch,): how far apart copies are after thousands of steps, or where some come together permanently.

    Chaos keeps them apart, a long transient does not. The inputs go over and over where they are fewer. Each time around, a
    state goes on along the next sequence's inputs: a short input that returns may keep copies apart where others like it would
    not. Of a small state there are many copies, from all over the first steps, as a transient may end at any time: the least
    distance of a sequence's counts. `along`: the step of a state along such sequences.
    """
    around, entries = max(most, 1), max(inputs.batch * total_size(system), 1)
    first, last = min(DEFAULT_BURN_IN, around), min(most, AT_MOST)
    repeats = 1
    if system.endless:
        repeats = max(1, min(COPIES // inputs.batch, COPIED // entries))
        last = min(max(AT_LEAST, ENTRIES // (entries * repeats)), max(AT_LEAST, TIMES_AROUND * around), AT_MOST)

    def around_and_around(sequences: InputSequences) -> Step:
        step = along(sequences)
        return lambda at, t: step(at, t % around)

    many = _Repeated(inputs, repeats)
    pair = around_and_around(_Repeated(inputs, 2 * repeats)) if repeats > 1 else None
    start = _visited(system, along(inputs), state, first, repeats)
    copies = Copies(system, many, around_and_around(many), start, first, pair=pair)
    found, merged = copies.each(), False
    while copies.t < last and bool(found.isfinite().all()) and not (merged and float(found.min()) <= MERGED_RATIO):
        merged = float(found.min()) <= MERGED_RATIO  # seen twice: chaotic copies part again
        for _ in range(min(_BETWEEN_CHECKS, last - copies.t)):
            copies.advance()
            if copies.t % around == 0:
                copies.turn(repeats)
        found = copies.each()
    return found.view(repeats, -1).amin(0)


class _Repeated:
    """The same sequences several times."""

    def __init__(self, once: InputSequences, times: int) -> None:
        self._once, self._times = once, times
        self.batch = once.batch * times
        self.lengths = None if once.lengths is None else once.lengths.repeat(times)

    def at(self, t: int) -> Input:
        x = self._once.at(t)
        return x if x is None else tree_map(lambda leaf: leaf.repeat(self._times, *[1] * (leaf.dim() - 1)), x)


def _visited(system: System, step: Step, state: State, steps: int, count: int) -> State:
    """So many states on the way, from the first one on, for each sequence.

    All but the first are a little smaller than they were, each entry by another part: without inputs they would be one orbit.
    """
    wanted = [at * steps // count for at in range(count)]
    found = []
    for t in range(wanted[-1] + 1):
        found += [state] * wanted.count(t)
        if t < wanted[-1]:
            state = step(state, t)
    if count == 1:
        return state
    many, source = joined(found), torch.Generator().manual_seed(0)

    def smaller(rows: Tensor) -> Tensor:
        part = torch.rand(rows.shape, generator=source).to(rows)
        part[: len(part) // count] = 0.0
        return rows * (1 - SMALLER * part)

    return system.with_vectors(many, tree_map(smaller, system.vectors(many)))


def settled_after(system: System, inputs: InputSequences, step: Step, state: State, limit: int) -> tuple[int, float | None]:
    """The steps after which copies from different starts have come together, at most `limit`, and how far apart they still are.

    Copies that stay apart settle for DEFAULT_BURN_IN steps; a state that does not stay finite does not settle: 0 and None.
    """
    return _settled(Copies(system, inputs, step, state, limit), limit)


def _settled(copies: "Copies", limit: int) -> tuple[int, float | None]:
    while copies.t < limit and SETTLED_RATIO < copies.distance < math.inf:
        copies.advance()
    if not math.isfinite(copies.distance):
        return 0, None
    if copies.distance <= SETTLED_RATIO:
        return copies.t, copies.distance
    return (min(limit, DEFAULT_BURN_IN) if copies.distance > NOT_CONVERGING_RATIO else limit), copies.distance


class Copies:
    """Two copies of the state on the same inputs, and how far apart they are, relative to the start.

    The second copy starts from where the first one gets to within `most_steps` steps, the next sequence's where there are
    several: a state the network really visits. What it carries is that of its own sequence: slow variables are forgotten, too.
    `pair`: the step of both at once, one after the other as a batch.
    """

    def __init__(
        self,
        system: System,
        inputs: InputSequences,
        step: Step,
        state: State,
        most_steps: int,
        pair: Step | None = None,
    ) -> None:
        self._system, self._inputs, self._step, self._pair = system, inputs, step, pair
        self._passed, last, end = [state], state, state
        few = KEPT // max(sum(leaf.numel() for leaf in tree_flatten(state)[0]), 1)
        first = [system.carried(state)]
        for t in range(most_steps):
            last, end = end, step(end, t)
            if t == 0:
                first.append(system.carried(end))
            if t < few:
                self._passed.append(end)
        self._one = state
        carried = (*first, system.carried(last), system.carried(end))
        other = system.with_carried(state, tuple(map(_elsewhere, *carried)) if most_steps else carried[0])
        self._other = system.with_vectors(other, tree_map(lambda part: part.roll(1, dims=0), system.vectors(end)))
        self._first, self.t = _squares(system, self._one, self._other), 0

    def advance(self) -> None:
        """One step of both."""
        kept = self.after(self.t + 1)
        if kept is None and self._pair is not None:
            both = self._pair(joined([self._one, self._other]), self.t)
            self._one, self._other = (tree_map(lambda leaf, half=half: leaf.chunk(2)[half], both) for half in (0, 1))
        else:
            self._one = self._step(self._one, self.t) if kept is None else kept
            self._other = self._step(self._other, self.t)
        self.t += 1

    def turn(self, groups: int) -> None:
        """Both go on along the next sequence's inputs, within each of so many groups of sequences."""

        def turned(leaf: object) -> object:
            if not isinstance(leaf, Tensor) or not leaf.dim():
                return leaf
            return leaf.unflatten(0, (groups, -1)).roll(1, dims=1).flatten(0, 1)

        self._one, self._other, self._first = (tree_map(turned, one) for one in (self._one, self._other, self._first))

    def after(self, steps: int) -> State | None:
        """The first copy's state after so many steps, where it was kept."""
        return self._passed[steps] if steps < len(self._passed) else None

    @property
    def distance(self) -> float:
        """The distance over all sequences that still run, as a fraction of the one at the start; inf where it is not finite."""
        running = running_at(self._inputs, self.t)
        start = float(self._first[running].sum())
        found = (float(_squares(self._system, self._one, self._other)[running].sum()) / start) ** 0.5 if start > 0 else 0.0
        return found if math.isfinite(found) else math.inf

    def each(self) -> Tensor:
        """(batch,): the same of every sequence by itself."""
        now = _squares(self._system, self._one, self._other)
        return torch.where(self._first > 0, now / self._first.clamp(min=1e-300), 0.0).sqrt()


def _elsewhere(first: Tensor, second: Tensor, last: Tensor, end: Tensor) -> Tensor:
    """What is carried in the end; as at first where it moves on like a clock, or not at all, and forgets nothing."""
    one, other = second - first, end - last
    return first if torch.allclose(one, other, rtol=1e-6, atol=0.0, equal_nan=True) else end


def _squares(system: System, one: State, other: State) -> Tensor:
    """Squared distances (batch,) of two states over all blocks, in float64 on the CPU."""
    parts = zip(system.vectors(one), system.vectors(other), strict=True)
    return torch.stack([(a - b).detach().double().square().sum(-1) for a, b in parts]).sum(0).cpu()
