"""neuralforecast: a GRU encoder with a decoder, over windows of a series."""

from typing import Any

from torch import Tensor

import lyapunov
from _dense import Dense, stacked
from published._inputs import series

PACKAGE, K = "neuralforecast", 6
WHAT = "`GRU` forecaster, 2 layers of 24"
HOW = "`capture`"


def prepared() -> tuple[Any, ...]:
    from neuralforecast.models import GRU

    model = GRU(h=12, input_size=200, encoder_hidden_size=24, encoder_n_layers=2, max_steps=1)
    windows = {"insample_y": series(3, 200, 1), "futr_exog": None, "hist_exog": None, "stat_exog": None}
    return model, windows


def handed_over(model: Any, windows: dict[str, Any], **settings: Any) -> lyapunov.Spectrum:
    return lyapunov.spectrum(lyapunov.capture(model, windows), **settings)


def reference(model: Any, windows: dict[str, Tensor]) -> list[Dense]:
    return stacked(model.hist_encoder, windows["insample_y"])
