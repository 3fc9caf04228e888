"""A spectrum while training: measured now and then, without disturbing it, and kept. It knows no framework."""

import logging
import warnings
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import asdict, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, get_args

import torch
from safetensors import SafetensorError

from lyapunov import _checks
from lyapunov.errors import Diverged, InvalidInput, LyapunovWarning
from lyapunov.estimate import QR, RunOptions
from lyapunov.intake import problem
from lyapunov.systems import Linearization
from lyapunov.training.alarms import AlarmThresholds, alarms
from lyapunov.training.clock import Clock
from lyapunov.training.distributed import agreed, is_leader
from lyapunov.training.history import FORMAT, NAME, History, Run
from lyapunov.training.losses import Losses
from lyapunov.training.probe import Probe
from lyapunov.training.reading import Alarm, Kind, Reading, distance
from lyapunov.training.schedules import Logarithmic, Moment, Schedule, as_schedule
from lyapunov.training.warm_start import Measurement, WarmStartedSpectra

Sink = Callable[..., Any]
"""Told the step and finite numbers by name, at every reading; also words by name, where it has a true `takes_texts`."""
_log = logging.getLogger("lyapunov")


class Monitor:
    """Measures a recurrent network while it trains: its leading exponents, the mean of all, their errors, memory and drift.

    Parameters, buffers, gradients, training flags, random states and autocast are as they were after every call. In distributed
    training rank zero measures and writes; with `stop_on` every rank must call `observe`.

    Args:
        system: what `lyapunov.spectrum` takes, or a model with such a core inside.
        probe: the inputs to measure along, for a core as it takes them; for a model the arguments it is called with (a tuple, a
            dictionary of keywords, or one value). None: what the core receives in the next training batch, its first
            `sequences` of them. Inputs that stay the same show changes of the network alone.
        every: a number of steps, or `lyapunov.schedules.Steps`, `.Epochs`, `.Logarithmic` (the default).
        at_most: the fraction of all time that measuring may take; what is due is then put off.
        k: how many leading exponents (of a smaller system, all).
        core: which core, where a model has several.
        lag: how many steps back the task needs the network to remember.
        directory: where the history is kept; None: a new folder in `runs`. Where it holds a run already, the new one goes into
            a new folder next to it (`name-2`), with a warning that names it.
        resume: go on with the run in `directory`, if it holds one; steps made again replace the earlier ones when it is read.
        sinks: one or several, called as sink(step, numbers) at every reading (as sink(step, numbers, texts), with the verdict,
            where `sink.takes_texts` is true); one that fails warns once, and training goes on.
        thresholds: when alarms are raised.
        stop_on: the kinds of alarms at which `should_stop` becomes true, where the reading's verdict allows to claim them.
        name, about: what reports call the run, and what they say of it (hyperparameters, say).
        sequences: how many sequences of a training batch are measured along, without a probe.
        dtype: of the leading exponents, whose errors are far above what float32 rounds off; all of them are taken in float64.
        settle, align: steps of burn-in; None: found at the first reading, and now and then again.
        linearization, coupled, state, carried, steps, lengths, from_initial_state, qr_every, dt, seed: as for
            `lyapunov.spectrum`.
        more: refused, with the remedy.

    Methods take:
        step, epoch: when it is; the epoch may be left out.
        losses: numbers by name, or tensors with one (which are not waited for).
        whole: whether all exponents of the system are measured.

    Raises:
        InvalidInput, Unsupported, BadSystem, Diverged: at the first reading; later failures are readings that say so.

    Example:
        >>> monitor = lyapunov.Monitor(torch.nn.LSTM(2, 6, batch_first=True), torch.randn(4, 80, 2), every=100, k=2)
        >>> for step in range(3):  # the training
        ...     reading = monitor.observe(step, loss=1.0)
    """

    def __init__(
        self,
        system: Any,
        probe: Any = None,
        *more: Any,
        every: int | Schedule | None = None,
        at_most: float | None = None,
        k: int = 8,
        core: str | None = None,
        lag: float | None = None,
        directory: str | Path | None = None,
        resume: bool = False,
        sinks: Sink | Sequence[Sink] = (),
        thresholds: AlarmThresholds | None = None,
        stop_on: Kind | Collection[Kind] = (),
        name: str | None = None,
        about: Mapping[str, Any] | None = None,
        linearization: Linearization = "full",
        coupled: bool = False,
        state: Any = None,
        carried: Any = None,
        steps: int | None = None,
        lengths: Any = None,
        settle: int | None = None,
        align: int | None = None,
        from_initial_state: bool = False,
        qr_every: int | None = None,
        sequences: int = 10,
        dt: float = 1.0,
        dtype: torch.dtype = torch.float32,
        seed: int = 0,
    ) -> None:
        if more:
            raise InvalidInput(
                f"Expected Monitor(system, probe), got {2 + len(more)} arguments. Pass what a model is called with as one "
                "tuple: Monitor(model, (tokens, targets))."
            )
        _checks.one_of(linearization, ("full", "hidden"), "linearization")
        _checks.one_of(dtype, (torch.float64, torch.float32), "dtype")
        stopping = (stop_on,) if isinstance(stop_on, str) else tuple(stop_on)
        for kind in stopping:
            _checks.one_of(kind, get_args(Kind), "stop_on")
        words = {"state": state, "carried": carried, "steps": steps, "lengths": lengths, "dt": dt}
        asked = problem(system, probe, linearization=linearization, coupled=coupled, **words)
        k = _checks.whole_number(k, "k", least=1)
        self.k, self.sinks = k, [sinks] if callable(sinks) else list(sinks)
        self.thresholds = (
            AlarmThresholds(lag=lag) if thresholds is None else thresholds if lag is None else replace(thresholds, lag=lag)
        )
        self.directory = None if directory is None else Path(directory)
        self._goes_on = _resumed(resume, self.directory)
        self.should_stop = False
        self._every = Logarithmic() if every is None else as_schedule(every)
        self._at_most = None if at_most is None else _checks.positive(at_most, "at_most")
        self._stop_on, self._name, self._about = stopping, name, dict(about or {})
        self._probe = Probe(asked, core=core, sequences=sequences)
        self._options = RunOptions(settle, align, from_initial_state, None if qr_every is None else QR(qr_every), dtype, seed)
        self._spectra, self._losses = WarmStartedSpectra(), Losses()
        self._readings: list[Reading] = []
        self._clock, self._complained = Clock(), set()
        self._history: History | None = None
        self._measured = False
        self._latest = 0

    @property
    def readings(self) -> tuple[Reading, ...]:
        """All that are known: since the start, or since the state that was loaded."""
        return tuple(self._readings)

    @property
    def seconds(self) -> float:
        """What measuring has taken so far, in all."""
        return self._clock.spent

    @property
    def time_fraction(self) -> float:
        """`seconds` over all the time since the monitor was made; of a run that is continued, over both parts."""
        return self._clock.fraction

    def observe(self, step: int, *, epoch: int | None = None, **losses: Any) -> Reading | None:
        """To be called after every training step (or as often as a reading may be due): a reading where one is, else None.

        `losses`: numbers, or tensors with one (which are not waited for); their means go into the next reading.
        """
        self._losses.add(losses)
        now, found = self._moment(step, epoch), None
        if is_leader() and self._is_due(now) and self._probe.ready():
            found = self._measure(now, self.k)
        if self._probe.waits and is_leader() and self._is_due(now._replace(step=step + 1)):
            self._probe.ready()  # so that the next step's batch is caught
        if self._stop_on:
            self.should_stop = agreed(self.should_stop)
        return found

    def read(self, step: int, *, epoch: int | None = None, whole: bool = False, **losses: Any) -> Reading:
        """A reading now, whatever the schedule says. `whole`: all exponents of the system."""
        if not self._probe.ready():
            raise InvalidInput("Expected a `probe` to read along, got none yet. Pass one to Monitor, or call observe(...).")
        self._losses.add(losses)
        return self._measure(self._moment(step, epoch), None if whole else self.k)

    def note(self, **losses: Any) -> None:
        """Losses that come when no step ends (of a validation, say): they go into the next reading."""
        self._losses.add(losses)

    def finish(self, step: int, *, epoch: int | None = None, **losses: Any) -> Reading | None:
        """The last reading: of the last step, where it has none yet; losses that came after it are added to one that it has."""
        self._losses.add(losses)
        if not is_leader():
            return None
        if self._readings and self._readings[-1].step == step:
            return self._completed(self._readings[-1]) if self._losses.any else None
        return self.read(step, epoch=epoch) if self._probe.ready() else None

    def _moment(self, step: int, epoch: int | None) -> Moment:
        """Checked; a step before the last one is a run that went back."""
        if _checks.whole_number(step, "step", least=0) < self._latest:
            self._complain(
                "step",
                f"Expected a step after {self._latest}, got {step}: the run seems to have gone back, so its later readings "
                "will be made again. If steps restart in each epoch, pass the total number of steps.",
            )
            self._readings = [earlier for earlier in self._readings if earlier.step < step]
        self._latest = step
        return Moment(step, epoch)

    def _is_due(self, now: Moment) -> bool:
        if not self._readings:
            return True
        last = self._readings[-1]
        if not self._every.due(now, Moment(last.step, last.epoch)):
            return False
        return self._at_most is None or self._clock.fraction_after(last.seconds) <= self._at_most

    def _measure(self, now: Moment, k: int | None) -> Reading:
        trained = self._clock.start()
        if not self._measured and not self._readings:
            self._readings = self._recalled()
        self._readings = [earlier for earlier in self._readings if earlier.step < now.step]
        try:
            reading = self._found(now, k)
        except Exception as error:  # whatever a model raises by now, training goes on
            if not self._measured and not isinstance(error, Diverged):
                raise
            self._spectra.forget()
            reading = _failure(now, error)
        reading = replace(reading, losses=self._losses.take(), training_seconds=trained, seconds=self._clock.seconds)
        self._raise_alarms(reading)
        reading = self._keep(reading)
        self._readings.append(replace(reading, spectrum=None))
        self._measured = True
        self._tell(reading)
        self._clock.stop()
        return reading

    def _found(self, now: Moment, k: int | None) -> Reading:
        options = self._options if k is not None else replace(self._options, dtype=torch.float64)
        measured = self._spectra.measure(self._probe.take(), options, k)
        earlier = [reading for reading in self._readings if reading.failure is None]
        reading = _reading(now, measured, self.k)
        if earlier:
            reading = replace(reading, drift=distance(reading.exponents, earlier[-1].exponents))
        found = alarms(reading, earlier[0] if earlier else None, earlier, self.thresholds)
        return replace(reading, alarms=found)

    def _completed(self, reading: Reading) -> Reading:
        """The same reading with losses that came after it; its line is written again, and readers take the later one."""
        self._readings[-1] = replace(reading, losses={**reading.losses, **self._losses.take()})
        return self._keep(self._readings[-1])

    def _raise_alarms(self, reading: Reading) -> None:
        before = {alarm.kind: alarm.tentative for alarm in self._readings[-1].alarms} if self._readings else {}
        for alarm in reading.alarms:
            if alarm.kind not in before or (before[alarm.kind] and not alarm.tentative):
                _log.warning("step %d: %s: %s", reading.step, alarm.kind, alarm.message)
            self.should_stop = self.should_stop or (alarm.kind in self._stop_on and not alarm.tentative)

    def _keep(self, reading: Reading) -> Reading:
        """Spectrum first, then the line that names it."""
        try:
            history = self._opened(reading)
            if reading.spectrum is not None:
                reading = replace(reading, file=history.save_spectrum(reading.spectrum, reading.step))
            history.append(reading.record())
        except (OSError, SafetensorError) as error:
            if not self._measured:
                raise
            self._complain("history", f"Expected to write the history in {self.directory}, got: {error}. Training continues.")
        return reading

    def _opened(self, reading: Reading) -> History:
        if self._history is not None:
            return self._history
        about = self._description(reading)
        if self._goes_on and self.directory is not None:
            if (self.directory / NAME).exists():
                _require_same(Run.load(self.directory), about)
            history = History(self.directory)
        else:
            history = History.new(self.directory)
            if self.directory not in (None, history.directory):
                self._complain(
                    "directory",
                    f"Expected a directory without a run, got {self.directory}, which holds one: this run is kept in "
                    f"{history.directory}. To resume that one, pass resume=True, or load its state_dict.",
                )
        self._history, self.directory = history, history.directory
        history.append(about)
        return history

    def _recalled(self) -> list[Reading]:
        """What an earlier process left of the run that goes on."""
        known = self._goes_on and self.directory is not None and (self.directory / NAME).exists()
        return list(Run.load(self.directory).readings) if known and self.directory is not None else []

    def _description(self, reading: Reading) -> dict[str, Any]:
        about = {"kind": "run", "format": FORMAT, "time": datetime.now(UTC).isoformat(timespec="seconds"), "name": self._name}
        about |= {"k": self.k, "lag": self.thresholds.lag, "every": str(self._every), "about": self._about}
        if reading.spectrum is None:
            return about
        settings = asdict(reading.spectrum.settings)
        return about | {name: settings[name] for name in ("system", "size", "dt")} | {"settings": settings}

    def _tell(self, reading: Reading) -> None:
        for at, sink in enumerate(self.sinks):
            try:
                reported = (reading.texts(),) if getattr(sink, "takes_texts", False) else ()
                sink(reading.step, reading.numbers(), *reported)
            except Exception as error:  # whatever a tracker raises, training goes on
                self._complain(f"sink {at}", f"Expected sink {at} to take a reading, got: {error!r}. Training continues.")

    def _complain(self, what: str, message: str) -> None:
        if what not in self._complained:
            self._complained.add(what)
            warnings.warn(message, LyapunovWarning, stacklevel=5)

    def state_dict(self) -> dict[str, Any]:
        """What a checkpoint needs so that the run goes on as if it had not been interrupted: plain values and tensors."""
        kept = [*self._readings[:1], *self._readings[-self.thresholds.settled :]] if len(self._readings) > 1 else self._readings
        return {
            "format": FORMAT,
            "readings": [reading.record() for reading in kept],
            "spectra": self._spectra.state_dict(),
            "clock": self._clock.state_dict(),
            "directory": None if self.directory is None else str(self.directory),
            "stop": self.should_stop,
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Goes on where `state_dict` was taken; in the same directory, where none was given.

        Where another one was given that holds a run, it goes on in a new folder beside that, unless `resume` is true.
        """
        if state.get("format") != FORMAT:
            raise InvalidInput(
                f"Expected a state of the form {FORMAT}, got {state.get('format')!r}. Pass what state_dict() gave."
            )
        kept = None if state["directory"] is None else Path(state["directory"])
        # A state from elsewhere does not go on in a run that the directory may hold.
        self._goes_on |= self.directory is None or kept is None or self.directory.resolve() == kept.resolve()
        self._readings = [Reading.from_record(record) for record in state["readings"]]
        self._spectra.load_state_dict(state["spectra"])
        self._clock.load_state_dict(state["clock"])
        self.should_stop = state["stop"]
        self.directory = kept if self.directory is None else self.directory

    def __repr__(self) -> str:
        latest = f"; {self._readings[-1]}" if self._readings else ""
        return f"Monitor: {len(self._readings)} readings, {self.time_fraction:.1%} of the time{latest}"


def _resumed(resume: bool, directory: Path | None) -> bool:
    if _checks.flag(resume, "resume") and directory is None:
        raise InvalidInput("Expected a `directory` with resume=True, got none. Pass the folder of the run to resume.")
    return resume


def _require_same(run: Run, about: Mapping[str, Any]) -> None:
    """Readings of one run only in one directory."""
    for key in ("system", "size", "k"):
        if key in about and run.about.get(key, about[key]) != about[key]:
            raise InvalidInput(
                f"Expected the same {key} as the run in {run.directory}, {run.about[key]}, got {about[key]}. Choose another "
                "directory for another run."
            )


def _reading(now: Moment, measured: Measurement, k: int) -> Reading:
    found = measured.spectrum
    low, high = found.interval(0.95)[0].tolist()
    return Reading(
        step=now.step,
        epoch=now.epoch,
        losses={},
        exponents=tuple(found.exponents[:k].tolist()),
        standard_errors=tuple(found.standard_errors[:k].tolist()),
        max_interval=(low, high),
        mean=found.mean,
        mean_error=found.mean_standard_error,
        saturated=measured.saturated,
        warm_start_error=measured.warm_start_error,
        verdict=str(found.verdict),
        kinds=found.verdict.kinds,
        counted=found.settings.count * found.settings.dt,
        taken=len(found.exponents),
        spectrum=found,
    )


def _failure(now: Moment, error: Exception) -> Reading:
    alarm = Alarm("broken", f"there are no exponents. {error}")
    return Reading(now.step, now.epoch, {}, failure=f"{type(error).__name__}: {error}", alarms=(alarm,))
