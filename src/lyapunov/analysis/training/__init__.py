"""Exponents that one can train by, and weights scaled to an exponent before training."""

from lyapunov.analysis.training.exponent_sum import exponent_sum
from lyapunov.analysis.training.flossing import floss_, flossing_loss
