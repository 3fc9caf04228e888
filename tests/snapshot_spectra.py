"""Runs of `snapshot.py` that are a spectrum each: small networks on short inputs, with random numbers of their own.

Networks are made here, not taken from the helpers of other tests, which change with the code that they test.
"""

import contextlib
import io
from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence

import snapshot_calls as calls
from snapshot_calls import KNOWN, SYSTEMS, Products, Values, of_spectrum, spectrum

BATCH, STEPS, FEATURES, UNITS, SYMBOLS = 4, 120, 3, 6, 5


def drawn(*shape: int, seed: int, scale: float = 1.0) -> Tensor:
    """Normal random numbers of one's own generator."""
    return scale * torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


INPUTS, TIME_FIRST = drawn(BATCH, STEPS, FEATURES, seed=1), drawn(STEPS, BATCH, FEATURES, seed=2)
TOKENS = torch.randint(0, SYMBOLS, (BATCH, STEPS), generator=torch.Generator().manual_seed(3))
LENGTHS = torch.tensor([120, 90, 110, 70])
START, OTHER = drawn(BATCH, UNITS, seed=4, scale=0.5), drawn(BATCH, UNITS, seed=5, scale=0.5)
MIX = drawn(UNITS, UNITS, seed=6)


def module(kind: type[nn.Module], *sizes: int, scale: float = 1.5, **kwargs: Any) -> Any:
    """A module in float64 whose weights are PyTorch's times `scale`."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(7)
        made = kind(*sizes, **kwargs).double()
    with torch.no_grad():
        for weight in made.parameters():
            weight.mul_(scale)
    return made


def layer(kind: type[nn.Module], units: int = UNITS, **kwargs: Any) -> Any:
    """A layer that takes its batch first."""
    return module(kind, FEATURES, units, batch_first=True, **kwargs)


def cell(kind: type[nn.Module], **kwargs: Any) -> Any:
    """A single step."""
    return module(kind, FEATURES, UNITS, **kwargs)


LAYERS: dict[str, Callable[[], Any]] = {
    "RNN, tanh": partial(layer, nn.RNN),
    "RNN, relu": partial(layer, nn.RNN, nonlinearity="relu", scale=2.5),
    "RNN, relu, without bias": partial(layer, nn.RNN, nonlinearity="relu", bias=False, scale=2.5),
    "GRU": partial(layer, nn.GRU),
    "GRU, without bias": partial(layer, nn.GRU, bias=False),
    "LSTM": partial(layer, nn.LSTM),
    "LSTM, projected": partial(layer, nn.LSTM, proj_size=2),
}
CELLS: dict[str, Callable[[], Any]] = {
    "RNNCell, tanh": partial(cell, nn.RNNCell),
    "RNNCell, relu": partial(cell, nn.RNNCell, nonlinearity="relu", scale=2.5),
    "GRUCell": partial(cell, nn.GRUCell),
    "LSTMCell": partial(cell, nn.LSTMCell),
}
STACKS: dict[str, Callable[[], Any]] = {
    "RNN": partial(layer, nn.RNN, 5, num_layers=3),
    "RNN, relu": partial(layer, nn.RNN, 5, num_layers=2, nonlinearity="relu", scale=2.5),
    "GRU": partial(layer, nn.GRU, 5, num_layers=2, dropout=0.3),
    "LSTM": partial(layer, nn.LSTM, 4, num_layers=2),
    "LSTM, projected": partial(layer, nn.LSTM, 5, num_layers=2, proj_size=2),
}
LSTM, GRU, RNN, STACK = LAYERS["LSTM"], LAYERS["GRU"], LAYERS["RNN, tanh"], STACKS["LSTM"]


def taken(build: Callable[[], Any], inputs: Any = INPUTS, **given: Any) -> Values:
    """The spectrum of what is built."""
    return of_spectrum(spectrum(build(), inputs, **given))


def spectra_of_layers() -> dict[str, Callable[[], Values]]:
    """All exponents, one, and four, of layers, cells and stacks."""
    runs: dict[str, Callable[[], Values]] = {}
    for name, build in (LAYERS | CELLS).items():
        runs[f"layers/{name}"] = partial(taken, build)
        runs[f"layers/{name}, k=1"] = partial(taken, build, k=1)
        if "LSTM" in name:
            runs[f"layers/{name}, hidden"] = partial(taken, build, linearization="hidden")
    for name in ("RNN, tanh", "GRU", "LSTM"):
        runs[f"layers/{name}, k=4"] = partial(taken, LAYERS[name], k=4)
    for name, build in STACKS.items():
        runs[f"stacks/{name}"] = partial(taken, build)
        runs[f"stacks/{name}, k=4"] = partial(taken, build, k=4)
        runs[f"stacks/{name}, coupled"] = partial(taken, build, coupled=True)
    runs["stacks/LSTM, hidden"] = partial(taken, STACK, linearization="hidden")
    runs["stacks/LSTM, hidden, coupled"] = partial(taken, STACK, linearization="hidden", coupled=True, k=4)
    runs["layers/LSTM, time first"] = lambda: of_spectrum(spectrum(cell(nn.LSTM), TIME_FIRST, k=4))
    runs["layers/GRU, unbatched"] = partial(taken, GRU, INPUTS[0])
    runs["layers/LSTM, from a state"] = partial(taken, LSTM, state=(START[None], OTHER[None]), k=4)
    runs["layers/GRU, large"] = partial(taken, partial(layer, nn.GRU, 128), INPUTS[:3, :24])
    runs["layers/LSTM, wide"] = partial(taken, partial(layer, nn.LSTM, 40), INPUTS[:3, :40])
    relu = partial(layer, nn.RNN, 40, nonlinearity="relu", scale=1.0)
    runs["layers/RNN, relu, wide"] = partial(taken, relu, INPUTS[:3, :40])
    runs["layers/RNN, chaotic"] = partial(taken, partial(layer, nn.RNN, 12, scale=8.0))
    return runs


def spectra_by_setting() -> dict[str, Callable[[], Values]]:
    """Every setting, given and open."""
    single: dict[str, Any] = {"dtype": torch.float32}
    packed = pack_padded_sequence(INPUTS, LENGTHS, batch_first=True, enforce_sorted=False)
    copies = torch.cat([INPUTS[:2], INPUTS[:2]])
    return {
        "settings/float32, RNN": partial(taken, RNN, **single),
        "settings/float32, GRU, k=4": partial(taken, GRU, k=4, **single),
        "settings/float32, LSTM": partial(taken, LSTM, **single),
        "settings/float32, weights too": lambda: of_spectrum(spectrum(LSTM().float(), INPUTS.float(), k=4, **single)),
        "settings/float32, stack": partial(taken, STACK, **single),
        "settings/lengths": partial(taken, LSTM, lengths=LENGTHS),
        "settings/lengths, k=4": partial(taken, GRU, lengths=LENGTHS.tolist(), k=4),
        "settings/lengths, one of them short": partial(taken, GRU, lengths=[120, 3, 110, 100], k=2),
        "settings/packed": partial(taken, LSTM, packed),
        "settings/packed, stack": partial(taken, STACK, packed, k=4),
        "settings/from reset": partial(taken, LSTM, from_reset=True),
        "settings/from reset, k=2": partial(taken, GRU, from_reset=True, k=2),
        "settings/chunks": partial(taken, GRU, chunks=3),
        "settings/chunks, k=2, one sequence": partial(taken, LSTM, INPUTS[:1], chunks=4, k=2),
        "settings/chunks, stack, float32": partial(taken, STACK, chunks=2, k=3, **single),
        "settings/chunks, lengths": partial(taken, GRU, chunks=2, lengths=[120, 118, 110, 100]),
        "settings/more bins than are kept": partial(taken, RNN, drawn(2, 1250, FEATURES, seed=9), k=2, qr_every=1),
        "settings/one long sequence": partial(taken, GRU, lengths=[120, 45, 45, 45], k=1),
        "settings/qr every 1": partial(taken, LSTM, qr_every=1),
        "settings/qr every 5": partial(taken, GRU, qr_every=5),
        "settings/qr every 40, below the floor": partial(taken, RNN, qr_every=40, **single),
        "settings/settle": partial(taken, LSTM, settle=12),
        "settings/align": partial(taken, LSTM, align=20),
        "settings/settle and align": partial(taken, GRU, settle=10, align=15, k=4),
        "settings/settle and align 0": partial(taken, GRU, settle=0, align=0),
        "settings/too short": partial(taken, partial(layer, nn.LSTM, scale=0.5), INPUTS[:1, :24], k=1),
        "settings/another seed": partial(taken, LSTM, seed=11),
        "settings/progress": partial(told_of_progress, LSTM),
        "settings/no check": partial(taken, CELLS["GRUCell"], check=False),
        "settings/unit of time": partial(taken, GRU, dt=0.1),
        "settings/one sequence": partial(taken, GRU, INPUTS[:1]),
        "settings/copies": partial(taken, GRU, copies, k=3),
        "settings/groups": partial(taken, GRU, torch.cat([0.1 * INPUTS, 8 * INPUTS]), k=2),
        "settings/counting cell": partial(taken, counting, k=3),
        "settings/method": partial(taken, LSTM, method="qr"),
    }


def told_of_progress(build: Callable[[], Any]) -> Values:
    """With a bar that nobody sees."""
    with contextlib.redirect_stderr(io.StringIO()):
        return taken(build, progress=True)


def counting() -> Any:
    """An LSTM whose first cell adds up a constant for ever."""
    made = layer(nn.LSTM, scale=0.5)
    with torch.no_grad():
        made.bias_ih_l0[[0, UNITS]], made.bias_ih_l0[2 * UNITS] = 25.0, 1.0
        for weights in (made.weight_ih_l0, made.weight_hh_l0):
            weights[[0, UNITS, 2 * UNITS]] = 0.0
    return made


class Leaky(nn.Module):
    """A cell of one's own."""

    def __init__(self) -> None:
        super().__init__()
        self.mix = nn.Linear(UNITS + FEATURES, UNITS)

    def forward(self, h: Tensor, x: Tensor) -> Tensor:
        return 0.5 * h + 0.5 * torch.tanh(self.mix(torch.cat([h, x], dim=-1)))


