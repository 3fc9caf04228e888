"""Is my reservoir stable under inputs?

A reservoir has the echo-state property if it forgets where it started. A spectral radius below one is the usual rule of
thumb, but it ignores the inputs. The largest exponent, measured along the inputs, answers directly: below zero, the
reservoir forgets. This reservoir has a spectral radius of 2.5. Under weak inputs it is chaotic; strong inputs make it
forget.
"""

import matplotlib.pyplot as plt
import torch

import lyapunov

torch.manual_seed(0)
reservoir = torch.nn.RNN(1, 100, batch_first=True)
with torch.no_grad():
    weight = torch.randn(100, 100)
    reservoir.weight_hh_l0.copy_(2.5 * weight / torch.linalg.eigvals(weight).abs().max())  # spectral radius 2.5
    reservoir.weight_ih_l0.uniform_(-1, 1)
    reservoir.bias_ih_l0.zero_()
    reservoir.bias_hh_l0.zero_()

scales = (0.1, 0.3, 1.0, 2.0, 5.0)
noise = torch.randn(40, 160, 1)
spectra = [lyapunov.spectrum(reservoir, scale * noise, k=1) for scale in scales]
answers = [lyapunov.echo_state(spectrum) for spectrum in spectra]
print(f"inputs of size {scales[0]}: {answers[0]}")
print(f"inputs of size {scales[-1]}: {answers[-1]}")
assert answers[-1].holds is True and answers[0].holds is False

largest = torch.tensor([spectrum.max for spectrum in spectra])
errors = torch.tensor([float(spectrum.standard_errors[0]) for spectrum in spectra])
plt.errorbar(scales, largest, 2 * errors, marker="o", capsize=3)
plt.axhline(0, color="0.2", linewidth=0.9)
plt.xscale("log")
plt.xlabel("standard deviation of the inputs")
plt.ylabel("largest exponent (nats per step)")
plt.title("Strong inputs make the reservoir forget")
plt.show()
