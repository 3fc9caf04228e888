"""Inputs like those the packages are made for: sound, text, observations, series."""

import math

import torch
from torch import Tensor

TEXT = (
    "when the wind turned north the boats came home early and the harbour filled with voices nobody had counted on such a day "
    "so the baker lit his oven again sold what was left of the bread and promised more before the lamps were out "
)


def sound(batch: int, samples: int, rate: int = 16000) -> Tensor:
    """Voiced and silent stretches: harmonics of a gliding tone, a slow envelope, a little noise (batch, samples)."""
    time = torch.arange(samples) / rate
    rows = []
    for row in range(batch):
        phase = 2 * math.pi * (120 + 25 * row) * (time + 0.05 * torch.sin(2 * math.pi * 0.7 * time))
        voice = sum(torch.sin(order * phase) / order for order in range(1, 12))
        envelope = torch.relu(torch.sin(2 * math.pi * (1.3 + 0.2 * row) * time))
        rows.append(0.2 * envelope * voice + 0.01 * torch.randn(samples))
    return torch.stack(rows)


def series(batch: int, steps: int, features: int = 1) -> Tensor:
    """Days and weeks with noise: (batch, steps, features)."""
    time = torch.arange(steps).view(1, -1, 1)
    phase = 2 * math.pi * torch.rand(batch, 1, features)
    seasons = torch.sin(2 * math.pi * time / 24 + phase) + 0.5 * torch.sin(2 * math.pi * time / 168 + 2 * phase)
    return seasons + 0.3 * torch.randn(batch, steps, features)
