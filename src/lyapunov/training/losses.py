"""Losses between readings, added up without waiting for a device."""

from collections.abc import Mapping
from numbers import Real

import torch
from torch import Tensor

from lyapunov.errors import InvalidInput


class Losses:
    """Means over what was reported since the last reading."""

    def __init__(self) -> None:
        self._sums: dict[str, float | Tensor] = {}
        self._counts: dict[str, int] = {}

    def add(self, losses: Mapping[str, object]) -> None:
        """One step's; None is passed over."""
        for name, value in losses.items():
            if value is not None:
                self._sums[name] = self._sums.get(name, 0.0) + _number(value, name)
                self._counts[name] = self._counts.get(name, 0) + 1

    @property
    def any(self) -> bool:
        """Whether anything was reported."""
        return bool(self._counts)

    def take(self) -> dict[str, float]:
        """The means, and a new start."""
        means = {name: float(total) / self._counts[name] for name, total in self._sums.items()}
        self._sums, self._counts = {}, {}
        return means


def _number(value: object, name: str) -> float | Tensor:
    if isinstance(value, Tensor) and value.numel() == 1 and not value.is_complex():
        return value.detach().reshape(()).to(torch.float32 if value.device.type == "mps" else torch.float64)
    if isinstance(value, Real):
        return float(value)
    found = f"a tensor of shape {tuple(value.shape)}" if isinstance(value, Tensor) else repr(value)
    raise InvalidInput(f"Expected the loss `{name}` to be one number, got {found}. Pass its mean.")
