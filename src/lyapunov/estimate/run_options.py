"""How a spectrum is run: the way, how long state and frame burn in, precision and seed."""

from dataclasses import dataclass

import torch

from lyapunov import _checks
from lyapunov.errors import InvalidInput


@dataclass(frozen=True)
class QR:
    """Frames that are orthonormalised: for any system.

    Attributes:
        every: steps between orthonormalisations; None: as many as the arithmetic bears, tried and rolled back where too many.
        chunks: pieces of each sequence that run side by side, each aligned over steps that the one before still counts.

    Raises:
        InvalidInput: where one of them is no whole number above zero.

    Example:
        >>> lyapunov.RunOptions(method=lyapunov.QR(every=5)).method.every
        5
    """

    every: int | None = None
    chunks: int = 1

    def __post_init__(self) -> None:
        if self.every is not None:
            _checks.whole_number(self.every, "every", least=1)
        _checks.whole_number(self.chunks, "chunks", least=1)


@dataclass(frozen=True)
class TimeMean:
    """Time means of ln |diag J|: for systems whose Jacobians are triangular, whose exponents have this closed form.

    Example:
        >>> lyapunov.RunOptions(method=lyapunov.TimeMean()).method
        TimeMean()
    """


@dataclass(frozen=True)
class RunOptions:
    """How a spectrum is run. None leaves it to the run, whose choice is in the result's `.settings`.

    Attributes:
        settle, align: steps of burn-in for the state, then for the frame; not counted. None: found in the data.
        from_initial_state: the network as trained, from its initial state, nothing discarded: finite-time exponents.
        method: `QR(every=..., chunks=...)`, or `TimeMean()`. None: the time mean where Jacobians are triangular, else QR.
        dtype: of the computation; None: float64, and float32 for the leading exponents of a `Monitor`.
        seed: of the frames, one per sequence.
        compile: whether a step of your own is compiled for the run. None: where the run would take more than half a minute.

    Raises:
        InvalidInput: where a setting is none that it knows, or where `from_initial_state` excludes it.

    Example:
        >>> options = lyapunov.RunOptions(settle=50, align=50)
        >>> lyapunov.spectrum(torch.nn.GRU(2, 6), torch.randn(400, 3, 2), options=options).settings.settle
        50
    """

    settle: int | None = None
    align: int | None = None
    from_initial_state: bool = False
    method: QR | TimeMean | None = None
    dtype: torch.dtype | None = None
    seed: int = 0
    compile: bool | None = None

    def __post_init__(self) -> None:
        _checks.flag(self.from_initial_state, "from_initial_state")
        _checks.whole_number(self.seed, "seed", least=0)
        if self.compile is not None:
            _checks.flag(self.compile, "compile")
        if self.dtype is not None:
            _checks.one_of(self.dtype, (torch.float64, torch.float32), "dtype")
        if not isinstance(self.method, QR | TimeMean | None):
            raise InvalidInput(
                f"Expected `method` to be lyapunov.QR(...), lyapunov.TimeMean() or None, got {self.method!r}. Pass one of them."
            )
        for name, value in (("settle", self.settle), ("align", self.align)):
            self._check_burn_in(name, value)
        if self.from_initial_state and isinstance(self.method, QR) and self.method.chunks > 1:
            raise InvalidInput(
                f"Expected `chunks` left out with from_initial_state=True, got {self.method.chunks}. There is one start and "
                "one whole run."
            )

    def _check_burn_in(self, name: str, value: int | None) -> None:
        if self.from_initial_state and value:
            raise InvalidInput(
                f"Expected `{name}` left out with from_initial_state=True, got {value}. From there, nothing is discarded."
            )
        if value is not None:
            _checks.whole_number(value, name, least=0)
