"""What every worker of a search does: ask for a trial, run the function on it, tell how it ended, until there are enough."""

import math
import sys
import traceback
from collections.abc import Callable
from typing import Any

import torch

from lyapunov._optional import import_optional
from lyapunov.tuning.interrupts import end_politely, end_with_the_parent
from lyapunov.tuning.search_spec import SearchSpec, objective
from lyapunov.tuning.study import exclusive, joined
from lyapunov.tuning.trials import FAILURE, FOLDER, WORKER, counted, repeat

INTERRUPTED = 130
"""The exit code of a worker that was asked to end."""


def work(spec: SearchSpec, name: str) -> None:
    """Until enough trials have ended. `name`: what its trials are marked with."""
    torch.set_num_threads(1)
    asked = end_politely()
    end_with_the_parent()
    try:
        _work(spec, name)
    except BaseException as error:
        if asked or isinstance(error, KeyboardInterrupt):  # who asked for it knows, and repeats what is left running
            sys.exit(INTERRUPTED)
        raise


def _work(spec: SearchSpec, name: str) -> None:
    function, study = objective(spec), joined(spec)
    while True:
        with exclusive(spec):
            if counted(study) >= spec.trials:
                return
            trial = study.ask()
            trial.set_user_attr(WORKER, name)
        if spec.seed is not None:  # by its number, so that no two draw the same, on whatever machine
            study.sampler = import_optional("optuna", "tune").samplers.TPESampler(seed=spec.seed + trial.number)
        if spec.output is not None:
            trial.set_user_attr(FOLDER, str(spec.run_folder(trial.number)))
        _run(study, trial, function)


def _run(study: Any, trial: Any, function: Callable[[Any], float]) -> None:
    optuna = import_optional("optuna", "tune")
    states = optuna.trial.TrialState
    try:
        value = float(function(trial))
    except optuna.TrialPruned:
        study.tell(trial, state=states.PRUNED)
    except Exception as error:  # the user's: the trial failed, the search goes on
        trial.set_user_attr(FAILURE, "".join(traceback.format_exception_only(error)).strip())
        study.tell(trial, state=states.FAIL)
    except BaseException:
        repeat(study, study.trials[trial.number], "its worker was stopped", counts=False)
        raise
    else:
        if math.isnan(value):
            trial.set_user_attr(FAILURE, "it returned NaN.")
            study.tell(trial, state=states.FAIL)
        else:
            study.tell(trial, value)
