"""How bias, variance and coverage go with sequences, length and warm-up: the second table of docs/budget.md, and its figure."""

import math
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
    return lyapunov.spectrum(case.system, inputs, state=state, seed=seed, check=False, from_initial_state=reset, **transients)


def long_truth(run: Callable[..., lyapunov.Spectrum], pool: ProcessPoolExecutor, **kwargs: int) -> Tensor:
    """Largest, middle and mean exponent of many independent long runs, pooled."""
    runs = list(pool.map(partial(replicate, partial(run, **kwargs)), range(8)))
    return torch.stack(runs)[..., 0].mean(0)


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
