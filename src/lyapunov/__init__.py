"""Lyapunov spectra of recurrent networks, driven by their real inputs: right, fast, and while they train."""

from importlib.metadata import version

from lyapunov import integrations
from lyapunov.analysis import (
    CovariantVectors,
    GradientDecay,
    GradientExponents,
    LocalExponents,
    Plan,
    covariant_vectors,
    exponent_sum,
    floss_,
    flossing_loss,
    gradient_decay,
    gradient_exponents,
    local_exponents,
    plan,
)
from lyapunov.analysis import initialization as init
from lyapunov.errors import BadSystem, Diverged, InvalidInput, LyapunovError, LyapunovWarning, Unsupported
from lyapunov.estimate import Difference, Settings, Spectrum, Verdict, spectrum
from lyapunov.intake import Captured, capture
from lyapunov.report import plots
from lyapunov.systems import System
from lyapunov.training import Alarm, AlarmThresholds, Monitor, Reading, Run, schedules

__version__ = version("lyapunov")

__all__ = [
    "Alarm",
    "AlarmThresholds",
    "BadSystem",
    "Captured",
    "CovariantVectors",
    "Difference",
    "Diverged",
    "GradientDecay",
    "GradientExponents",
    "InvalidInput",
    "LocalExponents",
    "LyapunovError",
    "LyapunovWarning",
    "Monitor",
    "Plan",
    "Reading",
    "Run",
    "Settings",
    "Spectrum",
    "System",
    "Unsupported",
    "Verdict",
    "__version__",
    "capture",
    "covariant_vectors",
    "exponent_sum",
    "floss_",
    "flossing_loss",
    "gradient_decay",
    "gradient_exponents",
    "init",
    "integrations",
    "local_exponents",
    "plan",
    "plots",
    "schedules",
    "spectrum",
]
