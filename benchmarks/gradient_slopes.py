"""How real loss gradients decay, beside what exponents and the readout say: RNN, GRU and LSTM on text, untrained and trained.

    python benchmarks/gradient_slopes.py            # about ten minutes on one core

Networks of 128 units, PyTorch's own initialization, 2000 steps of Adam at 3e-3 on 32 windows of 64 characters, gradients
clipped at norm 1; War and Peace where LYAPUNOV_DATA_DIR has it, else Python's reference text. Measured and predicted on 4
held-out windows of 600 characters, 200 starting times, least squares over lags 20 to 80. Writes the table into
docs/gradients.md, between its markers, and docs/figures/gradients.png, under_text.png and participation.png.
"""

import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import torch
from matplotlib.figure import Figure
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, one_hot

import lyapunov
from lyapunov.tasks import Corpus, demo_corpus

ROOT = Path(__file__).parent.parent
PAGE, FIGURES = ROOT / "docs" / "gradients.md", ROOT / "docs" / "figures"
UNITS, STEPS, STARTS, LAGS = 128, 2000, 200, (20, 80)


class Model(nn.Module):
    """One-hot characters through a recurrent layer to logits."""

    def __init__(self, kind: type[nn.Module], symbols: int) -> None:
        super().__init__()
        self.symbols, self.core = symbols, kind(symbols, UNITS, batch_first=True)
        self.readout = nn.Linear(UNITS, symbols)

    def encoded(self, symbols: Tensor) -> Tensor:
        """(batch, time, symbols)."""
        return one_hot(symbols, self.symbols).to(self.readout.weight.dtype)

    def forward(self, symbols: Tensor) -> Tensor:
        """Logits."""
        return self.readout(self.core(self.encoded(symbols))[0])


def loss(model: nn.Module, symbols: Tensor) -> Tensor:
    """(batch, time)."""
    return cross_entropy(model(symbols[:, :-1]).mT, symbols[:, 1:], reduction="none")


def windows(symbols: Tensor, count: int, length: int, generator: torch.Generator) -> Tensor:
    """Random stretches of text."""
    starts = torch.randint(len(symbols) - length, (count,), generator=generator)
    return torch.stack([symbols[at : at + length] for at in starts.tolist()])


class Row(NamedTuple):
    """One network at one time of its life; slopes in nats per step."""

    kind: str
    when: str
    loss: float
    hidden: float
    full: float
    predicted: lyapunov.analysis.lag_decay.Slope
    measured: lyapunov.analysis.lag_decay.Slope


class Measurement(NamedTuple):
    """What was found of a network."""

    row: Row
    measured: lyapunov.GradientDecay
    predicted: lyapunov.GradientExponents
    model: Model
    text: Tensor


def measurements(kind: type[nn.Module], data: Corpus) -> Iterator[Measurement]:
    """Before and after training."""
    torch.manual_seed(0)
    model, generator = Model(kind, len(data.vocabulary)), torch.Generator().manual_seed(0)
    held_out = windows(data.valid, 4, 601, torch.Generator().manual_seed(1))
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
    yield measure(model.double(), held_out, "untrained")
    model.float()
    for _ in range(STEPS):
        optimizer.zero_grad()
        loss(model, windows(data.train, 32, 65, generator)).mean().backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
    yield measure(model.double(), held_out, "trained")


def measure(model: Model, text: Tensor, when: str) -> Measurement:
    """All three quantities, and the gradients themselves."""
    core: Any = model.core
    inputs = model.encoded(text[:, :-1])
    measured = lyapunov.gradient_decay(model, loss, text, lags=LAGS[1], starts=STARTS)
    lags = tuple(range(10, LAGS[1] + 1, 10))
    predicted = lyapunov.gradient_exponents(core, inputs, readout=model.readout, lags=lags, k=1, starts=STARTS, settle=0)
    full = lyapunov.spectrum(core, inputs, k=1).max
    hidden = lyapunov.spectrum(core, inputs, k=1, linearization="hidden").max if isinstance(core, nn.LSTM) else math.nan
    with torch.no_grad():
        value = float(loss(model, text).mean())
    row = Row(type(core).__name__, when, value, hidden, full, predicted.slope(*LAGS), measured.slope(*LAGS))
    print(in_words(row), flush=True)
    return Measurement(row, measured, predicted, model, text)


def in_words(row: Row) -> str:
    """A line of the table."""
    hidden = "-" if math.isnan(row.hidden) else f"{row.hidden:.3f}"
    apart = row.predicted.value / row.measured.value - 1
    numbers = f"{row.loss:.2f} | {hidden} | {row.full:.3f} | {row.predicted.value:.4f} ± {row.predicted.standard_error:.4f}"
    return (
        f"| {row.kind} | {row.when} | {numbers} | {row.measured.value:.4f} ± {row.measured.standard_error:.4f} | {apart:+.1%} |"
    )


def draw(found: list[Measurement], vocabulary: list[str]) -> None:
    """Decay of the LSTM before and after; growth under the text; what carries the leading vectors."""
    figure = Figure(figsize=(10.4, 4.2), layout="constrained")
    for one, ax in zip(found, figure.subplots(1, 2, sharey=True), strict=True):
        lines = {"exponent, full state": one.row.full, "exponent, hidden state": one.row.hidden}
        lyapunov.plots.gradient_decay(ax, measured=one.measured, predicted=one.predicted, exponents=lines)
        ax.set_title(f"{one.row.kind}, {one.row.when}")
        ax.set_ylim(-45, 3)
    figure.savefig(FIGURES / "gradients.png", dpi=150)
    last = found[-1]
    inputs = last.model.encoded(last.text[:, :-1])
    local = lyapunov.local_exponents(last.model.core, inputs, k=1, settle=60, align=60)
    figure = Figure(figsize=(10.4, 4.2), layout="constrained")
    characters = "".join(vocabulary[symbol] for symbol in last.text[0, :-1].tolist())
    lyapunov.plots.under_text(local, characters, figure.subplots(), width=80, lines=6)
    figure.savefig(FIGURES / "under_text.png", dpi=150)
    for growth in local.by_symbol(last.text[:, :-1], vocabulary):
        if growth.count >= 20:
            print(repr(growth.name), growth.count, f"{growth.growth:.3f} ± {growth.standard_error:.3f}")
    vectors = lyapunov.covariant_vectors(last.model.core, inputs, k=24)
    print(vectors)
    figure = Figure(figsize=(5.2, 4.6), layout="constrained")
    lyapunov.plots.participation(vectors, figure.subplots()).set_title("What carries each direction")
    figure.savefig(FIGURES / "participation.png", dpi=150)


def write(rows: list[Row]) -> None:
    """The table, between its markers."""
    head = (
        "| network | | loss | hidden | full | seen from the readout | measured | predicted beside measured |\n"
        + "|---" * 8
        + "|"
    )
    page = PAGE.read_text()
    before, _, rest = page.partition("<!-- slopes -->\n")
    after = rest.partition("<!-- /slopes -->")[2]
    table = "\n".join([head, *(in_words(row) for row in rows)])
    PAGE.write_text(f"{before}<!-- slopes -->\n{table}\n<!-- /slopes -->{after}")


if __name__ == "__main__":
    torch.set_num_threads(1)
    data = demo_corpus(limit=1_000_000)
    print(data.name)
    by_kind = [list(measurements(kind, data)) for kind in (nn.RNN, nn.GRU, nn.LSTM)]
    draw(by_kind[-1], data.vocabulary)
    write([one.row for pair in by_kind for one in pair])
