"""How many exponents do I need?

A run with k exponents gives the k largest ones, and they are the same whatever k is. The time grows with k. For
stability and memory k = 1 is enough; for a Kaplan-Yorke dimension k must exceed the dimension; the mean of all comes
along at any k here.
"""

from time import perf_counter

import matplotlib.pyplot as plt
import torch

import lyapunov

torch.manual_seed(0)
rnn, inputs = torch.nn.RNN(4, 48, batch_first=True), torch.randn(6, 240, 4)
counts, spectra, seconds = (1, 4, 16, 48), [], []
for k in counts:
    begin = perf_counter()
    spectra.append(lyapunov.spectrum(rnn, inputs, k=k, align=80))
    seconds.append(perf_counter() - begin)
for k, spectrum in zip(counts, spectra, strict=True):
    print(f"k={k:2}: largest {spectrum.max:.3f} ± {spectrum.standard_errors[0]:.3f}, mean of all {spectrum.mean:.3f}")
assert max(spectrum.max for spectrum in spectra) - min(spectrum.max for spectrum in spectra) < 0.05

figure, (left, right) = plt.subplots(1, 2, width_ratios=(3, 2), figsize=(8, 3.4))
for k, spectrum in zip(reversed(counts), reversed(spectra), strict=True):
    left.plot(range(1, k + 1), spectrum.exponents, marker="o", markersize=9 - 1.6 * counts.index(k), label=f"k = {k}")
left.set(xscale="log", xlabel="index", ylabel="Lyapunov exponent (nats per step)", title="The same exponents at any k")
left.set_xticks(counts, [str(k) for k in counts])
left.legend()
right.bar([str(k) for k in counts], seconds)
right.set(xlabel="k", ylabel="seconds", title="What they cost")
plt.show()
