"""Runs for the report to show: small networks that change, with losses that follow them."""

from pathlib import Path

import torch
from torch import nn

import lyapunov
from cases import drawn, seeded
from lyapunov.training import Run

INPUTS = drawn(5, 60, 3, seed=12)


def made(directory: Path, *, layers: int = 2, scale: float = 1.0, name: str | None = None, readings: int = 6, **kwargs) -> Run:
    """A stack whose weights grow from reading to reading; whole spectra at every other one."""
    module = seeded(nn.RNN, 3, 6, num_layers=layers, batch_first=True, scale=scale)
    monitor = lyapunov.Monitor(module, INPUTS, k=4, directory=directory, name=name, about={"scale": scale}, **kwargs)
    for step in range(readings):
        losses = {"train": 2.0 / (step + 1) + scale, "held_out": 2.5 / (step + 1) + scale}
        monitor.read(10 * step, epoch=step, whole=step % 2 == 0, **losses)
        with torch.no_grad():
            for weight in module.parameters():
                weight.mul_(1.1)
    return Run.load(directory)
