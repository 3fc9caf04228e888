"""Lyapunov spectra of recurrent networks, driven by their real inputs: right, fast, and while they train."""

from importlib.metadata import version

from lyapunov import integrations
from lyapunov.analysis import (
    Comparison,
    ConditionalGap,
    CovariantVectors,
    EchoState,
    GradientDecay,
    GradientExponents,
    LocalExponents,
    LoopSpectra,
    Plan,
    Predictability,
    ValidPredictionTime,
    compare,
    covariant_vectors,
    echo_state,
    exponent_sum,
    floss_,
    flossing_loss,
    gradient_decay,
    gradient_exponents,
    local_exponents,
    loop_spectra,
    plan,
    predict,
    predictability,
    valid_prediction_time,
)
from lyapunov.analysis import initialization as init
from lyapunov.errors import BadSystem, Diverged, InvalidInput, LyapunovError, LyapunovWarning, Unsupported
from lyapunov.estimate import Difference, Settings, Spectrum, Verdict, spectrum
from lyapunov.intake import Captured, ClosedLoop, capture, closed_loop
from lyapunov.report import plots
from lyapunov.systems import System, known
from lyapunov.training import Alarm, AlarmThresholds, Monitor, Reading, Run, schedules

__version__ = version("lyapunov")

__all__ = [
    "Alarm",
    "AlarmThresholds",
    "BadSystem",
    "Captured",
    "ClosedLoop",
    "Comparison",
    "ConditionalGap",
    "CovariantVectors",
    "Difference",
    "Diverged",
    "EchoState",
    "GradientDecay",
    "GradientExponents",
    "InvalidInput",
    "LocalExponents",
    "LoopSpectra",
    "LyapunovError",
    "LyapunovWarning",
    "Monitor",
    "Plan",
    "Predictability",
    "Reading",
    "Run",
    "Settings",
    "Spectrum",
    "System",
    "Unsupported",
    "ValidPredictionTime",
    "Verdict",
    "__version__",
    "capture",
    "closed_loop",
    "compare",
    "covariant_vectors",
    "echo_state",
    "exponent_sum",
    "floss_",
    "flossing_loss",
    "gradient_decay",
    "gradient_exponents",
    "init",
    "integrations",
    "known",
    "local_exponents",
    "loop_spectra",
    "plan",
    "plots",
    "predict",
    "predictability",
    "schedules",
    "spectrum",
    "valid_prediction_time",
]
