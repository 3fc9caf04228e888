"""The systems of the coverage benchmark and their cells: what is asked of each, and along which inputs.

A builder `build(seed, cell)` returns the system, its inputs and the further arguments of `lyapunov.spectrum`; the same seed
gives the same replicate. `Cell.replicate(seed)` adds what the cell asks for (`k`, `settle`, `align`).
"""

import math
import zlib
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import lru_cache, partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import one_hot

import _coverage_maps as maps
from _coverage_trained import Trained, demo, small
from lyapunov.systems import Diagonal, known

DTYPE = torch.float64
Replicate = tuple[Any, Any, dict[str, Any]]
UNITS, CHAIN = 32, 20
"""Units of the driven tanh network, and of the chain of leaky integrators."""


@dataclass(frozen=True)
class Cell:
    """One line of the table: a system, what is asked, how many sequences of how many steps, what was settled and aligned.

    `steps`: length of the inputs, or, for an autonomous system, steps that are counted. `settle`, `align` None: left open.
    `truth`: the key of the true exponents; a function of the seed where replicates differ in theirs.
    `replicates`: how many a full run makes. `options`: further arguments of `spectrum`.
    """

    system: str
    build: "Builder"
    k: int | None
    sequences: int
    steps: int
    settle: int | None = None
    align: int | None = None
    note: str = ""
    truth: str | Callable[[int], str] = ""
    replicates: int = 200
    options: dict[str, Any] = field(default_factory=dict)

    @property
    def setting(self) -> str:
        """In words: what is asked, the inputs, the burn-in."""
        asked = "all" if self.k is None else f"k = {self.k}"
        given = "open" if self.settle is None else f"{self.settle} + {self.align} given"
        return ", ".join(part for part in (asked, f"{self.sequences} x {self.steps}", given, self.note) if part)

    @property
    def name(self) -> str:
        """Of the cell, unique."""
        return f"{self.system}: {self.setting}"

    def own(self, seed: int) -> int:
        """A seed for this cell alone: cells of one system are independent, and a system has as many draws as replicates."""
        return seed + 10_000 * (zlib.crc32(self.name.encode()) % 100_000)

    def truth_of(self, seed: int) -> str:
        """The key of the truth that this replicate is held against."""
        return self.truth(self.own(seed)) if callable(self.truth) else self.truth or self.system

    def replicate(self, seed: int) -> Replicate:
        """The system, its inputs, and all arguments of `spectrum`."""
        own = self.own(seed)
        system, inputs, arguments = self.build(own, self)
        given = {} if self.settle is None else {"settle": self.settle, "align": self.align}
        return system, inputs, {"k": self.k, "seed": own, "check": False, **given, **arguments, **self.options}


Builder = Callable[[int, Cell], Replicate]


def generator(seed: int) -> torch.Generator:
    """Seeded."""
    return torch.Generator().manual_seed(seed)


def normal(seed: int, *shape: int) -> Tensor:
    """Independent standard normal numbers."""
    return torch.randn(*shape, dtype=DTYPE, generator=generator(seed))


def gaussian(seed: int, cell: Cell) -> Replicate:
    """Products of Gaussian matrices of size 5."""
    return maps.product(5), known.gaussian_products(5).inputs(cell.sequences, cell.steps, seed=seed), {}


def rare(seed: int, cell: Cell) -> Replicate:
    """Products of Gaussian matrices of size 4; one factor of 500 is a contraction by exp(-5) on top."""
    matrices = known.gaussian_products(4).inputs(cell.sequences, cell.steps, seed=seed)
    happens = torch.rand(cell.sequences, cell.steps, 1, 1, generator=generator(seed + 500_000)) < 1 / 500
    return maps.product(4), matrices * torch.where(happens, math.exp(-5), 1.0).to(DTYPE), {}


@lru_cache
def tanh_module(dtype: torch.dtype = DTYPE) -> nn.RNN:
    """A tanh network of 32 units, gain 2, each unit with an input of its own."""
    module = nn.RNN(UNITS, UNITS, batch_first=True).to(dtype).requires_grad_(False)
    for weight in module.parameters():
        weight.zero_()
    module.weight_ih_l0.copy_(torch.eye(UNITS))
    module.weight_hh_l0.copy_(normal(0, UNITS, UNITS) * 2 / math.sqrt(UNITS))
    return module


def _tanh(seed: int, cell: Cell, inputs: Tensor) -> Replicate:
    """On these inputs, from random states."""
    state = torch.rand(1, cell.sequences, UNITS, dtype=DTYPE, generator=generator(seed + 1)) - 0.5
    dtype = cell.options.get("dtype", DTYPE)
    with torch.random.fork_rng(devices=[]):
        return tanh_module(dtype), inputs.to(dtype), {"state": state.to(dtype)}


