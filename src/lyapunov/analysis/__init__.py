"""What to do along a trajectory besides its spectrum: gradients, exponents to train by, the directions themselves, budgets."""

from lyapunov.analysis.covariant import CovariantVectors, covariant_vectors
from lyapunov.analysis.decay import GradientDecay, gradient_decay
from lyapunov.analysis.exponent_sum import exponent_sum
from lyapunov.analysis.flossing import floss_, flossing_loss
from lyapunov.analysis.gradients import GradientExponents, gradient_exponents
from lyapunov.analysis.local import LocalExponents, local_exponents
from lyapunov.analysis.plan import Plan, plan

__all__ = [
    "CovariantVectors",
    "GradientDecay",
    "GradientExponents",
    "LocalExponents",
    "Plan",
    "covariant_vectors",
    "exponent_sum",
    "floss_",
    "flossing_loss",
    "gradient_decay",
    "gradient_exponents",
    "local_exponents",
    "plan",
]
