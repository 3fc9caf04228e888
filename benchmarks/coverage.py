"""How often intervals hold the truth, and how bias, variance and coverage go with sequences, length and warm-up.

    python benchmarks/coverage.py             # both tables and the figure (about fifteen minutes on two cores)
    python benchmarks/coverage.py --quick     # a fifth of the replicates

Writes the tables into docs/budget.md, between its markers, and docs/figures/budget.png.
"""

import argparse
import math
import sys
import warnings
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import torch
from torch import Tensor

import lyapunov
from lyapunov.systems import known
from lyapunov.tasks import Corpus, Trainer, Training, corpus, demo_corpus, new_model, python_reference

ROOT = Path(__file__).parent.parent
PAGE, FIGURE = ROOT / "docs" / "budget.md", ROOT / "docs" / "figures" / "budget.png"
WHICH = ("largest", "middle", "mean")
Run = Callable[[int], lyapunov.Spectrum]


@dataclass(frozen=True)
class Row:
    """One system's nominal 95 % intervals, per quantity: covered share, bias, spread of the estimates, mean error."""

    name: str
    replicates: int
    truth: tuple[float, ...]
    covered: tuple[float, ...]
    bias: tuple[float, ...]
    spread: tuple[float, ...]
    error: tuple[float, ...]


def read(spectrum: lyapunov.Spectrum) -> Tensor:
    """(3, 4): estimate, standard error, low and high end of the largest, the middle and the mean exponent."""
    intervals, middle = spectrum.interval(0.95), (len(spectrum.exponents) - 1) // 2
    rows = [[float(spectrum.exponents[at]), float(spectrum.standard_errors[at]), *intervals[at].tolist()] for at in (0, middle)]
    return torch.tensor([*rows, [spectrum.mean, spectrum.mean_standard_error, *spectrum.mean_interval(0.95)]]).double()


def replicate(run: Run, seed: int) -> Tensor:
    """One replicate, on one thread, quietly."""
    torch.set_num_threads(1)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", lyapunov.LyapunovWarning)
        return read(run(seed))


def coverage(name: str, run: Run, truth: Tensor, replicates: int, pool: ProcessPoolExecutor) -> Row:
    """Over so many replicates."""
    found = torch.stack(list(pool.map(partial(replicate, run), range(1000, 1000 + replicates), chunksize=10)))
    estimate, error, low, high = found.unbind(-1)
    row = Row(
        name=name,
        replicates=replicates,
        truth=tuple(truth.tolist()),
        covered=tuple(((low <= truth) & (truth <= high)).double().mean(0).tolist()),
        bias=tuple((estimate.mean(0) - truth).tolist()),
        spread=tuple(estimate.std(0).tolist()),
        error=tuple(error.mean(0).tolist()),
    )
    print(name, "covered", *(f"{which} {value:.3f}" for which, value in zip(WHICH, row.covered, strict=True)), flush=True)
    return row


def gaussian(seed: int) -> lyapunov.Spectrum:
    """Products of Gaussian matrices of size 5: 10 sequences of 150 steps, everything else left open."""
    case = known.gaussian_products(5)
    return lyapunov.spectrum(case.system, case.inputs(10, 150, seed=seed), seed=seed, check=False)


def tanh(
    seed: int, *, sequences: int = 10, counted: int = 150, settle: int | None = None, reset: bool = False, same: bool = False
) -> lyapunov.Spectrum:
    """The driven Gaussian tanh network of 32 units, gain 2, noise 1, from random states (or from zero).

    `settle`: steps of warm-up for state and frame each. `same`: one input sequence, several initial states.
    """
    case = known.gaussian_tanh(32, 2.0, 1.0)
    steps = counted + (0 if reset else 2 * (50 if settle is None else settle))
    inputs = case.inputs(1 if same else sequences, steps, seed=seed).expand(sequences, -1, -1)
    state = torch.zeros(sequences, 32).double() if reset else case.start(sequences, seed=seed + 1)
    transients = {} if settle is None else {"settle": settle, "align": settle}
    return lyapunov.spectrum(case.system, inputs, state=state, seed=seed, check=False, from_reset=reset, **transients)


