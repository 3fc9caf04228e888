"""When a trial is pruned: where it cannot train, by what spectra predict if that helps, else by what another pruner says."""

import math
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np

from lyapunov import _checks
from lyapunov.estimate import IN_READINGS
from lyapunov.training import Reading
from lyapunov.tuning.forecast import forecast

FEATURES = (*IN_READINGS, "leading", "saturated")
"""What spectra predict by, of those that all trials have."""
SIGMAS = 2.0
"""Standard errors that count as clear."""
OVERFLOW, UNDERFLOW = 88.0, -103.0
"""Nats: beyond that a gradient leaves what float32 holds."""


class Decision(NamedTuple):
    """Whether to prune, and a sentence that says why, or by what it was judged."""

    prune: bool
    why: str


@dataclass(frozen=True)
class Record:
    """What is known of a trial: by step the loss (lower is better) and numbers of its spectrum; `final`, where it ended."""

    number: int
    losses: Mapping[int, float]
    spectra: Mapping[int, Mapping[str, float]] = field(default_factory=dict)
    final: float | None = None

    def best(self, step: int) -> float:
        """The least loss up to a step; infinite where there is none that is a number."""
        return min((loss for at, loss in self.losses.items() if at <= step and math.isfinite(loss)), default=math.inf)


@dataclass(frozen=True)
class SpectrumRule:
    """What is asked before a trial is pruned.

    lag: how many steps back the task needs the network to remember; None: not known, nothing is pruned for that.
    saturated: the fraction of units beyond which nothing trains. spectra: whether they are asked how a trial will end, and
    enough: finished trials from which on they are. keep: the fraction of trials, by how they are predicted to end, that go on.
    unpruned_fraction: of trials that run on whatever is predicted, so that what is learned is not learned from survivors alone.
    seed: of which ones these are.
    """

    lag: float | None = None
    saturated: float = 0.98
    spectra: bool = True
    enough: int = 8
    keep: float = 0.5
    unpruned_fraction: float = 0.1
    seed: int = 0

    def __post_init__(self) -> None:
        if self.lag is not None:
            _checks.positive(self.lag, "lag")
        _checks.whole_number(self.enough, "enough", least=4)
        _checks.fraction(self.keep, "keep")
        _checks.fraction(self.unpruned_fraction, "unpruned_fraction")
        _checks.fraction(self.saturated, "saturated")

    def decide(self, now: Record, step: int, finished: Sequence[Record], *, wrapped: bool) -> Decision:
        """For a trial at a step, beside trials that ended there or later; `wrapped`: what the other pruner says."""
        hopeless = self.hopeless(now.spectra.get(step, {}))
        if hopeless is not None:
            return Decision(True, hopeless)
        if self.runs_on(now.number):
            return Decision(False, "runs on whatever is predicted")
        predicted = self._predicted(now, step, finished) if self.spectra else None
        return predicted or Decision(wrapped, "by the other pruner")

    def runs_on(self, number: int) -> bool:
        """Whether a trial is of those that no prediction prunes; the same for every process."""
        return random.Random(f"{self.seed} {number}").random() < self.unpruned_fraction

    def hopeless(self, spectrum: Mapping[str, float]) -> str | None:
        """Why a network with these numbers cannot train, if it cannot."""
        largest, error = spectrum.get("max", math.nan), spectrum.get("max_error", math.nan)
        two_errors = SIGMAS * error if math.isfinite(error) else math.inf
        if self.lag is not None and (largest - two_errors) * self.lag > OVERFLOW:
            return f"chaos: gradients over {self.lag:g} steps grow by e^{largest * self.lag:.0f}, beyond what float32 holds."
        if self.lag is not None and (largest + two_errors) * self.lag < UNDERFLOW:
            return f"no memory: gradients over {self.lag:g} steps fall by e^{largest * self.lag:.0f}, below what float32 holds."
        if spectrum.get("saturated", 0.0) > self.saturated:
            return f"saturated: {spectrum['saturated']:.0%} of the units sit where their nonlinearity is flat."
        return None

    def _predicted(self, now: Record, step: int, finished: Sequence[Record]) -> Decision | None:
        """By losses and spectra of finished trials; None where these are too few, or where spectra add nothing."""
        known = [one for one in finished if one.final is not None and math.isfinite(one.best(step)) and step in one.spectra]
        here = now.spectra.get(step, {})
        usable = [name for name in FEATURES if all(math.isfinite(one.get(name, math.nan)) for one in (here, *_at(known, step)))]
        if len(known) < self.enough or not usable or not math.isfinite(now.best(step)):
            return None
        found = forecast(
            np.array([one.best(step) for one in known]),
            np.array([[spectrum[name] for name in usable] for spectrum in _at(known, step)]),
            np.array([one.final for one in known], dtype=np.float64),
            loss=now.best(step),
            spectrum=np.array([here[name] for name in usable]),
        )
        if not found.with_spectra:
            return None
        worse = min(max(found.rank + 0.5, 0.0), 1.0)
        helped = f"spectra lower the error on held-out ones by {found.gained:.3f} ± {found.error:.3f}"
        why = f"loss and spectrum predict an end worse than {worse:.0%} of {len(known)} trials; {helped}"
        return Decision(worse > self.keep, why)


def numbers_of(reading: Reading | None) -> dict[str, float]:
    """What is kept of a Monitor's reading with a trial: a few finite numbers, no spectrum."""
    if reading is None or not reading.exponents:
        return {}
    leading = [value for value in reading.exponents if math.isfinite(value)]
    values = {
        **{name: getattr(reading, name) for name in IN_READINGS},
        "max_error": reading.max_error,
        "leading": sum(leading) / len(leading) if leading else None,
        "saturated": reading.saturated,
        "seconds": reading.seconds,
        "converged": reading.converged,
    }
    return {name: float(value) for name, value in values.items() if value is not None and math.isfinite(value)}


def _at(records: Sequence[Record], step: int) -> list[Mapping[str, float]]:
    return [one.spectra[step] for one in records]
