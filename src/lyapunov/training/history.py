"""What happened in a run, on disk: an append-only history.jsonl and one safetensors file per spectrum."""

import itertools
import json
import logging
import re
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from filelock import FileLock, Timeout
from safetensors import SafetensorError

from lyapunov._json_safe import Json, json_safe
from lyapunov._optional import import_optional
from lyapunov._shown import Shown
from lyapunov._warning import WarnOnce, warn
from lyapunov.errors import InvalidInput
from lyapunov.estimate import Spectrum, exponent_unit
from lyapunov.training.reading import Reading

if TYPE_CHECKING:
    from pandas import DataFrame

FORMAT = 1
"""Of the lines. A reader passes over fields that it does not know."""
NAME = "history.jsonl"
LOCK = ".lock"
"""A file whose lock the process that writes the run holds."""
_log = logging.getLogger("lyapunov")


class History:
    """A run's directory. A kill at any moment loses at most the record being written and harms none before it.

    Each record is one line. The first of every process is about the run; the others are readings. Nothing is ever changed:
    a run that went back to a checkpoint writes its steps again, and readers take the later ones. One process at a time
    writes: raises InvalidInput where another one does.
    """

    def __init__(self, directory: str | Path) -> None:
        self.directory = Path(directory)
        self.directory.mkdir(parents=True, exist_ok=True)
        self.file = self.directory / NAME
        self._lock = locked(self.directory)
        self._drop_torn_line()

    @classmethod
    def new(cls, directory: Path | None) -> "History":
        """The history of a new run: in `directory`, or beside it where it holds a run already; None: a new folder in `runs`."""
        if directory is None:
            places = (place for place in free_places(Path("runs/monitor-1")) if not place.exists())
        else:
            places = free_places(directory)
        for place in places:
            try:
                found = cls(place)
            except InvalidInput:  # another process has just begun there
                continue
            if not found.file.exists():
                return found
        raise AssertionError("there are always more places")

    def append(self, record: Mapping[str, object]) -> None:
        """One line, in the system's hands when this returns: killing the process does not undo it."""
        line = (json.dumps(json_safe(dict(record)), allow_nan=False) + "\n").encode()
        with self.file.open("ab", buffering=0) as file:
            before, written = file.tell(), 0
            try:
                while written < len(line):  # a full disk takes a part of it first
                    written += file.write(line[written:])
            except OSError:
                file.truncate(before)
                raise

    def _drop_torn_line(self) -> None:
        """What a kill in the middle of writing left at the end, so that the next record starts a line of its own."""
        if not self.file.exists():
            return
        content = self.file.read_bytes()
        whole = content.rfind(b"\n") + 1
        if whole < len(content):
            with self.file.open("r+b") as file:
                file.truncate(whole)

    def save_spectrum(self, spectrum: Spectrum, step: int) -> str:
        """Keeps it in spectra/000012.safetensors for step 12, written whole or not at all; its place in the directory.

        Where step 12 has one from before the run went back, it is kept, and the new one is 000012-2.safetensors.
        """
        (self.directory / "spectra").mkdir(exist_ok=True)
        names = (f"spectra/{step:06d}{'' if number == 1 else f'-{number}'}.safetensors" for number in itertools.count(1))
        name = next(name for name in names if not (self.directory / name).exists())
        spectrum.save(self.directory / name)
        return name


def locked(directory: Path) -> FileLock | None:
    """A lock on a run's directory, held until it is garbage-collected or the process ends, however it does.

    None where the file system has no locks. Raises InvalidInput where another process holds it.
    """
    lock = FileLock(directory / LOCK, timeout=0, thread_local=False, is_singleton=True)
    try:
        lock.acquire()
    except Timeout:
        raise InvalidInput(
            f"Expected the folder of a run that no other process writes, got {directory}, in which one does. Choose another "
            "directory, or wait until that process has ended."
        ) from None
    except NotImplementedError:
        return None
    return lock


def free_places(directory: Path) -> Iterator[Path]:
    """Folders that hold no run: `directory`, else beside it name-2, name-3, ..."""
    named = directory if directory.name not in ("", "..") else directory.resolve()
    beside = (named.with_name(f"{named.name.removesuffix('-1')}-{number}") for number in itertools.count(2))
    return (place for place in itertools.chain([directory], beside) if not (place / NAME).exists())


