"""The rows: what is measured against what, with which goal."""

import resource
import subprocess
import sys
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

import _sides as sides
import lyapunov
import peers
from _record import Goal
from _timing import Pairs, Side

SCRIPT = Path(__file__).parent / "spectrum_speed.py"
SETTLE, ALIGN, COUNT, TRAINING_STEPS = 20, 20, 100, 256
STEPS = SETTLE + ALIGN + COUNT
PUSH_ALL = {"settle": 0, "align": SETTLE + ALIGN}
"""Where a row is per pushed step: the frame is pushed through all 140 steps."""
MIB = 2**20


class Skipped(Exception):
    """A row that cannot be measured here; says why."""


@dataclass(frozen=True)
class Case:
    """Both sides of a row, ready to run, and what is to be said about their pairs."""

    ours: Side
    other: Side
    note: Callable[[Pairs], str] = lambda _: ""
    unit: str = "s"
    can_be_disturbed: bool = True


@dataclass(frozen=True)
class Row:
    """What is measured against what."""

    name: str
    work: str
    against: str
    goal: Goal
    build: Callable[[bool], Case]
    pairs: int = 5
    warm_up: bool = True


ROWS: dict[str, Row] = {}


def row(
    name: str, work: str, against: str, goal: Goal | None = None, **options: Any
) -> Callable[[Callable[[bool], Case]], Callable[[bool], Case]]:
    """Enter a row; its function takes whether all is to be tiny."""

    def enter(build: Callable[[bool], Case]) -> Callable[[bool], Case]:
        ROWS[name] = Row(name, work, against, goal or Goal(), build, **options)
        return build

    return enter


