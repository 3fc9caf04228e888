"""A warning that points at the user's own line, however deep in the package it comes up."""

import contextlib
import functools
import sys
import warnings
from pathlib import Path
from types import FrameType

from lyapunov.errors import LyapunovWarning

_OURS = str(Path(__file__).parent)


def warn(message: str) -> None:
    """A LyapunovWarning at the first line outside of this package, of PyTorch's calls and of context managers."""
    frame: FrameType | None = sys._getframe(1)
    level = 1
    while frame is not None and _is_passed_over(frame.f_code.co_filename):
        frame, level = frame.f_back, level + 1
    warnings.warn(message, LyapunovWarning, stacklevel=level + 1)


def _is_passed_over(file: str) -> bool:
    torch = getattr(sys.modules.get("torch"), "__file__", None)
    folders = (_OURS, *([str(Path(torch).parent)] if torch else []))
    return file.startswith(folders) or file in (contextlib.__file__, functools.__file__)


class WarnOnce:
    """Says each thing once."""

    def __init__(self) -> None:
        self._said: set[str] = set()

    def __call__(self, what: str, message: str) -> None:
        """`message` as a warning, where nothing was said of `what` yet."""
        if what not in self._said:
            self._said.add(what)
            warn(message)
