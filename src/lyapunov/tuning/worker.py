"""What every worker of a search does: ask for a trial, run the function on it, tell how it ended, until there are enough."""

import math
import sys
import traceback
from collections.abc import Callable
from typing import TYPE_CHECKING

import torch

from lyapunov._optional import import_optional
from lyapunov.tuning.interrupts import end_politely, end_with_the_parent
from lyapunov.tuning.search_spec import SearchSpec, objective, raised_at
from lyapunov.tuning.study import exclusive, joined
from lyapunov.tuning.trials import FAILURE, FOLDER, IN_A_ROW, TRACEBACK, WORKER, counted, repeat

if TYPE_CHECKING:
    from optuna import Study, Trial

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
    function, study, failures = objective(spec), joined(spec), 0
    while failures < IN_A_ROW:  # whoever asked for it ends the search, and says why
        with exclusive(spec):
            if counted(study) >= spec.trials:
                return
            trial = study.ask()
            trial.set_user_attr(WORKER, name)
        if spec.seed is not None:  # by its number, so that no two draw the same, on whatever machine
            study.sampler = import_optional("optuna", "tune").samplers.TPESampler(seed=spec.seed + trial.number)
        if spec.output is not None:
            trial.set_user_attr(FOLDER, str(spec.run_folder(trial.number)))
        failures = 0 if _run(spec, study, trial, function) else failures + 1


def _run(spec: SearchSpec, study: "Study", trial: "Trial", function: Callable[["Trial"], float]) -> bool:
    """Whether the function ended as it should."""
    optuna = import_optional("optuna", "tune")
    states = optuna.trial.TrialState
    try:
        value = float(function(trial))
    except optuna.TrialPruned:
        study.tell(trial, state=states.PRUNED)
    except Exception as error:  # the user's: the trial failed, the search goes on
        trial.set_user_attr(FAILURE, failure(error, spec, trial.number))
        study.tell(trial, state=states.FAIL)
        return False
    except BaseException:
        repeat(study, study.trials[trial.number], "its worker was stopped", counts=False)
        raise
    else:
        if math.isnan(value):
            trial.set_user_attr(FAILURE, "it returned NaN.")
            study.tell(trial, state=states.FAIL)
            return False
        study.tell(trial, value)
    return True


def failure(error: Exception, spec: SearchSpec, number: int) -> str:
    """The last line of a traceback with the line of the user's file; the whole of it goes into the trial's folder."""
    said = " ".join("".join(traceback.format_exception_only(error)).split())
    where = f" ({raised_at(error, spec.folder)})"
    folder = spec.run_folder(number)
    if folder is None:
        return said + where
    folder.mkdir(parents=True, exist_ok=True)
    frames = error.__traceback__.tb_next if error.__traceback__ is not None else None  # without the line that called it
    whole = traceback.format_exception(type(error), error, frames)
    (folder / TRACEBACK).write_text("".join(whole), encoding="utf-8")
    return f"{said}{where}; see {folder / TRACEBACK}"
