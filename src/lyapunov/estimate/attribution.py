"""Which layer the exponents belong to: one row per layer, as a table."""

from typing import NamedTuple

import torch

from lyapunov._shown import Parts, Shown, number
from lyapunov.estimate.quantities import SpectrumQuantities
from lyapunov.estimate.standard_errors import standard_errors
from lyapunov.estimate.timescales import Timescale

COLUMNS = ("layer", "exponents", "largest", "± error", "memory (95 %)", "their mean", "± error", "lost")


class LayerSummary(NamedTuple):
    """Of the exponents computed, those of one layer. Nats per step and memory in steps; with `dt`, in units of time.

    memory: of the largest, NaN where it is not determined, infinite where it grows; timescale: that, or its Lyapunov time, with
    the 95 % interval.
    count: how many there are; lost: how many of them are -inf; mean: over those that are finite and reliable, None where
    there is none.
    """

    layer: int
    count: int
    largest: float
    standard_error: float
    memory: float
    mean: float | None
    mean_standard_error: float | None
    lost: int
    timescale: Timescale


class ByLayer(tuple[LayerSummary, ...], Shown):
    """One summary per layer that has an exponent, from the bottom up; prints as a table."""

    __slots__ = ()

    @classmethod
    def of(cls, spectrum: SpectrumQuantities) -> "ByLayer":
        """Of a spectrum whose layers have frames of their own."""
        return cls(_summary(spectrum, layer) for layer in sorted(set(spectrum.layer.tolist())))

    def __repr__(self) -> str:
        return Shown.__repr__(self)

    def _parts(self) -> Parts:
        return Parts(rows=[COLUMNS, *map(_cells, self)])


def _summary(spectrum: SpectrumQuantities, layer: int) -> LayerSummary:
    mine = spectrum.layer == layer
    first = int(torch.nonzero(mine)[0])
    usable = mine & torch.isfinite(spectrum.exponents) & spectrum.reliable
    mean = error = None
    if bool(usable.any()):
        scale = int(usable.sum()) * spectrum.settings.dt
        grown = spectrum.history[..., usable].sum(-1, keepdim=True)
        mean = float(spectrum.exponents[usable].mean())
        error = float(standard_errors(grown, spectrum.history_steps).standard_errors[0]) / scale
    timescale = spectrum.timescales[first]
    return LayerSummary(
        layer=layer,
        count=int(mine.sum()),
        largest=float(spectrum.exponents[first]),
        standard_error=float(spectrum.standard_errors[first]),
        memory=timescale.of_kind("memory")[0],
        mean=mean,
        mean_standard_error=error,
        lost=int(torch.isneginf(spectrum.exponents[mine]).sum()),
        timescale=timescale,
    )


def _cells(summary: LayerSummary) -> tuple[str, ...]:
    largest, memory = number(summary.largest), summary.timescale.cell
    mean, error = number(summary.mean), number(summary.mean_standard_error)
    counts = str(summary.layer), str(summary.count)
    return (*counts, largest, number(summary.standard_error), memory, mean, error, str(summary.lost or "-"))
