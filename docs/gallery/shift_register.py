"""What is the spectrum of a shift register?

A shift register remembers its last n inputs exactly, and everything older not at all. No exponent can describe that: a
change is kept at full size for n steps and is then gone, so all exponents are minus infinity. `memory` measures the n
steps.
"""

import matplotlib.pyplot as plt
import torch

import lyapunov

cells = 12


def register(state, x):
    return torch.cat([x, state[:, :-1]], dim=1)


inputs = torch.randn(8, 60, 1, generator=torch.Generator().manual_seed(0))
spectrum = lyapunov.spectrum(register, inputs, state=torch.zeros(8, cells), from_initial_state=True)
found = lyapunov.memory(register, inputs, state=torch.zeros(8, cells), predict=False)
print(f"exponents that are finite: {spectrum.rank} of {len(spectrum)}")
print(f"every direction has collapsed by step {int(spectrum.lost_at.max())}; measured memory: {found.value:g} steps")
assert spectrum.rank == 0 and spectrum.max == -float("inf") and found.value == cells

state, kept = torch.zeros(1, cells), []
change = torch.ones(1, 1)
for step in range(20):
    state = register(state, change if step == 0 else torch.zeros(1, 1))
    kept.append(float(state.norm()))
plt.step(range(1, 21), kept, where="mid", label="one changed input")
plt.plot(range(1, 21), [0.8**step for step in range(20)], "--", color="0.4", label="exponential memory")
plt.axvline(found.value, color="C1", linewidth=1.2, label=f"measured: {found.value:g} steps")
plt.xlabel("steps since the change")
plt.ylabel("size of the change in the state")
plt.title("A truncated memory has no rate of forgetting")
plt.legend(loc="upper right")
plt.show()
