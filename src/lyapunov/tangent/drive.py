"""What a run is driven by."""

from typing import Protocol, runtime_checkable

from torch import Tensor

from lyapunov._shapes import Input


@runtime_checkable
class Drive(Protocol):
    """What drives a run."""

    @property
    def batch(self) -> int: ...  # noqa: D102
    @property
    def lengths(self) -> Tensor | None: ...  # noqa: D102
    def at(self, t: int) -> Input: ...  # noqa: D102
