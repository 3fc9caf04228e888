"""How far does an input reach through a convolution and an LSTM?

`input_reach` differentiates the output of the whole model with respect to its inputs, by lag. The convolution adds its
width, the LSTM its memory, and the lag at which the reach falls to 1 % says how much context the model really uses.
"""

import matplotlib.pyplot as plt
import torch

import lyapunov


class Model(torch.nn.Module):
    def __init__(self, width):
        super().__init__()
        self.front = torch.nn.Conv1d(2, 8, width)
        self.lstm, self.readout = torch.nn.LSTM(8, 16, batch_first=True), torch.nn.Linear(16, 1)

    def forward(self, x):
        padded = torch.nn.functional.pad(x.mT, (self.front.kernel_size[0] - 1, 0))  # causal
        return self.readout(self.lstm(torch.tanh(self.front(padded)).mT)[0])


torch.manual_seed(0)
inputs, lags = torch.randn(4, 80, 2, dtype=torch.float64), []
for width in (1, 10):
    reach = lyapunov.input_reach(Model(width).double(), inputs, lags=30, starts=10)
    lags.append(reach.lag_at(0.01).value)
    plt.plot(reach.lags, reach.mean - reach.mean.max(), marker="o", label=f"width {width}: 1 % at lag {lags[-1]:.0f}")
    print(f"convolution of width {width}: {reach.lag_at(0.01)}")
assert lags[1] >= lags[0] + 5

plt.axhline(torch.tensor(0.01).log(), color="0.2", linewidth=0.9)
plt.xlabel("lag (steps)")
plt.ylabel("ln of the reach, relative to its largest")
plt.title("The convolution adds its width to the reach")
plt.legend()
plt.show()
