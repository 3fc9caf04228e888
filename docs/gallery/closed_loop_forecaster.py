"""Is my forecaster as chaotic as the system that it learned?

A reservoir learns the Lorenz system and is then fed by its own output. Two spectra belong to it: driven by data it must
forget (conditional exponents below zero), and on its own it must be as chaotic as the true system (free exponents 0.91,
0, -14.6).
"""

import matplotlib.pyplot as plt
import torch

import lyapunov

DT, units = 0.02, 60
true = lyapunov.known.lorenz(dt=DT)
state, path = true.start(10, seed=1), []
for _ in range(900):
    state = true.system.step(state, None)
    path.append(state)
data = (torch.stack(path[200:], dim=1) - torch.tensor([0.0, 0.0, 23.55])) / torch.tensor([7.93, 9.01, 8.62])

torch.manual_seed(0)
core, readout = torch.nn.RNN(3, units, batch_first=True).double(), torch.nn.Linear(units, 3).double()
with torch.no_grad():
    weight = torch.randn(units, units).double()
    core.weight_hh_l0.copy_(0.2 * weight / torch.linalg.eigvals(weight).abs().max())  # spectral radius 0.2
    core.weight_ih_l0.uniform_(-0.3, 0.3)
    core.bias_ih_l0.uniform_(-1, 1)
    seen = core(data[:, :-1])[0][:, 100:].reshape(-1, units)
    seen = torch.cat([seen, torch.ones(len(seen), 1)], dim=1)
    gram = seen.mT @ seen + 1e-8 * len(seen) * torch.eye(units + 1)  # ridge regression of the next value
    fitted = torch.linalg.solve(gram, seen.mT @ data[:, 101:].reshape(-1, 3))
    readout.weight.copy_(fitted[:-1].mT)
    readout.bias.copy_(fitted[-1])

loop = lyapunov.closed_loop(core, readout)
both = lyapunov.loop_spectra(loop, data[:, :300], steps=500, k=3, dt=DT, align=200)
print(both.compare(true))
assert both.echo_state.holds and abs(float(both.compare(true).in_errors[0])) < 4

predicted = lyapunov.predict(loop, data[:1, :200], steps=400)
time = DT * torch.arange(400)
plt.plot(time, data[0, 200:600, 0], label="Lorenz")
plt.plot(time, predicted[0, :, 0], "--", label=f"the forecaster, free exponent {both.free.max:.2f} (true 0.91)")
plt.xlabel("time")
plt.ylabel("x, normalised")
plt.title("A forecaster left to itself")
plt.legend(loc="upper right")
plt.ylim(-3, 4)
plt.show()
