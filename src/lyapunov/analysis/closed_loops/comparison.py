"""A spectrum beside the true one: differences in standard errors, and the Kaplan-Yorke dimension of both."""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from lyapunov._shown import Parts, Shown
from lyapunov.errors import InvalidInput
from lyapunov.estimate import DIMENSION, Spectrum, number, shown_rows
from lyapunov.systems import total_size
from lyapunov.systems.known import Known


@dataclass(frozen=True, eq=False)
class Reference:
    """Exponents to compare with, (k,), each with its error; of `size` in all. Of a `Known`, its precision is the error."""

    exponents: Tensor
    errors: Tensor
    size: int
    dt: float

    @classmethod
    def of(cls, true: "Spectrum | Known") -> "Reference":
        """Of a spectrum, or of a system whose exponents are published."""
        if isinstance(true, Spectrum):
            return cls(true.exponents, true.standard_errors, true.settings.size, true.settings.dt)
        if isinstance(true, Known):
            return cls(true.exponents, torch.full_like(true.exponents, true.precision), total_size(true.system), true.dt)
        raise InvalidInput(
            f"Expected a Spectrum or a system of lyapunov.known, got {type(true).__name__}. Pass what "
            "lyapunov.spectrum returned."
        )


@dataclass(frozen=True, eq=False, repr=False)
class Comparison(Shown):
    """Two spectra exponent by exponent, from the largest on, as far as both go. They are not paired. It prints as a table.

    Attributes:
        free, free_errors: (k,), the exponents of the first spectrum and their standard errors.
        true, true_errors: (k,), those of the second one.
        difference, errors: (k,), `free - true`, and its standard error from both sides.
        in_errors: (k,), the difference as a multiple of its standard error.
        dimensions: the Kaplan-Yorke dimensions of both, None where the exponents do not determine one.
        dimension_error: the standard error of the first dimension, or None.

    Example:
        >>> cat = lyapunov.known.cat_map()
        >>> found = lyapunov.spectrum(cat.system, state=cat.start(8), steps=100, settle=10, align=50)
        >>> tuple(lyapunov.compare(found, cat).difference.shape)
        (2,)
    """

    free: Tensor
    free_errors: Tensor
    true: Tensor
    true_errors: Tensor
    dimensions: tuple[float | None, float | None]
    dimension_error: float | None

    @property
    def difference(self) -> Tensor:
        """(k,): free - true."""
        return self.free - self.true

    @property
    def errors(self) -> Tensor:
        """(k,): standard errors of the differences."""
        return torch.hypot(self.free_errors, self.true_errors)

    @property
    def in_errors(self) -> Tensor:
        """(k,): the differences in standard errors; 0 where both are the same to the last bit."""
        return torch.where(self.difference == 0, 0.0, self.difference / self.errors)

    def _parts(self) -> Parts:
        rows = [("i", "free", "± error", "true", "± error", "difference", "in standard errors")]
        rows += [self._row(at) for at in shown_rows(len(self.free))]
        free, true = self.dimensions
        error = "" if not self.dimension_error else f" ± {number(self.dimension_error, 3)}"
        dimension = f"{DIMENSION.label}: {number(free, 3)}{error} beside {number(true, 3)}"
        return Parts((), rows, [dimension])

    def _row(self, at: int | None) -> tuple[str, ...]:
        if at is None:
            return ("...",) * 7
        parts = (self.free, self.free_errors, self.true, self.true_errors, self.difference)
        return (str(at + 1), *(number(float(part[at])) for part in parts), f"{float(self.in_errors[at]):+.1f}")


def compare(free: Spectrum, true: "Spectrum | Known") -> Comparison:
    """A spectrum beside that of the true system: differences in standard errors, and the Kaplan-Yorke dimension of both.

    The two are not paired: their errors add up as independent ones do. For two networks on the same inputs take `a - b`.

    Args:
        free: of the network, with the `dt` of its steps.
        true: of the system it was trained on: a spectrum, or one of `lyapunov.known` with its published exponents, whose
            `precision` then counts as their error.

    Returns:
        A table of the exponents that both have, from the largest on.

    Raises:
        InvalidInput: where one is per step and the other per unit of time.

    Example:
        >>> case = lyapunov.known.henon()
        >>> found = lyapunov.spectrum(case.system, state=case.start(8), steps=200, settle=50, align=50)
        >>> comparison = lyapunov.compare(found, case)
    """
    if not isinstance(free, Spectrum):
        raise InvalidInput(f"Expected a Spectrum, got {type(free).__name__}. Pass what lyapunov.spectrum returned.")
    reference = Reference.of(true)
    if (free.settings.dt == 1) != (reference.dt == 1):
        raise InvalidInput(
            f"Expected both spectra in one unit, got dt={free.settings.dt:g} and dt={reference.dt:g}: one is per step and the "
            "other per unit of time. Pass `dt` to both, the time of a step of each."
        )
    k = min(len(free.exponents), len(reference.exponents))
    return Comparison(
        free.exponents[:k],
        free.standard_errors[:k],
        reference.exponents[:k],
        reference.errors[:k],
        (DIMENSION.value(free), DIMENSION.of_exponents(reference.exponents, total=reference.size)),
        _finite(DIMENSION.standard_error(free)),
    )


def _finite(value: float | None) -> float | None:
    return None if value is None or not math.isfinite(value) else value
