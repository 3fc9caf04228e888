"""What to do along a trajectory besides its spectrum: gradients, exponents to train by, the directions themselves, budgets."""

from lyapunov.analysis.comparison import Comparison, compare
from lyapunov.analysis.covariant import CovariantVectors, covariant_vectors
from lyapunov.analysis.decay import GradientDecay, gradient_decay
from lyapunov.analysis.exponent_sum import exponent_sum
from lyapunov.analysis.flossing import floss_, flossing_loss
from lyapunov.analysis.forecasts import ValidPredictionTime, predict, valid_prediction_time
from lyapunov.analysis.gradients import GradientExponents, gradient_exponents
from lyapunov.analysis.local import LocalExponents, local_exponents
from lyapunov.analysis.loop_spectra import ConditionalGap, EchoState, LoopSpectra, echo_state, loop_spectra
from lyapunov.analysis.plan import Plan, plan
from lyapunov.analysis.predictability import Predictability, predictability

__all__ = [
    "Comparison",
    "ConditionalGap",
    "CovariantVectors",
    "EchoState",
    "GradientDecay",
    "GradientExponents",
    "LocalExponents",
    "LoopSpectra",
    "Plan",
    "Predictability",
    "ValidPredictionTime",
    "compare",
    "covariant_vectors",
    "echo_state",
    "exponent_sum",
    "floss_",
    "flossing_loss",
    "gradient_decay",
    "gradient_exponents",
    "local_exponents",
    "loop_spectra",
    "plan",
    "predict",
    "predictability",
    "valid_prediction_time",
]
