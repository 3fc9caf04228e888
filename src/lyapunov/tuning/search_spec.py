"""What is searched, and where: all that a worker is told."""

import importlib
import os
import sys
import traceback
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from lyapunov.errors import InvalidInput

if TYPE_CHECKING:
    from optuna import Trial
    from optuna.pruners import BasePruner


@dataclass(frozen=True)
class SearchSpec:
    """What is searched: `function` ("module:name", of one Optuna trial), until `trials` have ended.

    storage: the path of a journal file, or the address of a database ("postgresql://..."). seed: of the sampler; each trial
    draws by its own number. pruner: makes the study's pruner, once in each process. folder: where the function's module is
    looked for, beside what is installed; every machine must have it. output: where trials may leave their runs.
    """

    function: str
    storage: str
    study: str
    trials: int
    pruner: Callable[[], "BasePruner"]
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


def raised_at(error: BaseException, folder: str) -> str:
    """The file and the line: the innermost of the user's own, which lie in a folder, else the innermost of all."""
    frames = traceback.extract_tb(error.__traceback__)
    if isinstance(error, SyntaxError) and error.filename:
        return f"{Path(error.filename).name}, line {error.lineno}"
    own = [frame for frame in frames if Path(frame.filename).is_relative_to(folder) and "site-packages" not in frame.filename]
    frame = (own or frames)[-1]
    return f"{Path(frame.filename).name}, line {frame.lineno}"


def objective(spec: SearchSpec) -> Callable[["Trial"], float]:
    """Import the user's function, named as module:name, from the folder of the search."""
    function, (module, _, name) = spec.function, spec.function.partition(":")
    if not name:
        raise InvalidInput(f"Expected `function` as module:name, got {function!r}. Name it like train:objective.")
    if spec.folder not in sys.path:
        sys.path.insert(0, spec.folder)
    try:
        found = getattr(importlib.import_module(module), name, None)
    except ModuleNotFoundError as error:
        raise InvalidInput(f"Expected a module {module!r} to import {name!r} from, got: {error}. Run where it is.") from error
    except Exception as error:  # the user's own
        said = f"{type(error).__name__}: {error} ({raised_at(error, spec.folder)})"
        raise InvalidInput(f"Expected a module {module!r} that can be imported, got {said}. Fix it first.") from error
    if not callable(found):
        raise InvalidInput(f"Expected a function {name!r} in {module}, got {type(found).__name__}. It takes one Optuna trial.")
    return found