def text_windows(symbols: Tensor, size: int, sequences: int, steps: int, seed: int) -> Tensor:
    """One-hot windows from random places of a text."""
    starts = torch.randint(0, len(symbols) - steps, (sequences,), generator=torch.Generator().manual_seed(seed))
    return torch.nn.functional.one_hot(symbols[starts.unsqueeze(-1) + torch.arange(steps)], size).double()


def trained_lstm(data: Corpus, hidden: int = 24, epochs: int = 3) -> tuple[torch.nn.LSTM, Tensor, int]:
    """A small character LSTM after three epochs, the text, and the number of its symbols."""
    training = Training(hidden=hidden, epochs=epochs)
    model = new_model(data, training)
    trainer = Trainer(model, data, training)
    for _ in range(epochs):
        for _ in trainer.steps():
            pass
    print(f"LSTM-{hidden} on {data.name}: held-out loss {trainer.held_out_loss():.3f} nats per character", flush=True)
    return model.lstm.requires_grad_(False), data.train, len(data.vocabulary)


def lstm(
    seed: int, *, module: torch.nn.LSTM, symbols: Tensor, size: int, sequences: int = 10, counted: int = 300
) -> lyapunov.Spectrum:
    """The trained LSTM, full state, on windows from random places: 100 steps each to settle and align, then counted."""
    inputs = text_windows(symbols, size, sequences, counted + 200, seed)
    return lyapunov.spectrum(module, inputs, settle=100, align=100, seed=seed, check=False)


def long_truth(run: Callable[..., lyapunov.Spectrum], pool: ProcessPoolExecutor, **kwargs: int) -> Tensor:
    """Largest, middle and mean exponent of many independent long runs, pooled."""
    runs = list(pool.map(partial(replicate, partial(run, **kwargs)), range(8)))
    return torch.stack(runs)[..., 0].mean(0)


def exact_gaussian() -> Tensor:
    """By Newman 1986."""
    exponents = known.gaussian_products(5).exponents
    return torch.stack([exponents[0], exponents[2], exponents.mean()])


def coverage_rows(scale: float, pool: ProcessPoolExecutor) -> Iterator[Row]:
    """The three systems."""
    yield coverage("products of Gaussian matrices, 5 x 5, 10 x 150", gaussian, exact_gaussian(), round(2000 * scale), pool)
    truth = long_truth(tanh, pool, sequences=50, counted=4000)
    name = "driven Gaussian tanh network, 32 units, 10 x 150 counted"
    yield coverage(name, tanh, truth, round(1000 * scale), pool)
    reference = corpus("the Python language reference", python_reference(), limit=465_000)
    texts = {data.name: data for data in (demo_corpus(), reference)}
    for data in texts.values():  # War and Peace first, where LYAPUNOV_DATA_DIR has it
        module, symbols, size = trained_lstm(data)
        run = partial(lstm, module=module, symbols=symbols, size=size)
        truth = long_truth(run, pool, sequences=150, counted=2000)
        name = f"LSTM of 24 units, full state, trained on {data.name}, 10 x 300"
        yield coverage(name, run, truth, round(300 * scale), pool)


BUDGET = {
    f"{sequences} x {counted}": (sequences, counted)
    for sequences, counted in ((1, 1000), (2, 500), (5, 200), (10, 100), (20, 50), (40, 25), (10, 400), (40, 100))
}
WARM_UP = {"from zero": {"reset": True}, "10 + 10 warm-up": {"settle": 10}, "50 + 50 warm-up": {"settle": 50}}


def budget_rows(scale: float, pool: ProcessPoolExecutor) -> Iterator[tuple[str, str, Row]]:
    """The driven tanh network: sequences x length x warm-up, and several initial states on one input."""
    truth = long_truth(tanh, pool, sequences=50, counted=4000)
    for warm, options in WARM_UP.items():
        for split, (sequences, counted) in BUDGET.items():
            run = partial(tanh, sequences=sequences, counted=counted, **options)
            yield split, warm, coverage(f"{split}, {warm}", run, truth, round(400 * scale), pool)
    for split in ("10 x 100", "40 x 100"):
        sequences, counted = BUDGET[split]
        run = partial(tanh, sequences=sequences, counted=counted, settle=50, same=True)
        yield split, "one input, many states", coverage(f"{split}, one input", run, truth, round(400 * scale), pool)


