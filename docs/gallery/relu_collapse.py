"""Why is an exponent of my ReLU network minus infinity?

A ReLU unit that is off passes nothing on, so its direction collapses to exactly zero and cannot come back. The library
decides this by the exact rank of the product of the Jacobians, not by a small number: what collapsed has the exponent
-inf.
"""

import matplotlib.pyplot as plt
import torch

import lyapunov

torch.manual_seed(0)
rnn, inputs = torch.nn.RNN(2, 40, nonlinearity="relu", batch_first=True), torch.randn(6, 200, 2)
with torch.no_grad():
    rnn.weight_hh_l0.normal_(0, 1.2 / 40**0.5)
spectrum = lyapunov.spectrum(rnn, inputs)
lost = spectrum.exponents == -float("inf")
print(f"{int(lost.sum())} of 40 directions collapse; the largest exponent is {spectrum.max:.3f}")
assert 10 < int(lost.sum()) < 40 and spectrum.rank == 40 - int(lost.sum())

index = torch.arange(1, 41)
lowest = float(spectrum.exponents[~lost].min()) - 0.3
plt.plot(index[~lost], spectrum.exponents[~lost], "o", label=f"{spectrum.rank} directions that survive")
plt.plot(index[lost], torch.full((int(lost.sum()),), lowest), "v", color="C1", label=f"{int(lost.sum())} that collapse: −∞")
plt.axhline(0, color="0.2", linewidth=0.9)
plt.xlabel("index")
plt.ylabel("Lyapunov exponent (nats per step)")
plt.title("Units that are off collapse directions")
plt.legend(loc="center right")
plt.show()
