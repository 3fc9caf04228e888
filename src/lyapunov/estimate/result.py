"""Spectrum: the frozen result of a run, with its errors, its settings, a table, and a file form."""

import dataclasses
import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from lyapunov import _checks
from lyapunov._plain import plain
from lyapunov._shapes import Exponents
from lyapunov.errors import InvalidInput
from lyapunov.estimate import quantities
from lyapunov.estimate._table import html_table, text_table
from lyapunov.estimate.settings import Settings
from lyapunov.estimate.statistics import Estimates, between_sequences, student_quantile

_FORMAT = "lyapunov-spectrum-1"


@dataclass(frozen=True, eq=False, repr=False)
class Spectrum(Estimates):
    """Lyapunov exponents in nats per step (with `dt`, per unit of time). All tensors are float64 on the CPU.

    exponents (k,): pooled over sequences in QR order, then sorted once, descending; -inf for a direction that is lost.
    standard_errors (k,): from differences between sequences; NaN where there is only one.
    per_sequence (batch, k): each sequence's own, in the order of `exponents`.
    reliable (k,): False where an exponent fell below the floor of the arithmetic, lambda_1 + (ln u + ln 1000) / qr_every.
    layer (k,): the layer each exponent belongs to (0 throughout for a coupled or single system).
    history (bins, batch, k) and history_steps (bins, batch): growth in nats, and the steps behind it, in at most 1000 bins.
    volume_mean and volume_mean_error: the mean over all n exponents by ln |det J|, where that was counted (see `mean`).
    """

    settings: Settings

    def running(self) -> Tensor:
        """(bins, k): the estimates as they stood after each time bin, pooled over sequences."""
        grown, steps = self.history.sum(1).cumsum(0), self.history_steps.sum(1).cumsum(0)
        return grown / (steps * self.settings.dt).unsqueeze(-1)

    def interval(self, level: float = 0.95) -> Tensor:
        """(k, 2): Student-t intervals from the differences between sequences; NaN with one sequence."""
        if not 0 < level < 1:
            raise InvalidInput(f"Expected `level` between 0 and 1, got {level!r}. Pass 0.95 for a 95 % interval.")
        batch = len(self.per_sequence)
        half = self.standard_errors * (student_quantile(level, batch - 1) if batch > 1 else math.nan)
        return torch.stack([self.exponents - half, self.exponents + half], dim=-1)

    @property
    def is_full(self) -> bool:
        """Whether all n exponents were computed."""
        return len(self.exponents) == self.settings.size

    @property
    def max(self) -> float:
        """The largest exponent."""
        return float(self.exponents[0])

    @property
    def min(self) -> float | None:
        """The smallest of all n exponents; None if not all were computed, or if it lies below the precision floor."""
        return float(self.exponents[-1]) if self.is_full and bool(self.reliable[-1]) else None

    @property
    def mean(self) -> float | None:
        """The mean over all n exponents: from ln |det J| where the system has it, whatever k; else from a full run.

        In a full run with lost or unreliable directions and no determinant, the mean of the others (`mean_count` of them).
        """
        if self.volume_mean is not None:
            return self.volume_mean
        return float(self.exponents[self._usable].mean()) if self.mean_count else None

    @property
    def mean_standard_error(self) -> float | None:
        """One standard error of `mean`, from differences between sequences."""
        if self.volume_mean is not None:
            return self.volume_mean_error
        if not self.mean_count:
            return None
        means = self.per_sequence[:, self._usable].mean(dim=-1, keepdim=True)
        return float(between_sequences(means, self.history_steps.sum(0)))

    @property
    def mean_count(self) -> int:
        """How many exponents are behind `mean`; 0 where it is None."""
        if self.volume_mean is not None:
            return self.settings.size
        return int(self._usable.sum()) if self.is_full else 0

    @property
    def variance(self) -> float | None:
        """The variance over the finite exponents of a full run; None if not all were computed and reliable."""
        return quantities.variance(self.exponents) if self.is_full and bool(self.reliable.all()) else None

    @property
    def sum(self) -> float | None:
        """The sum over all n exponents, the rate of change of volume; -inf where a direction is lost."""
        if self.is_full and bool(self.exponents.isneginf().any()):
            return -math.inf
        return self.mean * self.settings.size if self.mean is not None and self.mean_count == self.settings.size else None

    @property
    def volume_residual(self) -> float | None:
        """|sum of exponents - mean ln |det J|| of a full run, in nats per step: what the arithmetic lost. None without it."""
        if not self.is_full or self.volume_mean is None:
            return None
        return abs(float(self.exponents.sum()) - self.volume_mean * self.settings.size)

    @property
    def kaplan_yorke_dimension(self) -> float | None:
        """See `quantities.kaplan_yorke_dimension`; None where more (or more reliable) exponents are needed."""
        return quantities.kaplan_yorke_dimension(self._trusted_head, total=self.settings.size)

    @property
    def entropy_rate(self) -> float | None:
        """The sum of the positive exponents, nats per step; None where more exponents are needed."""
        return quantities.entropy_rate(self._trusted_head, total=self.settings.size)

    @property
    def memory_times(self) -> Exponents:
        """(k,): -1 / exponent, in steps (with `dt`, in units of time); infinite for those not negative."""
        return quantities.memory_times(self.exponents)

    @property
    def bits(self) -> Exponents:
        """(k,): the exponents in bits per step, for comparison with code that takes base-2 logarithms."""
        return self.exponents / math.log(2)

    @property
    def _usable(self) -> Tensor:
        return torch.isfinite(self.exponents) & self.reliable

    @property
    def _trusted_head(self) -> Exponents:
        """The exponents before the first unreliable one (unreliable ones are the smallest)."""
        unreliable = torch.nonzero(~self.reliable)
        return self.exponents[: int(unreliable[0])] if len(unreliable) else self.exponents

    def quantities(self) -> dict[str, float | None]:
        """The derived numbers, by name."""
        names = ("max", "min", "mean", "variance", "sum", "kaplan_yorke_dimension", "entropy_rate")
        return {name: getattr(self, name) for name in names}

    def to_dict(self) -> dict[str, Any]:
        """Plain lists, numbers and strings, ready for JSON: infinities and NaN as strings."""
        return plain(
            {
                "unit": "nats per step" if self.settings.dt == 1 else "nats per unit of time",
                "exponents": self.exponents.tolist(),
                "standard_errors": self.standard_errors.tolist(),
                "reliable": self.reliable.tolist(),
                "layer": self.layer.tolist(),
                "memory_times": self.memory_times.tolist(),
                **self.quantities(),
                "mean_standard_error": self.mean_standard_error,
                "mean_count": self.mean_count,
                "settings": dataclasses.asdict(self.settings),
            }
        )

    def save(self, path: str | Path) -> None:
        """One safetensors file with a JSON header; written whole or not at all."""
        tensors, header = {}, {}
        for field in dataclasses.fields(Estimates):
            name, value = field.name, getattr(self, field.name)
            if isinstance(value, Tensor):
                tensors[name] = value.contiguous()
            else:
                header[name] = value
        document = json.dumps(plain({"estimates": header, "settings": dataclasses.asdict(self.settings)}))
        path = Path(path)
        _checks.writable(path, "path", (".safetensors",))
        partial = path.with_name(path.name + ".partial")
        save_file(tensors, partial, metadata={"format": _FORMAT, "spectrum": document})
        partial.replace(path)

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
            raise InvalidInput(
                f"Expected a saved spectrum, got another safetensors file: {path}. Pass a file that Spectrum.save wrote."
            )
        document = json.loads(metadata["spectrum"])
        settings = document["settings"]
        settings["chosen"] = tuple(settings["chosen"])
        numbers = {name: _number(value) for name, value in document["estimates"].items()}
        return cls(**tensors, **numbers, settings=Settings(**settings))

    def __repr__(self) -> str:
        return text_table(self)

    def _repr_html_(self) -> str:
        return html_table(self)


def _number(value: Any) -> Any:
    return float(value) if isinstance(value, str) else value
