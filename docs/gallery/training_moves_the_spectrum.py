"""What does training do to the spectrum?

A GRU learns to repeat its input from eight steps ago. Before training it forgets within a few steps. To solve the task
it has to keep eight inputs, and the leading exponents move towards zero.
"""

import matplotlib.pyplot as plt
import torch

import lyapunov

torch.manual_seed(0)
gru, readout = torch.nn.GRU(1, 32, batch_first=True), torch.nn.Linear(32, 1)
optimizer = torch.optim.Adam([*gru.parameters(), *readout.parameters()], lr=1e-2)
probe, delay = torch.randn(8, 300, 1), 8
before = lyapunov.spectrum(gru, probe, k=16)

for _ in range(250):
    x = torch.randn(16, 40, 1)
    loss = (readout(gru(x)[0])[:, delay:] - x[:, :-delay]).square().mean()
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()

after = lyapunov.spectrum(gru, probe, k=16)
print(f"loss {loss:.3f}; {before.timescales[0]} before, {after.timescales[0]} after")
assert loss < 0.1 and after.max > before.max

lyapunov.plots.compare(after, before, plt.gca(), labels=("after training", "before training"))
plt.title("Training moves the leading exponents towards zero")
plt.show()
