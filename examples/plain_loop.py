"""Watch a network in a loop of your own: copy a symbol that came some steps ago, and see the memory grow until it can.

python examples/plain_loop.py [--steps 600] [--directory runs/plain]      then: lyapunov report runs/plain
"""

import argparse

import torch
from torch import nn
from torch.nn import functional

import lyapunov

SYMBOLS, LAG = 6, 8


class Copier(nn.Module):
    """Symbols in, and at each step the one of LAG steps ago out."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Embedding(SYMBOLS, 16)
        self.gru = nn.GRU(16, 48, batch_first=True)
        self.readout = nn.Linear(48, SYMBOLS)

    def forward(self, symbols: torch.Tensor) -> torch.Tensor:
        return self.readout(self.gru(self.embedding(symbols))[0])


def loss_of(model: nn.Module, symbols: torch.Tensor) -> torch.Tensor:
    """Nats per symbol."""
    logits = model(symbols)[:, LAG:]
    return functional.cross_entropy(logits.flatten(0, 1), symbols[:, :-LAG].flatten())


def main(steps: int, directory: str) -> None:
    """Trains, and prints each reading."""
    torch.manual_seed(0)
    model = Copier()
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
    held_out = torch.randint(SYMBOLS, (10, 100))
    # The probe is what the model is called with: its core is found, and looked at along what it then receives.
    monitor = lyapunov.Monitor(model, held_out, lag=LAG, directory=directory, about={"lr": 3e-3})
    for step in range(steps):
        loss = loss_of(model, torch.randint(SYMBOLS, (32, 40)))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        reading = monitor.observe(step, train=loss)
        if reading is not None:
            print(reading)
        if monitor.should_stop:
            break
    with torch.no_grad():
        print(monitor.finish(steps, held_out=loss_of(model, held_out)))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=600)
    parser.add_argument("--directory", default="runs/plain")
    arguments = parser.parse_args()
    main(arguments.steps, arguments.directory)
