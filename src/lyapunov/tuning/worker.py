"""What every worker of a search does: ask for a trial, run the function on it, tell how it ended, until there are enough.

A trial that was running when its worker died is told to have failed and is queued again with the same values.
"""

import importlib
import math
import os
import signal
import socket
import sys
import threading
import traceback
from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

import torch
from filelock import FileLock

from lyapunov._optional import needed
from lyapunov.errors import InvalidInput

OUTPUT = "output"
"""User attribute of the study."""
WORKER, AGAIN, FAILURE = "worker", "again", "failure"
"""User attributes of trials: who runs it, the number of the trial that it repeats, and why it failed."""
REPEATS = 3
"""How often a trial is tried again."""
UNMARKED = 60.0
"""Seconds after which a trial of a database that no worker has marked is taken for lost."""


@dataclass(frozen=True)
class Order:
    """What is searched: `function` ("module:name", of one Optuna trial), until `trials` have ended.

    storage: the path of a journal file, or the address of a database ("postgresql://..."). seed: of the sampler; each worker
    draws its own. pruner: makes the study's pruner, in every process anew. folder: where the function's module is looked for,
    beside what is installed; every machine must have it. output: where trials may leave their runs (`trial_folder`).
    """

    function: str
    storage: str
    study: str
    trials: int
    pruner: Callable[[], Any]
    maximize: bool = False
    seed: int | None = None
    folder: str = field(default_factory=os.getcwd)
    output: str | None = None

    @property
    def is_file(self) -> bool:
        """Whether the storage is a journal file."""
        return "://" not in self.storage


ENDING = (signal.SIGINT, signal.SIGTERM)
"""What asks for an end: Ctrl-C, and those who end jobs."""
INTERRUPTED = 130
"""The exit code of a worker that was asked to end."""


def objective(order: Order) -> Callable[[Any], float]:
    """The user's function."""
    function, (module, _, name) = order.function, order.function.partition(":")
    if not name:
        raise InvalidInput(f"Expected `function` as module:name, got {function!r}. Name it like train:objective.")
    if order.folder not in sys.path:
        sys.path.insert(0, order.folder)
    try:
        found = getattr(importlib.import_module(module), name, None)
    except ModuleNotFoundError as error:
        raise InvalidInput(f"Expected a module {module!r} to import {name!r} from, got: {error}. Run where it is.") from error
    if not callable(found):
        raise InvalidInput(f"Expected a function {name!r} in {module}, got {type(found).__name__}. It takes one Optuna trial.")
    return found


def opened(order: Order) -> Any:
    """The study, made if it is not there yet."""
    optuna = needed("optuna", "tune")
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study = optuna.create_study(
        storage=_storage(order),
        study_name=order.study,
        direction="maximize" if order.maximize else "minimize",
        pruner=order.pruner(),
        load_if_exists=True,
    )
    if (study.direction.name == "MAXIMIZE") != order.maximize:
        raise InvalidInput(
            f"Expected a study that is to {'maximize' if order.maximize else 'minimize'}, got {order.study!r}, which was begun "
            "the other way. Name another study, or go on with that."
        )
    if order.output is not None and study.user_attrs.get(OUTPUT) != order.output:
        study.set_user_attr(OUTPUT, order.output)
    return study


def trial_folder(trial: Any) -> Path | None:
    """Where a trial may leave its run: `lyapunov.Monitor(..., directory=trial_folder(trial))`; None outside of a search."""
    study = getattr(trial, "study", None)  # a FixedTrial has none
    output = None if study is None else study.user_attrs.get(OUTPUT)
    return None if output is None else Path(output) / "trials" / f"{trial.number:04d}"


def _storage(order: Order) -> Any:
    optuna = needed("optuna", "tune")
    if order.is_file:
        Path(order.storage).parent.mkdir(parents=True, exist_ok=True)
        return optuna.storages.JournalStorage(optuna.storages.journal.JournalFileBackend(order.storage))
    address = order.storage
    if address.startswith("postgresql://"):
        needed("psycopg", "postgres")
        address = address.replace("postgresql://", "postgresql+psycopg://", 1)
    try:
        unpooled = needed("sqlalchemy.pool", "tune").NullPool  # many workers, and a server has few connections to give
        return optuna.storages.RDBStorage(address, engine_kwargs={"poolclass": unpooled})
    except Exception as error:  # SQLAlchemy's and the driver's, of many kinds
        place, first = address.rpartition("@")[2], str(error).strip().partition("\n")[0]
        raise InvalidInput(
            f"Expected a database at {place}, got {type(error).__name__}: {first} Check the address, and that it runs."
        ) from error