def spectrum(*args: Any, **options: Any) -> lyapunov.Spectrum:
    """Ours, without its warnings and its bar."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", lyapunov.LyapunovWarning)
        return lyapunov.spectrum(*args, progress=False, **options)


class Ours:
    """A call of `lyapunov.spectrum` that keeps its last result, so that a note can say what was chosen."""

    def __init__(self, *args: Any, **options: Any) -> None:
        self._call = partial(spectrum, *args, **options)
        self.last: lyapunov.Spectrum | None = None

    def __call__(self) -> None:
        """Measured."""
        self.last = self._call()

    @property
    def result(self) -> lyapunov.Spectrum:
        """The last one; computed where there is none yet."""
        if self.last is None:
            self()
        return self.last  # type: ignore[return-value]


READOUT = "8 leading exponents and the mean, LSTM 512, full state, 10 x (20 + 20 + 100) steps"


@row("readout-epoch", READOUT, "one training epoch: 256 x a step of batch 100 x 100, float32", Goal(at_most=0.003))
def readout_epoch(quick: bool) -> Case:
    """Default settings, the check on."""
    hidden, batch, steps = (32, 10, 10) if quick else (512, 100, 100)
    ours = Ours(sides.fresh_lstm(hidden), sides.text_like(STEPS), k=8, settle=SETTLE, align=ALIGN)
    epoch = Side(sides.training_step(hidden, batch, steps), scale=TRAINING_STEPS)
    return Case(Side(ours), epoch, lambda _: f"an epoch is {TRAINING_STEPS} times one measured step; {chosen(ours)}")


@row(
    "readout-plain",
    "8 leading exponents and the mean, LSTM 512, full state, 10 x 140 pushed steps",
    "jacrev of every step, vmapped, dense product, QR every step; over 3 steps, scaled to 140",
    Goal(faster=150),
)
def readout_plain(quick: bool) -> Case:
    """The frame goes through all 140 steps on both sides."""
    lstm, inputs, steps = sides.fresh_lstm(16 if quick else 512), sides.text_like(STEPS), 3
    ours = Ours(lstm, inputs, k=8, **PUSH_ALL)
    plain = Side(sides.plain_way(lstm, inputs, steps, k=8), scale=STEPS / steps)
    return Case(Side(ours), plain, lambda _: f"the plain way over {steps} steps, scaled; settle 0, align 40; {chosen(ours)}")


HIDDEN = "a pushed step of all 512 exponents, LSTM 512, hidden state, 10 sequences (140 steps)"


@row("hidden-floor", HIDDEN, "batched product (10, 512, 512) x (10, 512, 512) into given memory", Goal(at_most=2), pairs=3)
def hidden_floor(quick: bool) -> Case:
    """Per step."""
    hidden, repeats = (16, 2) if quick else (512, 20)
    ours = Ours(sides.fresh_lstm(hidden), sides.text_like(STEPS), linearization="hidden", **PUSH_ALL)
    floor = Side(sides.product(hidden, repeats), scale=1 / repeats)
    return Case(Side(ours, scale=1 / STEPS), floor, lambda _: f"settle 0, align 40; {chosen(ours)}")


HELD = "jacrev of h' by h with the recorded c, vmapped, QR every step; over 3 steps"


@row("hidden-plain", HIDDEN, HELD, Goal(faster=6), pairs=3)
def hidden_plain(quick: bool) -> Case:
    """Per step."""
    lstm, inputs, steps = sides.fresh_lstm(16 if quick else 512), sides.text_like(STEPS), 3
    ours = Ours(lstm, inputs, linearization="hidden", **PUSH_ALL)
    plain = sides.plain_way(lstm, inputs, steps, k=lstm.hidden_size, hidden_only=True)
    return Case(Side(ours, scale=1 / STEPS), Side(plain, scale=1 / steps), lambda _: f"settle 0, align 40; {chosen(ours)}")


@row(
    "full-floor",
    "a pushed step of all 1024 exponents, LSTM 512, full state, 10 sequences (20 steps)",
    "batched product (10, 1024, 1024) x (10, 1024, 1024) into given memory",
    Goal(at_most=3.5),
    pairs=3,
    warm_up=False,
)
def full_floor(quick: bool) -> Case:
    """Per step; the note has the other goal."""
    hidden, repeats, steps = (16, 2, 20) if quick else (512, 5, 20)
    ours = Ours(sides.fresh_lstm(hidden), sides.text_like(steps), settle=0, align=10)
    floor = Side(sides.product(2 * hidden, repeats), scale=1 / repeats)
    qr = sides.orthonormalisation(2 * hidden)

    def note(pairs: Pairs) -> str:
        every, (_, own, product) = ours.result.settings.qr_every, pairs.medians()
        seconds = sorted(Side(qr).measure() for _ in range(3))[1]
        bound = product + seconds / every
        return (
            f"settle 0, align 10; {chosen(ours)}; one QR {seconds:.3g} s: {own / bound:.2f} x (product + QR / qr_every), "
            f"the other goal <= 1.3 x {'reached' if own <= 1.3 * bound else 'not reached'}"
        )

    return Case(Side(ours, scale=1 / steps), floor, note)


@row(
    "stack-coupled",
    "all 1536 exponents, three stacked LSTM layers of 256, full state, each layer apart, 10 x (2 + 2 + 6) steps",
    "the same with coupled=True",
    Goal(faster=5),
    pairs=3,
    warm_up=False,
)
def stack_coupled(quick: bool) -> Case:
    """The same exponents by two frames."""
    lstm, inputs = sides.fresh_lstm(8 if quick else 256, layers=3), sides.text_like(10)
    apart, coupled = (Ours(lstm, inputs, settle=2, align=2, coupled=coupled) for coupled in (False, True))
    return Case(Side(apart), Side(coupled), lambda _: f"apart: {chosen(apart)}; coupled: {chosen(coupled)}")


def step_row(quick: bool, *, k: int, counted: int, transient: int) -> Case:
    """A user's step beside the closed form with the same weights, inputs and settings."""
    k = min(k, 16) if quick else k
    lstm, inputs = sides.fresh_lstm(16 if quick else 512), sides.text_like(2 * transient + counted)
    settings: dict[str, Any] = {"k": k, "settle": transient, "align": transient}
    every = spectrum(lstm, inputs, **settings).settings.qr_every
    zeros = torch.zeros(len(inputs), lstm.hidden_size, dtype=torch.float64)
    user = Ours(sides.CellStep(lstm), inputs, state=(zeros, zeros), qr_every=every, **settings)
    closed = Ours(lstm, inputs, qr_every=every, **settings)

    def note(_: Pairs) -> str:
        apart = float((user.result.exponents - closed.result.exponents).abs().max())
        return f"qr_every {every} on both sides, as the closed form chose it; exponents agree to {apart:.1e}"

    return Case(Side(user), Side(closed), note)


