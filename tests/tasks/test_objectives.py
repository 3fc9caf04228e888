"""The built-in tasks as functions of a trial: they train, report losses and spectra, and can be pruned."""

import os
from functools import partial

import optuna
import pytest

from lyapunov.tasks import Adding, NextCharacter, NextFrame, objectives
from lyapunov.tasks.data_files import DATA_DIR

optuna.logging.set_verbosity(optuna.logging.ERROR)
with_data = pytest.mark.skipif(DATA_DIR not in os.environ, reason=f"the experiments' data is not there ({DATA_DIR})")


@pytest.fixture(autouse=True)
def _small(monkeypatch: pytest.MonkeyPatch) -> None:
    """The same tasks, a few batches each."""
    monkeypatch.setattr(objectives, "Adding", lambda **kwargs: Adding(**{**kwargs, "steps": 12, "batches": 2}))
    monkeypatch.setattr(objectives, "NextFrame", lambda **kwargs: NextFrame(**{**kwargs, "batch": 10, "batches": 1}))
    monkeypatch.setattr(objectives, "corpus", lambda name, text, limit: _corpus(name, text, limit=20_000))
    monkeypatch.setattr(
        objectives, "NextCharacter", lambda data, **kwargs: NextCharacter(data, batch=8, steps=20, probe=(4, 100))
    )


_corpus = partial(objectives.corpus)


@pytest.mark.parametrize("name", ["adding", pytest.param("motion", marks=with_data), pytest.param("text", marks=with_data)])
def test_a_task_is_a_function_of_a_trial(name: str) -> None:
    study = optuna.create_study()
    study.optimize(getattr(objectives, name), n_trials=1)
    (trial,) = study.trials
    epochs = list(trial.intermediate_values)
    assert trial.value == min(trial.intermediate_values.values())
    assert epochs == list(range(len(epochs)))
    read = sorted(int(key.split("/")[1]) for key in trial.user_attrs)
    assert read == [epoch for epoch in objectives.LOOKS if epoch in epochs]
    assert trial.user_attrs["lyapunov/1"]["max"] < 1.0
    assert len(trial.params) == 2


def test_a_task_is_pruned_when_the_pruner_says_so() -> None:
    study = optuna.create_study(pruner=optuna.pruners.ThresholdPruner(upper=0.0))
    study.optimize(objectives.adding, n_trials=1)
    assert study.trials[0].state.name == "PRUNED"
    assert study.trials[0].last_step == 0
