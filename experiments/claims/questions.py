"""The paper's open questions, each a short run: `python -m experiments.claims.questions`.

Input strength and the norm of input weights; one long sequence, ten short ones, or ten initial states on one input; whether
lambda(i / N) collapses for growing N; the hidden against the full state; weights that stay against weights drawn anew.
"""

import math
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn

import lyapunov
from experiments.figures.outputs import Outcome, command, panels
from experiments.figures.regimes import network
from experiments.sweeps.presets import Preset

Row = dict[str, Any]
STRENGTHS = (0.0, 0.25, 0.5, 1.0, 2.0, 4.0)


def make(preset: Preset) -> Outcome:
    """All five."""
    size = {"tiny": 24, "small": 128, "paper": 512}[preset]
    steps = {"tiny": 160, "small": 300, "paper": 600}[preset]
    figure, axes = panels(5)
    rows: list[Row] = []
    words: list[str] = []
    for ask, ax in zip(ASKED, axes, strict=True):
        found = list(ask(size, steps))
        rows += [{"question": ask.__name__, **row} for row in found]
        words.append(draw(ax, ask.__name__, found))
    return Outcome(rows, figure, "; ".join(words), "open questions of the paper")


def noise(batch: int, steps: int, size: int, seed: int) -> Tensor:
    """Independent normal numbers."""
    return torch.randn(batch, steps, size, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def reading(system: Any, inputs: Any, **given: Any) -> Row:
    """The largest exponent with its error, and the mean."""
    found = lyapunov.spectrum(system, inputs, **{"k": 1, "progress": False, **given})
    return {
        "largest": found.max,
        "error": float(found.standard_errors[0]),
        "mean": found.mean if found.mean is not None else math.nan,
    }


def strength(size: int, steps: int) -> Iterator[Row]:
    """Noise of growing strength into a chaotic vanilla RNN; and the same strength by the norm of the input weights."""
    start = {"state": 0.5 * noise(1, 10, size, 13)}  # without inputs, zero is a fixed point, and unstable
    for value in STRENGTHS:
        module = network(size, 2.0)
        yield {"x": value, "what": "inputs", **reading(module, value * noise(10, steps, size, 5), **start)}
        with torch.no_grad():
            module.weight_ih_l0.mul_(value)
        yield {"x": value, "what": "input weights", **reading(module, noise(10, steps, size, 5), **start)}


def division(size: int, steps: int) -> Iterator[Row]:
    """As many steps as one sequence, as ten, and as ten initial states on one input."""
    module = network(size, 2.0)
    long = noise(1, 10 * steps, size, 6)
    ten = noise(10, steps, size, 7)
    states = 0.5 * noise(1, 10, size, 8)
    settled = {"settle": 50, "align": 50}
    yield {"x": 0, "what": "1 long sequence", **reading(module, long, **settled)}
    yield {"x": 1, "what": "10 sequences", **reading(module, ten, **settled)}
    yield {
        "x": 2,
        "what": "10 initial states, 1 input",
        **reading(module, long[:, :steps].expand(10, -1, -1), state=states, **settled),
    }


def sizes(size: int, steps: int) -> Iterator[Row]:
    """Whole spectra of driven vanilla RNNs of one gain, at rank fractions."""
    for count in (size // 2, size, 2 * size, 4 * size):
        spectrum = lyapunov.spectrum(network(count, 2.0), noise(4, steps, count, 9), progress=False)
        for at in range(0, count, max(count // 32, 1)):
            yield {"x": (at + 0.5) / count, "what": f"N = {count}", "largest": float(spectrum.exponents[at])}


def linearizations(size: int, steps: int) -> Iterator[Row]:
    """LSTMs of PyTorch's initialization with a growing bias of the forget gate: full and hidden state."""
    for at, bias in enumerate((0.0, 1.0, 2.0, 4.0)):
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            module = nn.LSTM(8, size, batch_first=True).double()
        with torch.no_grad():
            module.bias_ih_l0[size : 2 * size] += bias
        for state in ("full", "hidden"):
            yield {"x": at, "what": state, **reading(module, noise(10, steps, 8, 10), linearization=state)}


def redrawn(size: int, steps: int) -> Iterator[Row]:
    """A driven vanilla RNN whose weights stay, and one whose weights are drawn anew at every step."""
    count = min(size, 64)
    for gain in (1.0, 1.5, 2.0, 3.0):
        inputs = noise(4, steps, count, 11)
        yield {"x": gain, "what": "stay", **reading(network(count, gain), inputs)}
        weights = gain / math.sqrt(count) * noise(4, steps, count * count, 12).unflatten(-1, (count, count))

        def step(state: Tensor, x: tuple[Tensor, Tensor]) -> Tensor:
            return torch.tanh((x[1] @ state.unsqueeze(-1)).squeeze(-1) + x[0])

        start = torch.zeros(4, count, dtype=torch.float64)
        yield {"x": gain, "what": "drawn anew", **reading(step, (inputs, weights), state=start)}


ASKED = (strength, division, sizes, linearizations, redrawn)


def draw(ax: Any, name: str, rows: list[Row]) -> str:
    """A line per kind; what it comes to, in words."""
    for what in dict.fromkeys(row["what"] for row in rows):
        mine = [row for row in rows if row["what"] == what]
        ax.errorbar(
            [row["x"] for row in mine],
            [row["largest"] for row in mine],
            [2 * row.get("error", 0.0) for row in mine],
            marker=".",
            label=what,
        )
    ax.set_title(name)
    ax.set_ylabel("exponent (nats per step)")
    ax.legend(frameon=False, fontsize="x-small")
    first, last = rows[0], rows[-1]
    return f"{name}: {first['largest']:+.3f} ({first['what']}) ... {last['largest']:+.3f} ({last['what']})"


if __name__ == "__main__":
    command("questions", "Open questions", make, __doc__)
