"""Adapters of at most about 40 lines each to training loops and run trackers."""

from lyapunov.integrations.lightning import lightning_callback
from lyapunov.integrations.loggers import mlflow, tensorboard, trackio, wandb
from lyapunov.integrations.optuna import optuna_report, spectrum_pruner
from lyapunov.integrations.transformers import transformers_callback

__all__ = [
    "lightning_callback",
    "mlflow",
    "optuna_report",
    "spectrum_pruner",
    "tensorboard",
    "trackio",
    "transformers_callback",
    "wandb",
]