def tree_step(state: dict[str, Any], x: Tensor) -> dict[str, Any]:
    """A dictionary with a tuple in it."""
    fast, (slow,) = state["fast"], state["slow"]
    fast = torch.tanh(fast @ MIX.to(fast) + x.sum(-1, keepdim=True) + slow)
    return {"fast": fast, "slow": (0.9 * slow + 0.1 * fast,)}


def complex_step(z: Tensor, x: Tensor) -> Tensor:
    """Turns and scales."""
    return torch.polar(torch.full_like(z.real, 0.9), z.real.tanh()) * z.roll(1, -1) / (1 + z.abs()) + x.sum(-1, keepdim=True)


def carried_step(h: Tensor, x: Tensor, average: Tensor) -> tuple[Tensor, Tensor]:
    """An average goes along."""
    new = torch.tanh(h @ MIX.to(h) + x.sum(-1, keepdim=True) - average)
    return new, 0.9 * average + 0.1 * new.detach()


def clocked_step(h: Tensor, x: Tensor, clock: Tensor) -> tuple[Tensor, Tensor]:
    """What is carried counts time."""
    return torch.tanh(h @ MIX.to(h) + x.sum(-1, keepdim=True) * torch.cos(clock)), clock + 1.0


def abnormal_step(h: Tensor, x: Tensor) -> Tensor:
    """A Jacobian far from normal: a long chain, each of whose links amplifies."""
    return 0.5 * h + 4.0 * torch.nn.functional.pad(h, (1, 0))[..., :-1] + x.sum(-1, keepdim=True)


