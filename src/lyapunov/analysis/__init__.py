"""What to do along a trajectory besides its spectrum: gradients, exponents to train by, the directions themselves, budgets."""

from lyapunov.analysis.covariant import CovariantVectors, covariant_vectors
from lyapunov.analysis.decay import GradientDecay, gradient_decay
from lyapunov.analysis.flossing import floss_, flossing
from lyapunov.analysis.gradients import GradientExponents, gradient_exponents
from lyapunov.analysis.growth import growth
from lyapunov.analysis.local import LocalExponents, local_exponents
from lyapunov.analysis.plan import Plan, plan

__all__ = [
    "CovariantVectors",
    "GradientDecay",
    "GradientExponents",
    "LocalExponents",
    "Plan",
    "covariant_vectors",
    "floss_",
    "flossing",
    "gradient_decay",
    "gradient_exponents",
    "growth",
    "local_exponents",
    "plan",
]
