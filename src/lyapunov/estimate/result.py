"""Spectrum: the frozen result of a run, with its errors, its verdict, its settings, a table, and a file form."""

import dataclasses
import json
import math
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from lyapunov import _checks
from lyapunov._atomic import write_atomically
from lyapunov._json_safe import json_safe
from lyapunov._optional import import_optional
from lyapunov._shapes import Exponents
from lyapunov.errors import InvalidInput
from lyapunov.estimate import quantities
from lyapunov.estimate._table import html_table, text_table
from lyapunov.estimate.attribution import ByLayer
from lyapunov.estimate.budget import ErrorBudget
from lyapunov.estimate.difference import Difference
from lyapunov.estimate.quantities import BY_NAME, QUANTITIES, Timescale
from lyapunov.estimate.settings import Settings
from lyapunov.estimate.standard_errors import checked_level, errors, half_widths
from lyapunov.estimate.statistics import Estimates
from lyapunov.estimate.verdict import Finding, Verdict
from lyapunov.tangent import Window

_FORMAT = "lyapunov-spectrum-3"
_ON_DISK = "from_reset"
"""The key of `Settings.from_initial_state` in files of this format."""


@dataclass(frozen=True, eq=False, repr=False)
class Spectrum(Estimates):
    """Lyapunov exponents in nats per step (with `dt`, per unit of time). All tensors are float64 on the CPU.

    exponents (k,): pooled over sequences in QR order, then sorted once, descending; -inf for a direction that is lost.
    standard_errors (k,): all parts of `error_budget` together: what sampling, the state's burn-in, the frame's alignment and
        rounding leave. NaN where there is one sequence too short for blocks. degrees (k,): degrees of freedom of their
        Student-t intervals.
    independent: the fraction of the sequences that is independent of each other; below 1 where inputs are copies or overlap.
    correlation_times (k,): steps over which growth stays correlated.
    per_sequence (batch, k): each sequence's own, in the order of `exponents`.
    reliable (k,): False where too much of the column was rounding, or where a full run misses the volume residual.
    lost_at (k,): the step by which a direction had collapsed in some sequence, -1 where it did not; rank: how many never
        did (None where k exponents do not tell); rank_window: the steps whose product showed the last loss.
    layer (k,): the layer each exponent belongs to (0 throughout for a coupled or single system); see `by_layer`.
    history (bins, batch, k) and history_steps (bins, batch): growth in nats, and the steps behind it, in at most 1000 bins.
    volume_history and volume_steps (bins, batch): ln |det J| of all blocks, and the steps at which it was taken, or None.
    volume_residual: |sum of exponents - mean ln |det J|| of a full run, nats per step: what the arithmetic lost, or None.
    verdict: whether it has converged, and if not, why and what would help.
    """

    settings: Settings
    verdict: Verdict

    @property
    def error_budget(self) -> ErrorBudget:
        """Standard errors (k,) by where they come from: sampling, burn_in, alignment, rounding."""
        return ErrorBudget(self.sampling_errors, self.burn_in_errors, self.alignment_errors, self.rounding_errors)

    def running_estimates(self) -> Tensor:
        """(bins, k): the estimates as they stood after each time bin, pooled over sequences."""
        grown, steps = self.history.sum(1).cumsum(0), self.history_steps.sum(1).cumsum(0)
        return grown / (steps * self.settings.dt).unsqueeze(-1)

    def interval(self, level: float = 0.95) -> Tensor:
        """(k, 2): Student-t intervals; NaN where there is no standard error."""
        half = half_widths(self.standard_errors, self.degrees, checked_level(level))
        return torch.stack([self.exponents - half, self.exponents + half], dim=-1)

    def mean_interval(self, level: float = 0.95) -> tuple[float, float] | None:
        """The Student-t interval of `mean`; None where there is none."""
        found = self._mean
        if found is None:
            return None
        half = half_widths(torch.tensor([found[1]]).double(), torch.tensor([found[2]]), checked_level(level))
        return found[0] - float(half), found[0] + float(half)

    @property
    def is_full(self) -> bool:
        """Whether all n exponents were computed."""
        return len(self.exponents) == self.settings.size

    @property
    def max(self) -> float:
        """The largest exponent: above 0 small changes grow, which is chaos in a bounded system; below 0 they fade."""
        return float(self.exponents[0])

    @property
    def min(self) -> float | None:
        """The smallest of all n exponents; None if not all were computed, or if it lies below the precision floor."""
        return BY_NAME["min"].value(self)

    @property
    def mean(self) -> float | None:
        """The mean over all n exponents: from ln |det J| where the system has it, whatever k; else from a full run.

        In a full run with lost or unreliable directions and no determinant, the mean of the others (`mean_count` of them).
        """
        return None if self._mean is None else self._mean[0]

    @property
    def mean_standard_error(self) -> float | None:
        """One standard error of `mean`, of sampling only: from sequences and blocks, and the steps that have a determinant."""
        return None if self._mean is None else self._mean[1]

    @property
    def mean_count(self) -> int:
        """How many exponents are behind `mean`; 0 where it is None."""
        if self._has_volume:
            return self.settings.size
        return int(self._usable.sum()) if self.is_full else 0

    @property
    def variance(self) -> float | None:
        """The variance over the finite exponents of a full run; None if not all were computed and reliable."""
        return BY_NAME["variance"].value(self)

    @property
    def sum(self) -> float | None:
        """The sum over all n exponents, the rate of change of volume; -inf where a direction is lost."""
        return BY_NAME["sum"].value(self)

    @property
    def kaplan_yorke_dimension(self) -> float | None:
        """See `quantities.kaplan_yorke_dimension`; None where more (or more reliable) exponents are needed,
        and where the state grows without bound.
        """
        return BY_NAME["kaplan_yorke_dimension"].value(self)

    @property
    def entropy_rate(self) -> float | None:
        """The sum of the positive exponents, nats per step; None where more exponents are needed, or as above."""
        return BY_NAME["entropy_rate"].value(self)

    @property
    def memory_times(self) -> Exponents:
        """(k,): -1 / exponent, in steps (with `dt`, in units of time); infinite for a direction that grows.

        NaN, which is "not determined", where the 95 % interval of the exponent holds zero.
        """
        return quantities.times(self.timescales, "memory")[:, 0]

    @property
    def memory_intervals(self) -> Tensor:
        """(k, 2): of `memory_times`, from the ends of the exponents' 95 % intervals."""
        return quantities.times(self.timescales, "memory")[:, 1:]

    @property
    def lyapunov_times(self) -> Exponents:
        """(k,): 1 / exponent, the steps in which a direction grows e-fold; infinite for one that shrinks, NaN as above."""
        return quantities.times(self.timescales, "Lyapunov")[:, 0]

    @property
    def lyapunov_intervals(self) -> Tensor:
        """(k, 2): of `lyapunov_times`, from the ends of the exponents' 95 % intervals."""
        return quantities.times(self.timescales, "Lyapunov")[:, 1:]

    @property
    def timescales(self) -> tuple[Timescale, ...]:
        """Of each direction its memory time, or its Lyapunov time where it grows, with the 95 % interval; they print."""
        pairs = zip(self.exponents.tolist(), self.interval(0.95).tolist(), strict=True)
        return tuple(Timescale.of(exponent, interval) for exponent, interval in pairs)

    @property
    def bits(self) -> Exponents:
        """(k,): the exponents in bits per step, for comparison with code that takes base-2 logarithms."""
        return self.exponents / math.log(2)

    def standard_error(self, name: str) -> float | None:
        """One standard error of a derived quantity by its name, by the jackknife over sequences and over blocks.

        Scaled to all parts of the error budget; those of "mean" and "sum" are of sampling only.
        None where the quantity has no value; NaN where nothing can be left out.
        """
        _checks.one_of(name, tuple(BY_NAME), "name")
        return BY_NAME[name].standard_error(self)

    def __sub__(self, other: "Spectrum") -> Difference:
        """The paired difference, exponent by exponent; refuses what did not see the same inputs from the same frames."""
        if not isinstance(other, Spectrum):
            return NotImplemented
        return Difference.of(self, other)

    def difference(self, other: "Spectrum", *, paired: bool = True) -> Difference:
        """`a - b`; with `paired=False` also of two that share neither inputs nor frames, whose larger error it then has."""
        _checks.flag(paired, "paired")
        return Difference.of(self, other) if paired else Difference.unpaired(self, other)

    @cached_property
    def _mean(self) -> tuple[float, float, float] | None:
        """Mean over all exponents, its standard error and its degrees of freedom."""
        if not self.mean_count:
            return None
        grown, steps = self.mean_series
        scale = self.mean_count * self.settings.dt
        found = errors(grown.unsqueeze(-1), steps, self.independent)
        rate, error = float(grown.sum() / steps.sum()), float(found.standard_errors[0])
        return rate / scale, error / scale, float(found.degrees[0])

    @property
    def mean_series(self) -> tuple[Tensor, Tensor]:
        """What `mean` averages, summed over `mean_count` exponents, and the steps behind it, both (bins, batch)."""
        if self.volume_history is not None and self.volume_steps is not None and self._has_volume:
            return self.volume_history, self.volume_steps
        return self.history[..., self._usable].sum(-1), self.history_steps

    @property
    def _has_volume(self) -> bool:
        """Whether ln |det J| has more to say than the exponents: a full run has it sampled only, as a certificate."""
        if self.volume_history is None or self.volume_steps is None or bool(self.exponents.isneginf().any()):
            return False
        sampled = self.is_full and not torch.equal(self.volume_steps, self.history_steps)
        return not sampled and bool(torch.isfinite(self.volume_history).all())

    @property
    def _usable(self) -> Tensor:
        return torch.isfinite(self.exponents) & self.reliable

    def by_layer(self) -> ByLayer:
        """Of each layer the largest of its exponents here, its memory, their mean; prints as a table.

        A stack whose layers have frames of their own (the default) says whose each exponent is; `coupled=True` does not.
        """
        return ByLayer.of(self)

    def quantities(self) -> dict[str, float | None]:
        """The derived numbers, by name."""
        return {quantity.name: quantity.value(self) for quantity in QUANTITIES}

    def to_dict(self) -> dict[str, Any]:
        """Plain lists, numbers and strings, ready for JSON: infinities and NaN as strings."""
        return json_safe(
            {
                "unit": quantities.exponent_unit(self.settings.dt),
                "exponents": self.exponents.tolist(),
                "standard_errors": self.standard_errors.tolist(),
                "intervals_95": self.interval(0.95).tolist(),
                "reliable": self.reliable.tolist(),
                "layer": self.layer.tolist(),
                "memory_times": self.memory_times.tolist(),
                "memory_intervals_95": self.memory_intervals.tolist(),
                "lyapunov_times": self.lyapunov_times.tolist(),
                "lyapunov_intervals_95": self.lyapunov_intervals.tolist(),
                "correlation_times": self.correlation_times.tolist(),
                "lost_at": self.lost_at.tolist(),
                "rank": self.rank,
                **self.quantities(),
                "errors": {name: self.standard_error(name) for name in BY_NAME},
                "mean_standard_error": self.mean_standard_error,
                "mean_count": self.mean_count,
                "volume_residual": self.volume_residual,
                "verdict": str(self.verdict),
                "converged": self.verdict.converged,
                "findings": [finding._asdict() for finding in self.verdict.findings],
                "settings": dataclasses.asdict(self.settings),
            }
        )

    def to_pandas(self) -> Any:
        """A pandas DataFrame with a row per exponent, numbered from 1 (`i`); needs pandas.

        `converged` is that of the whole result, the same in every row; the verdict in words is in `.attrs["verdict"]`.
        """
        interval = self.interval(0.95)
        columns = {
            "exponent": self.exponents,
            "standard_error": self.standard_errors,
            "low_95": interval[:, 0],
            "high_95": interval[:, 1],
            **quantities.time_columns(self.timescales),
            "correlation_time": self.correlation_times,
            "layer": self.layer,
            "reliable": self.reliable,
        }
        pandas = import_optional("pandas", "pandas")
        index = pandas.RangeIndex(1, len(self.exponents) + 1, name="i")
        table = pandas.DataFrame({name: values.numpy() for name, values in columns.items()}, index=index)
        table["converged"] = self.verdict.converged
        table.attrs["verdict"] = str(self.verdict)
        return table

    def save(self, path: str | Path) -> None:
        """One safetensors file with a JSON header; written whole or not at all."""
        tensors, header = {}, {}
        for field in dataclasses.fields(Estimates):
            name, value = field.name, getattr(self, field.name)
            if isinstance(value, Tensor):
                tensors[name] = value.contiguous()
            else:
                header[name] = value
        settings = dataclasses.asdict(self.settings)
        settings[_ON_DISK] = settings.pop("from_initial_state")
        parts = {"estimates": header, "settings": settings, "verdict": self.verdict.findings}
        path = Path(path)
        _checks.writable(path, "path", (".safetensors",))
        metadata = {"format": _FORMAT, "spectrum": json.dumps(json_safe(parts))}
        write_atomically(path, lambda partial: save_file(tensors, partial, metadata=metadata))

    @classmethod
    def load(cls, path: str | Path) -> "Spectrum":
        """A saved spectrum. Raises InvalidInput for a file that is missing or is not one."""
        try:
            with safe_open(path, framework="pt") as file:
                metadata = file.metadata() or {}
                tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        except (SafetensorError, OSError) as error:
            raise InvalidInput(f"Expected a saved spectrum at {path}, got: {error}. Check the path.") from error
        if metadata.get("format") != _FORMAT:
            found = metadata.get("format", "another safetensors file")
            raise InvalidInput(
                f"Expected a saved spectrum of the form {_FORMAT}, got {found}: {path}. Pass a file that this version's "
                "Spectrum.save wrote."
            )
        document = json.loads(metadata["spectrum"])
        settings, header = document["settings"], document["estimates"]
        settings["chosen"] = tuple(settings["chosen"])
        settings["from_initial_state"] = settings.pop(_ON_DISK)
        numbers = {name: _number(value) for name, value in header.items()}
        numbers["rank_window"] = None if header["rank_window"] is None else Window(*header["rank_window"])
        verdict = Verdict(tuple(Finding(*finding) for finding in document["verdict"]))
        return cls(**tensors, **numbers, settings=Settings(**settings), verdict=verdict)

    def __repr__(self) -> str:
        return text_table(self)

    def _repr_html_(self) -> str:
        return html_table(self)


def _number(value: Any) -> Any:
    return float(value) if isinstance(value, str) else value
