"""Did the spectrum change between two checkpoints?

Subtract them. On the same inputs the difference is taken sequence by sequence, so what both share cancels, and its
error is smaller than that of either spectrum. These two networks differ by a change of 2 % in their recurrent weights.
"""

import matplotlib.pyplot as plt
import torch

import lyapunov

torch.manual_seed(0)
rnn, inputs = torch.nn.RNN(2, 32, batch_first=True), torch.randn(10, 250, 2)
earlier = lyapunov.spectrum(rnn, inputs, k=8)
with torch.no_grad():
    rnn.weight_hh_l0.mul_(1.02)
later = lyapunov.spectrum(rnn, inputs, k=8)

difference = later - earlier
apart = (later.standard_errors**2 + earlier.standard_errors**2).sqrt()
print(f"largest exponent: {difference[0]:+.4f} ± {difference.standard_errors[0]:.4f}, unpaired ± {apart[0]:.4f}")
assert float(difference.standard_errors[0]) < float(apart[0])
assert float(difference[0]) > 3 * float(difference.standard_errors[0])

index = torch.arange(1, 9)
plt.errorbar(index - 0.08, difference.exponents, 2 * apart, fmt="o", color="0.6", capsize=3, label="unpaired error")
plt.errorbar(index + 0.08, difference.exponents, 2 * difference.standard_errors, fmt="o", capsize=3, label="paired error")
plt.axhline(0, color="0.2", linewidth=0.9)
plt.xlabel("index")
plt.ylabel("later − earlier (nats per step)")
plt.title("Paired differences show small changes")
plt.legend()
plt.show()
