"""resemblyzer: who speaks. Three LSTM layers over mel spectrograms, with the weights in the wheel."""

from typing import Any

import torch
from torch import Tensor

import lyapunov
from _dense import Dense, stacked

PACKAGE, K = "resemblyzer", 2
WHAT = "`VoiceEncoder`, 3 LSTM layers of 256, trained weights"
HOW = "`capture`"


def prepared() -> tuple[Any, ...]:
    from resemblyzer import VoiceEncoder

    bands = torch.linspace(-2, 2, 40)
    syllables = torch.relu(torch.sin(torch.arange(36) / 6.0))[:, None] * torch.exp(-(bands**2))
    return VoiceEncoder("cpu", verbose=False), syllables.expand(2, -1, -1) * torch.rand(2, 36, 40)


def handed_over(model: Any, mels: Tensor, **settings: Any) -> lyapunov.Spectrum:
    return lyapunov.spectrum(lyapunov.capture(model, mels), **settings)


def reference(model: Any, mels: Tensor) -> list[Dense]:
    return stacked(model.lstm, mels)
