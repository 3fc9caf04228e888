"""Train three small networks on one task, watch each, and keep the runs that the live report of the site shows.

    python docs/live/train.py docs/live/bundle

The task is to say what came four steps ago. The networks differ in their recurrent weights alone:
orthogonal ones, which can carry an input that far; weights so small that an input is gone after a step; and weights so large
that the network is chaotic.
"""

import sys
from pathlib import Path

import torch
from torch import Tensor, nn

import lyapunov

UNITS, LAG, STEPS, EVERY = 32, 4, 240, 40
GAINS = {"healthy": 1.0, "vanishing": 0.3, "chaotic": 2.5}
"""The size of the recurrent weights: a multiple of an orthogonal matrix, and of a Gaussian one for chaos."""


class Echo(nn.Module):
    """A tanh network and its readout."""

    def __init__(self, kind: str, generator: torch.Generator) -> None:
        super().__init__()
        self.rnn = nn.RNN(1, UNITS, batch_first=True)
        self.readout = nn.Linear(UNITS, 1)
        with torch.no_grad():
            for weight in self.parameters():
                weight.copy_(0.2 * torch.randn(weight.shape, generator=generator))
            recurrent = self.rnn.weight_hh_l0
            if kind != "chaotic":
                recurrent.copy_(torch.linalg.qr(recurrent)[0])
            else:
                recurrent.div_(0.2 * UNITS**0.5)
            recurrent.mul_(GAINS[kind])

    def forward(self, inputs: Tensor) -> Tensor:
        """(batch, time, 1) to (batch, time, 1)."""
        return self.readout(self.rnn(inputs)[0])


def trained(kind: str, directory: Path) -> lyapunov.Run:
    """A run of one of the three, with a reading every so many steps."""
    generator = torch.Generator().manual_seed(0)
    model = Echo(kind, generator)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3 if kind == "healthy" else 2e-4)
    probe = torch.randn(8, 400, 1, generator=generator)
    about = {"gain": GAINS[kind], "units": UNITS, "lag": LAG}
    monitor = lyapunov.Monitor(model.rnn, probe, k=8, lag=LAG, sequences=8, directory=directory, name=kind, about=about)
    for step in range(STEPS + 1):
        inputs = torch.randn(16, 60, 1, generator=generator)
        loss = (model(inputs)[:, LAG:] - inputs[:, :-LAG]).square().mean()
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        if step % EVERY == 0:
            monitor.read(step, whole=step in (0, STEPS), train=float(loss.detach()))
    return lyapunov.Run.load(directory)


def main(directory: str) -> None:
    """Write the runs."""
    torch.set_num_threads(1)
    for kind in GAINS:
        trained(kind, Path(directory) / kind)


if __name__ == "__main__":
    main(sys.argv[1])
