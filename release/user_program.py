"""A small program as a user would write it: `mypy --strict` and pyrefly find nothing wrong with it."""

import torch

import lyapunov


def largest(model: torch.nn.LSTM, inputs: torch.Tensor) -> float:
    """The largest exponent, in nats per step, where the verdict allows to say so."""
    spectrum = lyapunov.spectrum(model, inputs, k=2)
    low, high = spectrum.interval()
    print(spectrum.verdict, low, high)
    return spectrum.max


def train(model: torch.nn.LSTM, inputs: torch.Tensor) -> lyapunov.Run | None:
    """A few steps, watched."""
    monitor = lyapunov.Monitor(model, inputs, every=10, k=2)
    optimizer = torch.optim.SGD(model.parameters())
    for step in range(20):
        loss = model(inputs)[0].square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        monitor.observe(step, train=float(loss))
    return lyapunov.Run.load(monitor.directory) if monitor.directory else None


if __name__ == "__main__":
    lstm = torch.nn.LSTM(3, 8, batch_first=True)
    print(largest(lstm, torch.randn(4, 200, 3)), train(lstm, torch.randn(4, 200, 3)))
