"""Learn Lorenz 1963 by generalised teacher forcing, and say how true the learned system is: one row of the usual table.

python examples/closed_loop.py [--seed 0] [--updates 4000]

The network is a shallow piecewise-linear RNN with three latent variables (Hess et al. 2023). In training its state is pulled
towards the data at every step, z <- (1 - a) z + a x, which keeps gradients of chaotic systems bounded. Afterwards it runs free:
its exponents, its Kaplan-Yorke dimension and its invariant measure stand beside those of the true system. About a minute.
"""

import argparse
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import relu

import lyapunov
from lyapunov import known

DT, HIDDEN, STRETCH, BATCH, FORCING = 0.02, 80, 30, 32, 0.1
CENTER, SCALE = torch.tensor([0.0, 0.0, 23.55]).double(), torch.tensor([7.93, 9.01, 8.62]).double()
BINS = 12
"""Of each variable, for the distance of invariant measures."""


class ShallowPLRNN(nn.Module):
    """z' = A z + W1 (relu(W2 z + h2) - relu(W2 z)) + h1, with z pulled towards the data before the step."""

    def __init__(self, size: int = 3, hidden: int = HIDDEN, forcing: float = FORCING) -> None:
        super().__init__()
        self.leak = nn.Parameter(torch.ones(size))
        self.spread, self.gather = nn.Linear(size, hidden), nn.Linear(hidden, size)
        nn.init.uniform_(self.spread.bias, -2, 2)
        nn.init.normal_(self.gather.weight, std=0.1)
        self.forcing = forcing

    def forward(self, z: Tensor, x: Tensor) -> Tensor:
        z = z + self.forcing * (x - z)
        clipped = relu(self.spread(z)) - relu(z @ self.spread.weight.mT)
        return self.leak * z + self.gather(clipped)


def lorenz(batch: int, steps: int, seed: int) -> Tensor:
    """(batch, steps, 3) on the attractor, each variable with about zero mean and unit variance."""
    case = known.lorenz(dt=DT)
    state, path = case.start(batch, seed=seed), []
    for _ in range(500 + steps):
        state = case.system.step(state, None)
        path.append(state)
    return (torch.stack(path[500:], dim=1) - CENTER) / SCALE


def train(seed: int, updates: int) -> ShallowPLRNN:
    """Minimises the squared error of the forced network's next state."""
    torch.manual_seed(seed)
    data, network = lorenz(20, 1000, seed=100 + seed).float(), ShallowPLRNN()
    optimizer = torch.optim.Adam(network.parameters(), lr=5e-3)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 1e-2, total_steps=updates)
    for _ in range(updates):
        begin = torch.randint(data.shape[1] - STRETCH, (BATCH,))
        rows = torch.randint(len(data), (BATCH,))
        part = data[rows[:, None], begin[:, None] + torch.arange(STRETCH + 1)[: STRETCH + 1]]
        z, loss = part[:, 0], torch.zeros(())
        for t in range(STRETCH):
            z = network(z, part[:, t])
            loss = loss + (z - part[:, t + 1]).square().mean() / STRETCH
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        optimizer.step()
        schedule.step()
    return network


def occupied(path: Tensor) -> Tensor:
    """The fraction of points in each cell of a grid over the attractor, (BINS ** 3,), no cell quite empty."""
    cells = ((path.reshape(-1, 3).clamp(-3, 3) + 3) / 6 * BINS).long().clamp(max=BINS - 1)
    number = (cells[:, 0] * BINS + cells[:, 1]) * BINS + cells[:, 2]
    counts = torch.bincount(number, minlength=BINS**3).double() + 1e-2
    return counts / counts.sum()


def distance(true: Tensor, made: Tensor) -> float:
    """The Kullback-Leibler divergence of two invariant measures, nats."""
    p, q = occupied(true), occupied(made)
    return float((p * (p / q).log()).sum())


def distance_with_error(true: Tensor, made: Tensor) -> tuple[float, float]:
    """Leaving out one trajectory of `made` after another (jackknife)."""
    count = len(made)
    parts = [distance(true, torch.cat([made[:at], made[at + 1 :]])) for at in range(count)]
    spread = torch.tensor(parts).double()
    return distance(true, made), float(((count - 1) / count * (spread - spread.mean()).square().sum()).sqrt())


def measure(network: nn.Module, *, steps: int = 2000, starts: int = 20) -> dict[str, Any]:
    """Both spectra, and the measures of the free network and of a second true sample of that size."""
    loop = lyapunov.closed_loop(network, lambda z: z)
    warm_up = lorenz(starts, 300, seed=7)
    both = lyapunov.loop_spectra(loop, warm_up, state=warm_up[:, 0], steps=steps, dt=DT, align=200, progress=False)
    made = lyapunov.predict(loop, warm_up, state=warm_up[:, 0], steps=steps)
    true, other = lorenz(starts, steps, seed=8), lorenz(starts, steps, seed=9)
    return {"both": both, "measure": distance_with_error(true, made), "floor": distance_with_error(true, other)}


def main() -> None:
    """Trains one network and prints its row."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--updates", type=int, default=4000)
    options = parser.parse_args()
    torch.set_num_threads(1)
    found = measure(train(options.seed, options.updates))
    both, case = found["both"], known.lorenz(dt=DT)
    free, beside = both.free, both.compare(case)
    print(both, "", beside, "", both.gap_to(case), sep="\n")
    print(f"\n{'':24}{'network':>20}{'true':>20}")
    print(f"{'largest exponent':24}{free.max:11.3f} ± {float(free.standard_errors[0]):.3f}{float(case.exponents[0]):20.3f}")
    dimension, error = beside.dimensions[0] or float("nan"), beside.dimension_error or float("nan")
    print(f"{'Kaplan-Yorke dimension':24}{dimension:11.3f} ± {error:.3f}{beside.dimensions[1]:20.3f}")
    print("{:24}{:11.3f} ± {:.3f}{:12.3f} ± {:.3f}".format("distance of measures", *found["measure"], *found["floor"]))


if __name__ == "__main__":
    main()
