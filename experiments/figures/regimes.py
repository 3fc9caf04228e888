"""Fig. 1: a driven vanilla RNN that is stable, marginal or chaotic by the sign of its largest exponent.

One input, several initial states: their variance over states falls or grows as exp(2 lambda t).
"""

import math

import torch
from torch import Tensor, nn

import lyapunov
from experiments.figures.outputs import Outcome, command, panels
from experiments.sweeps.presets import Preset

GAINS = {"stable": 1.0, "marginal": 1.9, "chaotic": 3.0}
"""Standard deviations of the recurrent weights, times sqrt(N)."""
NOISE, STATES = 1.0, 20


def network(size: int, gain: float) -> nn.RNN:
    """h' = tanh(W h + x), W Gaussian; a noise input of its own for every unit."""
    generator = torch.Generator().manual_seed(0)
    with torch.random.fork_rng(devices=[]):
        module = nn.RNN(size, size, batch_first=True, bias=False).double()
    with torch.no_grad():
        module.weight_ih_l0.copy_(torch.eye(size))
        module.weight_hh_l0.copy_(gain / math.sqrt(size) * torch.randn(size, size, generator=generator, dtype=torch.float64))
    return module


def make(preset: Preset) -> Outcome:
    """Three networks."""
    size, steps = {"tiny": (64, 100), "small": (200, 200), "paper": (512, 400)}[preset]
    generator = torch.Generator().manual_seed(1)
    inputs = NOISE * torch.randn(1, steps, size, generator=generator, dtype=torch.float64)
    starts = 1e-3 * torch.randn(1, STATES, size, generator=generator, dtype=torch.float64)
    figure, axes = panels(4)
    rows, words = [], []
    for (name, gain), ax in zip(GAINS.items(), axes, strict=False):
        module = network(size, gain)
        largest = lyapunov.spectrum(module, _many(size, steps), k=1)
        states = _trajectories(module, inputs, starts)
        variance = states.var(0).mean(-1)
        slope = _slope(variance.log() / 2)
        ax.plot(states[:5, :60, 0].mT, linewidth=0.8)
        ax.set_title(f"{name}: largest exponent {largest.max:+.3f}")
        ax.set_xlabel("step")
        axes[3].plot(variance, label=name)
        rows += [{"network": name, "gain": gain, "step": t, "variance": float(value)} for t, value in enumerate(variance)]
        words.append(f"{name}: exponent {largest.max:+.3f} ± {float(largest.standard_errors[0]):.3f}, states {slope:+.3f}")
    axes[0].set_ylabel("first unit, five initial states")
    axes[3].set_yscale("log")
    axes[3].set_xlabel("step")
    axes[3].set_title("variance over initial states")
    axes[3].legend(frameon=False)
    return Outcome(rows, figure, "; ".join(words), "stable, marginal, chaotic by the sign; no numbers")


def _many(size: int, steps: int) -> Tensor:
    """Ten other inputs of the same kind."""
    generator = torch.Generator().manual_seed(2)
    return NOISE * torch.randn(10, 2 * steps, size, generator=generator, dtype=torch.float64)


@torch.no_grad()
def _trajectories(module: nn.RNN, inputs: Tensor, starts: Tensor) -> Tensor:
    """(states, steps, units): along one input, from states that are close together."""
    settled = module(inputs)[1]
    return module(inputs.expand(starts.shape[1], -1, -1), settled + starts)[0]


def _slope(logarithm: Tensor) -> float:
    """Nats per step, while the variance is neither rounding nor saturated."""
    usable = (logarithm > math.log(1e-12)) & (logarithm < math.log(1e-1))
    last = int((~usable[1:]).int().argmax()) + 1 if bool((~usable[1:]).any()) else len(logarithm)
    steps = torch.arange(last, dtype=torch.float64)
    values = logarithm[:last]
    return float(((steps - steps.mean()) * (values - values.mean())).sum() / (steps - steps.mean()).square().sum())


if __name__ == "__main__":
    command("fig1", "Fig. 1", make, __doc__)