def tanh_step(h: Tensor, x: Any) -> Tensor:
    """With inputs, or without any."""
    return torch.tanh(h @ MIX.to(h) + (0.0 if x is None else x.sum(-1, keepdim=True)))


def spectra_of_steps() -> dict[str, Callable[[], Values]]:
    """Steps of users, and systems of the library from their parameters."""
    lstm = module(nn.LSTMCell, FEATURES, UNITS)

    def stepped(step: Callable[..., Any], state: Any, inputs: Any = INPUTS, **given: Any) -> Callable[[], Values]:
        return lambda: of_spectrum(spectrum(step, inputs, state=state, **given))

    return {
        "steps/function": stepped(tanh_step, START),
        "steps/function, k=2, float32": stepped(tanh_step, START, k=2, dtype=torch.float32),
        "steps/autonomous": stepped(tanh_step, START, None, steps=150, k=4),
        "steps/module": stepped(module(Leaky), START),
        "steps/module, no check": stepped(module(Leaky), START, check=False, lengths=LENGTHS),
        "steps/tuple": stepped(lambda state, x: lstm(x, state), (START, OTHER)),
        "steps/dictionary": stepped(tree_step, {"fast": START, "slow": (OTHER,)}),
        "steps/complex": stepped(complex_step, torch.complex(START, OTHER)),
        "steps/carried": stepped(carried_step, START, carried=OTHER),
        "steps/carried clock": stepped(clocked_step, START, carried=torch.zeros(BATCH, 1)),
        "steps/far from normal": stepped(abnormal_step, drawn(BATCH, 24, seed=11), k=6),
        "steps/chunks": stepped(tanh_step, START, chunks=2, k=2),
        "steps/unbounded": stepped(lambda h, x: 1.02 * h + x.sum(-1, keepdim=True), START, k=2, settle=5, align=5),
        "steps/products": partial(taken, Products, drawn(BATCH, 80, 4, 4, seed=8)),
        "steps/products, wrong determinant": partial(taken, partial(Products, 0.1), drawn(BATCH, 80, 4, 4, seed=8)),
        **{f"known/{name}": partial(known, name) for name in KNOWN},
        **{f"systems/{name}": partial(built, name, **given) for name, given in BUILT.items()},
    }


