"""How do I choose the truncated-BPTT length?

Measure how far back the gradients of your loss reach, and truncate there. Beyond the lag at which the mean gradient has
fallen to 1 % of its largest value, longer back-propagation costs time and changes almost nothing.
"""

import math

import matplotlib.pyplot as plt
import torch

import lyapunov


class Model(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.lstm, self.readout = torch.nn.LSTM(3, 16, batch_first=True), torch.nn.Linear(16, 1)

    def forward(self, x):
        return self.readout(self.lstm(x)[0])


def loss(model, batch):  # one loss per step, before any mean
    return (model(batch[0]) - batch[1]).square().mean(-1)


torch.manual_seed(0)
batch = torch.randn(8, 200, 3), torch.randn(8, 200, 1)
for forget_bias in (0.0, 1.0, 2.0):
    model = Model()
    with torch.no_grad():
        model.lstm.bias_ih_l0[16:32] = forget_bias
    decay = lyapunov.gradient_decay(model, loss, batch, lags=80, starts=20)
    lag = decay.lag_at(0.01)
    (line,) = plt.plot(decay.lags, decay.mean - decay.mean.max(), label=f"forget bias {forget_bias:.0f}: {lag.value:.0f} steps")
    plt.axvline(lag.value, color=line.get_color(), linestyle=":", linewidth=1)
    print(f"forget bias {forget_bias:.0f}: truncate after {lag}")
assert 30 < lag.value < 80  # of the last one

plt.axhline(math.log(0.01), color="0.2", linewidth=0.9)
plt.ylim(-9, 0.5)
plt.xlabel("lag (steps)")
plt.ylabel("ln of the gradient, relative to its largest")
plt.title("Truncate where the gradient has fallen to 1 %")
plt.legend()
plt.show()
