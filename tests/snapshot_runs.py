"""All runs of `snapshot.py`, by name: the spectra, and what else there is to ask of a network."""

import warnings
from collections.abc import Callable
from functools import cache, partial, wraps
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

import snapshot_calls as calls
import snapshot_shown as shown
from snapshot_calls import Values, spectrum
from snapshot_models import Loop, Tagger, models
from snapshot_spectra import (
    BATCH,
    FEATURES,
    GRU,
    INPUTS,
    LAYERS,
    LENGTHS,
    LSTM,
    RNN,
    STACK,
    STACKS,
    START,
    SYMBOLS,
    TOKENS,
    UNITS,
    Leaky,
    counting,
    drawn,
    layer,
    module,
    spectra_by_setting,
    spectra_of_layers,
    spectra_of_steps,
    tanh_step,
)

Runs = dict[str, Callable[[], Values]]


def once(make: Callable[..., Any]) -> Callable[..., Any]:
    """For what several runs need: made once, and without warnings, which would be those of whichever run comes first."""

    @cache
    @wraps(make)
    def silent(*args: Any) -> Any:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return make(*args)

    return silent


def refusals() -> Runs:
    """What is said where nothing can be computed."""

    def refused(build: Callable[[], Any], inputs: Any = INPUTS, **given: Any) -> Callable[[], Values]:
        return lambda: calls.refused(lambda: spectrum(build(), inputs, **given))

    return {
        "refusals/bidirectional": refused(partial(layer, nn.GRU, bidirectional=True)),
        "refusals/another module": refused(partial(module, nn.Linear, FEATURES, UNITS)),
        "refusals/too many": refused(GRU, k=UNITS + 1),
        "refusals/too short": refused(GRU, settle=100, align=20),
        "refusals/closed form": refused(GRU, method="closed"),
        "refusals/chunks from reset": refused(GRU, chunks=2, from_reset=True),
        "refusals/diverged": refused(lambda: lambda h, x: 10 * h**2, state=1 + START.abs(), settle=0, align=0),
        "refusals/diverged later": refused(lambda: lambda h, x: h**1.5 * 1.3, state=1 + 0 * START, check=False, qr_every=1),
        "refusals/sequences that see each other": refused(lambda: lambda h, x: h + h.mean(0), state=START),
        "refusals/diverged in a chunk": refused(
            lambda: lambda h, x: h**1.5 * 1.3, drawn(BATCH, 400, FEATURES, seed=31), state=1 + 0 * START, check=False, chunks=2
        ),
        "refusals/not paired": lambda: calls.refused(
            lambda: calls.difference(spectrum(GRU(), INPUTS), spectrum(GRU(), 2 * INPUTS))
        ),
    }


def comparisons() -> Runs:
    """Two spectra beside each other, and what an error bar costs."""
    given = {"settle": 20, "align": 30}

    def between(one: Callable[[], Any], other: Callable[[], Any], **more: Any) -> Callable[[], Values]:
        return lambda: calls.difference(*(spectrum(build(), INPUTS, **given, **more) for build in (one, other)))

    weaker = partial(layer, nn.LSTM, scale=1.2)
    return {
        "differences/LSTM": between(LSTM, weaker),
        "differences/GRU, k=2": between(GRU, partial(layer, nn.GRU, scale=1.2), k=2),
        "differences/one that drifts": between(LSTM, counting, k=3),
        "differences/hidden, float32": between(LSTM, weaker, linearization="hidden", dtype=torch.float32),
        "plan/largest": lambda: calls.plan(spectrum(LSTM(), INPUTS), standard_error=0.001),
        "plan/third, not longer than 200": lambda: calls.plan(
            spectrum(GRU(), INPUTS), standard_error=0.002, exponent=3, longest=200
        ),
        "plan/mean": lambda: calls.plan(spectrum(STACK(), INPUTS), standard_error=0.0005, exponent="mean"),
    }


def loss(model: Any, batch: Tensor) -> Tensor:
    """Of every step."""
    return nn.functional.cross_entropy(model(batch).mT, batch, reduction="none")


