"""True exponents for the coverage benchmark: closed forms, or dense Jacobians by `torch.func.jacrev` and NumPy's QR each step.

Nothing here computes with the library: the steps of the networks are written again, from their weights. Each truth has a
standard error: 0 for a closed form; from independent chains under noise; for a text that goes round in a circle, of which
every step is counted once, from what two chains make of the same stretch, one after a long and one after a short burn-in.
"""

import json
import math
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from scipy.special import digamma
from torch import Tensor, nn
from torch.func import jacrev, vmap
from torch.nn.functional import one_hot

import _coverage_maps as maps
import _coverage_systems as systems
import _coverage_trained as trained

PATH = Path(__file__).parent / "coverage_truths.json"
COMMAND = "python benchmarks/coverage.py --truths"
DTYPE = torch.float64
FLOOR = -30.0
"""Rates below that are rounding: a triangle of one step cannot show them."""
Step = Callable[[Tensor, Tensor], Tensor]


@dataclass(frozen=True)
class Truth:
    """Exponents in descending order with their standard errors, their mean, how they were found, and of which weights."""

    exponents: list[float]
    errors: list[float]
    mean: float
    mean_error: float
    how: str
    digest: str = ""


class Noise:
    """White noise (chains, size), or nothing for an autonomous map; a new draw at every step."""

    def __init__(self, chains: int, size: int, scale: float = 1.0) -> None:
        self._shape, self._scale, self._generator = (chains, size), scale, torch.Generator().manual_seed(987_654_321)

    def __call__(self, _: int) -> Tensor:
        return self._scale * torch.randn(*self._shape, dtype=DTYPE, generator=self._generator)


