"""A spectrum while training: measured now and then, without disturbing it, and kept. It knows no framework."""

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import torch

from lyapunov import _checks
from lyapunov.errors import Diverged, InvalidInput
from lyapunov.estimate import RunOptions
from lyapunov.intake import Problem, problem
from lyapunov.training.alarms import AlarmThresholds, alarms
from lyapunov.training.clock import Pace
from lyapunov.training.distributed import agreed, is_leader
from lyapunov.training.history import FORMAT, Recorder
from lyapunov.training.losses import Losses
from lyapunov.training.probe import Probe
from lyapunov.training.reading import Alarm, Reading, distance
from lyapunov.training.schedules import Moment, Schedule
from lyapunov.training.warm_start import Measurement, WarmStartedSpectra

Sink = Callable[..., object]
"""Told the step and finite numbers by name, at every reading; also words by name, where it has a true `takes_texts`."""
_log = logging.getLogger("lyapunov")


class Monitor:
    """Measures a recurrent network while it trains: its leading exponents, the mean of all, their errors, memory and drift.

    Parameters, buffers, gradients, training flags, random states and autocast are as they were after every call. In distributed
    training rank zero measures and writes; with `thresholds.stop_on` every rank must call `observe`.

    Args:
        system: what `lyapunov.spectrum` takes, or a model with such a core inside; or a problem, with its inputs.
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
        thresholds: when alarms are raised, and which of them stop the training.
        name, about: what reports call the run, and what they say of it (hyperparameters, say).
        sequences: how many sequences of a training batch are measured along, without a probe.
        options: how exponents are computed. Burn-in that is left open is found at the first reading, and now and then again. A
            dtype left open is float32 for the leading exponents, whose errors are far above what it rounds off; all of them are
            taken in float64.
        more, moved: refused, with the remedy.

    Methods take:
        step, epoch: when it is; the epoch may be left out.
        losses: numbers by name, or tensors with one (which are not waited for).
        whole: whether all exponents of the system are measured.
        state: what `state_dict` returned.

    Raises:
        InvalidInput, Unsupported, BadSystem, Diverged: at the first reading; later failures are readings that say so.
        TypeError: for an argument that belongs to the problem, to the options or to the thresholds.

    Example:
        >>> monitor = lyapunov.Monitor(torch.nn.LSTM(2, 6, batch_first=True), torch.randn(4, 80, 2), every=100, k=2)
        >>> for step in range(3):  # the training
        ...     reading = monitor.observe(step, loss=1.0)
    """

    def __init__(
        self,
        system: object,
        probe: object = None,
        *more: object,
        every: int | Schedule | None = None,
        at_most: float | None = None,
        k: int = 8,
        core: str | None = None,
        lag: float | None = None,
        directory: str | Path | None = None,
        resume: bool = False,
        sinks: Sink | Sequence[Sink] = (),
        thresholds: AlarmThresholds | None = None,
        name: str | None = None,
        about: Mapping[str, object] | None = None,
        sequences: int = 10,
        options: RunOptions | None = None,
        **moved: object,
    ) -> None:
        if more:
            raise InvalidInput(
                f"Expected Monitor(system, probe), got {2 + len(more)} arguments. Pass what a model is called with as one "
                "tuple: Monitor(model, (tokens, targets))."
            )
        for word in moved:
            raise TypeError(_place_of(word))
        self.k, self.sinks = _checks.whole_number(k, "k", least=1), [sinks] if callable(sinks) else list(sinks)
        given = AlarmThresholds() if thresholds is None else thresholds
        self.thresholds = given if lag is None else replace(given, lag=lag)
        self.should_stop = False
        options = RunOptions() if options is None else options
        self._options = replace(options, dtype=options.dtype or torch.float32)
        self._probe = Probe(problem(system, probe), core=core, sequences=sequences)
        self._pace = Pace(every, at_most)
        noted = {"name": name, "k": self.k, "lag": self.thresholds.lag, "every": str(self._pace.schedule)}
        self._recorder = Recorder(
            None if directory is None else Path(directory),
            {**noted, "about": dict(about or {})},
            goes_on=_checks.flag(resume, "resume"),
        )
        self._spectra, self._losses = WarmStartedSpectra(), Losses()
        self._readings: list[Reading] = []
        self._latest = 0

    @property
    def directory(self) -> Path | None:
        """Where the history is kept; None: not known before the first reading."""
        return self._recorder.directory

    @property
    def readings(self) -> tuple[Reading, ...]:
        """All that are known: since the start, or since the state that was loaded."""
        return tuple(self._readings)

    @property
    def seconds(self) -> float:
        """What measuring has taken so far, in all."""
        return self._pace.clock.spent

    @property
    def time_fraction(self) -> float:
        """`seconds` over all the time since the monitor was made; of a run that is continued, over both parts."""
        return self._pace.clock.fraction

    def observe(self, step: int, *, epoch: int | None = None, **losses: object) -> Reading | None:
        """To be called after every training step (or as often as a reading may be due): a reading where one is, else None.

        `losses`: numbers, or tensors with one (which are not waited for); their means go into the next reading.
        """
        self._losses.add(losses)
        now, found = self._moment(step, epoch), None
        if is_leader() and self._is_due(now) and self._probe.ready():
            found = self._measure(now, self.k)
        if self._probe.waits and is_leader() and self._is_due(now._replace(step=step + 1)):
            self._probe.ready()  # so that the next step's batch is caught
        if self.thresholds.stopping:
            self.should_stop = agreed(self.should_stop)
        return found

    def read(self, step: int, *, epoch: int | None = None, whole: bool = False, **losses: object) -> Reading:
        """A reading now, whatever the schedule says. `whole`: all exponents of the system."""
        if not self._probe.ready():
            raise InvalidInput("Expected a `probe` to read along, got none yet. Pass one to Monitor, or call observe(...).")
        self._losses.add(losses)
        return self._measure(self._moment(step, epoch), None if whole else self.k)

    def note(self, **losses: object) -> None:
        """Losses that come when no step ends (of a validation, say): they go into the next reading."""
        self._losses.add(losses)

    def finish(self, step: int, *, epoch: int | None = None, **losses: object) -> Reading | None:
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
            self._recorder.warn_once(
                "step",
                f"Expected a step after {self._latest}, got {step}: the run seems to have gone back, so its later readings "
                "will be made again. If steps restart in each epoch, pass the total number of steps.",
            )
            self._readings = [earlier for earlier in self._readings if earlier.step < step]
        self._latest = step
        return Moment(step, epoch)

    def _is_due(self, now: Moment) -> bool:
        return self._pace.is_due(now, self._readings[-1] if self._readings else None)

    def _measure(self, now: Moment, k: int | None) -> Reading:
        clock, first = self._pace.clock, not self._recorder.opened
        trained = clock.start()
        if first and not self._readings:
            self._readings = self._recorder.recalled()
        self._readings = [earlier for earlier in self._readings if earlier.step < now.step]
        try:
            reading = self._found(now, k)
        except Exception as error:  # whatever a model raises by now, training goes on
            if first and not isinstance(error, Diverged):
                raise
            _log.warning("step %d has no exponents", now.step, exc_info=error)
            self._spectra.forget()
            reading = _failure(now, error)
        reading = replace(reading, losses=self._losses.take(), training_seconds=trained, seconds=clock.seconds)
        self._raise_alarms(reading)
        reading = self._recorder.keep(reading)
        self._readings.append(replace(reading, spectrum=None))
        self._tell(reading)
        clock.stop()
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
        return self._recorder.keep(self._readings[-1])

    def _raise_alarms(self, reading: Reading) -> None:
        before = {alarm.kind: alarm.tentative for alarm in self._readings[-1].alarms} if self._readings else {}
        for alarm in reading.alarms:
            if alarm.kind not in before or (before[alarm.kind] and not alarm.tentative):
                _log.warning("step %d: %s: %s", reading.step, alarm.kind, alarm.message)
            self.should_stop = self.should_stop or self.thresholds.stop(alarm)

    def _tell(self, reading: Reading) -> None:
        for at, sink in enumerate(self.sinks):
            try:
                reported = (reading.texts(),) if getattr(sink, "takes_texts", False) else ()
                sink(reading.step, reading.numbers(), *reported)
            except Exception as error:  # whatever a tracker raises, training goes on
                _log.warning("sink %d did not take step %d", at, reading.step, exc_info=error)
                self._recorder.warn_once(
                    f"sink {at}", f"Expected sink {at} to take a reading, got: {error!r}. Training continues."
                )

    def state_dict(self) -> dict[str, Any]:
        """What a checkpoint needs so that the run goes on as if it had not been interrupted: plain values and tensors."""
        kept = [*self._readings[:1], *self._readings[-self.thresholds.settled :]] if len(self._readings) > 1 else self._readings
        return {
            "format": FORMAT,
            "readings": [reading.record() for reading in kept],
            "spectra": self._spectra.state_dict(),
            "clock": self._pace.clock.state_dict(),
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
        self._recorder.go_on(kept)
        self._readings = [Reading.from_record(record) for record in state["readings"]]
        self._spectra.load_state_dict(state["spectra"])
        self._pace.clock.load_state_dict(state["clock"])
        self.should_stop = state["stop"]

    def __repr__(self) -> str:
        latest = f"; {self._readings[-1]}" if self._readings else ""
        return f"Monitor: {len(self._readings)} readings, {self.time_fraction:.1%} of the time{latest}"


def _place_of(word: str) -> str:
    """Where an argument belongs that a monitor does not take."""
    places = {each.name: f"lyapunov.problem(system, inputs, {each.name}=...)" for each in fields(Problem)}
    places |= {each.name: f"options=lyapunov.RunOptions({each.name}=...)" for each in fields(RunOptions)}
    places |= {"qr_every": "options=lyapunov.RunOptions(method=lyapunov.QR(every=...))"}
    places |= {"stop_on": "thresholds=lyapunov.AlarmThresholds(stop_on=...)"}
    if word not in places:
        return f"Monitor.__init__() got an unexpected keyword argument {word!r}"
    return f"Expected `{word}` in {places[word]}, got it as an argument of Monitor. Pass it there."


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