@once
def measured() -> Any:
    """Gradients of a loss, as they decay."""
    return calls.gradient_decay(Tagger(), loss, TOKENS, lags=30, starts=20)


def seen(build: Callable[[], Any] = LSTM, inputs: Any = INPUTS, **given: Any) -> Any:
    """Gradients from the readout."""
    return calls.gradient_exponents(build(), inputs, **({"horizon": (5, 10, 20), "starts": 6} | given))


def gradients() -> Runs:
    """What comes back, and what can be trained by."""
    readout, matrix = module(nn.Linear, UNITS, 2), drawn(3, UNITS, seed=30)
    asked: dict[str, Any] = {
        "hidden": {},
        "module, one horizon": {"readout": readout, "horizon": 15},
        "matrix, k=1": {"readout": matrix, "k": 1, "settle": 20},
        "state, lengths": {"readout": "state", "lengths": LENGTHS},
        "float32": {"readout": readout, "dtype": torch.float32},
        "relu": {"build": partial(layer, nn.RNN, nonlinearity="relu")},
        "stack": {"build": STACK},
        "stack of RNNs": {"build": STACKS["RNN"]},
        "stack of GRUs": {"build": STACKS["GRU"], "readout": "state"},
        "LSTM, projected": {"build": LAYERS["LSTM, projected"], "readout": "state"},
        "LSTM, wide": {"build": partial(layer, nn.LSTM, 40), "readout": "state", "starts": 2, "k": 3},
        "GRU, wide": {"build": partial(layer, nn.GRU, 70), "readout": "state", "starts": 2, "k": 3},
        "step": {"build": lambda: tanh_step, "state": START},
    }
    last = partial(calls.gradient_decay, Tagger(), lambda model, batch: loss(model, batch)[:, -1], TOKENS, lags=20)
    short = INPUTS[:, :60]
    grown: Runs = {
        "growth/GRU, sums": lambda: calls.growth(GRU(), short, (1, 2, 4), align=10),
        "growth/LSTM, all": lambda: calls.growth(LSTM(), short, None, settle=5),
        "growth/RNN, all": lambda: calls.growth(RNN(), INPUTS, None),
        "growth/stack": lambda: calls.growth(STACK(), INPUTS, 3, settle=5, align=5),
        "growth/step": lambda: calls.growth(module(Leaky), INPUTS, 2, state=START),
        "growth/fixed trajectory, lengths": lambda: calls.growth(
            RNN(), short, 2, fixed_trajectory=True, lengths=[60, 50, 40, 30], align=5
        ),
        "growth/cell, float32": lambda: calls.growth(
            module(nn.GRUCell, FEATURES, UNITS).float(), short, 1, dtype=torch.float32
        ),
        "flossing/GRU": lambda: calls.flossing(GRU(), short, 4, align=10),
        "flossing/RNN, target": lambda: calls.flossing(RNN(), short, 2, target=-0.1, check=False),
        "init/RNN": lambda: calls.to_exponent(RNN(), 0.2 * INPUTS, largest=0.0),
        "init/LSTM": lambda: calls.to_exponent(LSTM(), 0.3 * INPUTS, largest=-0.1),
        "init/LSTM, gates": lambda: calls.to_exponent(LSTM(), INPUTS, largest=-0.3, by="gates"),
    }
    runs: Runs = {
        f"gradients/{name}": lambda given=given: calls.of_gradient_exponents(seen(**given)) for name, given in asked.items()
    }
    return (
        runs
        | grown
        | {
            "gradients/measured": lambda: calls.of_gradient_decay(measured()),
            "gradients/measured, last loss": lambda: calls.of_gradient_decay(last()),
            "gradients/measured, cell": lambda: calls.of_gradient_decay(
                calls.gradient_decay(Loop(), lambda model, x: model(x).square().mean(-1), INPUTS, lags=10, starts=8)
            ),
        }
    )


@once
def vectors() -> Any:
    """Of a stack."""
    return calls.covariant_vectors(STACK(), INPUTS, k=3, keep=4)