def known(name: str) -> Values:
    """One of those with a known answer."""
    return calls.of_known(KNOWN[name](), 150)


BUILT: dict[str, Any] = {
    "RNN": {},
    "GRU": {"k": 3},
    "LSTM": {},
    "LSTM, hidden": {},
    "stack": {},
    "coupled stack": {"k": 4},
    "diagonal": {},
    "LRU": {},
    "LRU, frames": {"method": "qr"},
    "minGRU": {},
    "minGRU, k=2": {"k": 2},
    "minGRU, frames": {"method": "qr"},
    "minLSTM": {"lengths": LENGTHS},
    "gated linear attention": {},
    "selective state space": {"dtype": torch.float32},
}


def built(name: str, **given: Any) -> Values:
    """A system from its parameters."""
    return of_spectrum(spectrum(system(name.partition(",")[0], hidden="hidden" in name), INPUTS, **given))


def system(name: str, *, hidden: bool = False) -> Any:
    """By the name it has in SYSTEMS."""
    gates = [module(nn.Linear, FEATURES, UNITS, scale=scale) for scale in (1.5, 2.0, 2.5)]
    if name in ("RNN", "GRU", "LSTM"):
        many = {"RNN": 1, "GRU": 3, "LSTM": 4}[name] * UNITS
        wide, square, bias = (drawn(many, width, seed=width, scale=0.5) for width in (FEATURES, UNITS, 1))
        return SYSTEMS[name](wide, square, bias[:, 0], **({"linearization": "hidden"} if hidden else {}))
    if "stack" in name:
        above = SYSTEMS["RNN"](drawn(4, UNITS, seed=20), drawn(4, 4, seed=21), layer=1)
        return SYSTEMS[name]([system("GRU"), above])
    if name == "diagonal":
        return SYSTEMS[name](lambda x: (torch.sigmoid(2 + x), x), shape=(FEATURES,))
    if name == "LRU":
        return SYSTEMS[name](drawn(UNITS, seed=22), drawn(UNITS, seed=23), torch.complex(gates[0].weight, gates[1].weight))
    if name == "gated linear attention":
        return SYSTEMS[name](gates[0], gates[1], module(nn.Linear, FEATURES, 2), shape=(UNITS, 2))
    if name == "selective state space":
        inward = module(nn.Linear, FEATURES, FEATURES), module(nn.Linear, FEATURES, 2)
        return SYSTEMS[name](drawn(FEATURES, 2, seed=24), *inward)
    return SYSTEMS[name](*gates[: 2 if name == "minGRU" else 3])
