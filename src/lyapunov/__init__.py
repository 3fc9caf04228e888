"""Lyapunov spectra of recurrent networks, driven by their real inputs: right, fast, and while they train."""

from importlib.metadata import version

from lyapunov import integrations
from lyapunov.analysis import (
    CovariantVectors,
    EffectiveRemembrance,
    GradientDecay,
    GradientExponents,
    InputReach,
    LocalExponents,
    Memory,
    Plan,
    StepJacobian,
    covariant_vectors,
    effective_remembrance,
    effective_state_size,
    exponent_sum,
    floss_,
    flossing_loss,
    gradient_decay,
    gradient_exponents,
    input_reach,
    jacobians,
    local_exponents,
    memory,
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
    "EffectiveRemembrance",
    "GradientDecay",
    "GradientExponents",
    "InputReach",
    "InvalidInput",
    "LocalExponents",
    "LyapunovError",
    "LyapunovWarning",
    "Memory",
    "Monitor",
    "Plan",
    "Reading",
    "Run",
    "Settings",
    "Spectrum",
    "StepJacobian",
    "System",
    "Unsupported",
    "Verdict",
    "__version__",
    "capture",
    "covariant_vectors",
    "effective_remembrance",
    "effective_state_size",
    "exponent_sum",
    "floss_",
    "flossing_loss",
    "gradient_decay",
    "gradient_exponents",
    "init",
    "input_reach",
    "integrations",
    "jacobians",
    "local_exponents",
    "memory",
    "plan",
    "plots",
    "schedules",
    "spectrum",
]
