"""How far ahead a chaotic system can be predicted, and how often its training must be forced."""

import math
from dataclasses import dataclass
from typing import NamedTuple

from lyapunov._shown import Shown
from lyapunov.errors import InvalidInput
from lyapunov.estimate import Spectrum


class Span(NamedTuple):
    """A time and its 95 % interval; NaN where the exponent does not determine it."""

    value: float
    low: float
    high: float

    def times(self, factor: float) -> "Span":
        """All three by a factor."""
        return Span(*(factor * part for part in self))

    def __str__(self) -> str:
        return f"{self.value:.4g} ({self.low:.4g} to {self.high:.4g})"


@dataclass(frozen=True)
class Predictability(Shown):
    """Times that follow from the largest exponent, one line each; NaN where it is not surely positive.

    Attributes:
        lyapunov_time: 1 / lambda_1, the time in which a small error grows e-fold; in steps, with `dt` in units of time.
        doubling_time: ln 2 / lambda_1, in the same unit.
        forcing_interval: ln 2 / lambda_1 in steps, whatever `dt`: how often training by sparse forcing puts the state back onto
            the data.
        exponent: the largest exponent.
        unit: the unit of the times.

    Example:
        >>> henon = lyapunov.known.henon()
        >>> found = lyapunov.spectrum(henon.system, state=henon.start(4), steps=100, settle=20, align=20)
        >>> 1 < lyapunov.predictability(found).doubling_time.value < 3
        True
    """

    lyapunov_time: Span
    doubling_time: Span
    forcing_interval: Span
    exponent: float
    unit: str

    def __str__(self) -> str:
        if math.isnan(self.lyapunov_time.value):
            return f"largest exponent {self.exponent:.4g}: not above zero, so no time in which small errors grow"
        return "\n".join(
            [
                f"Lyapunov time     {self.lyapunov_time} {self.unit}",
                f"doubling time     {self.doubling_time} {self.unit}",
                f"forcing interval  {self.forcing_interval} steps",
            ]
        )


def predictability(spectrum: Spectrum) -> Predictability:
    """Lyapunov time, doubling time and forcing interval of a spectrum, each with its 95 % interval.

    Args:
        spectrum: of the system that is to be predicted, with the `dt` of its steps.

    Returns:
        The three times; NaN where the largest exponent is not above zero.

    Raises:
        InvalidInput: for anything but a spectrum.

    Example:
        >>> case = lyapunov.known.henon()
        >>> times = lyapunov.predictability(lyapunov.spectrum(case.system, state=case.start(4), steps=100, settle=20, align=20))

    References:
        Mikhaeil, Monfared & Durstewitz 2022 (the forcing interval ln 2 / lambda_1).
    """
    if not isinstance(spectrum, Spectrum):
        raise InvalidInput(f"Expected a Spectrum, got {type(spectrum).__name__}. Pass what lyapunov.spectrum returned.")
    first, dt = spectrum.timescales[0], spectrum.settings.dt
    grows = first.kind == "Lyapunov"
    time = Span(first.value, first.low, first.high) if grows else Span(math.nan, math.nan, math.nan)
    doubling = time.times(math.log(2))
    return Predictability(time, doubling, doubling.times(1 / dt), spectrum.max, "steps" if dt == 1 else "units of time")
