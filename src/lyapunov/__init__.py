"""Lyapunov spectra of recurrent networks, driven by their real inputs: right, fast, and while they train."""

from importlib.metadata import version

from lyapunov.errors import BadSystem, Diverged, InvalidInput, LyapunovError, LyapunovWarning, Unsupported
from lyapunov.estimate import Settings, Spectrum, spectrum
from lyapunov.report import plots
from lyapunov.systems import System

__version__ = version("lyapunov")

__all__ = [
    "BadSystem",
    "Diverged",
    "InvalidInput",
    "LyapunovError",
    "LyapunovWarning",
    "Settings",
    "Spectrum",
    "System",
    "Unsupported",
    "__version__",
    "plots",
    "spectrum",
]
