"""gluonts: DeepAR, a probabilistic forecaster around a stacked LSTM."""

from typing import Any

import torch
from torch import Tensor

import lyapunov
from _dense import Dense, stacked
from published._inputs import series

PACKAGE, K = "gluonts", 6
WHAT = "`DeepARModel`, 2 LSTM layers of 20, along series"
HOW = "`capture` of `log_prob`"


def prepared() -> tuple[Any, ...]:
    from gluonts.torch.model.deepar.module import DeepARModel

    model = DeepARModel("h", context_length=200, prediction_length=1, hidden_size=20, lags_seq=[1, 2, 24])
    values = 5 + series(2, 225, 1)[..., 0]
    known = torch.linspace(0, 1, 226).expand(2, -1)[..., None]
    arguments = {
        "feat_static_cat": torch.zeros(2, 1, dtype=torch.long),
        "feat_static_real": torch.zeros(2, 1),
        "past_time_feat": known[:, :225],
        "past_target": values,
        "past_observed_values": torch.ones_like(values),
        "future_time_feat": known[:, 225:],
        "future_target": values[:, -1:],
    }
    return model, arguments


def handed_over(model: Any, arguments: dict[str, Tensor], **settings: Any) -> lyapunov.Spectrum:
    return lyapunov.spectrum(lyapunov.capture(model.log_prob, **arguments), **settings)


def reference(model: Any, arguments: dict[str, Tensor]) -> list[Dense]:
    model.eval()
    names = [name for name in arguments if not name.startswith("future_target")]
    with torch.no_grad():
        inputs = model.prepare_rnn_input(**{name: arguments[name] for name in names})[0]
    return stacked(model.rnn, inputs)
