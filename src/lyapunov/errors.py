"""What can go wrong, by name. Every message says what was expected, what was received, and what to do."""

from typing import Any


class LyapunovError(Exception):
    """Base of every error this package raises on purpose."""


class InvalidInput(LyapunovError, ValueError):
    """An argument has a value, shape or dtype that cannot be used."""


class Unsupported(LyapunovError, TypeError):
    """An argument is of a kind this package does not analyse."""


class BadSystem(LyapunovError):
    """A step function is not a deterministic, differentiable map from a state to a state of the same shape."""


class Diverged(LyapunovError):
    """The state or the frame became infinite or NaN. `step` counts from the first input; `partial` is a Spectrum or None."""

    def __init__(self, message: str, *, step: int, partial: Any = None) -> None:
        super().__init__(message)
        self.step = step
        self.partial = partial


class LyapunovWarning(UserWarning):
    """The one class of warnings: something was left out or cannot be trusted, and the message says what."""