@dataclass(frozen=True, repr=False)
class Run(Shown):
    """What a history says about a run, and its readings by step.

    Attributes:
        directory: the run's folder.
        about: name, system, k, lag, and what the user noted.
        readings: in the order of steps.

    Example:
        >>> rnn, inputs = torch.nn.RNN(2, 6, batch_first=True), torch.randn(4, 60, 2)
        >>> monitor = lyapunov.Monitor(rnn, inputs, k=2, directory="runs/example")
        >>> reading = monitor.read(0)
        >>> len(lyapunov.Run.load("runs/example").readings)
        1
    """

    directory: Path
    about: Mapping[str, Json]
    readings: tuple[Reading, ...]

    @classmethod
    def load(cls, directory: str | Path) -> "Run":
        """The run in a directory.

        Args:
            directory: the run's folder, or its history.jsonl.

        Returns:
            A `Run`.

        Raises:
            InvalidInput: where there is none, or a line cannot be read.
        """
        place = Path(directory)
        place = place.parent if place.name == NAME else place
        file = place / NAME
        if not file.is_file():
            raise InvalidInput(
                f"Expected the folder of a run, with a {NAME} in it, got {directory}. Pass the `directory` of a "
                "lyapunov.Monitor, or runs/demo after `lyapunov demo`."
            )
        about: dict[str, Json] = {}
        readings: list[Reading] = []
        for record in _records(file):
            if isinstance(record, dict):
                about |= record
            else:
                while readings and readings[-1].step >= record.step:  # it went back, and on from there
                    readings.pop()
                readings.append(record)
        return cls(place, about, tuple(readings))

    @property
    def name(self) -> str:
        """What it is called: as it was told, or as its folder is."""
        return str(self.about.get("name") or self.directory.resolve().name)

    @property
    def noted(self) -> Mapping[str, Json]:
        """What the user had written of it."""
        return self._part("about")

    @property
    def settings(self) -> Mapping[str, Json]:
        """The settings of its first spectrum, by name."""
        return self._part("settings")

    def _part(self, name: str) -> Mapping[str, Json]:
        found = self.about.get(name)
        return found if isinstance(found, dict) else {}

    @property
    def slug(self) -> str:
        """The name of its folder, fit for the name of a file."""
        return re.sub(r"[^\w.-]+", "-", self.directory.resolve().name) or "run"

    @property
    def unit(self) -> str:
        """The unit of the exponents in every reading: nats per step, or per unit of time where the monitor was given `dt`."""
        dt = self.about.get("dt", 1.0)
        return exponent_unit(dt if isinstance(dt, int | float) else 1.0)

    def __repr__(self) -> str:
        latest = f"; {self.readings[-1]}" if self.readings else ""
        return f"Run {self.name!r} in {self.directory}: {len(self.readings)} readings{latest}"

    def spectra(self) -> dict[int, Spectrum]:
        """Every kept spectrum, by step. A file that is gone or damaged is passed over: the reading has its leading numbers."""
        found = {}
        for reading in self.readings:
            file = None if reading.file is None else self.directory / reading.file
            if file is not None and file.is_file() and file.resolve().is_relative_to(self.directory.resolve()):
                try:
                    found[reading.step] = Spectrum.load(file)
                except InvalidInput as error:
                    warn(f"{error} It is passed over.")
        return found

    def to_pandas(self) -> "DataFrame":
        """A pandas DataFrame with a row per reading, by step: losses, numbers, and the leading exponents."""
        rows = [
            {"step": reading.step, "epoch": reading.epoch, **reading.losses}
            | {name.removeprefix("lyapunov/"): value for name, value in reading.numbers().items()}
            | {"converged": reading.converged, "verdict": reading.failure or reading.verdict or None}
            for reading in self.readings
        ]
        return import_optional("pandas", "pandas").DataFrame(rows, columns=None if rows else ["step"]).set_index("step")


