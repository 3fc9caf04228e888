"""A zoo of recurrent cells from the literature, each handed to `lyapunov.spectrum` as it is: anything with a step goes.

Run it: `python examples/zoo.py`. One row per cell: how many exponents its state has, the largest with its error, how long it
remembers (in steps; the leaky rate network in units of its tau), and what the verdict is. All see the same inputs. Slow
cells, and those built not to forget (antisymmetric, orthogonal), may be called "too short", and rightly. About fifteen seconds;
where other programs keep the cores busy, several times that, unless OMP_NUM_THREADS=1 is set.
"""

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.functional import relu
from torch.nn.utils.parametrizations import orthogonal

import lyapunov

UNITS, FEATURES, BATCH, STEPS = 16, 8, 6, 800
Pair = tuple[Tensor, Tensor]


class LeakyRate(nn.Module):
    """tau dr/dt = -r + W tanh(r) + U x, by a fourth-order Runge-Kutta step of length dt (Sompolinsky et al. 1988)."""

    def __init__(self, gain: float = 1.5, dt: float = 0.2, tau: float = 1.0) -> None:
        super().__init__()
        self.weight = nn.Parameter(gain * torch.randn(UNITS, UNITS) / UNITS**0.5)
        self.enter = nn.Linear(FEATURES, UNITS)
        self.dt, self.tau = dt, tau

    def forward(self, r: Tensor, x: Tensor) -> Tensor:
        driven = self.enter(x)

        def slope(r: Tensor) -> Tensor:
            return (-r + torch.tanh(r) @ self.weight.mT + driven) / self.tau

        k1 = slope(r)
        k2 = slope(r + self.dt / 2 * k1)
        k3 = slope(r + self.dt / 2 * k2)
        k4 = slope(r + self.dt * k3)
        return r + self.dt / 6 * (k1 + 2 * k2 + 2 * k3 + k4)


class AntisymmetricRNN(nn.Module):
    """h' = h + eps tanh((W - W^T - gamma I) h + V x + b) (Chang et al. 2019)."""

    def __init__(self, eps: float = 0.05, gamma: float = 0.1) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(UNITS, UNITS) / UNITS**0.5)
        self.enter = nn.Linear(FEATURES, UNITS)
        self.eps, self.gamma = eps, gamma

    def forward(self, h: Tensor, x: Tensor) -> Tensor:
        antisymmetric = self.weight - self.weight.mT
        return h + self.eps * torch.tanh(h @ antisymmetric.mT - self.gamma * h + self.enter(x))


class CoRNN(nn.Module):
    """Coupled oscillators: z' = z + dt (tanh(W y + V z + U x) - gamma y - eps z), y' = y + dt z' (Rusch & Mishra 2021)."""

    def __init__(self, dt: float = 0.1, gamma: float = 1.0, eps: float = 1.0) -> None:
        super().__init__()
        self.mix, self.enter = nn.Linear(2 * UNITS, UNITS), nn.Linear(FEATURES, UNITS)
        self.dt, self.gamma, self.eps = dt, gamma, eps

    def forward(self, state: Pair, x: Tensor) -> Pair:
        y, z = state
        force = torch.tanh(self.mix(torch.cat([y, z], dim=-1)) + self.enter(x))
        z = z + self.dt * (force - self.gamma * y - self.eps * z)
        return y + self.dt * z, z


class LEM(nn.Module):
    """z' = (1 - a) z + a tanh(W y + V x), y' = (1 - b) y + b tanh(R z' + T x) (Rusch et al. 2022).

    a = dt sigmoid(W_a y + V_a x) and b, likewise, are learned lengths of a step.
    """

    def __init__(self, dt: float = 0.5) -> None:
        super().__init__()
        self.gates, self.enter = nn.Linear(UNITS, 3 * UNITS), nn.Linear(FEATURES, 4 * UNITS)
        self.last, self.dt = nn.Linear(UNITS, UNITS), dt

    def forward(self, state: Pair, x: Tensor) -> Pair:
        y, z = state
        to_a, to_b, to_z, to_y = self.enter(x).chunk(4, dim=-1)
        from_a, from_b, from_z = self.gates(y).chunk(3, dim=-1)
        a, b = self.dt * torch.sigmoid(to_a + from_a), self.dt * torch.sigmoid(to_b + from_b)
        z = (1 - a) * z + a * torch.tanh(from_z + to_z)
        return (1 - b) * y + b * torch.tanh(self.last(z) + to_y), z


