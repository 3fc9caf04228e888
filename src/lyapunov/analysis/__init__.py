"""Along a trajectory: what gradients and outputs keep of the past, directions, exponents to train by, closed loops."""

from lyapunov.analysis.closed_loops import (
    Comparison,
    ConditionalGap,
    EchoState,
    LoopSpectra,
    Predictability,
    ValidPredictionTime,
    compare,
    echo_state,
    loop_spectra,
    predict,
    predictability,
    valid_prediction_time,
)
from lyapunov.analysis.directions import CovariantVectors, LocalExponents, covariant_vectors, local_exponents
from lyapunov.analysis.gradients import (
    GradientDecay,
    GradientExponents,
    InputReach,
    StepJacobian,
    gradient_decay,
    gradient_exponents,
    input_reach,
    jacobians,
)
from lyapunov.analysis.memory import EffectiveRemembrance, Memory, effective_remembrance, effective_state_size, memory
from lyapunov.analysis.training import exponent_sum, floss_, flossing_loss
