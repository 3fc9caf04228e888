"""Rows beside training, the plain way, and what the arithmetic costs at least."""

from functools import partial
from typing import Any

import torch

import _sides as sides
from _record import Goal
from _row import ALIGN, PUSH_ALL, READOUT, SETTLE, STEPS, Case, Ours, chosen, row, spectrum
from _timing import Pairs, Side

TRAINING_STEPS = 256


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
