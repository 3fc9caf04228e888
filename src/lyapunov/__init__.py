"""Lyapunov spectra of recurrent networks, driven by their real inputs: right, fast, and while they train."""

import sys as _sys

TYPE_CHECKING = False  # for type checkers it is True; the module of that name takes longer to import than the rest of this file
if TYPE_CHECKING:
    from typing import Any as _Any

    from lyapunov import integrations
    from lyapunov.analysis import (
        Comparison,
        ConditionalGap,
        CovariantVectors,
        EchoState,
        EffectiveRemembrance,
        GradientDecay,
        GradientExponents,
        InputReach,
        LocalExponents,
        LoopSpectra,
        Memory,
        Predictability,
        StepJacobian,
        ValidPredictionTime,
        compare,
        covariant_vectors,
        echo_state,
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
        loop_spectra,
        memory,
        predict,
        predictability,
        valid_prediction_time,
    )
    from lyapunov.analysis.training import initialization as init
    from lyapunov.errors import BadSystem, Diverged, InvalidInput, LyapunovError, LyapunovWarning, Unsupported
    from lyapunov.estimate import QR, Difference, Plan, RunOptions, Settings, Spectrum, TimeMean, Verdict, plan, spectrum
    from lyapunov.intake import Captured, ClosedLoop, Problem, capture, closed_loop, problem
    from lyapunov.report import plots
    from lyapunov.systems import Loop, System, known
    from lyapunov.training import Alarm, AlarmThresholds, Monitor, Reading, Run, schedules

    __version__: str

__all__ = [
    "QR",
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
    "EffectiveRemembrance",
    "GradientDecay",
    "GradientExponents",
    "InputReach",
    "InvalidInput",
    "LocalExponents",
    "Loop",
    "LoopSpectra",
    "LyapunovError",
    "LyapunovWarning",
    "Memory",
    "Monitor",
    "Plan",
    "Predictability",
    "Problem",
    "Reading",
    "Run",
    "RunOptions",
    "Settings",
    "Spectrum",
    "StepJacobian",
    "System",
    "TimeMean",
    "Unsupported",
    "ValidPredictionTime",
    "Verdict",
    "__version__",
    "capture",
    "closed_loop",
    "compare",
    "covariant_vectors",
    "echo_state",
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
    "known",
    "local_exponents",
    "loop_spectra",
    "memory",
    "plan",
    "plots",
    "predict",
    "predictability",
    "problem",
    "schedules",
    "spectrum",
    "valid_prediction_time",
]

_HOMES = ("errors", "analysis", "training", "report", "estimate", "intake", "systems")
"""Where the public names are from, in this order: `jacobians` of systems is another.

They are fetched when they are asked for: the command line's help needs no PyTorch.
"""


def _fetched(name: str) -> "_Any":
    """A public name or a part of the package, at its first use."""
    if name == "__version__":
        found: _Any = _imported("importlib.metadata").version("lyapunov")
    elif name == "init":
        found = _imported("lyapunov.analysis.training.initialization")
    elif name in __all__ and name != "integrations":
        homes = (_imported(f"lyapunov.{home}") for home in _HOMES)  # one by one, until one has it
        found = next(getattr(home, name) for home in homes if hasattr(home, name))
    else:
        found = _part(name)
    globals()[name] = found
    return found


def _imported(name: str) -> "_Any":
    __import__(name)
    return _sys.modules[name]


def _part(name: str) -> "_Any":
    """A module of the package."""
    try:
        if not name.startswith("__"):
            return _imported(f"lyapunov.{name}")
    except ModuleNotFoundError as error:
        if error.name != f"lyapunov.{name}":
            raise
    raise AttributeError(f"module 'lyapunov' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})


if not TYPE_CHECKING:
    __getattr__ = _fetched
del TYPE_CHECKING
if "torch" in _sys.modules:  # then there is nothing to be spared by waiting
    for _name in __all__:
        _fetched(_name)
