"""Fig. 2: one spectrum. Running estimates against time, the spectrum they settle to, and what a bare product makes of it.

Singular values of J_T ... J_1, without a QR, give ln s_i / T: right for the leading ones, lost in rounding below.
"""

import torch
from torch import Tensor

import lyapunov
from experiments.figures.outputs import Outcome, command, panels
from experiments.figures.regimes import network
from experiments.sweeps.presets import Preset
from lyapunov.intake import problem, recognize


def make(preset: Preset) -> Outcome:
    """A driven vanilla RNN at the margin of chaos."""
    size, steps = {"tiny": (16, 60), "small": (100, 400), "paper": (512, 1000)}[preset]
    module = network(size, 1.9)
    inputs = torch.randn(10, steps, size, generator=torch.Generator().manual_seed(3), dtype=torch.float64)
    spectrum = lyapunov.spectrum(module, inputs, settle=steps // 8, align=steps // 8)
    bare = bare_product(module, inputs[:1], steps // 8, spectrum.settings.count)
    figure, axes = panels(3)
    lyapunov.plots.running_estimates(spectrum, axes[0])
    lyapunov.plots.spectrum(spectrum, axes[1]).set_title("By QR, ten sequences")
    index = torch.arange(1, size + 1)
    axes[2].plot(index, bare, label="ln of singular values of the product / T")
    axes[2].plot(index, spectrum.exponents, linestyle=":", color="0.3", label="by QR")
    axes[2].set_title("The bare product, one sequence")
    axes[2].set_xlabel("index")
    axes[2].legend(frameon=False, fontsize="small")
    rows = [
        {"index": at + 1, "exponent": float(value), "error": float(error), "bare_product": float(bare[at])}
        for at, (value, error) in enumerate(zip(spectrum.exponents, spectrum.standard_errors, strict=True))
    ]
    apart = (bare - spectrum.exponents).abs()
    lost = int((apart > 0.1).nonzero()[0]) + 1 if bool((apart > 0.1).any()) else size
    ours = (
        f"largest {spectrum.max:+.4f} ± {float(spectrum.standard_errors[0]):.4f}, mean {spectrum.mean:.4f}; the bare product "
        f"is off by more than 0.1 from exponent {lost} of {size} on"
    )
    return Outcome(rows, figure, ours, "overflows; no numbers")


@torch.no_grad()
def bare_product(module: torch.nn.RNN, inputs: Tensor, settle: int, steps: int) -> Tensor:
    """ln of the singular values of the Jacobians' product, over the steps; -inf where they vanish."""
    cast = recognize(problem(module, inputs, coupled=True), torch.float64)
    state = cast.state
    for t in range(settle):
        state = cast.system.step(state, cast.sequences.at(t))
    product = torch.eye(inputs.shape[-1], dtype=torch.float64).unsqueeze(0)
    for t in range(settle, settle + steps):
        state, (product,) = cast.system.push(state, cast.sequences.at(t), (product,))
    return torch.linalg.svdvals(product[0]).log() / steps


if __name__ == "__main__":
    command("fig2", "Fig. 2", make, __doc__)
