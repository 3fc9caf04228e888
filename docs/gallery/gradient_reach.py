"""How far back do gradients reach?

The gradient of the loss at step T with respect to the state n steps earlier shrinks with the lag n.
`gradient_exponents` says how fast, as the readout sees it, and `gradient_decay` measures it with the gradients of your
own loss. Both agree here, and both end up with the slope of the largest exponent.
"""

import matplotlib.pyplot as plt
import torch

import lyapunov


class Model(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.gru, self.readout = torch.nn.GRU(3, 24, batch_first=True), torch.nn.Linear(24, 2)

    def forward(self, x):
        return self.readout(self.gru(x)[0])


def loss(model, batch):  # one loss per step, before any mean
    return (model(batch[0]) - batch[1]).square().mean(-1)


torch.manual_seed(0)
model, batch = Model().double(), (torch.randn(8, 120, 3).double(), torch.randn(8, 120, 2).double())
measured = lyapunov.gradient_decay(model, loss, batch, lags=30, starts=40)
predicted = lyapunov.gradient_exponents(model.gru, batch[0], readout=model.readout, lags=(5, 10, 20, 30))
largest = lyapunov.spectrum(model.gru, batch[0], k=1).max
print(f"measured {measured.slope(10, 30)}, predicted {predicted.slope(10, 30)}, largest exponent {largest:.3f}")
print(f"gradients fall to 1 % after {measured.lag_at(0.01)}")
assert abs(measured.slope(10, 30).value - largest) < 0.1 * abs(largest)

lyapunov.plots.gradient_decay(plt.gca(), measured=measured, predicted=predicted, exponents={"largest exponent": largest})
plt.title("Gradients fade at the rate of the largest exponent")
plt.show()