class Recorder:
    """Keeps a run's readings on disk, in a history that is opened by the first of them.

    directory: where; None: in a new folder in `runs`. Where it holds a run already, the new one goes into a new folder beside
    it, unless it `goes_on`. about: what is written of the run.
    """

    def __init__(self, directory: Path | None, about: Mapping[str, object], *, goes_on: bool) -> None:
        if goes_on and directory is None:
            raise InvalidInput("Expected a `directory` with resume=True, got none. Pass the folder of the run to resume.")
        self.directory = directory
        self.warn_once = WarnOnce()
        self._about, self._goes_on = dict(about), goes_on
        self._history: History | None = None

    @property
    def opened(self) -> bool:
        """Whether a reading was kept, or was to be."""
        return self._history is not None

    def recalled(self) -> list[Reading]:
        """What an earlier process left of the run that goes on."""
        known = self._known()
        return [] if known is None else list(known.readings)

    def keep(self, reading: Reading) -> Reading:
        """Spectrum first, then the line that names it. Raises where the very first one cannot be written."""
        first = not self.opened
        try:
            history = self._history or self._open(reading)
            if reading.spectrum is not None:
                reading = replace(reading, file=history.save_spectrum(reading.spectrum, reading.step))
            history.append(reading.record())
        except (OSError, SafetensorError) as error:
            if first:
                raise
            _log.warning("step %d is not in the history", reading.step, exc_info=error)
            self.warn_once("history", f"Expected to write the history in {self.directory}, got: {error}. Training continues.")
        return reading

    def go_on(self, directory: Path | None) -> None:
        """After a state was loaded that was kept in `directory`: there, where no other one was given."""
        # A state from elsewhere does not go on in a run that the directory may hold.
        self._goes_on |= self.directory is None or directory is None or self.directory.resolve() == directory.resolve()
        self.directory = directory if self.directory is None else self.directory

    def _known(self) -> Run | None:
        there = self._goes_on and self.directory is not None and (self.directory / NAME).exists()
        return Run.load(self.directory) if there and self.directory is not None else None

    def _open(self, reading: Reading) -> History:
        about = self._description(reading)
        if self._goes_on and self.directory is not None:
            known = self._known()
            if known is not None:
                _require_same(known, about)
            history = History(self.directory)
        else:
            history = History.new(self.directory)
            if self.directory not in (None, history.directory):
                self.warn_once(
                    "directory",
                    f"Expected a directory without a run, got {self.directory}, which holds one: this run is kept in "
                    f"{history.directory}. To resume that one, pass resume=True, or load its state_dict.",
                )
        self._history, self.directory = history, history.directory
        history.append(about)
        return history

    def _description(self, reading: Reading) -> dict[str, object]:
        about = {"kind": "run", "format": FORMAT, "time": datetime.now(UTC).isoformat(timespec="seconds"), **self._about}
        if reading.spectrum is None:
            return about
        settings = asdict(reading.spectrum.settings)
        return about | {name: settings[name] for name in ("system", "size", "dt")} | {"settings": settings}


def _require_same(run: Run, about: Mapping[str, object]) -> None:
    """Readings of one run only in one directory."""
    for key in ("system", "size", "k"):
        if key in about and run.about.get(key, about[key]) != about[key]:
            raise InvalidInput(
                f"Expected the same {key} as the run in {run.directory}, {run.about[key]}, got {about[key]}. Choose another "
                "directory for another run."
            )


def _records(file: Path) -> list[dict[str, Json] | Reading]:
    """Descriptions of the run, and readings; other kinds, and a last line that a kill cut short, are passed over."""
    records = []
    for number, line in enumerate(file.read_bytes().splitlines(keepends=True), start=1):
        if not line.endswith(b"\n"):
            continue
        try:
            record = _record(json.loads(line))
        except (ValueError, TypeError, AttributeError, KeyError) as error:
            raise InvalidInput(
                f"Expected a history of the form {FORMAT} in {file}, got something else in line {number}. Pass the folder of a "
                "run that this version of lyapunov wrote."
            ) from error
        if record is not None:
            records.append(record)
    return records


def _record(line: dict[str, Json]) -> dict[str, Json] | Reading | None:
    """What a line says."""
    form = line.get("format", FORMAT)
    if not isinstance(form, int) or form > FORMAT:
        raise ValueError(form)
    if line["kind"] == "reading":
        return Reading.from_record(line)
    if not all(isinstance(line.get(name) or {}, dict) for name in ("about", "settings")):
        raise TypeError(line)
    return line if line["kind"] == "run" else None
