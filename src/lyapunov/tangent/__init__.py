"""A frame through time: the loop, how a frame is orthonormalised and how often, what is lost, sweeps back in time."""

from lyapunov.tangent.criteria import (
    ALIGNED_DIFFERENCE,
    COLLAPSED,
    LARGEST,
    NOT_CONVERGING_RATIO,
    SETTLED_RATIO,
    SHADOWED,
    SHORTEST,
    Stretches,
    Window,
    remaining_distance,
)
from lyapunov.tangent.frames import orthonormalise, random_frame, triangularise
from lyapunov.tangent.input_sequences import InputSequences, still_running
from lyapunov.tangent.loop import (
    MAX_BINS,
    NOISE_LIMIT_ADAPTIVE,
    NOISE_LIMIT_FIXED,
    TOLERANCE,
    CheckpointedTrajectory,
    Growth,
    Segment,
    TangentPropagator,
    rollout,
    rollout_diagonal,
    settled_state,
    split,
)
from lyapunov.tangent.rollout_options import DEFAULT_BURN_IN, STRETCHES, RolloutOptions
from lyapunov.tangent.workers import Workers

__all__ = [
    "ALIGNED_DIFFERENCE",
    "COLLAPSED",
    "DEFAULT_BURN_IN",
    "LARGEST",
    "MAX_BINS",
    "NOISE_LIMIT_ADAPTIVE",
    "NOISE_LIMIT_FIXED",
    "NOT_CONVERGING_RATIO",
    "SETTLED_RATIO",
    "SHADOWED",
    "SHORTEST",
    "STRETCHES",
    "TOLERANCE",
    "CheckpointedTrajectory",
    "Growth",
    "InputSequences",
    "RolloutOptions",
    "Segment",
    "Stretches",
    "TangentPropagator",
    "Window",
    "Workers",
    "orthonormalise",
    "random_frame",
    "remaining_distance",
    "rollout",
    "rollout_diagonal",
    "settled_state",
    "split",
    "still_running",
    "triangularise",
]
