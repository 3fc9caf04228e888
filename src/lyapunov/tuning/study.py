"""Where a study lies: a journal file, or a database."""

import socket
import time
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from filelock import FileLock

from lyapunov._optional import import_optional
from lyapunov.errors import InvalidInput
from lyapunov.tuning.search_spec import SearchSpec

if TYPE_CHECKING:
    from optuna import Study
    from optuna.storages import BaseStorage, RDBStorage

TRIES = 5
"""At a database, while others make its tables."""


def opened(spec: SearchSpec) -> "Study":
    """The study, made if it is not there yet."""
    optuna = import_optional("optuna", "tune")
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study = optuna.create_study(
        storage=_storage(spec),
        study_name=spec.study,
        direction="maximize" if spec.maximize else "minimize",
        pruner=spec.pruner(),
        load_if_exists=True,
    )
    if (study.direction.name == "MAXIMIZE") != spec.maximize:
        raise InvalidInput(
            f"Expected a study that is to {'maximize' if spec.maximize else 'minimize'}, got {spec.study!r}, which was begun "
            "the other way. Name another study, or continue that one."
        )
    return study


def joined(spec: SearchSpec) -> "Study":
    """The study, for a worker: whoever asked for it has made it."""
    optuna = import_optional("optuna", "tune")
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    try:
        return optuna.load_study(study_name=spec.study, storage=_storage(spec), pruner=spec.pruner())
    except KeyError as error:
        raise InvalidInput(
            f"Expected the study {spec.study!r} in {spec.storage.rpartition('@')[2]}, got none from {socket.gethostname()}. "
            "Machines that work together need a folder that all of them see, or a database."
        ) from error


@contextmanager
def exclusive(spec: SearchSpec) -> Generator[None, None, None]:
    """Within it no other worker asks for a trial, where the storage is a file. Databases may give out a trial too many."""
    if not spec.is_file:
        yield
        return
    with FileLock(f"{spec.storage}.turn"):  # ".lock" is the journal's own
        yield


def _storage(spec: SearchSpec) -> "BaseStorage":
    storages = import_optional("optuna", "tune").storages
    if spec.is_file:
        Path(spec.storage).parent.mkdir(parents=True, exist_ok=True)
        return storages.JournalStorage(storages.journal.JournalFileBackend(spec.storage))
    address = spec.storage
    if address.startswith("postgresql://"):
        import_optional("psycopg", "postgres")
        address = address.replace("postgresql://", "postgresql+psycopg://", 1)
    return _database(address)


def _database(address: str, tries: int = TRIES) -> "RDBStorage":
    """Without a pool: many workers, and a server has few connections to give."""
    racing, pool = import_optional("sqlalchemy.exc", "tune"), import_optional("sqlalchemy.pool", "tune")
    try:
        return import_optional("optuna", "tune").storages.RDBStorage(address, engine_kwargs={"poolclass": pool.NullPool})
    except Exception as error:  # SQLAlchemy's and the driver's, of many kinds
        if tries > 1 and isinstance(error, racing.IntegrityError | racing.ProgrammingError):  # another one makes the tables
            time.sleep(0.5)
            return _database(address, tries - 1)
        place, first = address.rpartition("@")[2], str(error).strip().partition("\n")[0]
        raise InvalidInput(
            f"Expected a database at {place}, got {type(error).__name__}: {first} Check the address, and that it runs."
        ) from error
