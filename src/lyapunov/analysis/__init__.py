"""What to do along a trajectory besides its spectrum: gradients, exponents to train by, the directions themselves, budgets."""

from lyapunov.analysis.comparison import Comparison, compare
from lyapunov.analysis.covariant import CovariantVectors, covariant_vectors
from lyapunov.analysis.decay import GradientDecay, gradient_decay
from lyapunov.analysis.exponent_sum import exponent_sum
from lyapunov.analysis.flossing import floss_, flossing_loss
from lyapunov.analysis.forecasts import ValidPredictionTime, predict, valid_prediction_time
from lyapunov.analysis.gradients import GradientExponents, gradient_exponents
from lyapunov.analysis.input_reach import InputReach, input_reach
from lyapunov.analysis.jacobians import StepJacobian, jacobians
from lyapunov.analysis.local import LocalExponents, local_exponents
from lyapunov.analysis.loop_spectra import ConditionalGap, EchoState, LoopSpectra, echo_state, loop_spectra
from lyapunov.analysis.memory import Memory, memory
from lyapunov.analysis.plan import Plan, plan
from lyapunov.analysis.predictability import Predictability, predictability
from lyapunov.analysis.remembrance import EffectiveRemembrance, effective_remembrance, effective_state_size

__all__ = [
    "Comparison",
    "ConditionalGap",
    "CovariantVectors",
    "EchoState",
    "EffectiveRemembrance",
    "GradientDecay",
    "GradientExponents",
    "InputReach",
    "LocalExponents",
    "LoopSpectra",
    "Memory",
    "Plan",
    "Predictability",
    "StepJacobian",
    "ValidPredictionTime",
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
    "input_reach",
    "jacobians",
    "local_exponents",
    "loop_spectra",
    "memory",
    "plan",
    "predict",
    "predictability",
    "valid_prediction_time",
]
