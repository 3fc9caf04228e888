"""The published estimator beside the right one: `python -m experiments.figures.published_estimator`.

Transcribed from its description, for comparison only. It multiplies the frame by the transposed Jacobian in forward order of
time, starts from the identity, takes base-2 logarithms, and of an LSTM looks at the hidden state alone.
On systems whose exponents are known, and on a network
trained on text: how far off is it?
"""

import math
import warnings
from typing import Any

import torch
from torch import Tensor

import lyapunov
from experiments.figures.outputs import Outcome, command, panels
from experiments.sweeps.presets import Preset, sweep
from lyapunov.intake import CastProblem, problem, recognize
from lyapunov.systems import known
from lyapunov.tasks import Learner


def published(cast: CastProblem, skip: int) -> Tensor:
    """(n,) in bits per step, averaged over sequences, in the order of the columns; the first `skip` steps are not counted."""
    system, state = cast.system, cast.state
    frame = torch.eye(*system.block_sizes, dtype=torch.float64).expand(cast.sequences.batch, -1, -1)
    total = torch.zeros(frame.shape[-1], dtype=torch.float64)
    steps = cast.sequences.steps
    with torch.no_grad(), system.running():
        for t in range(steps):
            x = cast.sequences.at(t)
            frame, triangle = torch.linalg.qr(*system.pull(state, x, (frame,)))
            state = system.step(state, x)
            if t >= skip:
                total += triangle.diagonal(dim1=-2, dim2=-1).abs().log2().mean(0)
    return (total / (steps - skip)).sort(descending=True).values


def make(preset: Preset) -> Outcome:
    """Known systems, then an LSTM before and after a few epochs."""
    steps = {"tiny": 300, "small": 3000, "paper": 10000}[preset]
    rows = [_known(name, build(), steps) for name, build in KNOWN.items()]
    rows += list(_trained(preset))
    figure, axes = panels(1, 4.4)
    names = [row["system"] for row in rows]
    places = torch.arange(len(rows))
    axes[0].barh(places + 0.2, [row["right"] for row in rows], height=0.35, label="right")
    axes[0].barh(places - 0.2, [row["published_nats"] for row in rows], height=0.35, label="published, converted to nats")
    axes[0].set_yticks(places, names)
    axes[0].set_xlabel("largest exponent (nats per step)")
    axes[0].legend(frameon=False)
    worst = max(rows, key=lambda row: abs(row["published_nats"] - row["right"]))
    ours = (
        f"on {worst['system']} it reads {worst['published_bits']:.3f} bits ({worst['published_nats']:.3f} nats) for "
        f"{worst['right']:.3f}"
    )
    return Outcome(rows, figure, ours, "not in the paper")


KNOWN = {
    "period-three product": known.period_three_product,
    "Lorenz flow": known.lorenz,
    "Ikeda map": known.ikeda,
    "Henon map": known.henon,
}


def _known(name: str, case: known.Known, steps: int) -> dict[str, Any]:
    inputs = case.inputs(4, steps, seed=1) if case.draw_inputs else None
    start, free = case.start(4, seed=1), None if case.draw_inputs else steps
    asked = problem(case.system, inputs, state=start, steps=free, coupled=True)
    return _row(name, float(case.exponents[0]) * case.dt, published(recognize(asked, torch.float64), steps // 4))


def _trained(preset: Preset) -> list[dict[str, Any]]:
    """The first network of the text sweep, after 0 and after some epochs: hidden state, in the right order and in theirs."""
    chosen = sweep("text", preset)
    learner, found = Learner(chosen.build(), chosen.recipes[0]), []
    for epochs in (0, 2):
        for _ in range(epochs):
            learner.train()
        inputs = learner.task.encoded(learner.task.probe()[0]).double()
        core: Any = learner.network.core
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", lyapunov.LyapunovWarning)
            along = {"settle": chosen.settle, "align": chosen.align, "progress": False}
            right = lyapunov.spectrum(core, inputs, k=1, linearization="hidden", **along).max
            full = lyapunov.spectrum(core, inputs, k=1, **along).max
        asked = problem(core, inputs, linearization="hidden", coupled=True)
        row = _row(
            f"LSTM, epoch {epochs}, hidden", right, published(recognize(asked, torch.float64), chosen.settle + chosen.align)
        )
        found += [row, {**row, "system": f"LSTM, epoch {epochs}, full", "right": full}]
    return found


def _row(system: str, right: float, bits: Tensor) -> dict[str, Any]:
    largest = float(bits[0])
    return {"system": system, "right": right, "published_bits": largest, "published_nats": largest * math.log(2)}


if __name__ == "__main__":
    command("estimator", "Published estimator", make, __doc__)
