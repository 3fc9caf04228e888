"""Can I train a network to a given exponent?

`exponent_sum` is the sum of the k leading exponents as a scalar with an exact gradient, so it can be part of any loss.
Here the mean of the four leading exponents is moved from about -0.5 to -0.1, which is a memory of ten steps.
"""

import matplotlib.pyplot as plt
import torch

import lyapunov

torch.manual_seed(0)
gru, target = torch.nn.GRU(2, 24, batch_first=True), -0.1
probe = torch.randn(6, 200, 2)
before = lyapunov.spectrum(gru, probe, k=12)
optimizer, path = torch.optim.Adam(gru.parameters(), lr=1e-2), []
for _ in range(40):
    mean = lyapunov.exponent_sum(gru, torch.randn(4, 40, 2), 4, align=10) / 4
    optimizer.zero_grad()
    (mean - target).square().backward()
    optimizer.step()
    path.append(mean.item())
after = lyapunov.spectrum(gru, probe, k=12)
print(f"mean of four: {before.exponents[:4].mean():.3f} before, {after.exponents[:4].mean():.3f} after")
assert abs(float(after.exponents[:4].mean()) - target) < 0.06

figure, (left, right) = plt.subplots(1, 2, figsize=(8, 3.4))
left.plot(path)
left.axhline(target, color="C1", linestyle="--", label="target")
left.set(xlabel="training step", ylabel="mean of four exponents (nats per step)", title="Exponents follow the loss")
left.legend()
for spectrum, label in ((before, "before"), (after, "after")):
    right.plot(range(1, 13), spectrum.exponents, marker="o", label=label)
right.axhline(0, color="0.2", linewidth=0.9)
right.set(xlabel="index", ylabel="Lyapunov exponent (nats per step)", title="Leading spectrum")
right.legend()
plt.show()
