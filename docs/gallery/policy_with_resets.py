"""How do I measure a recurrent policy whose episodes end inside a batch?

A policy resets a row of its batch where an episode ends. `capture` follows the state through the calls, so each episode
becomes a sequence of its own, and no exponent mixes two of them.
"""

import matplotlib.pyplot as plt
import torch

import lyapunov


class Policy(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.lstm = torch.nn.LSTMCell(4, 16)

    def forward(self, observations, starts):
        state = torch.zeros(observations.shape[1], 16), torch.zeros(observations.shape[1], 16)
        for x, start in zip(observations, starts, strict=True):
            state = self.lstm(x, tuple(part * (1 - start)[:, None] for part in state))
        return state[0]


torch.manual_seed(0)
starts = torch.zeros(300, 4)
starts[[110, 220], 0] = starts[150, 1] = starts[90, 3] = 1
captured = lyapunov.capture(Policy(), torch.randn(300, 4, 4), starts)
spectrum = lyapunov.spectrum(captured, k=4)
print(f"{len(captured.lengths)} episodes of {captured.lengths.tolist()} steps")
print(f"largest exponent {spectrum.max:.3f} ± {spectrum.standard_errors[0]:.3f}")
assert len(captured.lengths) == 8 and spectrum.max < 0

plt.bar(range(1, 9), spectrum.per_sequence[:, 0].tolist(), color="C0", width=0.6)
plt.axhline(spectrum.max, color="C1", label=f"all episodes: {spectrum.max:.3f} nats per step")
plt.ylim(1.25 * spectrum.max, 0)
plt.xlabel("episode")
plt.ylabel("largest exponent (nats per step)")
plt.title("Each episode is a sequence of its own")
plt.legend()
plt.show()