def tanh(seed: int, cell: Cell) -> Replicate:
    """The network on white noise."""
    return _tanh(seed, cell, normal(seed, cell.sequences, cell.steps, UNITS))


def copies(seed: int, cell: Cell) -> Replicate:
    """The same network: one input sequence for all, from random states."""
    return _tanh(seed, cell, normal(seed, 1, cell.steps, UNITS).expand(cell.sequences, -1, -1))


def overlapping(seed: int, cell: Cell) -> Replicate:
    """The same network: windows of one long input, each a tenth of a window after the one before."""
    shift = cell.steps // 10
    long = normal(seed, cell.steps + shift * (cell.sequences - 1), UNITS)
    return _tanh(seed, cell, torch.stack([long[at * shift :][: cell.steps] for at in range(cell.sequences)]))


@lru_cache
def slow_rnn(units: int, gain: float, seed: int) -> nn.RNN:
    """`RNN(3, units)` in float64: recurrent weights normal of this gain, input weights x 0.3, biases as PyTorch draws them."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        module = nn.RNN(3, units, batch_first=True).double()
        with torch.no_grad():
            module.weight_hh_l0.normal_(0, gain / math.sqrt(units))
            module.weight_ih_l0.mul_(0.3)
    return module.requires_grad_(False)


def gain_five(seed: int, cell: Cell) -> Replicate:
    """A driven network of 16 units that is chaotic for a few hundred steps before its sequences find stable motion."""
    return slow_rnn(16, 5.0, 1), normal(seed, cell.sequences, cell.steps, 3), {}


def gain_eight(seed: int, cell: Cell) -> Replicate:
    """A driven network of 10 units whose transient takes hundreds of steps: the exponent is above zero in it, below after."""
    return slow_rnn(10, 8.0, 12), normal(seed, cell.sequences, cell.steps, 3), {}


@lru_cache
def chrono_lstm(units: int = 16, seed: int = 0) -> nn.LSTM:
    """An LSTM with chrono-initialised gates (Tallec & Ollivier 2018): memory of up to 29 steps."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        module = nn.LSTM(3, units, batch_first=True).double()
        with torch.no_grad():
            time = torch.rand(units).double() * 28 + 1
            module.bias_ih_l0.zero_()
            module.bias_hh_l0.zero_()
            module.bias_ih_l0[units : 2 * units] = time.log()
            module.bias_ih_l0[:units] = -time.log()
    return module.requires_grad_(False)


def chrono(seed: int, cell: Cell) -> Replicate:
    """It, on white noise."""
    return chrono_lstm(), normal(seed, cell.sequences, cell.steps, 3), {}


def text_windows(trained: Trained, seed: int, cell: Cell) -> Tensor:
    """One-hot windows from random places of a text that goes round in a circle, so that each place is as likely."""
    starts = torch.randint(0, len(trained.symbols), (cell.sequences, 1), generator=generator(seed))
    places = (starts + torch.arange(cell.steps)) % len(trained.symbols)
    return one_hot(trained.symbols[places], trained.size).double()


def small_lstm(seed: int, cell: Cell) -> Replicate:
    """The LSTM of 24 units on the text that it has learned."""
    trained = small(cell.system.rpartition(", ")[2])
    return trained.module, text_windows(trained, seed, cell), {}


def demo_lstm(seed: int, cell: Cell) -> Replicate:
    """The demo's LSTM of 128 units on held-out text."""
    trained = demo()
    return trained.module, text_windows(trained, seed, cell), {}


def double_integrator(seed: int, cell: Cell) -> Replicate:
    """It, pushed by noise: the state grows like t^1.5, both exponents are zero."""
    return maps.double_integrator(), normal(seed, cell.sequences, cell.steps, 1), {}


def _exponential(x: Tensor) -> tuple[Tensor, Tensor]:
    return torch.exp(x), 0 * x


def unequal(seed: int, cell: Cell) -> Replicate:
    """h' = exp(x) h with sequences that truly differ: x = -0.5 + 0.3 (one number per sequence) + 0.1 (one per step)."""
    lengths = torch.tensor(LENGTHS[cell.note])
    draw = generator(seed)
    offsets = 0.3 * torch.randn(cell.sequences, 1, 1, dtype=DTYPE, generator=draw)
    x = -0.5 + offsets + 0.1 * torch.randn(cell.sequences, cell.steps, 1, dtype=DTYPE, generator=draw)
    return Diagonal(_exponential, shape=(1,)), x, {"lengths": lengths}