def coverage_table(rows: list[Row]) -> str:
    """Markdown."""
    lines = ["| system | replicates | largest | middle | mean | spread / reported error |", "|---|---|---|---|---|---|"]
    for row in rows:
        shares = " | ".join(f"{100 * value:.1f} %" for value in row.covered)
        ratio = ", ".join(f"{spread / error:.2f}" for spread, error in zip(row.spread, row.error, strict=True))
        lines.append(f"| {row.name} | {row.replicates} | {shares} | {ratio} |")
    return "\n".join(lines)


def budget_table(rows: list[tuple[str, str, Row]]) -> str:
    """Markdown, for the largest exponent."""
    lines = ["| sequences x counted | warm-up | bias | spread | root mean square | covered |", "|---|---|---|---|---|---|"]
    for split, warm, row in rows:
        bias, spread, covered = row.bias[0], row.spread[0], row.covered[0]
        share = "-" if math.isnan(row.error[0]) else f"{100 * covered:.0f} %"
        lines.append(f"| {split} | {warm} | {bias:+.4f} | {spread:.4f} | {math.hypot(bias, spread):.4f} | {share} |")
    return "\n".join(lines)


def draw(rows: list[tuple[str, str, Row]], path: Path) -> None:
    """Bias, spread and coverage of the largest exponent at 1000 counted steps in all, by how they are split."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(12, 3.8), layout="constrained")
    axes = figure.subplots(1, 3)
    splits = [split for split, (sequences, counted) in BUDGET.items() if sequences * counted == 1000]
    names = ("bias", "spread of the estimates", "95 % intervals that hold the truth")
    for warm in WARM_UP:
        found = {split: row for split, mode, row in rows if mode == warm}
        values = (
            [abs(found[split].bias[0]) for split in splits],
            [found[split].spread[0] for split in splits],
            [found[split].covered[0] for split in splits],
        )
        for ax, series in zip(axes, values, strict=True):
            ax.plot(splits, series, marker="o", label=warm)
    for ax, name in zip(axes, names, strict=True):
        ax.set_title(name)
        ax.set_xlabel("sequences x counted steps")
        ax.tick_params(axis="x", labelsize=8)
    axes[0].set_ylabel("|bias| (nats per step)")
    axes[1].set_ylabel("standard deviation (nats per step)")
    axes[1].set_ylim(bottom=0)
    axes[2].axhline(0.95, color="black", linewidth=0.6)
    axes[2].set_ylim(0, 1.02)
    axes[0].legend(frameon=False, fontsize="small")
    figure.suptitle("Largest exponent of a driven tanh network (32 units) from 1000 counted steps")
    path.parent.mkdir(exist_ok=True)
    figure.savefig(path, dpi=130)


def write(marker: str, text: str) -> None:
    """Between the page's markers."""
    page = PAGE.read_text()
    start, end = f"<!-- {marker} -->", f"<!-- end of {marker} -->"
    before, after = page.split(start)[0], page.split(end)[1]
    PAGE.write_text(f"{before}{start}\n\n{text}\n\n{end}{after}")


def main() -> None:
    """Both tables and the figure."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="a fifth of the replicates, nothing written")
    parser.add_argument("--only", choices=("coverage", "budget"), help="one of the two tables")
    arguments = parser.parse_args()
    scale = 0.2 if arguments.quick else 1.0
    with ProcessPoolExecutor() as pool:
        if arguments.only != "budget":
            table = coverage_table(list(coverage_rows(scale, pool)))
            print(table)
            if not arguments.quick:
                write("coverage", table)
        if arguments.only != "coverage":
            rows = list(budget_rows(scale, pool))
            print(budget_table(rows))
            if not arguments.quick:
                write("budget", budget_table(rows))
                draw(rows, FIGURE)


if __name__ == "__main__":
    sys.exit(main())
