"""What can go wrong, by name. Every message says what was expected, what was received, and what to do."""

from typing import Any


class LyapunovError(Exception):
    """The base class of every error that this package raises on purpose.

    Example:
        >>> issubclass(lyapunov.InvalidInput, lyapunov.LyapunovError)
        True
    """


class InvalidInput(LyapunovError, ValueError):
    """An argument has a value, shape or dtype that cannot be used. The message says what was expected, and what to do.

    Example:
        >>> try:
        ...     lyapunov.spectrum(torch.nn.RNN(2, 3), torch.zeros(5, 4, 7))
        ... except lyapunov.InvalidInput as error:
        ...     print("Expected" in str(error))
        True
    """


class Unsupported(LyapunovError, TypeError):
    """An argument is of a kind that this package does not analyse. The message names what to pass instead.

    Example:
        >>> try:
        ...     lyapunov.spectrum(torch.nn.LSTM(2, 3, bidirectional=True), torch.zeros(5, 4, 2))
        ... except lyapunov.Unsupported as error:
        ...     print("bidirectional" in str(error))
        True
    """


class BadSystem(LyapunovError):
    """A step function is not a deterministic, differentiable map from a state to a state of the same shape.

    Example:
        >>> try:
        ...     lyapunov.spectrum(lambda state, x: state[:, :1] + x, torch.zeros(2, 9, 1), state=torch.zeros(2, 3))
        ... except lyapunov.BadSystem as error:
        ...     print("shape" in str(error))
        True
    """


class Diverged(LyapunovError):
    """The state or the frame became infinite or NaN.

    Args:
        message: what happened, and what to try.
        step: the step at which it happened, counted from the first input.
        partial: the `Spectrum` of the steps before, or None.

    Example:
        >>> try:
        ...     lyapunov.spectrum(lambda state, x: state**2, state=torch.full((1, 1), 3.0), steps=50, settle=0)
        ... except lyapunov.Diverged as error:
        ...     print(error.step < 50)
        True
    """

    def __init__(self, message: str, *, step: int, partial: Any = None) -> None:
        super().__init__(message)
        self.step = step
        self.partial = partial


class LyapunovWarning(UserWarning):
    """The one class of warnings: something was left out or cannot be trusted, and the message says what.

    Example:
        >>> import warnings
        >>> warnings.simplefilter("error", lyapunov.LyapunovWarning)  # be strict: a warning ends the run
    """