LENGTHS = {
    "lengths 1000, 30, 30": [1000, 30, 30],
    "lengths 1000, nine of 100": [1000] + [100] * 9,
    "equal lengths": [1000] * 10,
    "lengths 200 to 1000": [200, 300, 400, 500, 600, 700, 800, 900, 1000, 1000],
}


def limit_cycle(seed: int, cell: Cell) -> Replicate:
    """The van der Pol oscillator from random states."""
    state = 4 * torch.rand(cell.sequences, 2, dtype=DTYPE, generator=generator(seed)) - 2
    return maps.van_der_pol(), None, {"state": state, "steps": cell.steps}


def quasi_periodic(seed: int, cell: Cell) -> Replicate:
    """Two uncoupled oscillators, in mixed coordinates, from random states: a torus."""
    return maps.torus(), None, {"state": normal(seed, cell.sequences, 4) / math.sqrt(2), "steps": cell.steps}


@lru_cache
def leaky_chain() -> nn.RNN:
    """A chain of leaky integrators: recurrent weights lower triangular, all exponents near ln 0.5, far from normal."""
    module = nn.RNN(1, CHAIN, batch_first=True).double().requires_grad_(False)
    for weight in module.parameters():
        weight.zero_()
    off = torch.diag(torch.ones(CHAIN - 1, dtype=DTYPE), -1)
    module.weight_hh_l0.copy_(0.5 * torch.eye(CHAIN, dtype=DTYPE) + 0.5 * off)
    module.weight_ih_l0[0] = 1
    return module


def triangular(seed: int, cell: Cell) -> Replicate:
    """It, on weak noise."""
    with torch.random.fork_rng(devices=[]):
        return leaky_chain(), 0.02 * normal(seed, cell.sequences, cell.steps, 1), {}


RING = torch.eye(8, dtype=DTYPE).roll(1, -1)
ADAPTING = normal(8, 8, 8) / math.sqrt(8)


def _adapted(weight: Tensor, h: Tensor, x: Tensor, slow: Tensor) -> tuple[Tensor, Tensor]:
    return torch.tanh((0.3 + 60 * slow) * h @ weight.to(h) + x), slow + 0.005 * (0.01 - slow)


def slow_carried(seed: int, cell: Cell) -> Replicate:
    """A network whose gain a slow variable sets, which is carried along and goes to 0.01 within about 200 steps."""
    zeros = torch.zeros(cell.sequences, 8, dtype=DTYPE)
    step = partial(_adapted, RING if cell.note == "ring" else ADAPTING)
    return step, normal(seed, cell.sequences, cell.steps, 8), {"state": zeros, "carried": zeros[:, :1]}


BASIN_WEIGHTS = ((2.0, 0, 0, 0), (0.5, 0.6, 0, 0), (0.3, 0.2, 0.4, 0), (0, 0.4, 0.1, -0.5))
BASIN_BIASES = (0.1, 0.3, 0.0, 0.1)


def two_basins(state: Tensor, x: Tensor) -> Tensor:
    """A tanh network whose first unit stays where it starts, above or below zero; the others follow it."""
    weights = state.new_tensor(BASIN_WEIGHTS)
    return torch.tanh(state @ weights.mT + state.new_tensor(BASIN_BIASES) + 0.05 * x)


def basin_signs(seed: int, sequences: int, *, both: bool) -> Tensor:
    """The basin of each sequence, fair; with `both`, the first two lie in different ones."""
    signs = 2.0 * torch.randint(0, 2, (sequences,), generator=generator(seed + 700_000)).double() - 1
    if both:
        signs[1] = -signs[0]
    return signs


def mixed_basins(seed: int, cell: Cell) -> Replicate:
    """It, from random states of both basins: the sequences fall into two groups."""
    state = torch.rand(cell.sequences, 4, dtype=DTYPE, generator=generator(seed + 1))
    state[:, 0] = (0.4 + 0.6 * state[:, 0]) * basin_signs(seed, cell.sequences, both=cell.note != "fair")
    return two_basins, normal(seed, cell.sequences, cell.steps, 4), {"state": state}


def fair_truth(seed: int) -> str:
    """With three sequences: what no sequence shows cannot be told; then the truth is that of the basin they are in."""
    total = float(basin_signs(seed, 3, both=False).sum())
    return "mixed basins" if abs(total) < 3 else f"mixed basins, {'upper' if total > 0 else 'lower'}"
