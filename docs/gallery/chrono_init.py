"""Does chrono initialisation give an LSTM a long memory?

Chrono initialisation (Tallec and Ollivier 2018) draws the forget biases so that cells remember for 1 to T steps. The
spectrum shows both what PyTorch's own start gives and how far chrono initialisation lifts it.
"""

import matplotlib.pyplot as plt
import torch

import lyapunov

torch.manual_seed(0)
units, longest = 32, 50
inputs = torch.randn(8, 500, 4)
default, chrono = (torch.nn.LSTM(4, units, batch_first=True) for _ in range(2))
with torch.no_grad():
    bias = torch.empty(units).uniform_(1, longest - 1).log()
    chrono.bias_hh_l0.zero_()
    chrono.bias_ih_l0[:units], chrono.bias_ih_l0[units : 2 * units] = -bias, bias  # input gates, forget gates

for lstm, label in ((default, "PyTorch's default"), (chrono, f"chrono, up to {longest} steps")):
    spectrum = lyapunov.spectrum(lstm, inputs, k=units, settle=120, align=120)
    print(f"{label}: {spectrum.timescales[0]}")
    plt.errorbar(range(1, units + 1), spectrum.exponents, 2 * spectrum.standard_errors, marker="o", markersize=3, label=label)
assert spectrum.timescales[0].value > 15  # of the last one, chrono

plt.axhline(0, color="0.2", linewidth=0.9)
plt.xlabel("index")
plt.ylabel("Lyapunov exponent (nats per step)")
plt.title("Chrono initialisation lifts the spectrum towards zero")
plt.legend()
plt.show()
