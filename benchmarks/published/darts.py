"""darts: a fitted recurrent forecaster; its module takes the package's own batches."""

from typing import Any

import torch

import lyapunov
from _dense import Dense, stacked
from published._inputs import series

PACKAGE, K = "darts", 4
WHAT = "`RNNModel`, a GRU of 24, fitted for one epoch"
HOW = "`capture` of its module"
REMEDY = "Done: the model that darts wraps is `model.model`, a module, which is called with the package's own kind of batch."


def prepared() -> tuple[Any, ...]:
    from darts import TimeSeries
    from darts.models import RNNModel

    quiet = {"accelerator": "cpu", "logger": False, "enable_checkpointing": False, "enable_progress_bar": False}
    options = {"n_epochs": 1, "random_state": 0, "pl_trainer_kwargs": {**quiet, "enable_model_summary": False}}
    model = RNNModel(input_chunk_length=48, model="GRU", hidden_dim=24, training_length=60, **options)
    model.fit(TimeSeries.from_values(series(1, 400)[0].numpy()))
    return model, series(2, 200)


def refused(model: Any, values: Any) -> None:  # noqa: ARG001
    lyapunov.capture(model.predict, 24)


def handed_over(model: Any, values: Any, **settings: Any) -> lyapunov.Spectrum:
    from darts.utils.data.torch_datasets.utils import PLModuleInput

    captured = lyapunov.capture(model.model, PLModuleInput(past_target=values))
    return lyapunov.spectrum(captured, **settings)


def reference(model: Any, values: Any) -> list[Dense]:
    return stacked(model.model.rnn, values.to(torch.float64))
