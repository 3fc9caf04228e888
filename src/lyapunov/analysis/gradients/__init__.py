"""What gradients see of the past: through a readout, a loss or a whole model, over lags."""

from lyapunov.analysis.gradients.gradient_decay import GradientDecay, gradient_decay
from lyapunov.analysis.gradients.gradient_exponents import GradientExponents, gradient_exponents
from lyapunov.analysis.gradients.input_reach import InputReach, input_reach
from lyapunov.analysis.gradients.jacobians import StepJacobian, jacobians
