"""Which remembers longer out of the box: RNN, GRU or LSTM?

All three come from PyTorch with default weights, see the same inputs, and have 32 units. The largest exponent decides
how long the slowest direction is remembered, and with default weights it is about two steps for each of them.
"""

import matplotlib.pyplot as plt
import torch

import lyapunov

inputs = torch.randn(8, 300, 4, generator=torch.Generator().manual_seed(0))
figure, (left, right) = plt.subplots(1, 2, width_ratios=(2, 1))
names, memory = [], []
for kind in (torch.nn.RNN, torch.nn.GRU, torch.nn.LSTM):
    torch.manual_seed(0)
    spectrum = lyapunov.spectrum(kind(4, 32, batch_first=True), inputs, k=32)
    names.append(kind.__name__)
    memory.append(spectrum.timescales[0])
    print(f"{kind.__name__}: {spectrum.timescales[0]} steps")
    left.plot(range(1, 33), spectrum.exponents, marker="o", markersize=3, label=kind.__name__)
assert all(1 < time.value < 10 for time in memory)

left.axhline(0, color="0.2", linewidth=0.9)
left.set(xlabel="index", ylabel="Lyapunov exponent (nats per step)", ylim=(-4, 0.2), title="Leading 32 exponents")
left.legend()
right.bar(names, [time.value for time in memory], color=["C0", "C1", "C2"])
right.set(ylabel="memory time (steps)", title="Slowest direction")
plt.show()
