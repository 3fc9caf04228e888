"""The built-in tasks as functions of an Optuna trial, for `lyapunov tune lyapunov.tasks.objectives:adding`.

Each trains an LSTM at the size that two cores manage in half a minute, and reports the held-out loss and, at some epochs, the
leading exponents.
"""

from dataclasses import replace
from typing import TYPE_CHECKING

from lyapunov._optional import import_optional
from lyapunov.intake import read_text
from lyapunov.integrations import optuna_report
from lyapunov.tasks.adding import Adding
from lyapunov.tasks.data_files import data_file
from lyapunov.tasks.motion import NextFrame
from lyapunov.tasks.network import Learner, Recipe
from lyapunov.tasks.prediction import NextCharacter
from lyapunov.tasks.task import Task
from lyapunov.tasks.text import WAR_AND_PEACE, corpus
from lyapunov.training import Monitor
from lyapunov.tuning import trial_folder

if TYPE_CHECKING:
    from optuna import Trial

LOOKS = (0, 1, 2, 4, 8)
"""Epochs at which exponents are read."""


def adding(trial: "Trial") -> float:
    """The adding problem over 60 steps, for 8 epochs: mean squared error."""
    task = Adding(steps=60, batch=50, batches=200, probe=10)
    drawn = {"spread": trial.suggest_float("p", 0.03, 0.4, log=True)}
    return _learned(trial, task, Recipe("LSTM", 64, clip=1.0, learning_rate=_rate(trial, 1e-3, 2e-2), **drawn), 8, lag=60)


def motion(trial: "Trial") -> float:
    """Motion capture, for 12 epochs: mean squared error of the next frame."""
    task = NextFrame(batch=250, steps=25, batches=20, probe=(10, 150))
    drawn = {"spread": trial.suggest_float("p", 0.07, 0.7, log=True)}
    return _learned(trial, task, Recipe("LSTM", 128, learning_rate=_rate(trial, 1e-3, 5e-2), **drawn), 12)


def text(trial: "Trial") -> float:
    """War and Peace, its first 465,000 characters, for 12 epochs: nats per character."""
    data = corpus("War and Peace", read_text(data_file(WAR_AND_PEACE)), limit=465_000)
    task = NextCharacter(data, batch=32, steps=64, probe=(10, 200))
    drawn = {"dropout": trial.suggest_float("dropout", 0.01, 0.2, log=True)}
    return _learned(trial, task, Recipe("LSTM", 128, bias=False, learning_rate=_rate(trial, 1e-3, 0.1), **drawn), 12)


def _rate(trial: "Trial", low: float, high: float) -> float:
    return trial.suggest_float("learning_rate", low, high, log=True)


def _learned(trial: "Trial", task: Task, recipe: Recipe, epochs: int, lag: float | None = None) -> float:
    """The least held-out loss; seeds are the trial's."""
    learner = Learner(task, replace(recipe, seed=trial.number))
    inputs = task.encoded(task.probe()[0]).float()
    about = {name: f"{value:.4g}" for name, value in trial.params.items()}
    monitor = Monitor(
        learner.network.core, inputs, k=8, lag=lag, directory=trial_folder(trial), name=f"trial {trial.number}", about=about
    )
    losses: list[float] = []
    for epoch in range(epochs + 1):
        if epoch:
            learner.train()
        losses.append(learner.held_out_loss())
        optuna_report(trial, epoch, losses[-1], monitor.read(epoch, held_out=losses[-1]) if epoch in LOOKS else None)
        if trial.should_prune():
            raise import_optional("optuna", "tune").TrialPruned
    return min(losses)
