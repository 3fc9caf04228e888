"""Spectrum: the frozen result of a run, with its errors, its verdict, its settings, a table, and a file form."""

import dataclasses
import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from lyapunov import _checks
from lyapunov._atomic import write_atomically
from lyapunov._json_safe import Json, json_safe
from lyapunov._optional import import_optional
from lyapunov._shapes import Exponents
from lyapunov._shown import ExponentSequence, Parts, Shown
from lyapunov.errors import InvalidInput
from lyapunov.estimate._table import parts_of
from lyapunov.estimate.attribution import ByLayer
from lyapunov.estimate.difference import Difference
from lyapunov.estimate.quantities import BY_NAME, SpectrumQuantities
from lyapunov.estimate.settings import Settings
from lyapunov.estimate.statistics import Estimates
from lyapunov.estimate.timescales import exponent_unit, time_columns, time_lists, times
from lyapunov.estimate.verdict import Finding, Verdict
from lyapunov.tangent import Window

if TYPE_CHECKING:
    from pandas import DataFrame

_FORMAT = "lyapunov-spectrum-3"
_ON_DISK = "from_reset"
"""The key of `Settings.from_initial_state` in files of this format."""


@dataclass(frozen=True, eq=False, repr=False)
class Spectrum(ExponentSequence, Shown, SpectrumQuantities):
    """Lyapunov exponents in nats per step (with `dt`, per unit of time). All tensors are float64 on the CPU.

    `spectrum[0]`, `len(spectrum)` and `numpy.asarray(spectrum)` are of the exponents.

    Attributes:
        exponents: (k,), pooled over sequences in QR order, then sorted once, descending; -inf for a direction that is lost.
        standard_errors: (k,), all parts of `error_budget` together. NaN where there is one sequence too short for blocks.
        sampling_errors, burn_in_errors, alignment_errors, rounding_errors: (k,), those parts: what sampling, the burn-in of the
            state, the alignment of the frame and rounding leave.
        degrees: (k,), degrees of freedom of the Student-t intervals.
        correlation_times: (k,), steps over which growth stays correlated.
        per_sequence: (batch, k), each sequence's own exponents, in the order of `exponents`.
        reliable: (k,), False where too much of the column was rounding, or where a full run misses the volume residual.
        lost_at: (k,), the step by which a direction had collapsed in some sequence, -1 where it did not.
        layer: (k,), the layer each exponent belongs to (0 throughout for a coupled or single system); see `by_layer`.
        history, history_steps: (bins, batch, k) and (bins, batch), growth in nats, and the steps behind it, in at most 1000
            bins.
        volume_history, volume_steps: (bins, batch), ln |det J| of all blocks, and the steps at which it was taken, or None.
        volume_residual: |sum of exponents - mean ln |det J|| of a full run, nats per step, or None: what the arithmetic lost.
        rank: how many directions never collapsed; None where k exponents do not tell.
        rank_window: the steps whose product showed the last loss.
        independent: the fraction of the sequences that is independent of each other; below 1 where inputs are copies or
            overlap.
        settings: what was run, and what was chosen for the caller.
        verdict: whether it has converged, and if not, why and what would help.

    Example:
        >>> spectrum = lyapunov.spectrum(torch.nn.RNN(2, 6, batch_first=True), torch.randn(4, 200, 2), k=2)
        >>> len(spectrum), spectrum.max == spectrum.exponents[0].item()
        (2, True)
    """

    def running_estimates(self) -> Tensor:
        """(bins, k): the estimates as they stood after each time bin, pooled over sequences."""
        grown, steps = self.history.sum(1).cumsum(0), self.history_steps.sum(1).cumsum(0)
        return grown / (steps * self.settings.dt).unsqueeze(-1)

    @property
    def memory_times(self) -> Exponents:
        """(k,): -1 / exponent, in steps (with `dt`, in units of time); infinite for a direction that grows.

        NaN, which is "not determined", where the 95 % interval of the exponent holds zero.
        """
        return times(self.timescales, "memory")[:, 0]

    @property
    def memory_intervals(self) -> Tensor:
        """(k, 2): of `memory_times`, from the ends of the exponents' 95 % intervals."""
        return times(self.timescales, "memory")[:, 1:]

    @property
    def lyapunov_times(self) -> Exponents:
        """(k,): 1 / exponent, the steps in which a direction grows e-fold; infinite for one that shrinks, NaN as above."""
        return times(self.timescales, "Lyapunov")[:, 0]

    @property
    def lyapunov_intervals(self) -> Tensor:
        """(k, 2): of `lyapunov_times`, from the ends of the exponents' 95 % intervals."""
        return times(self.timescales, "Lyapunov")[:, 1:]

    @property
    def bits(self) -> Exponents:
        """(k,): the exponents in bits per step, for comparison with code that takes base-2 logarithms."""
        return self.exponents / math.log(2)

    def __sub__(self, other: "Spectrum") -> Difference:
        """The paired difference, exponent by exponent; refuses what did not see the same inputs from the same frames."""
        if not isinstance(other, Spectrum):
            return NotImplemented
        return Difference.of(self, other)

    def difference(self, other: "Spectrum", *, paired: bool = True) -> Difference:
        """`a - b`, also of two spectra that share neither inputs nor frames.

        Args:
            other: the spectrum to subtract.
            paired: False: nothing is taken for common to both, and the error is larger.

        Returns:
            A `Difference`.
        """
        _checks.flag(paired, "paired")
        return Difference.of(self, other) if paired else Difference.unpaired(self, other)

    def by_layer(self) -> ByLayer:
        """Of each layer the largest of its exponents here, its memory, their mean; prints as a table.

        A stack whose layers have frames of their own (the default) says whose each exponent is; `coupled=True` does not.
        """
        return ByLayer.of(self)

    def to_dict(self) -> dict[str, Json]:
        """Plain lists, numbers and strings, ready for JSON: infinities and NaN as strings."""
        found = {
            "unit": exponent_unit(self.settings.dt),
            "exponents": self.exponents.tolist(),
            "standard_errors": self.standard_errors.tolist(),
            "intervals_95": self.interval(0.95).tolist(),
            "reliable": self.reliable.tolist(),
            "layer": self.layer.tolist(),
            **time_lists(self.timescales),
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
        return {name: json_safe(value) for name, value in found.items()}

    def to_pandas(self) -> "DataFrame":
        """A pandas DataFrame with a row per exponent, numbered from 1 (`i`); needs pandas.

        `converged` is that of the whole result, the same in every row; the verdict in words is in `.attrs["verdict"]`.
        """
        interval = self.interval(0.95)
        columns = {
            "exponent": self.exponents,
            "standard_error": self.standard_errors,
            "low_95": interval[:, 0],
            "high_95": interval[:, 1],
            **time_columns(self.timescales),
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
        """Write one safetensors file with a JSON header, whole or not at all.

        Args:
            path: the file.
        """
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
        """A saved spectrum.

        Args:
            path: the file.

        Returns:
            A `Spectrum`.

        Raises:
            InvalidInput: for a file that is missing or is not one.
        """
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

    def _parts(self) -> Parts:
        return parts_of(self)


def _number(value: Any) -> Any:
    return float(value) if isinstance(value, str) else value
