"""How many dimensions does the activity of a chaotic network have?

The Kaplan-Yorke dimension is the number of exponents whose running sum stays positive, interpolated. A network of 60
units can be chaotic and still move in a space of a few dimensions.
"""

import matplotlib.pyplot as plt
import torch

import lyapunov

torch.manual_seed(0)
rnn = torch.nn.RNN(1, 60, batch_first=True, bias=False)
with torch.no_grad():
    rnn.weight_hh_l0.normal_(0, 2.5 / 60**0.5)
spectrum = lyapunov.spectrum(rnn, torch.zeros(8, 400, 1), state=torch.randn(1, 8, 60), k=30)
dimension, error = spectrum.kaplan_yorke_dimension, spectrum.standard_error("kaplan_yorke_dimension")
print(f"Kaplan-Yorke dimension {dimension:.1f} ± {error:.1f} of 60; entropy rate {spectrum.entropy_rate:.2f} nats per step")
assert spectrum.max > 0 and 2 < dimension < 30

sums = spectrum.exponents.cumsum(0)
figure, (left, right) = plt.subplots(1, 2, figsize=(8, 3.4))
lyapunov.plots.spectrum(spectrum, left, marker="o").set_title("Leading 30 exponents")
right.plot(range(1, 31), sums, marker="o", markersize=3)
right.axvline(dimension, color="C1", linestyle="--", label=f"dimension {dimension:.1f}")
right.axhline(0, color="0.2", linewidth=0.9)
right.set(xlabel="number of exponents", ylabel="their sum (nats per step)", title="The sum crosses zero at the dimension")
right.legend()
plt.show()
