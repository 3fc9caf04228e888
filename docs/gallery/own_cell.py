"""How do I measure my own cell?

Write one step as a function of the state and the input. The state may be a tensor or any nesting of tensors; the
derivative comes from PyTorch's forward mode, and nothing else has to be written. This one is a leaky rate network with
a slow adaptation variable.
"""

import matplotlib.pyplot as plt
import torch

import lyapunov

torch.manual_seed(0)
weight = 1.5 * torch.randn(20, 20, dtype=torch.float64) / 20**0.5


def step(state, x):
    rate, adaptation = state
    rate = rate + 0.5 * (torch.tanh(rate @ weight.T + x - adaptation) - rate)
    adaptation = adaptation + 0.05 * (0.5 * rate - adaptation)
    return rate, adaptation


start = torch.zeros(5, 20), torch.zeros(5, 20)
spectrum = lyapunov.spectrum(step, torch.randn(5, 350, 20), state=start, align=100)
print(f"largest exponent {spectrum.max:.3f} ± {spectrum.standard_errors[0]:.3f}, {spectrum.timescales[0]}")
assert len(spectrum) == 40 and spectrum.max < 0

lyapunov.plots.spectrum(spectrum, plt.gca(), marker="o")
plt.axvline(20.5, color="C1", linestyle=":", label="20 slow directions: the adaptation")
plt.title("Forty exponents of a cell with two kinds of state")
plt.legend(loc="lower left")
plt.show()
