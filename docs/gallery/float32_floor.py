"""Is float32 precise enough?

For leading exponents it is. Far down the spectrum a direction can fall below what the arithmetic resolves before the
next orthonormalisation: such exponents are marked as not reliable. At a fixed interval of 8 steps float32 runs out
first.
"""

import warnings

import matplotlib.pyplot as plt
import torch

import lyapunov

torch.manual_seed(0)
rnn, inputs = torch.nn.RNN(2, 40, batch_first=True), torch.randn(6, 240, 2)
found = {}
for dtype in (torch.float64, torch.float32):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", lyapunov.LyapunovWarning)  # says which exponents are not reliable
        found[dtype] = lyapunov.spectrum(rnn, inputs, dtype=dtype, qr_every=8, settle=40, align=60)
double, single = found[torch.float64], found[torch.float32]
print(f"reliable: {int(double.reliable.sum())} of 40 in float64, {int(single.reliable.sum())} of 40 in float32")
print(f"largest exponent: {double.max:.6f} in float64, {single.max:.6f} in float32")
assert abs(double.max - single.max) < 1e-4 and int(single.reliable.sum()) < int(double.reliable.sum())

index = torch.arange(1, 41)
plt.plot(index, double.exponents, color="C0", label="float64")
plt.plot(index[single.reliable], single.exponents[single.reliable], "o", color="C1", label="float32, reliable")
plt.plot(index[~single.reliable], single.exponents[~single.reliable], "x", color="0.6", label="float32, not reliable")
plt.axhline(0, color="0.2", linewidth=0.9)
plt.xlabel("index")
plt.ylabel("Lyapunov exponent (nats per step)")
plt.title("What float32 cannot resolve is marked")
plt.legend()
plt.show()