class LayerNormLSTM(nn.Module):
    """An LSTM with every sum of gates and the cell layer-normalised (Ba et al. 2016)."""

    def __init__(self) -> None:
        super().__init__()
        self.enter, self.again = nn.Linear(FEATURES, 4 * UNITS), nn.Linear(UNITS, 4 * UNITS, bias=False)
        self.norm_x, self.norm_h, self.norm_c = nn.LayerNorm(4 * UNITS), nn.LayerNorm(4 * UNITS), nn.LayerNorm(UNITS)

    def forward(self, state: Pair, x: Tensor) -> Pair:
        h, c = state
        i, f, g, o = (self.norm_x(self.enter(x)) + self.norm_h(self.again(h))).chunk(4, dim=-1)
        c = torch.sigmoid(f) * c + torch.sigmoid(i) * torch.tanh(g)
        return torch.sigmoid(o) * torch.tanh(self.norm_c(c)), c


class OrthogonalRNN(nn.Module):
    """h' = modrelu(Q h + U x), Q = exp(A - A^T) by a parametrization (expRNN, Lezcano-Casado & Martinez-Rubio 2019)."""

    def __init__(self) -> None:
        super().__init__()
        turn = nn.Linear(UNITS, UNITS, bias=False)
        self.turn = orthogonal(turn, orthogonal_map="matrix_exp", use_trivialization=False)
        self.enter = nn.Linear(FEATURES, UNITS)
        self.bias = nn.Parameter(-0.01 * torch.rand(UNITS))

    def forward(self, h: Tensor, x: Tensor) -> Tensor:
        before = self.turn(h) + self.enter(x)
        return torch.sign(before) * relu(before.abs() + self.bias)


class ShallowPLRNN(nn.Module):
    """z' = A z + W1 (relu(W2 z + h2) - relu(W2 z)) + h1 + C x, A diagonal, clipped: bounded for |A| < 1 (Hess et al. 2023)."""

    def __init__(self, hidden: int = 64) -> None:
        super().__init__()
        self.leak = nn.Parameter(torch.empty(UNITS).uniform_(0.5, 0.95))
        self.spread, self.gather = nn.Linear(UNITS, hidden), nn.Linear(hidden, UNITS)
        self.enter = nn.Linear(FEATURES, UNITS, bias=False)
        nn.init.normal_(self.gather.weight, std=0.1)

    def forward(self, z: Tensor, x: Tensor) -> Tensor:
        clipped = relu(self.spread(z)) - relu(z @ self.spread.weight.mT)
        return self.leak * z + self.gather(clipped) + self.enter(x)


class PLRNN(nn.Module):
    """z' = A z + W relu(z) + h + C x, A diagonal, W without a diagonal (Durstewitz 2017)."""

    def __init__(self, linear: int = 0) -> None:
        super().__init__()
        self.leak = nn.Parameter(torch.empty(UNITS).uniform_(0.5, 0.9))
        self.weight = nn.Parameter(0.3 * torch.randn(UNITS, UNITS) / UNITS**0.5)
        self.enter = nn.Linear(FEATURES, UNITS)
        self.linear = linear

    def forward(self, z: Tensor, x: Tensor) -> Tensor:
        bent = torch.cat([z[:, : self.linear], relu(z[:, self.linear :])], dim=-1)
        mixed = bent @ self.weight.mT - bent * self.weight.diagonal()
        return self.leak * z + mixed + self.enter(x)


class AlmostLinearRNN(PLRNN):
    """The same with relu on the last few units only, so that few linear pieces are left (Brenner et al. 2024)."""

    def __init__(self, bent: int = 4) -> None:
        super().__init__(linear=UNITS - bent)


class NextGeneration(nn.Module):
    """y' = a y + W (y, y_before) + Q (their products) + V x: a reservoir of the last two values (Gauthier et al. 2021)."""

    def __init__(self, keep: float = 0.5) -> None:
        super().__init__()
        self.weight = nn.Linear(2 * UNITS, UNITS)
        pairs = torch.triu_indices(2 * UNITS, 2 * UNITS)
        self.first, self.second = pairs.tolist()
        self.products = nn.Parameter(0.002 * torch.randn(UNITS, pairs.shape[1]))
        self.enter = nn.Linear(FEATURES, UNITS)
        self.keep = keep

    def forward(self, state: Pair, x: Tensor) -> Pair:
        y, before = state
        seen = torch.cat([y, before], dim=-1)
        products = (seen[:, self.first] * seen[:, self.second]) @ self.products.mT
        return self.keep * y + 0.5 * self.weight(seen) + products + self.enter(x), y


