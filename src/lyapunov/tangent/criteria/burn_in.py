"""How long the state takes to forget where it started: seen on copies of it that start elsewhere."""

import math
from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from lyapunov._shapes import State
from lyapunov._trees import tree_flatten, tree_map
from lyapunov.systems import System, total_size
from lyapunov.tangent.input_sequences import InputSequences, running_at
from lyapunov.tangent.rollout_options import DEFAULT_BURN_IN, RolloutOptions

SETTLED_RATIO = 1e-2
"""Copies have come together when their distance is this fraction of what it was."""
NOT_CONVERGING_RATIO = 0.3
"""Copies that far apart are taken to stay so (chaos, or several attractors): they settle for DEFAULT_BURN_IN steps."""
KEPT = 2**24
"""Numbers in states that are kept rather than found again."""
AT_LEAST, AT_MOST, ENTRIES = 2000, 10_000, 2**23
"""Steps for which copies that stay apart are followed, the inputs over and over again where they are fewer: in between, as many
as states with so many entries in all take."""
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


def find_burn_in(
    system: System, inputs: InputSequences, step: Callable[[State, int], State], state: State, options: RolloutOptions
) -> BurnIn:
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
    system: System, inputs: InputSequences, step: Callable[[State, int], State], state: State, most: int
) -> Tensor:
    """(batch,): how far apart copies are after thousands of steps, or where some come together permanently.

    Chaos keeps them apart, a long transient does not. The inputs go over and over where they are fewer. Each time around, a
    state goes on along the next sequence's inputs: a short input that returns may keep copies apart where others like it would
    not.
    """
    around = max(most, 1)

    def onward(at: State, t: int) -> State:
        return step(tree_map(_next_sequence, at) if t and t % around == 0 else at, t % around)

    copies = Copies(system, inputs, onward, state, min(DEFAULT_BURN_IN, around))
    entries = inputs.batch * total_size(system)
    last = min(max(AT_LEAST, ENTRIES // max(entries, 1)), AT_MOST) if system.endless else min(most, AT_MOST)
    found = copies.each()
    while copies.t < last and bool(found.isfinite().all()) and float(found.min()) > MERGED_RATIO:
        for _ in range(min(_BETWEEN_CHECKS, last - copies.t)):
            copies.advance()
        found = copies.each()
    return found


def _next_sequence(leaf: object) -> object:
    return leaf.roll(1, dims=0) if isinstance(leaf, Tensor) and leaf.dim() else leaf


def settled_after(
    system: System, inputs: InputSequences, step: Callable[[State, int], State], state: State, limit: int
) -> tuple[int, float | None]:
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
    """

    def __init__(
        self, system: System, inputs: InputSequences, step: Callable[[State, int], State], state: State, most_steps: int
    ) -> None:
        self._system, self._inputs, self._step = system, inputs, step
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
        self._one = self._step(self._one, self.t) if kept is None else kept
        self._other = self._step(self._other, self.t)
        self.t += 1

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
