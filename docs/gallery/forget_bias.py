"""How does the forget bias set an LSTM's memory?

A cell with forget gate f keeps f of what it holds at every step, so a constant gate gives the exponent ln f and a
memory of -1/ln f steps. With real inputs and recurrent weights the gates move, and the measured memory says what is
left of that estimate.
"""

import matplotlib.pyplot as plt
import torch

import lyapunov

torch.manual_seed(0)
lstm, inputs = torch.nn.LSTM(4, 24, batch_first=True), torch.randn(6, 400, 4)
biases = torch.linspace(-1, 3, 5)
spectra = []
for bias in biases:
    with torch.no_grad():
        lstm.bias_ih_l0[24:48], lstm.bias_hh_l0[24:48] = bias, 0  # the forget gates
    spectra.append(lyapunov.spectrum(lstm, inputs, k=1, settle=100, align=100))

memory = torch.tensor([spectrum.timescales[0].value for spectrum in spectra])
low, high = (torch.tensor([getattr(spectrum.timescales[0], end) for spectrum in spectra]) for end in ("low", "high"))
for bias, spectrum in zip(biases, spectra, strict=True):
    print(f"forget bias {bias:+.0f}: {spectrum.timescales[0]}")
assert bool((memory.diff() > 0).all())

constant = -1 / torch.nn.functional.logsigmoid(biases)
plt.errorbar(biases, memory, (memory - low, high - memory), marker="o", capsize=3, label="measured, 95 % interval")
plt.plot(biases, constant, "--", color="0.4", label="a constant gate: −1 / ln σ(bias)")
plt.yscale("log")
plt.xlabel("forget bias")
plt.ylabel("memory time (steps)")
plt.title("The forget bias sets the memory")
plt.legend()
plt.show()