def growth(
    step: Step,
    state: Tensor,
    inputs: Callable[[int], Tensor],
    steps: int,
    parts: list[slice],
    columns: int | None = None,
) -> list[np.ndarray]:
    """ln |diag R|, and after it ln |det J|, summed over each part of the steps: (chains, columns + 1).

    Every chain starts from a frame of its own, of so many columns (None: all).
    """
    jacobian = vmap(jacrev(lambda s, x: (new := step(s, x), new), has_aux=True))
    chains, size = state.shape
    columns = columns or size
    frames = np.linalg.qr(np.random.default_rng(7).standard_normal((chains, size, columns)))[0]
    sums = [np.zeros((chains, columns + 1)) for _ in parts]
    started = time.monotonic()
    for at in range(steps):
        dense, state = jacobian(state, inputs(at))
        matrix = dense.numpy()
        frames, triangle = np.linalg.qr(matrix @ frames)
        with np.errstate(divide="ignore"):
            grown = np.log(np.abs(np.diagonal(triangle, axis1=1, axis2=2)))
        volume = grown.sum(1) if columns == size else np.linalg.slogdet(matrix)[1]
        for part, total in zip(parts, sums, strict=True):
            if part.start <= at < part.stop:
                total += np.concatenate([grown, volume[:, None]], axis=1)
        if (at + 1) % max(1, steps // 20) == 0:
            print(f"  step {at + 1} of {steps}, {time.monotonic() - started:.0f} s", flush=True)
    return sums


def under_noise(step: Step, state: Tensor, inputs: Callable[[int], Tensor], burn: int, count: int, how: str = "") -> Truth:
    """From independent chains."""
    chains, size = len(state), state.shape[1]
    rates = growth(step, state, inputs, burn + count, [slice(burn, burn + count)])[0] / count
    with np.errstate(invalid="ignore"):  # a direction that is lost to rounding, as where tanh is 1 to all digits
        mean, errors = rates.mean(0), rates.std(0, ddof=1) / math.sqrt(chains)
    how = f"{how or 'white noise'}: {chains} chains of {count} steps after {burn}, dense Jacobians, NumPy QR at every step"
    return _truth(mean, errors, size, how)


def _truth(mean: np.ndarray, errors: np.ndarray, size: int, how: str, digest: str = "") -> Truth:
    """Of columns, and of the volume after them."""
    order = np.argsort(-mean[:-1])
    exponents = [rate if rate > FLOOR else math.nan for rate in mean[order].tolist()]
    return Truth(exponents, errors[order].tolist(), float(mean[-1]) / size, float(errors[-1]) / size, how, digest)


def along_text(
    step: Step,
    symbols: Tensor,
    sizes: tuple[int, int],
    chains: int,
    burn: int,
    digest: str,
    columns: int | None = None,
) -> Truth:
    """All steps of a circular text, each once; `sizes`: of the state and of the alphabet."""
    size, alphabet = sizes
    count = len(symbols) // chains
    starts = torch.arange(chains) * count - burn

    def inputs(at: int) -> Tensor:
        return one_hot(symbols[(starts + at) % len(symbols)], alphabet).double()

    steps = burn + count
    parts = [slice(burn, steps), slice(burn // 2, burn), slice(steps - (burn - burn // 2), steps)]
    counted, early, late = growth(step, torch.zeros(chains, size, dtype=DTYPE), inputs, steps, parts, columns)
    left = np.abs((early[1:] - late[:-1]).sum(0)) / (chains * count)
    how = f"the whole text once, as a circle: {chains} stretches of {count} steps after {burn}, dense Jacobians, NumPy QR"
    return _truth(counted.sum(0) / (chains * count), left, size, how, digest)


def exact(exponents: list[float], how: str) -> Truth:
    """A closed form."""
    ordered = sorted(exponents, reverse=True)
    return Truth(ordered, [0.0] * len(ordered), sum(ordered) / len(ordered), 0.0, how)


def rnn_step(module: nn.RNN) -> Step:
    """h' = tanh(V x + W h + b) from the weights of one layer."""
    weights = {name: value.detach().double() for name, value in module.state_dict().items()}
    bias = weights["bias_ih_l0"] + weights["bias_hh_l0"]
    return lambda h, x: torch.tanh(weights["weight_ih_l0"] @ x + weights["weight_hh_l0"] @ h + bias)


def lstm_step(module: nn.LSTM) -> Step:
    """(h, c) of one LSTM layer."""
    weights = {name: value.detach().double() for name, value in module.state_dict().items()}
    bias, units = weights["bias_ih_l0"] + weights["bias_hh_l0"], module.hidden_size

    def step(state: Tensor, x: Tensor) -> Tensor:
        h, c = state[:units], state[units:]
        i, f, g, o = (weights["weight_ih_l0"] @ x + weights["weight_hh_l0"] @ h + bias).split(units)
        cell = torch.sigmoid(f) * c + torch.sigmoid(i) * torch.tanh(g)
        return torch.cat([torch.sigmoid(o) * torch.tanh(cell), cell])

    return step


def gaussian(size: int) -> list[float]:
    """Products of standard Gaussian matrices (Newman 1986)."""
    return [0.5 * (math.log(2) + float(digamma((size - rank) / 2))) for rank in range(size)]


def leaky_chain(chains: int = 64, burn: int = 500, count: int = 10_000) -> Truth:
    """Triangular Jacobians: the time means of ln diag J = ln 0.5 (1 - h^2) are the exponents."""
    weights = 0.5 * (np.eye(systems.CHAIN) + np.eye(systems.CHAIN, k=-1))
    draw, state = np.random.default_rng(11), np.zeros((chains, systems.CHAIN))
    total = np.zeros_like(state)
    for at in range(burn + count):
        drive = state @ weights.T
        drive[:, 0] += 0.02 * draw.standard_normal(chains)
        state = np.tanh(drive)
        if at >= burn:
            total += np.log(0.5 * (1 - state**2))
    rates = total / count
    mean, errors = rates.mean(0), rates.std(0, ddof=1) / math.sqrt(chains)
    order = np.argsort(-mean)
    how = f"time means of the logarithm of the diagonals, {chains} chains of {count} steps"
    return Truth(mean[order].tolist(), errors[order].tolist(), float(mean.mean()), float(errors.mean()), how)


def driven(step: Step, size: int, input_size: int, chains: int, burn: int, count: int, scale: float = 1.0) -> Truth:
    """A system under white noise, from zero."""
    return under_noise(step, torch.zeros(chains, size, dtype=DTYPE), Noise(chains, input_size, scale), burn, count)


def cycle(chains: int = 64, burn: int = 2000, count: int = 20_000) -> Truth:
    """The limit cycle, from random states."""
    state = 4 * torch.rand(chains, 2, dtype=DTYPE, generator=torch.Generator().manual_seed(3)) - 2
    return under_noise(maps.van_der_pol_step, state, Noise(chains, 1), burn, count, "autonomous")


def basin(sign: float, chains: int = 64, burn: int = 200, count: int = 5000) -> Truth:
    """One of two basins."""
    state = torch.zeros(chains, 4, dtype=DTYPE)
    state[:, 0] = 0.8 * sign
    return under_noise(systems.two_basins, state, Noise(chains, 4), burn, count)


def both_basins() -> Truth:
    """Rank by rank the mean of both: half of the sequences are in either."""
    upper, lower = basin(1.0), basin(-1.0)
    exponents = [(a + b) / 2 for a, b in zip(upper.exponents, lower.exponents, strict=True)]
    errors = [math.hypot(a, b) / 2 for a, b in zip(upper.errors, lower.errors, strict=True)]
    error = math.hypot(upper.mean_error, lower.mean_error) / 2
    return Truth(exponents, errors, (upper.mean + lower.mean) / 2, error, f"both basins with weight 1/2; {upper.how}")


def text_lstm(network: Callable[[], trained.Trained], chains: int, burn: int, columns: int | None = None) -> Truth:
    """A trained LSTM along its text."""
    found = network()
    size = 2 * found.module.hidden_size
    return along_text(lstm_step(found.module), found.symbols, (size, found.size), chains, burn, found.digest, columns)


def _adapted(h: Tensor, x: Tensor) -> Tensor:
    """The network with its slow variable where it ends: a gain of 0.3 + 60 x 0.01."""
    return torch.tanh(0.9 * systems.ADAPTING.mT @ h + x)


def ring(chains: int = 400, burn: int = 200, count: int = 10_000) -> Truth:
    """On a ring the Jacobians are diagonal times a rotation of the units: all exponents are the mean of ln 0.9 (1 - h^2)."""
    draw, state = np.random.default_rng(12), np.zeros((chains, 8))
    total = np.zeros(chains)
    for at in range(burn + count):
        state = np.tanh(0.9 * np.roll(state, 1, axis=1) + draw.standard_normal((chains, 8)))
        total += np.log(0.9 * (1 - state**2)).mean(1) if at >= burn else 0.0
    rates = total / count
    mean, error = float(rates.mean()), float(rates.std(ddof=1)) / math.sqrt(chains)
    return Truth([mean] * 8, [error] * 8, mean, error, f"time mean of the diagonals, {chains} chains of {count} steps")


def recipes() -> dict[str, Callable[[], Truth]]:
    """How each truth is found."""
    rest = math.log(1 - 2 * maps.ATTRACTION[0]), math.log(1 - 2 * maps.ATTRACTION[1])
    rare = [rate - 5 / 500 for rate in gaussian(4)]
    return {
        "Gaussian products": partial(exact, gaussian(5), "closed form (Newman 1986)"),
        "rare contractions": partial(exact, rare, "closed form (Newman 1986), less 5 / 500"),
        "double integrator": partial(exact, [0.0, 0.0], "closed form: both eigenvalues are 1"),
        "unequal lengths": partial(exact, [-0.5], "closed form: the mean of x"),
        "quasi-periodic": partial(exact, [0.0, 0.0, *rest], "closed form: 0, 0, ln(1 - 2 a)"),
        "triangular weights": leaky_chain,
        "limit cycle": cycle,
        "mixed basins": both_basins,
        "mixed basins, upper": partial(basin, 1.0),
        "mixed basins, lower": partial(basin, -1.0),
        "slow carried": lambda: driven(_adapted, 8, 8, 100, 500, 10_000),
        "slow carried, ring": ring,
        "driven tanh network": lambda: driven(rnn_step(systems.tanh_module()), 32, 32, 64, 500, 6000),
        "chrono LSTM": lambda: driven(lstm_step(systems.chrono_lstm()), 32, 3, 64, 1500, 8000),
        "gain 5": lambda: driven(rnn_step(systems.slow_rnn(16, 5.0, 1)), 16, 3, 200, 5000, 8000),
        "gain 8": lambda: driven(rnn_step(systems.slow_rnn(10, 8.0, 12)), 10, 3, 300, 15_000, 40_000),
        f"{trained.SMALL}, {trained.PYTHON}": partial(text_lstm, partial(trained.small, trained.PYTHON), 62, 1000),
        f"{trained.SMALL}, {trained.WAR}": partial(text_lstm, partial(trained.small, trained.WAR), 62, 1000),
        trained.DEMO: partial(text_lstm, trained.demo, 20, 1500, 16),
    }


def make(only: str = "") -> None:
    """Finds the truths whose name holds `only`, and writes each when it is found."""
    torch.set_num_threads(1)
    for name, recipe in recipes().items():
        if only.lower() in name.lower() and (trained.WAR not in name or trained.available(trained.WAR)):
            print(name, flush=True)
            with torch.no_grad():
                truth = recipe()
            print(f"  {truth.exponents[:3]} +- {truth.errors[:3]}", flush=True)
            _write({**_document()["truths"], name: _plain(asdict(truth))})


def _write(entries: dict[str, Any]) -> None:
    """One line each, sorted."""
    lines = ",\n".join(f"{json.dumps(name)}: {json.dumps(entries[name], allow_nan=False)}" for name in sorted(entries))
    PATH.write_text(f'{{"command": {json.dumps(COMMAND)}, "truths": {{\n{lines}\n}}}}\n')


def _document() -> dict[str, Any]:
    return json.loads(PATH.read_text()) if PATH.exists() else {"truths": {}}


def _plain(found: dict[str, Any]) -> dict[str, Any]:
    """Short numbers on few lines; null where there is none."""

    def short(value: Any) -> Any:
        return (float(f"{value:.8g}") if math.isfinite(value) else None) if isinstance(value, float) else value

    lists = {name: [short(entry) for entry in found[name]] for name in ("exponents", "errors")}
    return {**{name: short(value) for name, value in found.items()}, **lists}


def on_file() -> set[str]:
    """Names of the truths there are."""
    return set(_document()["truths"])


def _number(value: Any) -> Any:
    return math.nan if value is None else value


def truths(names: set[str]) -> dict[str, Truth]:
    """Those of these names that are on file, of the networks that are here."""
    entries, found = _document()["truths"], {}
    for name in sorted(names & entries.keys()):
        entry = entries[name]
        if entry["digest"] == trained.digest(name):
            lists = {key: [_number(value) for value in entry[key]] for key in ("exponents", "errors")}
            found[name] = Truth(**{key: _number(value) for key, value in entry.items()} | lists)
        else:
            print(f"{name}: other weights than those of the truth on file. {COMMAND} --only {name!r} finds theirs.", flush=True)
    return found
