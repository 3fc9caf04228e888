"""What every worker of a search does: ask for a trial, run the function on it, tell how it ended, until there are enough.

A trial that was running when its worker died is told to have failed and is queued again with the same values.
"""

import importlib
import math
import multiprocessing
import os
import signal
import socket
import sys
import threading
import time
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

WORKER, AGAIN, FAILURE, FOLDER = "worker", "again", "failure", "folder"
"""User attributes of trials: who runs it, which trial it repeats, why it failed, where it may leave its run."""
REPEATS = 3
"""How often a trial whose worker died is tried again."""
TRIES = 5
"""At a database, while others make its tables."""
UNMARKED = 60.0
"""Seconds after which a trial of a database that no worker has marked is taken for lost."""


@dataclass(frozen=True)
class Order:
    """What is searched: `function` ("module:name", of one Optuna trial), until `trials` have ended.

    storage: the path of a journal file, or the address of a database ("postgresql://..."). seed: of the sampler; each trial
    draws by its own number. pruner: makes the study's pruner, in every process anew. folder: where the function's module is
    looked for, beside what is installed; every machine must have it. output: where trials may leave their runs.
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

    def run_folder(self, number: int) -> Path | None:
        """Where a trial may leave its run: a folder per study and trial."""
        name = "".join(letter if letter.isalnum() or letter in "-_." else "-" for letter in self.study)
        return None if self.output is None else Path(self.output) / "trials" / name / f"{number:04d}"


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
    return study


def joined(order: Order) -> Any:
    """The study, for a worker: whoever asked for it has made it."""
    optuna = needed("optuna", "tune")
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    try:
        return optuna.load_study(study_name=order.study, storage=_storage(order), pruner=order.pruner())
    except KeyError as error:
        raise InvalidInput(
            f"Expected the study {order.study!r} in {order.storage.rpartition('@')[2]}, got none from {socket.gethostname()}. "
            "Machines that work together need a folder that all of them see, or a database."
        ) from error


def trial_folder(trial: Any) -> Path | None:
    """Where a trial may leave its run: `lyapunov.Monitor(..., directory=trial_folder(trial))`; None outside of a search."""
    folder = trial.user_attrs.get(FOLDER)
    return None if folder is None else Path(folder)


def _storage(order: Order) -> Any:
    optuna = needed("optuna", "tune")
    if order.is_file:
        Path(order.storage).parent.mkdir(parents=True, exist_ok=True)
        return optuna.storages.JournalStorage(optuna.storages.journal.JournalFileBackend(order.storage))
    address = order.storage
    if address.startswith("postgresql://"):
        needed("psycopg", "postgres")
        address = address.replace("postgresql://", "postgresql+psycopg://", 1)
    unpooled = needed("sqlalchemy.pool", "tune").NullPool  # many workers, and a server has few connections to give
    racing = needed("sqlalchemy.exc", "tune")
    for attempt in range(1, TRIES):
        try:
            return optuna.storages.RDBStorage(address, engine_kwargs={"poolclass": unpooled})
        except (racing.IntegrityError, racing.ProgrammingError):  # another one makes the tables at this moment
            time.sleep(0.5 * attempt)
        except Exception:  # said below
            break
    try:
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


def work(order: Order, name: str) -> None:
    """Until enough trials have ended. `name`: what its trials are marked with."""
    torch.set_num_threads(1)
    asked = _end_politely()
    _end_with_its_search()
    try:
        _work(order, name)
    except BaseException as error:
        if asked or isinstance(error, KeyboardInterrupt):  # who asked for it knows, and repeats what is left running
            sys.exit(INTERRUPTED)
        raise


def _work(order: Order, name: str) -> None:
    function, study = objective(order), joined(order)
    while True:
        with alone(order):
            if counted(study) >= order.trials:
                return
            trial = study.ask()
            trial.set_user_attr(WORKER, name)
        if order.seed is not None:  # by its number, so that no two draw the same, on whatever machine
            study.sampler = needed("optuna", "tune").samplers.TPESampler(seed=order.seed + trial.number)
        if order.output is not None:
            trial.set_user_attr(FOLDER, str(order.run_folder(trial.number)))
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
        repeat(study, study.trials[trial.number], "its worker was stopped", counts=False)
        raise
    else:
        if math.isnan(value):
            trial.set_user_attr(FAILURE, "it returned NaN.")
            study.tell(trial, state=states.FAIL)
        else:
            study.tell(trial, value)


def repeat(study: Any, trial: Any, why: str, *, counts: bool = True) -> None:
    """A running trial has failed, and its values are queued again; where that `counts`, at most REPEATS times in a row.

    Nothing is done where it has ended meanwhile.
    """
    optuna = needed("optuna", "tune")
    try:
        study.tell(trial.number, state=optuna.trial.TrialState.FAIL)
    except (ValueError, RuntimeError):  # it has ended, or another one was quicker
        return
    tries = trial.user_attrs.get("tries", 0) + counts
    if tries <= REPEATS:
        values = {**trial.system_attrs.get("fixed_params", {}), **trial.params}
        study.enqueue_trial(values, user_attrs={AGAIN: trial.number, "tries": tries, "why": why})


def counted(study: Any) -> int:
    """Trials that have ended or are running; those that are repeated count once."""
    trials = study.get_trials(deepcopy=False)
    repeated = {trial.user_attrs[AGAIN] for trial in trials if AGAIN in trial.user_attrs}
    return sum(trial.state.name != "WAITING" and trial.number not in repeated for trial in trials)


def abandon(order: Order, study: Any, belongs: Callable[[str], bool], why: str, *, counts: bool = True) -> int:
    """Repeats running trials of workers that are gone; how many there were.

    Among them those that no worker had the time to mark: at once where nobody else can be about to, else after a while.
    """
    with alone(order):
        found = [trial for trial in study.trials if trial.state.name == "RUNNING" and _gone_with(trial, order, belongs)]
        for trial in found:
            repeat(study, trial, why, counts=counts)
    return len(found)


def _gone_with(trial: Any, order: Order, belongs: Callable[[str], bool]) -> bool:
    if WORKER in trial.user_attrs:
        return belongs(trial.user_attrs[WORKER])
    return order.is_file or (datetime.now() - trial.datetime_start).total_seconds() > UNMARKED


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


def _end_with_its_search() -> None:
    """A process whose search was killed would train on for nobody."""
    parent = multiprocessing.parent_process()
    if parent is not None:

        def wait() -> None:
            parent.join()
            os.kill(os.getpid(), signal.SIGTERM)

        threading.Thread(target=wait, daemon=True).start()


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
