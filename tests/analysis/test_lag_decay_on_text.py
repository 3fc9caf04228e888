"""What the readout sees predicts how real loss gradients decay: on text, before and after training."""

from functools import cache
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, one_hot

import lyapunov
from cases import seeded
from lyapunov.tasks import corpus, python_reference

TEXT = corpus("Python's reference", python_reference(), limit=150_000)
SYMBOLS, UNITS, STARTS = len(TEXT.vocabulary), 32, 200


class CharacterModel(nn.Module):
    """One-hot symbols through a recurrent layer to logits."""

    def __init__(self, kind: type[nn.Module]) -> None:
        super().__init__()
        self.core, self.readout = kind(SYMBOLS, UNITS, batch_first=True), nn.Linear(UNITS, SYMBOLS)

    def forward(self, symbols: Tensor) -> Tensor:
        return self.readout(self.core(one_hot(symbols, SYMBOLS).to(self.readout.weight.dtype))[0])


def loss(model: nn.Module, symbols: Tensor) -> Tensor:
    """(batch, time): cross-entropy of the next symbol."""
    return cross_entropy(model(symbols[:, :-1]).mT, symbols[:, 1:], reduction="none")


def windows(symbols: Tensor, count: int, length: int, seed: int) -> Tensor:
    starts = torch.randint(len(symbols) - length, (count,), generator=torch.Generator().manual_seed(seed))
    return torch.stack([symbols[at : at + length] for at in starts.tolist()])


@cache
def model_of(kind: type[nn.Module], trained: bool) -> Any:
    """PyTorch's own initialization; trained, 250 steps of Adam."""
    model = seeded(CharacterModel, kind, scale=1.0).float()
    optimizer = torch.optim.Adam(model.parameters(), lr=5e-3)
    for step in range(250 if trained else 0):
        optimizer.zero_grad()
        loss(model, windows(TEXT.train, 16, 65, seed=step)).mean().backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
    return model.double()


@pytest.mark.usefixtures("shapes_unchecked")
@pytest.mark.parametrize(("trained", "within"), [(False, 0.05), (True, 0.20)], ids=["untrained", "trained"])
@pytest.mark.parametrize("kind", [nn.RNN, nn.GRU, nn.LSTM])
def test_the_measured_slope_is_the_predicted_one(kind: type[nn.Module], trained: bool, within: float) -> None:
    """Least squares over lags 20 to 80, 200 starting times."""
    model, held_out = model_of(kind, trained), windows(TEXT.valid, 4, 401, seed=1)
    measured = lyapunov.gradient_decay(model, loss, held_out, lags=80, starts=STARTS).slope(20, 80)
    inputs = one_hot(held_out[:, :-1], SYMBOLS).double()
    predicted = lyapunov.gradient_exponents(
        model.core, inputs, readout=model.readout, lags=(20, 40, 60, 80), k=1, starts=STARTS, settle=0
    ).slope(20, 80)
    assert predicted.value == pytest.approx(measured.value, rel=within)
    assert measured.value < -0.05
