"""A short training that is watched, and what its sinks were told."""

import torch
from torch import nn

import lyapunov
from cases import drawn


def reported(directory, sink) -> dict[str, list[tuple[int, float]]]:
    """Trains with a sink; steps and values by name, as the history has them."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        lstm = nn.LSTM(3, 6, batch_first=True)
    optimizer = torch.optim.SGD(lstm.parameters(), lr=0.1)
    inputs = drawn(4, 20, 3, seed=1).float()
    monitor = lyapunov.Monitor(lstm, drawn(4, 40, 3, seed=2).float(), every=2, k=3, directory=directory, sinks=[sink])
    for step in range(7):
        loss = lstm(inputs)[0].square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        monitor.observe(step, train=loss)
    found: dict[str, list[tuple[int, float]]] = {}
    for reading in lyapunov.Run.load(directory).readings:
        for name, value in reading.numbers().items():
            found.setdefault(name, []).append((reading.step, value))
    assert [step for step, _ in found["lyapunov/max"]] == [0, 2, 4, 6]
    return found
