"""pytorch-forecasting: its own subclass of `nn.LSTM`, which takes lengths, as in its DeepAR and Temporal Fusion Transformer."""

from typing import Any

import torch
from torch import Tensor, nn

import lyapunov
from _dense import Dense, stacked
from published._inputs import series

PACKAGE, K = "pytorch-forecasting", 6
WHAT = "its `LSTM` of sequences of unequal length, in a forecaster"
HOW = "`capture`"


class Forecaster(nn.Module):
    """The encoder of its recurrent models."""

    def __init__(self) -> None:
        super().__init__()
        from pytorch_forecasting.models.nn.rnn import LSTM

        self.embedding, self.encoder, self.readout = nn.Linear(3, 8), LSTM(8, 24, batch_first=True), nn.Linear(24, 1)

    def forward(self, x: Tensor, lengths: Tensor) -> Tensor:
        """Padded series."""
        return self.readout(self.encoder(self.embedding(x), lengths=lengths, enforce_sorted=False)[0])


def prepared() -> tuple[Any, ...]:
    return Forecaster(), series(3, 200, 3), torch.tensor([200, 150, 120])


def handed_over(model: Any, x: Tensor, lengths: Tensor, **settings: Any) -> lyapunov.Spectrum:
    return lyapunov.spectrum(lyapunov.capture(model, x, lengths), **settings)


def reference(model: Any, x: Tensor, lengths: Tensor) -> list[Dense]:
    with torch.no_grad():
        inputs = model.double().embedding(x.double())
    return stacked(model.encoder, [row[:end] for row, end in zip(inputs, lengths, strict=True)])