@once
def local() -> Any:
    """Along symbols."""
    return calls.local_exponents(LSTM(), nn.functional.one_hot(TOKENS, SYMBOLS)[..., :FEATURES].double(), k=2)


def directions() -> Runs:
    """Which direction, and which step."""

    def covariant(build: Callable[[], Any], **given: Any) -> Callable[[], Values]:
        return lambda: calls.of_covariant_vectors(calls.covariant_vectors(build(), INPUTS, **given))

    return {
        "covariant/stack": lambda: calls.of_covariant_vectors(vectors()),
        "covariant/LSTM, all": covariant(LSTM, settle=10, align=30, align_back=30),
        "covariant/GRU, float32": covariant(GRU, k=2, keep=2, dtype=torch.float32),
        "covariant/hidden": covariant(LSTM, k=2, linearization="hidden"),
        "covariant/step": covariant(lambda: tanh_step, state=START, k=2),
        "local/LSTM": lambda: calls.of_local_exponents(local(), TOKENS),
        "local/GRU, all, settled": lambda: calls.of_local_exponents(
            calls.local_exponents(GRU(), INPUTS, k=UNITS, settle=0, align=20, dtype=torch.float32), TOKENS
        ),
    }


def looks(system: Any, probe: Any, moved: nn.Module, *, directory: str, **given: Any) -> Values:
    """Three looks while the weights grow, the second and third from the frames before; all exponents; another process."""
    monitor = watched(system, probe, directory, **given)
    found: Values = {}
    for step in range(3):
        found[f"look {step}"] = shown.read(monitor, step, train=2.0 / (step + 1))
        grow(moved)
    found["whole"] = shown.read(monitor, 3, whole=True, held_out=1.5)
    again = shown.continued(monitor, system, probe, **({"k": 3} | given))
    return found | {"continued": shown.read(again, 4)}


def watched(system: Any, probe: Any, directory: str, **given: Any) -> Any:
    """A monitor with a folder."""
    return shown.monitor(system, probe, directory=directory, **({"k": 3} | given))


def grow(network: nn.Module, factor: float = 1.05) -> None:
    """All weights."""
    with torch.no_grad():
        for weight in network.parameters():
            weight.mul_(factor)


@once
def run(name: str, scale: float = 1.0) -> Any:
    """A run on disk: a stack that grows, with losses that fall."""
    network = layer(nn.RNN, 5, num_layers=2, scale=scale)
    monitor = watched(network, INPUTS[:, :60], name, name=name, about={"scale": scale}, lag=5)
    for step in range(4):
        shown.read(monitor, 10 * step, whole=step % 2 == 0, train=2 / (step + 1) + scale, held_out=2.5 / (step + 1) + scale)
        grow(network, 1.1)
    return shown.history(name)


def observed() -> Values:
    """Every second step, along the batches that the model is trained on."""
    model, found = Tagger().train(), {}
    monitor = watched(model, None, "observed", every=2, sequences=3)
    for step in range(8):
        model(TOKENS.roll(step, 1))
        reading = shown.observe(monitor, step, train=1.0 / (step + 1))
        found |= {} if reading is None else {f"look {step}": reading}
        grow(model, 1.02)
    return found


def schedules() -> Values:
    """The steps at which each schedule has a reading."""

    def seen_by(name: str) -> str:
        given = {"every": shown.SCHEDULES[name](), "settle": 5, "align": 5}
        monitor = watched(GRU(), INPUTS[:2, :30], name, **given)
        return " ".join(str(step) for step in range(12) if shown.observe(monitor, step) is not None)

    return {name: seen_by(name) for name in shown.SCHEDULES}