class EchoState(nn.Module):
    """r' = (1 - a) r + a tanh(W r + V x), W fixed, sparse, of a given spectral radius (Jaeger 2001)."""

    def __init__(self, radius: float = 0.9, density: float = 0.2, leak: float = 0.5) -> None:
        super().__init__()
        weight = torch.randn(UNITS, UNITS) * (torch.rand(UNITS, UNITS) < density)
        weight = weight * radius / torch.linalg.eigvals(weight).abs().max()
        self.register_buffer("weight", weight)
        self.register_buffer("enter", torch.empty(UNITS, FEATURES).uniform_(-1, 1))
        self.leak = leak

    def forward(self, r: Tensor, x: Tensor) -> Tensor:
        return (1 - self.leak) * r + self.leak * torch.tanh(r @ self.weight.mT + x @ self.enter.mT)


class MinGRU(nn.Module):
    """h' = (1 - z) h + z Linear(x), z = sigmoid(Linear(x)) (Feng et al. 2024)."""

    def __init__(self) -> None:
        super().__init__()
        self.gate, self.candidate = nn.Linear(FEATURES, UNITS), nn.Linear(FEATURES, UNITS)

    def forward(self, h: Tensor, x: Tensor) -> Tensor:
        z = torch.sigmoid(self.gate(x))
        return (1 - z) * h + z * self.candidate(x)


class MinLSTM(nn.Module):
    """h' = f / (f + i) h + i / (f + i) Linear(x), f and i sigmoids of Linear(x) (Feng et al. 2024)."""

    def __init__(self) -> None:
        super().__init__()
        self.gates, self.candidate = nn.Linear(FEATURES, 2 * UNITS), nn.Linear(FEATURES, UNITS)

    def forward(self, h: Tensor, x: Tensor) -> Tensor:
        f, i = torch.sigmoid(self.gates(x)).chunk(2, dim=-1)
        return (f * h + i * self.candidate(x)) / (f + i)


class LRU(nn.Module):
    """z' = lambda z + gamma B x, lambda = exp(-exp(nu) + i exp(theta)), a complex state (Orvieto et al. 2023)."""

    def __init__(self, least: float = 0.5, most: float = 0.99) -> None:
        super().__init__()
        radius = torch.empty(UNITS // 2).uniform_(least**2, most**2).sqrt()
        self.nu = nn.Parameter(torch.log(-torch.log(radius)))
        self.theta = nn.Parameter(torch.log(torch.empty(UNITS // 2).uniform_(0.01, 6.28)))
        self.enter = nn.Linear(FEATURES, UNITS, bias=False)

    def forward(self, z: Tensor, x: Tensor) -> Tensor:
        radius = torch.exp(-torch.exp(self.nu))
        driven = torch.view_as_complex(self.enter(x).unflatten(-1, (-1, 2)))
        return torch.polar(radius, torch.exp(self.theta)) * z + torch.sqrt(1 - radius**2) * driven


class Resident(NamedTuple):
    """A cell, how it is built, and the state it starts from for one sequence."""

    kind: Callable[[], nn.Module]
    parts: int = 1
    dtype: torch.dtype = torch.float32
    dt: float = 1.0

    def state(self, batch: int) -> Tensor | tuple[Tensor, ...]:
        """Zeros of the parts that the cell has."""
        units = UNITS // 2 if self.dtype.is_complex else UNITS
        zeros = tuple(torch.zeros(batch, units, dtype=self.dtype) for _ in range(self.parts))
        return zeros if self.parts > 1 else zeros[0]


ZOO = (
    Resident(LeakyRate, dt=0.2),
    Resident(AntisymmetricRNN),
    Resident(CoRNN, parts=2),
    Resident(LEM, parts=2),
    Resident(LayerNormLSTM, parts=2),
    Resident(OrthogonalRNN),
    Resident(PLRNN),
    Resident(ShallowPLRNN),
    Resident(AlmostLinearRNN),
    Resident(EchoState),
    Resident(NextGeneration, parts=2),
    Resident(MinGRU),
    Resident(MinLSTM),
    Resident(LRU, dtype=torch.complex64),
)


def main() -> None:
    """The table."""
    print(f"{'cell':18}{'exponents':>10}{'largest':>10}{'± error':>10}{'memory (95 %)':>24}  verdict")
    with torch.random.fork_rng():
        torch.manual_seed(0)
        inputs = torch.randn(BATCH, STEPS, FEATURES)
        for resident in ZOO:
            torch.manual_seed(0)
            cell = resident.kind()
            result = lyapunov.spectrum(cell, inputs, state=resident.state(BATCH), k=1, dt=resident.dt)
            verdict = ", ".join(result.verdict.kinds) or "converged"
            memory = result.timescales[0].cell
            numbers = f"{result.settings.size:10}{result.max:10.4f}{float(result.standard_errors[0]):10.4f}{memory:>24}"
            print(f"{type(cell).__name__:18}{numbers}  {verdict}")


if __name__ == "__main__":
    main()