for name, k, counted, transient, goal in (("step-8", 8, 100, 20, 1.5), ("step-512", 512, 6, 2, 2.5)):
    steps = f"10 x ({transient} + {transient} + {counted}) steps"
    work = f"{k} exponents of a user's step around LSTMCell 512, full state, {steps}, forward mode"
    build = partial(step_row, k=k, counted=counted, transient=transient)
    row(name, work, "the closed form, same weights, inputs and settings", Goal(at_most=goal))(build)


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


@row("forward", READOUT, "the forward pass of the same nn.LSTM over the same steps, float64, no_grad")
def forward(quick: bool) -> Case:
    """Informative."""
    lstm, inputs = sides.fresh_lstm(16 if quick else 512), sides.text_like(STEPS)
    ours = Ours(lstm, inputs, k=8, settle=SETTLE, align=ALIGN)

    @torch.no_grad()
    def pass_forward() -> Tensor:
        return lstm(inputs)[0]

    return Case(Side(ours), Side(pass_forward), lambda _: chosen(ours))


@row(
    "memory",
    "peak memory of a fresh process, less its inputs: 10 000 counted steps, LSTM 128, 10 sequences, 8 exponents",
    "the same with 100 counted steps",
    Goal(at_most=1.2),
    pairs=3,
    warm_up=False,
)
def memory(quick: bool) -> Case:
    """The note has what is left without the interpreter and its packages."""
    hidden, count = (8, 1000) if quick else (128, 10_000)
    before: dict[int, float] = {}

    def probe(counted: int) -> float:
        call = [SCRIPT, "--probe-memory", hidden, counted, "--threads", torch.get_num_threads()]
        found = subprocess.run([sys.executable, *map(str, call)], check=True, stdout=subprocess.PIPE, text=True)
        before[counted], peak = (float(part) / MIB for part in found.stdout.split())
        return peak

    def note(pairs: Pairs) -> str:
        _, own, other = pairs.medians()
        call = f"{before[count]:.0f} and {before[100]:.0f} MiB"
        return f"of these, before the call (interpreter and packages): {call}; ours is {own - other:.1f} MiB more in all"

    sides_of_row = (Side(partial(probe, counted), figure=True) for counted in (count, 100))
    return Case(*sides_of_row, note, unit="MiB", can_be_disturbed=False)


def probe_memory(hidden: int, counted: int) -> None:
    """In a process of its own: print the peak before and after the call, less the bytes of the inputs."""
    inputs = sides.text_like(SETTLE + ALIGN + counted)
    lstm = sides.fresh_lstm(hidden)
    before = peak_memory()
    spectrum(lstm, inputs, k=8, settle=SETTLE, align=ALIGN)
    print(before - inputs.nbytes, peak_memory() - inputs.nbytes)


def peak_memory() -> int:
    """Bytes resident at most so far; from the kernel's mark for this program, because `ru_maxrss` remembers the parent's."""
    status = Path("/proc/self/status")
    if status.exists():
        return next(int(line.split()[1]) * 1024 for line in status.read_text().splitlines() if line.startswith("VmHWM"))
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def chosen(ours: Ours) -> str:
    """What the run chose."""
    return f"qr_every {ours.result.settings.qr_every}"