@contextmanager
def alone(order: Order) -> Generator[None, None, None]:
    """Within it no other worker asks for a trial, where the storage is a file. Databases may give out a trial too many."""
    if not order.is_file:
        yield
        return
    with FileLock(f"{order.storage}.turn"):  # ".lock" is the journal's own
        yield


def work(order: Order, name: str, offset: int) -> None:
    """Until enough trials have ended. `name`: what its trials are marked with; `offset`: the how-many-th worker it is."""
    torch.set_num_threads(1)
    asked = _end_politely()
    try:
        _work(order, name, offset)
    except BaseException as error:
        if asked or isinstance(error, KeyboardInterrupt):  # who asked for it knows, and repeats what is left running
            sys.exit(INTERRUPTED)
        raise


def _work(order: Order, name: str, offset: int) -> None:
    function, study = objective(order), opened(order)
    if order.seed is not None:  # one that goes on does not draw again what was drawn
        drawn = 1000 * len(study.get_trials(deepcopy=False)) + offset
        study.sampler = needed("optuna", "tune").samplers.TPESampler(seed=order.seed + drawn)
    while True:
        with alone(order):
            if counted(study) >= order.trials:
                return
            trial = study.ask()
            trial.set_user_attr(WORKER, name)
        _run(study, trial, function)


def _run(study: Any, trial: Any, function: Callable[[Any], float]) -> None:
    optuna = needed("optuna", "tune")
    states = optuna.trial.TrialState
    try:
        value = float(function(trial))
    except optuna.TrialPruned:
        study.tell(trial, state=states.PRUNED)
    except Exception as error:  # the user's: the trial failed, the search goes on
        trial.set_user_attr(FAILURE, "".join(traceback.format_exception_only(error)).strip())
        study.tell(trial, state=states.FAIL)
    except BaseException:
        repeat(study, study.trials[trial.number], "its worker was stopped")
        raise
    else:
        if math.isnan(value):
            trial.set_user_attr(FAILURE, "it returned NaN.")
            study.tell(trial, state=states.FAIL)
        else:
            study.tell(trial, value)


def repeat(study: Any, trial: Any, why: str) -> None:
    """A running trial has failed, and its values are queued again, at most REPEATS times in a row."""
    optuna = needed("optuna", "tune")
    study.tell(trial.number, state=optuna.trial.TrialState.FAIL, skip_if_finished=True)
    tries = trial.user_attrs.get("tries", 0) + 1
    if tries <= REPEATS:
        study.enqueue_trial(trial.params, user_attrs={AGAIN: trial.number, "tries": tries, "why": why})


def counted(study: Any) -> int:
    """Trials that have ended or are running; those that are repeated count once."""
    trials = study.get_trials(deepcopy=False)
    repeated = {trial.user_attrs[AGAIN] for trial in trials if AGAIN in trial.user_attrs}
    return sum(trial.state.name != "WAITING" and trial.number not in repeated for trial in trials)


def abandon(order: Order, study: Any, belongs: Callable[[str], bool], why: str) -> int:
    """Repeats running trials of workers that are gone; how many there were.

    Among them those that no worker had the time to mark: at once where nobody else can be about to, else after a while.
    """
    with alone(order):
        found = [trial for trial in study.trials if trial.state.name == "RUNNING" and _gone_with(trial, order, belongs)]
        for trial in found:
            repeat(study, trial, why)
    return len(found)


def _gone_with(trial: Any, order: Order, belongs: Callable[[str], bool]) -> bool:
    if WORKER in trial.user_attrs:
        return belongs(trial.user_attrs[WORKER])
    return order.is_file or (datetime.now() - trial.datetime_start).total_seconds() > UNMARKED


def here(slot: int) -> str:
    """A name that says where a worker runs and whose it is."""
    return f"{socket.gethostname()}/{os.getpid()}/{slot}"


def gone(name: str) -> bool:
    """Whether the search that started a worker is known to be over: it ran on this machine, and its process is not there."""
    host, _, rest = name.partition("/")
    owner = rest.partition("/")[0]
    if host != socket.gethostname() or not owner.isdigit():
        return False
    try:
        os.kill(int(owner), 0)
    except ProcessLookupError:
        return True
    except PermissionError:
        return False
    return False


def _end_politely() -> list[int]:
    """The first Ctrl-C or SIGTERM leaves the trial to others, and nothing interrupts that; the list says what came."""
    asked: list[int] = []

    def end(number: int, frame: object) -> None:  # noqa: ARG001
        asked.append(number)
        for each in ENDING:
            signal.signal(each, signal.SIG_IGN)
        raise KeyboardInterrupt

    if threading.current_thread() is threading.main_thread():
        for each in ENDING:
            signal.signal(each, end)
    return asked
