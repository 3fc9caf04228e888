"""How do I watch the spectrum while a network trains?

A monitor measures a few leading exponents now and then, and leaves the training as it is. Here a GRU learns to repeat
its input from six steps ago; its memory time grows first, and then the loss falls.
"""

import tempfile

import matplotlib.pyplot as plt
import torch

import lyapunov

torch.manual_seed(0)
gru, readout = torch.nn.GRU(1, 24, batch_first=True), torch.nn.Linear(24, 1)
optimizer = torch.optim.Adam([*gru.parameters(), *readout.parameters()], lr=1e-2)
probe, delay = torch.randn(6, 200, 1), 6
with tempfile.TemporaryDirectory() as folder:
    monitor = lyapunov.Monitor(gru, probe, every=40, k=4, directory=folder)
    for step in range(240):
        x = torch.randn(12, 30, 1)
        loss = (readout(gru(x)[0])[:, delay:] - x[:, :-delay]).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        monitor.observe(step, train=loss)
    monitor.finish(240)
    run = lyapunov.Run.load(folder)

print(monitor.readings[0])
print(monitor.readings[-1])
assert run.readings[-1].losses["train"] < run.readings[1].losses["train"]

figure, (left, right) = plt.subplots(1, 2, figsize=(8, 3.4))
lyapunov.plots.largest_exponents([run], left).set_title("Largest exponent, 95 % band")
lyapunov.plots.losses([run], right).set_title("Loss")
plt.show()
