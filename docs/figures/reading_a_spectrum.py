"""Six networks, six spectra on the same axes: the figures of "reading a spectrum".

    python docs/figures/reading_a_spectrum.py            # writes docs/figures/spectrum-*.png, one after the other (two minutes)
    python docs/figures/reading_a_spectrum.py relu       # one of them

Each network has 64 exponents and sees the same seeded white noise. Left: all exponents, largest first. Right: how far a small
change of the state gets in 100 steps, measured with two copies of the network, beside the slope of the largest exponent.
"""

import math
import sys
from pathlib import Path

import torch
from matplotlib import pyplot as plt
from torch import Tensor, nn

import lyapunov

HERE = Path(__file__).parent
SIZE, FEATURES, STEPS = 64, 8, 1000
LOWEST, HIGHEST = -6.0, 0.8
SMALL = 1e-5


def random_rnn(gain: float, input_scale: float = 1.0, nonlinearity: str = "tanh") -> nn.RNN:
    """A random network without biases; recurrent weights of standard deviation gain / sqrt(units)."""
    rnn = nn.RNN(FEATURES, SIZE, batch_first=True, nonlinearity=nonlinearity)
    with torch.no_grad():
        rnn.weight_hh_l0.normal_(0, gain / SIZE**0.5)
        rnn.weight_ih_l0.normal_(0, input_scale / FEATURES**0.5)
        rnn.bias_hh_l0.zero_()
        rnn.bias_ih_l0.zero_()
    return rnn


