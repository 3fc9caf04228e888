"""torchrl: an LSTM in a tensordict module, in recurrent mode over whole trajectories."""

from typing import Any

import torch

import lyapunov
from _dense import Dense, stacked
from published._inputs import series

PACKAGE, K = "torchrl", 4
WHAT = "`LSTMModule`, 8 -> 24, over trajectories"
HOW = "`capture`"


def prepared() -> tuple[Any, ...]:
    from tensordict import TensorDict
    from torchrl.modules import LSTMModule, set_recurrent_mode

    set_recurrent_mode(True).__enter__()
    module = LSTMModule(input_size=8, hidden_size=24, in_key="observation", out_key="features")
    zeros = torch.zeros(2, 200, 1, 24)
    states = {"recurrent_state_h": zeros, "recurrent_state_c": zeros}
    batch = {"observation": series(2, 200, 8), "is_init": torch.zeros(2, 200, 1, dtype=torch.bool), **states}
    return module, TensorDict(batch, [2, 200])


def handed_over(module: Any, batch: Any, **settings: Any) -> lyapunov.Spectrum:
    return lyapunov.spectrum(lyapunov.capture(module, batch), **settings)


def reference(module: Any, batch: Any) -> list[Dense]:
    return stacked(module.lstm, batch["observation"])
