"""Rows beside other packages: the quickest that finds the same."""

from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor

import _sides as sides
import peers
from _record import Goal
from _row import ALIGN, SETTLE, Case, Ours, Skipped, chosen, row
from _timing import Pairs, Side


@dataclass(frozen=True, eq=False)
class Tried:
    """A peer, how long it took per sequence (at its first call: with compiling, for all of them), and what it found."""

    peer: peers.Peer
    first_call: float
    seconds: float
    exponents: Tensor

    def __str__(self) -> str:
        """In words."""
        largest = float(self.exponents[0])
        return f"{self.peer.name} {self.seconds:.3g} s (first call {self.first_call:.2g} s, largest {largest:.4f})"


def tried(peer: peers.Peer) -> Tried:
    """Called twice."""
    found: list[Tensor] = []
    call = Side(lambda: found.append(torch.from_numpy(peer.run().copy())))
    first, second = call.measure(), call.measure()
    return Tried(peer, first, second / peer.sequences, found[-1])


def same(one: float, other: float) -> bool:
    """Whether two largest exponents, from different first frames, can be of the same thing."""
    return abs(one - other) <= 0.02 + 0.1 * abs(one)


def against_peers(ours: Ours, task: peers.Task, quick: bool) -> Case:
    """Per sequence, beside the quickest peer that finds the same (few steps do not tell: then beside the quickest)."""
    found, missing = peers.peers(task)
    own = ours.result.per_sequence[0]
    attempts = sorted(map(tried, found), key=lambda attempt: attempt.seconds)
    others = [attempt for attempt in attempts if not (quick or same(float(own[0]), float(attempt.exponents[0])))]
    said = [*map(str, attempts), *missing, *(f"{attempt.peer.name} finds something else: no peer" for attempt in others)]
    best = next((attempt for attempt in attempts if attempt not in others), None)
    if best is None:
        raise Skipped(f"no peer: {'; '.join(said)}. `make bench` installs what is missing.")

    def note(_: Pairs) -> str:
        apart = float((own - best.exponents).abs().max())
        return (
            f"quickest: {best.peer.name}; per sequence: {'; '.join(said)}; ours: largest {float(own[0]):.4f}, {chosen(ours)}; "
            f"its exponents and ours apart by up to {apart:.1e}"
        )

    return Case(Side(ours, scale=1 / len(task.start)), Side(best.peer.run, scale=1 / best.peer.sequences), note)


@torch.no_grad()
def reservoir_row(quick: bool, *, size: int, batch: int, k: int) -> Case:
    """1000 counted steps of a driven tanh network."""
    size, count = (20, 100) if quick else (size, 1000)
    rnn, inputs = sides.reservoir(size), sides.scalar_drive(batch, SETTLE + ALIGN + count)
    k = min(k, size)
    ours = Ours(rnn, inputs, k=k, settle=SETTLE, align=ALIGN)
    start = rnn(inputs[:, :SETTLE])[1][0]
    every = ours.result.settings.qr_every
    weights = (rnn.weight_hh_l0, rnn.weight_ih_l0)
    return against_peers(ours, peers.Reservoir(*weights, inputs, start, SETTLE, ALIGN, count, k, every), quick)


for name, size, batch, k, goal in (
    ("reservoir-100-b10", 100, 10, 10, 8),
    ("reservoir-500-b10", 500, 10, 10, 8),
    ("reservoir-100-b1", 100, 1, 10, 3),
    ("reservoir-500-b1", 500, 1, 10, 3),
    ("reservoir-100-full", 100, 1, 100, 2.5),
):
    work = f"a sequence of 1000 steps, {k} exponents of a driven tanh reservoir of {size}, {batch} at a time"
    row(name, work, "the quickest other package", Goal(faster=goal))(partial(reservoir_row, size=size, batch=batch, k=k))


def lorenz_row(quick: bool, *, batch: int) -> Case:
    """An autonomous flow as a user's step."""
    count, align, dt, forcing, k = (100 if quick else 1000), (50 if quick else 500), 0.01, 8.0, 10
    step = sides.runge_kutta(sides.lorenz_rate, dt)
    state = forcing + torch.randn(batch, 40, dtype=torch.float64, generator=sides.generator(6))
    for _ in range(100 if quick else 2000):  # onto the attractor
        state = step(state)
    ours = Ours(step, state=state, steps=count, k=k, settle=0, align=align, dt=dt)
    every = ours.result.settings.qr_every
    return against_peers(ours, peers.Flow(forcing, dt, state, align, count, k, every), quick)


for name, batch in (("lorenz-96", 1), ("lorenz-96-b10", 10)):
    work = f"a sequence of 500 + 1000 Runge-Kutta steps, 10 exponents of Lorenz 1996 (40), as a user's step, {batch} at a time"
    row(name, work, "the quickest other package")(partial(lorenz_row, batch=batch))
