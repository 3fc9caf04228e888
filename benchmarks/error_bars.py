"""What else is promised of error bars, measured: paired differences, warm starts, steps that a verdict names.

    python benchmarks/error_bars.py                # all of it (about half an hour)
    python benchmarks/error_bars.py pairs          # a - b of two slow LSTMs, 300 times: how often its interval holds the truth
    python benchmarks/error_bars.py warm           # 40 readings of the demo's LSTM from random frames, and from carried ones
    python benchmarks/error_bars.py remedies       # results that are not converged, and again with the steps that they name
    python benchmarks/error_bars.py windows        # of text: how often Student's interval of exact window means holds theirs

Networks and truths are those of `coverage.py`: run `coverage.py --truths` first where it asks for that.
"""

import argparse
import re
import warnings
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import torch
from scipy.stats import t as student

import _coverage_systems as systems
import _reference as reference
import lyapunov
from _coverage_cells import cells
from _coverage_systems import Cell
from _coverage_trained import DEMO, PYTHON, SMALL, WAR
from lyapunov.tasks.demo import ALIGN, COUNT, LEADING, SEQUENCES, SETTLE

PAIRS, PER_PAIR = ((0, 10), (1, 11), (2, 12)), 100
RECIPE = {"settle": 30, "align": 30, "k": 4}
"""As the guide compares two networks, along 10 sequences of 200 steps."""
STARTS = 40
REMEDIED = (
    "driven tanh network: k = 1, 10 x 250, open",
    "driven tanh network: k = 4, 10 x 250, open",
    "driven tanh network: k = 4, 10 x 250, 50 + 50 given",
    "driven tanh network: k = 4, 10 x 250, 3 + 3 given",
    "chrono LSTM: k = 1, 10 x 500, open",
    "chrono LSTM: k = 4, 10 x 500, open",
    "chrono LSTM: k = 8, 10 x 500, open",
    "chrono LSTM: k = 4, 10 x 200, 30 + 30 given",
    f"{DEMO}: k = 4, 10 x 300, open",
    f"{DEMO}: k = 8, 10 x 300, 50 + 50 given",
)


def pairs() -> None:
    """Paired differences by the guide's recipe, held against chains on the same noise."""
    held, significant, wrong = np.zeros(RECIPE["k"]), 0, 0
    for one, other in PAIRS:
        modules = [systems.chrono_lstm(16, seed) for seed in (one, other)]
        truth, error = _difference(*modules)
        print(f"seeds {one} and {other}: the largest exponents differ by {truth[0]:+.5f} +- {error[0]:.5f}", flush=True)
        for at in range(PER_PAIR):
            inputs = systems.normal(5000 + at, 10, 200, 3)
            found = [lyapunov.spectrum(module, inputs, seed=at, **RECIPE) for module in modules]
            low, high = (found[0] - found[1]).interval().numpy().T
            held += (low <= truth[: len(low)]) & (truth[: len(low)] <= high)
            significant += low[0] > 0 or high[0] < 0
            wrong += low[0] > max(truth[0], 0.0) or high[0] < min(truth[0], 0.0)
    made = len(PAIRS) * PER_PAIR
    print(f"of {made} differences, 95 % intervals hold the truth: {', '.join(f'{n:.0f}' for n in held)} (exponents 1 to 4)")
    print(f"largest exponent: {significant} are significant, {wrong} of them in the wrong direction")


def _difference(*modules: torch.nn.LSTM) -> tuple[np.ndarray, np.ndarray]:
    """Of the exponents of two modules, and its standard error over chains that both see the same noise."""
    chains, burn, count, rates = 64, 1500, 8000, []
    for module in modules:
        state, noise = torch.zeros(chains, 32, dtype=torch.float64), reference.Noise(chains, 3)
        grown = reference.growth(reference.lstm_step(module), state, noise, burn + count, [slice(burn, burn + count)])[0]
        rates.append(grown[:, :-1] / count)
    apart = rates[0] - rates[1]
    return apart.mean(0), apart.std(0, ddof=1) / chains**0.5