def lstm() -> nn.LSTM:
    """An LSTM as PyTorch initialises it: 32 units, so 64 exponents."""
    return nn.LSTM(FEATURES, SIZE // 2, batch_first=True)


def many_timescales() -> nn.LSTM:
    """Gate biases for memory times from 2 to 30 steps, a unit each."""
    network, units = lstm(), SIZE // 2
    bias = (torch.logspace(math.log10(2), math.log10(30), units) - 1).log()
    with torch.no_grad():
        network.bias_hh_l0.zero_()
        network.bias_ih_l0.copy_(torch.cat([-bias, bias, torch.zeros(2 * units)]))
    return network


def integrator() -> nn.LSTM:
    """Four cells whose forget gate stays open: they add up what they are given, and keep it."""
    network, units = lstm(), SIZE // 2
    cells = slice(units, units + 4)
    with torch.no_grad():
        network.weight_ih_l0[cells] = network.weight_hh_l0[cells] = 0
        network.bias_ih_l0[cells] = 20.0
    return network


NETWORKS = {
    # An LSTM of 32 units whose gate biases spread memory times from 2 to 30 steps. The largest exponent is just below zero
    # (27 steps), the 32 cells fan out below it, and the hidden state follows after a gap. A small change fades slowly.
    "healthy": ("Healthy: memory times fan out", many_timescales),
    # A random tanh network with gain 3. The first seven exponents are positive: a small change grows by a factor e every
    # 4.4 steps, until it is as large as the state itself.
    "chaotic": ("Chaotic: small changes grow", lambda: random_rnn(3.0)),
    # An LSTM as PyTorch initialises it. No exponent is above -0.44: after 100 steps a small change, or a gradient, is 1e-19 of
    # what it was.
    "vanishing": ("Vanishing: everything fades within a few steps", lstm),
    # The recurrent weights of the chaotic network, with inputs twelve times as strong. Most tanh units are flat at most steps.
    # The spectrum falls off steeply, and 39 exponents lie below the precision floor (grey).
    "saturated": ("Saturated: flat units cut the spectrum off", lambda: random_rnn(3.0, input_scale=12.0)),
    # An LSTM in which four forget gates stay open. Their exponents are zero within the error, so the memory is not determined.
    # A change is kept for ever, copies of the state never meet, and the verdict says so.
    "integrator": ("Integrator: four exponents at zero, then a gap", integrator),
    # A random ReLU network with gain 1.3. Units that are off pass nothing on: 47 of 64 directions collapse to exactly zero.
    # The other 17 exponents are ordinary numbers.
    "relu": ("ReLU: most directions collapse", lambda: random_rnn(1.3, nonlinearity="relu")),
}


def drawn(name: str) -> tuple[nn.Module, Tensor]:
    """The network and its inputs, from one seed, with the global random state left alone."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        inputs = torch.randn(10, STEPS, FEATURES)
        return NETWORKS[name][1](), inputs


def distances(network: nn.Module, inputs: Tensor, steps: int = 100) -> Tensor:
    """How far two copies of the network are apart, relative to the start, in the median over sequences."""
    network, inputs = network.double(), inputs.double()
    with torch.no_grad():
        _, state = network(inputs[:, :300])
        cells = list(state) if isinstance(state, tuple) else [state]
        pushes = torch.randn(len(cells), *cells[0].shape, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
        pushes *= SMALL / pushes.square().sum((0, 1, 3), keepdim=True).sqrt()
        copies = [cell + push for cell, push in zip(cells, pushes, strict=True)]
        apart = [torch.full((len(inputs),), SMALL, dtype=torch.float64)]
        for x in inputs[:, 300 : 300 + steps].split(1, dim=1):
            cells, copies = (_stepped(network, x, both) for both in (cells, copies))
            apart.append(sum((one - two).square().sum((0, 2)) for one, two in zip(cells, copies, strict=True)).sqrt())
    return torch.stack(apart).median(1).values / SMALL


def _stepped(network: nn.Module, x: Tensor, state: list[Tensor]) -> list[Tensor]:
    after = network(x, tuple(state) if len(state) > 1 else state[0])[1]
    return list(after) if isinstance(after, tuple) else [after]


def draw(name: str) -> tuple[plt.Figure, lyapunov.Spectrum]:
    """The figure of one network."""
    network, inputs = drawn(name)
    spectrum = lyapunov.spectrum(network, inputs)
    figure, (left, right) = plt.subplots(1, 2, figsize=(8.4, 3.5), width_ratios=(3, 2))
    index, exponents = torch.arange(1, SIZE + 1), spectrum.exponents
    shown = exponents.isfinite() & (exponents >= LOWEST)
    positive, reliable = exponents - 2 * spectrum.standard_errors.nan_to_num(0.0) > 0, spectrum.reliable
    for chosen, color in ((positive, "C1"), (~positive & reliable, "C0"), (~positive & ~reliable, "0.7")):
        left.plot(index[shown & chosen], exponents[shown & chosen], "o", color=color, markersize=3.5)
    collapsed, below = exponents == -math.inf, exponents.isfinite() & (exponents < LOWEST)
    for chosen, color in ((collapsed, "C3"), (below & reliable, "C0"), (below & ~reliable, "0.7")):
        left.plot(index[chosen], torch.full((int(chosen.sum()),), LOWEST - 0.3), "v", color=color, markersize=3.5)
    left.axhline(0.0, color="0.2", linewidth=0.9)
    left.set(xlim=(0, SIZE + 1), ylim=(LOWEST - 0.6, HIGHEST), xlabel="index", ylabel="Lyapunov exponent (nats per step)")
    left.set_xticks([1, 16, 32, 48, 64], labels=["1", "16", "32", "48", "64"])
    left.set_yticks(range(int(LOWEST), 1))
    left.set_title(NETWORKS[name][0])
    place = {"x": 2, "y": -3.4, "ha": "left"} if name == "chaotic" else {"x": SIZE, "y": -1.25, "ha": "right"}
    words = "\n".join(_words(spectrum, collapsed, below))
    left.text(s=words, **place, va="top", fontsize=8.5, color="0.2", linespacing=1.3)
    steps = torch.arange(101)
    right.semilogy(steps, distances(network, inputs).clamp(min=1e-30), color="C0", label="two copies of the network")
    slope = torch.exp(spectrum.max * steps)
    linear = slope < 10 / SMALL  # beyond that the change is no longer small
    right.semilogy(steps[linear], slope[linear], "--", color="0.35", linewidth=1.2, label="slope of the largest exponent")
    right.set(xlim=(0, 100), ylim=(1e-9, 1e10), xlabel="steps after a small change", ylabel="size of the change, relative")
    right.set_title("A small change, step by step")
    right.legend(loc="upper right")
    return figure, spectrum


def _words(spectrum: lyapunov.Spectrum, collapsed: Tensor, below: Tensor) -> list[str]:
    words = [f"largest {spectrum.max:.4f} ± {float(spectrum.standard_errors[0]):.4f}".replace("-", "\N{MINUS SIGN}")]
    words += [str(spectrum.timescales[0]), "verdict: " + (", ".join(spectrum.verdict.kinds) or "converged")]
    if bool(collapsed.any()):
        words.append(f"▼ {int(collapsed.sum())} collapsed: \N{MINUS SIGN}∞")
    if bool(below.any()):
        words.append(
            f"▼ {int(below.sum())} lower, down to {spectrum.exponents[below].min():.0f}".replace("-", "\N{MINUS SIGN}")
        )
    return words


def main(names: list[str]) -> None:
    """Draw what is named, or all."""
    plt.switch_backend("agg")
    plt.style.use(HERE.parent / "style.mplstyle")
    for name in names or NETWORKS:
        figure, spectrum = draw(name)
        figure.savefig(HERE / f"spectrum-{name}.png")
        plt.close(figure)
        rank = f"rank {spectrum.rank}"
        print(f"{name}: {spectrum.max:.4f} ± {float(spectrum.standard_errors[0]):.4f}, {rank}, {spectrum.verdict}", flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
