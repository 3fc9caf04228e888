"""How often the 95 % interval of `lyapunov.memory` holds the truth, on two systems whose mean memory is known.

    python benchmarks/memory_coverage.py [REPLICATES]     # 400 of each; a minute on one core

"resets": a sum of its inputs that is set back to zero with probability 1/20 at every step. Two starts agree from the first
reset on, so memory is geometric with mean 20. 64 sequences of 400 steps.
"leaky": h' = 0.9 h + x with Gaussian x. Two starts z standard deviations apart agree after ceil(ln(tolerance / |z|) / ln 0.9)
steps, with z standard normal: the first run starts from zero, the others from where another sequence ended. 32 of 200 steps.
"""

import math
import sys

import torch
from torch import Tensor

import lyapunov

REPLICATES, RESET, DECAY, TOLERANCE = 400, 0.05, 0.9, 1e-3


def resets(seed: int) -> lyapunov.Memory:
    """One replicate."""
    generator = torch.Generator().manual_seed(seed)
    numbers = torch.randn(64, 400, 1, dtype=torch.float64, generator=generator)
    kept = (torch.rand(64, 400, 1, dtype=torch.float64, generator=generator) > RESET).double()

    def step(state: Tensor, x: Tensor) -> Tensor:
        return state * x[:, 1:] + x[:, :1]

    start = torch.zeros(64, 1, dtype=torch.float64)
    inputs = torch.cat([numbers, kept], dim=-1)
    return lyapunov.memory(step, inputs, state=start, tolerance=1e-9, seed=seed, predict=False, check=False)


def leaky(seed: int) -> lyapunov.Memory:
    """One replicate."""
    inputs = torch.randn(32, 200, 1, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))
    start = torch.zeros(32, 1, dtype=torch.float64)
    options = {"tolerance": TOLERANCE, "seed": seed, "predict": False, "check": False}
    return lyapunov.memory(lambda state, x: DECAY * state + x, inputs, state=start, **options)


def truth_of_leaky() -> float:
    """By the midpoint rule over the normal distribution of z."""
    z = (torch.arange(2_000_000, dtype=torch.float64) + 0.5) / 2_000_000 * 8
    weights = (-(z**2) / 2).exp()
    steps = torch.ceil((TOLERANCE / z).log() / math.log(DECAY)).clamp(min=1)
    return float((weights * steps).sum() / weights.sum())


def covered(system: str, replicates: int) -> tuple[int, float]:
    """How many intervals hold the truth, and the mean of the estimates."""
    run, truth = (resets, 1 / RESET) if system == "resets" else (leaky, truth_of_leaky())
    found = [run(1000 + seed) for seed in range(replicates)]
    inside = sum(low <= truth <= high for low, high in (one.interval(0.95) for one in found))
    return inside, sum(one.value for one in found) / replicates


if __name__ == "__main__":
    torch.set_num_threads(1)
    count = int(sys.argv[1]) if len(sys.argv) > 1 else REPLICATES
    print(f"truth of leaky: {truth_of_leaky():.3f}, of resets: {1 / RESET:.3f}")
    for name in ("leaky", "resets"):
        inside, mean = covered(name, count)
        print(
            f"{name}: {inside} of {count} intervals hold the truth ({inside / count:.1%}), mean estimate {mean:.3f}", flush=True
        )