def training() -> Runs:
    """While it trains, and what is left of it."""

    def core(build: Callable[[], Any], directory: str, inputs: Tensor = INPUTS, **given: Any) -> Values:
        network = build()
        return looks(network, inputs, network, directory=directory, **given)

    def whole_model() -> Values:
        model = Tagger()
        return looks(model, TOKENS, model, directory="model", lag=30, dtype=torch.float64)

    return {
        "training/GRU": partial(core, GRU, "gru"),
        "training/stack": partial(core, STACK, "stack", k=4),
        "training/chaotic": partial(core, partial(layer, nn.RNN, 12, scale=6.0), "chaotic", lag=10, from_reset=True),
        "training/short, settled before": partial(core, LSTM, "short", INPUTS[:, :50], settle=10, align=10, dt=0.5),
        "training/model": whole_model,
        "training/observed": observed,
        "training/schedules": schedules,
        "training/history": lambda: shown.of_history(run("first")),
        "report/one run": lambda: shown.report([run("first")], "pictures"),
        "report/six runs": lambda: shown.report(several()),
        "command/watch": lambda: shown.watch(run("first")),
    }


@once
def several() -> list[Any]:
    """Runs of different strength."""
    return [run("first"), *(run(f"run {at}", 0.6 + 0.3 * at) for at in range(5))]


def commands() -> Runs:
    """The command line on a checkpoint."""

    def spectrum_of(kind: type[nn.Module], *options: str) -> Values:
        weights = layer(kind).state_dict()
        save_file({name: weight.contiguous() for name, weight in weights.items()}, "weights.safetensors")
        np.save("inputs.npy", INPUTS.numpy())
        return shown.checkpoint("weights.safetensors", "inputs.npy", *options)

    def of_text() -> Values:
        Path("text.txt").write_text("".join("abcde"[symbol] for symbol in TOKENS.flatten().tolist()))
        torch.save(module(nn.GRU, SYMBOLS, UNITS, batch_first=True).state_dict(), "weights.pt")
        options = ("--sequences", "4", "--steps", "100", "--coupled", "--qr-every", "3")
        return shown.checkpoint("weights.pt", "text.txt", *options)

    return {
        "command/spectrum": partial(spectrum_of, nn.GRU),
        "command/spectrum, JSON": partial(spectrum_of, nn.LSTM, "--k", "3", "--json", "--settle", "10", "--seed", "3"),
        "command/spectrum, hidden": partial(spectrum_of, nn.LSTM, "--linearization", "hidden", "--from-reset"),
        "command/spectrum, drawn": lambda: (
            spectrum_of(nn.LSTM, "--k", "4", "--save", "kept.safetensors", "--plot", "drawn.png")
            | {"kept": shown.kept("kept.safetensors"), "drawn": shown.drawn("drawn.png")}
        ),
        "command/spectrum of text": of_text,
        "command/refused": partial(spectrum_of, nn.GRU, "--k", "99"),
    }


def figures() -> Runs:
    """Each figure there is."""
    of_spectra: dict[str, Callable[[], Any]] = {
        "spectrum": lambda: spectrum(STACK(), INPUTS),
        "by layer": lambda: spectrum(STACK(), INPUTS),
        "running estimates": lambda: spectrum(LSTM(), INPUTS),
        "participation": vectors,
    }
    of_runs = ("largest exponents", "mean exponents", "losses", "distances", "distances, mean", "association")
    of_run = ("layers", "map of leading exponents", "map of whole spectra", "spectra by step")
    text = "".join("abcde"[symbol] for symbol in TOKENS[1].tolist())
    return {
        **{f"figures/{name}": lambda name=name, make=make: shown.figure(name, make()) for name, make in of_spectra.items()},
        **{f"figures/{name}": lambda name=name: shown.figure(name, several()) for name in of_runs},
        **{f"figures/{name}": lambda name=name: shown.figure(name, run("first")) for name in of_run},
        "figures/spectrum, below the floor": lambda: shown.figure(
            "spectrum", spectrum(RNN(), INPUTS, qr_every=40, dtype=torch.float32)
        ),
        "figures/decay of gradients": lambda: shown.figure("decay of gradients", measured(), seen()),
        "figures/demo": lambda: shown.demo(run("first")),
        "figures/under text": lambda: shown.figure("under text", local(), text),
    }


RUNS: Runs = {
    **spectra_of_layers(),
    **spectra_by_setting(),
    **spectra_of_steps(),
    **models(),
    **refusals(),
    **comparisons(),
    **gradients(),
    **directions(),
    **training(),
    **commands(),
    **figures(),
}
