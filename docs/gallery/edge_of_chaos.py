"""At which gain does a random network become chaotic?

Without inputs, a large random tanh network becomes chaotic where the gain of its recurrent weights exceeds one. Inputs
move that edge: driven by white noise, the same networks stay stable up to a larger gain.
"""

import matplotlib.pyplot as plt
import torch

import lyapunov

torch.manual_seed(0)
units, gains = 100, (0.8, 1.2, 1.6, 2.0, 2.6)
weight = torch.randn(units, units) / units**0.5
start = torch.randn(1, 40, units)
inputs = {"without inputs": torch.zeros(40, 140, 1), "driven by noise": torch.randn(40, 140, 1)}

for name, noise in inputs.items():
    largest = []
    for gain in gains:
        rnn = torch.nn.RNN(1, units, batch_first=True, bias=False)
        with torch.no_grad():
            rnn.weight_hh_l0.copy_(gain * weight)
            rnn.weight_ih_l0.normal_()
        largest.append(lyapunov.spectrum(rnn, noise, k=1, state=start, settle=60, align=30).max)
    plt.plot(gains, largest, marker="o", label=name)
    print(f"{name}: " + ", ".join(f"{exponent:+.3f}" for exponent in largest))
    assert largest[0] < 0 < largest[-1]

plt.axhline(0, color="0.2", linewidth=0.9)
plt.xlabel("gain of the recurrent weights")
plt.ylabel("largest exponent (nats per step)")
plt.title("Inputs move the edge of chaos")
plt.legend()
plt.show()
