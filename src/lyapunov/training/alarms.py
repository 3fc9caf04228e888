"""Alarms: what deserves attention while a network trains, each a sentence with its number."""

import math
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import get_args

from lyapunov import _checks
from lyapunov.training.reading import Alarm, Kind, Reading, distance, root_mean_square


@dataclass(frozen=True)
class AlarmThresholds:
    """When an alarm is raised, and which ones stop the training.

    Attributes:
        lag: how many steps back the task needs the network to remember; None: not known, no alarm.
        contracting: the largest exponent below which nothing lasts (-ln 2: each step at least halves every small change).
        saturated: the fraction of units that may sit where their nonlinearity is flat.
        settled, still: the spectrum has settled when the last `settled` readings all lie within the fraction `still` of the way
            that it has come since the first one.
        stop_on: the kinds at which `Monitor.should_stop` becomes true, where the reading's verdict allows to claim them.

    Methods take:
        alarm: one of a reading's.

    Example:
        >>> lyapunov.AlarmThresholds(lag=50).saturated
        0.5
    """

    lag: float | None = None
    contracting: float = -math.log(2)
    saturated: float = 0.5
    settled: int = 5
    still: float = 0.1
    stop_on: Kind | Collection[Kind] = ()

    def __post_init__(self) -> None:
        if self.lag is not None:
            _checks.positive(self.lag, "lag")
        _checks.whole_number(self.settled, "settled", least=2)
        _checks.positive(self.still, "still")
        for kind in self.stopping:
            _checks.one_of(kind, get_args(Kind), "stop_on")

    @property
    def stopping(self) -> tuple[Kind, ...]:
        """The kinds that stop the training."""
        return (self.stop_on,) if isinstance(self.stop_on, str) else tuple(self.stop_on)

    def stop(self, alarm: Alarm) -> bool:
        """Whether the training is to stop."""
        return alarm.kind in self.stopping and not alarm.tentative


def alarms(now: Reading, first: Reading | None, recent: Sequence[Reading], thresholds: AlarmThresholds) -> tuple[Alarm, ...]:
    """What the reading says by itself, then beside the `first` one and the `recent` ones (the latest last)."""
    found = [
        _chaos(now),
        _short_memory(now, thresholds),
        _contracting(now, thresholds),
        _saturating(now, thresholds),
        _settled(now, first, recent, thresholds),
    ]
    return tuple(alarm for alarm in found if alarm is not None)


def _claimed(now: Reading, alarm: Alarm) -> Alarm:
    """About the largest exponent, and no more than the reading's verdict allows."""
    against = set(now.kinds or ()) - {"finite-time"}
    if now.spectrum is not None and bool(now.spectrum.reliable[0]):
        against.discard("unreliable tail")
    if now.converged is False and (against or not now.kinds):
        kinds = f" ({', '.join(now.kinds)})" if now.kinds else ""
        return _tentative(alarm, f"the reading is not converged{kinds}")
    if "finite-time" in (now.kinds or ()):
        return alarm._replace(message=f"over these steps from the initial state (finite-time), {alarm.message}")
    return alarm


def _tentative(alarm: Alarm, why: str) -> Alarm:
    return alarm._replace(message=f"{why}, so this is not certain: {alarm.message}", tentative=True)


def _chaos(now: Reading) -> Alarm | None:
    # A direction that neither grows nor shrinks (of a limit cycle) reads up to one over the time that is counted.
    if not now.max_interval[0] > 0 or not now.max * (now.counted or math.inf) > 1:
        return None
    alarm = Alarm(
        "chaos",
        f"the largest exponent is {now.max:.4f} (95 %: from {now.max_interval[0]:.4f} on), above 0: small changes of the state "
        f"grow e-fold in {now.timescale.numbers} steps, and so do gradients.",
    )
    return _claimed(now, alarm)


def _short_memory(now: Reading, thresholds: AlarmThresholds) -> Alarm | None:
    lasts = now.timescale
    if thresholds.lag is None or lasts.kind != "memory" or lasts.high >= thresholds.lag:
        return None
    alarm = Alarm(
        "short memory",
        f"a small change of the state lasts {lasts.value:.3g} steps (95 %: at most {lasts.high:.3g}), the task needs "
        f"{thresholds.lag:g}.",
    )
    return _claimed(now, alarm)


def _contracting(now: Reading, thresholds: AlarmThresholds) -> Alarm | None:
    if not now.max_interval[1] < thresholds.contracting:
        return None
    fraction = 1 - math.exp(now.max)
    alarm = Alarm(
        "contracting",
        f"the largest exponent is {now.max:.3f}: every small change loses {fraction:.0%} in each step, so hardly anything of "
        "the past, and no gradient, survives.",
    )
    return _claimed(now, alarm)


def _saturating(now: Reading, thresholds: AlarmThresholds) -> Alarm | None:
    if now.saturated is None or now.saturated <= thresholds.saturated:
        return None
    return Alarm(
        "saturating",
        f"{now.saturated:.0%} of the units sit where their nonlinearity is flat: small changes of their input hardly show.",
    )


def _settled(now: Reading, first: Reading | None, recent: Sequence[Reading], thresholds: AlarmThresholds) -> Alarm | None:
    if first is None or len(recent) < thresholds.settled:
        return None
    window = recent[-thresholds.settled :]
    way = distance(now.exponents, first.exponents)
    moved = max(distance(now.exponents, earlier.exponents) for earlier in window)
    if not way > 2 * root_mean_square(now.standard_errors) or not moved <= thresholds.still * way:
        return None
    alarm = Alarm(
        "settled",
        f"since step {window[0].step} the exponents moved by no more than {moved:.2g} nats per step, {moved / way:.0%} of "
        f"their way since step {first.step}.",
    )
    compared = (first, *window, now)
    against = sum(one.converged is False and one.kinds != ("finite-time",) for one in compared)
    return _tentative(alarm, f"{against} of the {len(compared)} readings compared are not converged") if against else alarm
