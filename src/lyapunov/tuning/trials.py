"""Trials that are accounted for, whoever dies: whose each is, and which are tried again.

A trial that was running when its worker died is told to have failed and is queued again with the same values.
"""

import os
import socket
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

from lyapunov._optional import import_optional
from lyapunov.tuning.search_spec import SearchSpec
from lyapunov.tuning.study import exclusive

if TYPE_CHECKING:
    from optuna import Study, Trial
    from optuna.trial import FrozenTrial

WORKER, AGAIN, FAILURE, FOLDER = "worker", "again", "failure", "folder"
"""User attributes of trials: who runs it, which trial it repeats, why it failed, where it may leave its run."""
TRACEBACK = "traceback.txt"
"""What a trial that failed leaves in its folder."""
IN_A_ROW = 5
"""Failures after which the function is taken not to work."""
PRUNED = "lyapunov/pruned/"
"""User attributes of studies, with a trial's number: why it was pruned."""
REPEATS = 3
"""How often a trial whose worker died is tried again."""
UNMARKED = 60.0
"""Seconds after which a trial of a database that no worker has marked is taken for lost."""


def trial_folder(trial: "Trial") -> Path | None:
    """Where a trial may leave its run: `lyapunov.Monitor(..., directory=trial_folder(trial))`; None outside of a search."""
    folder = trial.user_attrs.get(FOLDER)
    return None if folder is None else Path(folder)


def repeat(study: "Study", trial: "FrozenTrial", why: str, *, counts: bool = True) -> None:
    """A running trial has failed, and its values are queued again; where that `counts`, at most REPEATS times in a row.

    Nothing is done where it has ended meanwhile.
    """
    optuna = import_optional("optuna", "tune")
    try:
        study.tell(trial.number, state=optuna.trial.TrialState.FAIL)
    except (ValueError, RuntimeError):  # it has ended, or another one was quicker
        return
    tries = trial.user_attrs.get("tries", 0) + counts
    if tries <= REPEATS:
        values = {**trial.system_attrs.get("fixed_params", {}), **trial.params}
        study.enqueue_trial(values, user_attrs={AGAIN: trial.number, "tries": tries, "why": why})


def counted(study: "Study") -> int:
    """Trials that have ended or are running; those that are repeated count once, and those whose function failed do not."""
    trials = study.get_trials(deepcopy=False)
    passed_over = {trial.user_attrs[AGAIN] for trial in trials if AGAIN in trial.user_attrs}
    passed_over |= {trial.number for trial in trials if FAILURE in trial.user_attrs}
    return sum(trial.state.name != "WAITING" and trial.number not in passed_over for trial in trials)


def last_failures(study: "Study", after: int = -1) -> list["FrozenTrial"]:
    """The trials at the end of a study that failed one after the other, of those with numbers above `after`."""
    ended = [trial for trial in study.get_trials(deepcopy=False) if trial.number > after and trial.datetime_complete]
    ended = [trial for trial in ended if FAILURE in trial.user_attrs or trial.state.name in ("COMPLETE", "PRUNED")]
    ended.sort(key=lambda trial: trial.datetime_complete or datetime.max)
    good = max((at for at, trial in enumerate(ended) if FAILURE not in trial.user_attrs), default=-1)
    return ended[good + 1 :]


def abandon(spec: SearchSpec, study: "Study", belongs: Callable[[str], bool], why: str, *, counts: bool = True) -> None:
    """Repeats running trials of workers that are gone.

    Among them those that no worker had the time to mark: at once where nobody else can be about to, else after a while.
    """
    with exclusive(spec):
        found = [trial for trial in study.trials if trial.state.name == "RUNNING" and _gone_with(trial, spec, belongs)]
        for trial in found:
            repeat(study, trial, why, counts=counts)


def _gone_with(trial: "FrozenTrial", spec: SearchSpec, belongs: Callable[[str], bool]) -> bool:
    if WORKER in trial.user_attrs:
        return belongs(trial.user_attrs[WORKER])
    started = trial.datetime_start
    return spec.is_file or (started is not None and (datetime.now() - started).total_seconds() > UNMARKED)


def here(slot: int) -> str:
    """A name that says where a worker runs and whose it is."""
    return f"{socket.gethostname()}/{os.getpid()}/{slot}"


def gone(name: str) -> bool:
    """Whether the search that started a worker is known to be over: it ran on this machine, and its process is not there.

    Or it had this process's number, which has started none yet when it asks.
    """
    host, _, rest = name.partition("/")
    owner = rest.partition("/")[0]
    if host != socket.gethostname() or not owner.isdigit():
        return False
    if int(owner) == os.getpid():
        return True
    try:
        os.kill(int(owner), 0)
    except ProcessLookupError:
        return True
    except PermissionError:
        return False
    return False
