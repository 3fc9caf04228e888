"""What one measurement of a network in training found: a few numbers, their errors, and alarms in words."""

import dataclasses
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple

from lyapunov._json_safe import Json, json_safe
from lyapunov._shown import Parts, Shown, html_of
from lyapunov.estimate import READING_NAMES, TIME_NAMES, Spectrum, Timescale

Kind = Literal["chaos", "short memory", "contracting", "saturating", "settled", "broken"]


class Alarm(NamedTuple):
    """Something worth stopping for.

    Attributes:
        kind: which alarm.
        message: a sentence with the number.
        tentative: True where the reading's verdict does not allow to claim it. The sentence says so, and no training stops for
            it.

    Example:
        >>> lyapunov.Alarm("chaos", "the largest exponent is 0.2").tentative
        False
    """

    kind: Kind
    message: str
    tentative: bool = False

    def _repr_html_(self) -> str:
        return html_of(Parts([f"{self.kind}: {self.message}"]))


@dataclass(frozen=True)
class Reading(Shown):
    """One measurement by the monitor. Exponents in nats per step (with `dt`, per unit of time), times in seconds.

    Attributes:
        step, epoch: when it was taken; the epoch may be None.
        losses: means over the steps reported since the reading before.
        exponents, standard_errors: the leading ones, from the largest on.
        max_interval: the 95 % interval of the largest, as far as the verdict lets one trust it.
        mean, mean_error: over all exponents of the system, and its error; None where k of them do not determine it.
        drift: how far the exponents moved since the reading before, root mean square.
        saturated: the fraction of units that sit where their nonlinearity is flat.
        warm_start_error: how far a warm start from the reading before was from this cold start, where both were made.
        verdict: "converged", or what speaks against that.
        kinds: one word for each finding of the verdict; None: a history that does not say.
        counted: steps (units of time) that each sequence was averaged over.
        alarms: the alarms raised.
        seconds, training_seconds: what this reading took, and the rest of the time since the one before.
        taken: how many exponents were computed.
        file: where in the run's folder the spectrum is.
        failure: why there are no numbers.
        spectrum: the whole result, right after the measurement only.

    Example:
        >>> reading = lyapunov.Reading(10, None, {"train": 1.5}, exponents=(-0.2, -0.4))
        >>> reading.max
        -0.2
    """

    step: int
    epoch: int | None
    losses: Mapping[str, float]
    exponents: tuple[float, ...] = ()
    standard_errors: tuple[float, ...] = ()
    max_interval: tuple[float, float] = (math.nan, math.nan)
    mean: float | None = None
    mean_error: float | None = None
    drift: float | None = None
    saturated: float | None = None
    warm_start_error: float | None = None
    verdict: str = ""
    kinds: tuple[str, ...] | None = None
    counted: float | None = None
    alarms: tuple[Alarm, ...] = ()
    seconds: float = 0.0
    training_seconds: float = 0.0
    taken: int = 0
    file: str | None = None
    failure: str | None = None
    spectrum: Spectrum | None = field(default=None, repr=False, compare=False)

    @property
    def max(self) -> float:
        """The largest exponent; NaN where the reading failed."""
        return self.exponents[0] if self.exponents else math.nan

    @property
    def max_error(self) -> float:
        """One standard error of the largest exponent."""
        return self.standard_errors[0] if self.standard_errors else math.nan

    @property
    def converged(self) -> bool | None:
        """Whether nothing speaks against the numbers; False where there are none, None where the history does not say."""
        if self.failure is not None:
            return False
        return self.verdict == "converged" if self.verdict else None

    @property
    def standing(self) -> str:
        """The verdict in a few words, to stand beside a number."""
        if self.converged is None:
            return "no verdict"
        against = f": {', '.join(self.kinds)}" if self.kinds else ""
        return "converged" if self.converged else f"not converged{against}"

    @property
    def timescale(self) -> Timescale:
        """The memory time, or the Lyapunov time where small changes grow, in steps (units of time), with its 95 % interval."""
        return Timescale.of(self.max, self.max_interval)

    @property
    def memory(self) -> float:
        """-1 / largest exponent: NaN where the 95 % interval of that holds zero, infinite where it lies above."""
        return self.timescale.of_kind("memory")[0]

    def numbers(self) -> dict[str, float]:
        """What run trackers receive: finite numbers by name."""
        names = (*READING_NAMES, "drift", "saturated", "seconds")
        values = {name: getattr(self, name) for name in names}
        for kind, name in TIME_NAMES.items():
            if self.timescale.kind == kind:
                values |= dict(zip((name, f"{name}_low", f"{name}_high"), self.timescale[1:], strict=True))
        values |= {f"exponent_{at}": value for at, value in enumerate(self.exponents, start=1)}
        values |= {"alarms": len(self.alarms), "converged": self.converged}
        known = {f"lyapunov/{name}": float(value) for name, value in values.items() if value is not None}
        return {name: value for name, value in known.items() if math.isfinite(value)}

    def texts(self) -> dict[str, str]:
        """What run trackers that take words receive: the verdict, or why there are no numbers."""
        said = self.failure or self.verdict
        return {"lyapunov/verdict": said} if said else {}

    def record(self) -> dict[str, Json]:
        """A line of the history."""
        values = {each.name: getattr(self, each.name) for each in dataclasses.fields(self) if each.name != "spectrum"}
        values["alarms"] = [alarm._asdict() for alarm in self.alarms]
        derived = {name: getattr(self, name) for name in ("max", "max_error", "memory")}
        line = {"kind": "reading", **values, "losses": dict(self.losses), **derived}
        return {name: json_safe(value) for name, value in line.items()}

    @classmethod
    def from_record(cls, record: Mapping[str, Any]) -> "Reading":
        """The reading behind a line of a history. Fields that this version does not know are passed over.

        Args:
            record: the line, as a mapping.

        Returns:
            A `Reading`.
        """
        names = {each.name for each in dataclasses.fields(cls)} - {"alarms", "losses"}
        values = {name: _numbers(value) for name, value in record.items() if name in names}
        alarms = tuple(Alarm(**alarm) for alarm in record.get("alarms", ()))
        if not isinstance(values["step"], int) or not all(isinstance(one, int | float) for one in values.get("exponents", ())):
            raise TypeError(f"Expected a whole step and exponents that are numbers, got {record}.")
        return cls(**values, alarms=alarms, losses={name: float(value) for name, value in record.get("losses", {}).items()})

    def __str__(self) -> str:
        if self.failure is not None:
            return f"step {self.step}: {self.failure}"
        losses = "".join(f", {name} {value:.4g}" for name, value in self.losses.items())
        alarms = "".join(f"\n  {alarm.kind}: {alarm.message}" for alarm in self.alarms)
        largest = f"largest exponent {self.max:.4f} ± {self.max_error:.4f} ({self.standing}), {self.timescale}"
        against = "" if self.converged is not False else f"\n  verdict: {self.verdict}"
        return f"step {self.step}: {largest}{losses}{against}{alarms}"


_WORDS = {"inf": math.inf, "-inf": -math.inf, "nan": math.nan}


def _numbers(value: Any) -> Any:
    """Infinities and NaN, which JSON has as strings, as numbers again; lists as tuples."""
    if isinstance(value, list):
        return tuple(_numbers(item) for item in value)
    return _WORDS.get(value, value) if isinstance(value, str) else value


def root_mean_square(values: Sequence[float]) -> float:
    """Of the finite ones; NaN where there is none."""
    finite = [value for value in values if math.isfinite(value)]
    return math.sqrt(sum(value * value for value in finite) / len(finite)) if finite else math.nan


def distance(one: Sequence[float], other: Sequence[float]) -> float:
    """Root mean square difference of exponents, in nats per step, over those that both have and that are finite."""
    return root_mean_square([a - b for a, b in zip(one, other, strict=False)])