def warm() -> None:
    """Of the same weights along the same text: readings from random frames, and from frames that were carried over."""
    truth = reference.truths({DEMO})[DEMO]
    expected = np.array(truth.exponents[:LEADING])
    cell = next(cell for cell in cells() if cell.system == DEMO)
    cell = replace(cell, sequences=SEQUENCES, steps=SETTLE + ALIGN + COUNT)
    apart, held, converged = [], np.zeros((2, LEADING)), np.zeros(2)
    for at in range(STARTS):
        system, inputs, _ = systems.demo_lstm(7000 + at, cell)
        options = lyapunov.RunOptions(settle=SETTLE, align=ALIGN, seed=at)
        monitor = lyapunov.Monitor(system, inputs, k=LEADING, options=options)
        readings = [monitor.read(step) for step in (0, 1, 2)]  # the second one is made from a cold start, to check the first
        spectra = [readings[0].spectrum, readings[2].spectrum]
        values = [spectrum.exponents.numpy() for spectrum in spectra]
        apart.append((values[1] - values[0]) / spectra[0].standard_errors.numpy())
        for side, spectrum in enumerate(spectra):
            low, high = spectrum.interval().numpy().T
            held[side] += (low <= expected) & (expected <= high)
            converged[side] += spectrum.verdict.converged
        if (at + 1) % 5 == 0:
            size = np.sqrt(np.mean(np.square(apart), 0))
            print(f"{at + 1} starts: warm and random differ by {', '.join(f'{n:.2f}' for n in size)} errors (root mean square)")
            print(
                f"  converged: {converged}; hold the truth: {held[0]} from random frames, {held[1]} from carried ones",
                flush=True,
            )


def remedies() -> None:
    """Results that are not converged, repeated with the steps to which their verdicts point."""
    by_name, total, converged = {cell.name: cell for cell in cells()}, 0, 0
    for name in REMEDIED:
        cell, asked, done = by_name[name], 0, 0
        for seed in (1, 2, 3):
            first = _run(cell, seed)
            if first.verdict.converged:
                continue
            spent = _spent(cell, str(first.verdict))
            asked += 1
            again = None if spent is None else _run(spent, seed)
            done += again is not None and again.verdict.converged
            if again is None or not again.verdict.converged:
                print(f"  {spent and spent.setting}: {(again or first).verdict}")
        total, converged = total + asked, converged + done
        print(f"{name}: {done} of {asked}", flush=True)
    print(f"all: {converged} of {total} converged with the steps that were named")


def _run(cell: Cell, seed: int) -> lyapunov.Spectrum:
    system, inputs, arguments = cell.replicate(seed)
    return lyapunov.spectrum(system, inputs, **arguments)


def _spent(cell: Cell, message: str) -> Cell | None:
    """The cell with the largest of the steps that are named; what is not named stays open. None where no number is."""

    def named(pattern: str) -> int | None:
        return max((int(number) for number in re.findall(pattern, message)), default=None)

    settle, align, steps = named(r"settle=(\d+)"), named(r"align=(\d+)"), named(r"inputs of (\d+)")
    counted = named(r"about (\d+) in each sequence")
    if settle is align is steps is counted is None:
        return None
    settle = settle if settle is not None else cell.settle
    align = align if align is not None else cell.align
    longest = max(steps or 0, cell.steps, (settle or 0) + (align or 0) + (counted or 0))
    return replace(cell, steps=longest, settle=None, align=None, options={"settle": settle, "align": align})


def windows() -> None:
    """What no estimator from so many windows can do better: their means as they are, drawn from a thousand of them."""
    for text in (PYTHON, WAR):
        cell = next(cell for cell in cells() if cell.system == f"{SMALL}, {text}" and cell.k == 1)
        series = [_run(cell, 9000 + at).mean_series for at in range(100)]
        means = np.concatenate([(grown.sum(0) / steps.sum(0)).flatten().numpy() for grown, steps in series])
        draw = np.random.default_rng(0)
        for count in (3, 10, 100):
            drawn = draw.choice(means, (20_000, count))
            half = student.ppf(0.975, count - 1) * drawn.std(1, ddof=1) / count**0.5
            held = np.mean(np.abs(drawn.mean(1) - means.mean()) <= half)
            print(
                f"{text}, {count} windows of {cell.steps} steps: the interval of the mean holds the truth in {held:.0%}",
                flush=True,
            )


PARTS: dict[str, Callable[[], None]] = {"pairs": pairs, "warm": warm, "remedies": remedies, "windows": windows}


def main() -> None:
    """What was asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("part", nargs="*", choices=[*PARTS, []], help="all where none is named")
    torch.set_num_threads(1)
    warnings.simplefilter("ignore", lyapunov.LyapunovWarning)
    for part in parser.parse_args().part or PARTS:
        print(part, flush=True)
        PARTS[part]()


if __name__ == "__main__":
    main()
