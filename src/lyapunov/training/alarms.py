"""What is worth a word while a network trains, each a sentence with its number."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from lyapunov import _checks
from lyapunov.training.reading import Alarm, Reading, distance, root_mean_square


@dataclass(frozen=True)
class Limits:
    """When an alarm is raised.

    lag: how many steps back the task needs the network to remember; None: not known, no alarm.
    contracting: the largest exponent below which nothing lasts (-ln 2: every small change is at least halved by each step).
    saturated: the share of units that may sit where nothing moves them.
    settled, still: the spectrum has settled when the last so many readings all lie within so small a share of the way that it
        has come since the first one.
    """

    lag: float | None = None
    contracting: float = -math.log(2)
    saturated: float = 0.5
    settled: int = 5
    still: float = 0.1

    def __post_init__(self) -> None:
        if self.lag is not None:
            _checks.positive(self.lag, "lag")
        _checks.whole_number(self.settled, "settled", least=2)
        _checks.positive(self.still, "still")


def alarms(now: Reading, first: Reading | None, recent: Sequence[Reading], limits: Limits) -> tuple[Alarm, ...]:
    """What the reading says by itself, then beside the `first` one and the `recent` ones (the latest last)."""
    found = [
        _chaos(now),
        _short_memory(now, limits),
        _contracting(now, limits),
        _saturating(now, limits),
        _settled(now, first, recent, limits),
    ]
    return tuple(alarm for alarm in found if alarm is not None)


def _chaos(now: Reading) -> Alarm | None:
    if not now.max_interval[0] > 0:
        return None
    return Alarm(
        "chaos",
        f"the largest exponent is {now.max:.4f} (95 %: from {now.max_interval[0]:.4f} on), above 0: small changes of the state "
        f"grow e-fold in {now.timescale.numbers} steps, and so do gradients.",
    )


def _short_memory(now: Reading, limits: Limits) -> Alarm | None:
    lasts = now.timescale
    if limits.lag is None or lasts.kind != "memory" or lasts.high >= limits.lag:
        return None
    return Alarm(
        "short memory",
        f"a small change of the state lasts {lasts.value:.3g} steps (95 %: at most {lasts.high:.3g}), the task needs "
        f"{limits.lag:g}.",
    )


def _contracting(now: Reading, limits: Limits) -> Alarm | None:
    if not now.max_interval[1] < limits.contracting:
        return None
    share = 1 - math.exp(now.max)
    return Alarm(
        "contracting",
        f"the largest exponent is {now.max:.3f}: every small change loses {share:.0%} in each step, so hardly anything of the "
        "past, and no gradient, gets through.",
    )


def _saturating(now: Reading, limits: Limits) -> Alarm | None:
    if now.saturated is None or now.saturated <= limits.saturated:
        return None
    return Alarm(
        "saturating",
        f"{now.saturated:.0%} of the units sit where their nonlinearity is flat: what moves them hardly shows.",
    )


def _settled(now: Reading, first: Reading | None, recent: Sequence[Reading], limits: Limits) -> Alarm | None:
    if first is None or len(recent) < limits.settled:
        return None
    window = recent[-limits.settled :]
    way = distance(now.exponents, first.exponents)
    moved = max(distance(now.exponents, earlier.exponents) for earlier in window)
    if not way > 2 * root_mean_square(now.standard_errors) or not moved <= limits.still * way:
        return None
    return Alarm(
        "settled",
        f"since step {window[0].step} the exponents moved by no more than {moved:.2g} nats per step, {moved / way:.0%} of "
        f"their way since step {first.step}.",
    )
