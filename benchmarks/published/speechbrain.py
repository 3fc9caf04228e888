"""speechbrain: the light GRU (Li-GRU) of its speech recognisers: one gate, batch normalisation, ReLU."""

from typing import Any

import torch
from torch import Tensor

import lyapunov
from _dense import Dense
from published._inputs import series

PACKAGE, K = "speechbrain", 6
WHAT = "`LiGRU`, 20 -> 32, along features"
HOW = "one step of it"


def prepared() -> tuple[Any, ...]:
    from speechbrain.nnet.RNN import LiGRU

    model = LiGRU(hidden_size=32, input_shape=(2, 200, 20), nonlinearity="tanh")
    features = series(2, 200, 20)
    model(features)  # one pass in training, for the statistics of batch normalisation
    return model, features


def handed_over(model: Any, features: Tensor, **settings: Any) -> lyapunov.Spectrum:
    def step(h: Tensor, x: Tensor) -> Tensor:
        return model(x[:, None], h[None])[1][-1]

    return lyapunov.spectrum(step, features, state=torch.zeros(2, 32), **settings)


def reference(model: Any, features: Tensor) -> list[Dense]:
    layer = model.double().eval().rnn[0]

    def step(h: Tensor, x: Tensor) -> Tensor:
        candidate, gate = (layer.norm(layer.w(x[None]))[0] + layer.u.weight @ h).chunk(2)
        z = torch.sigmoid(gate)
        return z * h + (1 - z) * torch.tanh(candidate)

    return [Dense(step, torch.zeros(2, 32), list(features.double()))]
