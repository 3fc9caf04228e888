"""How long must I burn in?

Run the model from different starts along the same inputs, and see when the outputs agree. Steps before that belong to
the start and not to the inputs: discard them. `memory` measures the number, with an interval, and the largest exponent
predicts it.
"""

import matplotlib.pyplot as plt
import torch

import lyapunov

torch.manual_seed(0)
gru = torch.nn.GRU(3, 24, batch_first=True)
with torch.no_grad():
    gru.bias_ih_l0[24:48] = 2.0  # update gates that mostly keep the state
found = lyapunov.memory(gru, torch.randn(8, 300, 3), starts=4)
low, high = found.interval()
print(f"outputs agree to 0.1 % after {found.value:.0f} steps (95 %: {low:.0f} to {high:.0f})")
print(f"the exponent predicts {found.predicted.value:.0f} steps; discard {found.longest:.0f} to be safe")
assert abs(found.predicted.value - found.value) < 0.2 * found.value

lyapunov.plots.memory(found, plt.gca())
plt.title("Discard the steps before the runs agree")
plt.show()
