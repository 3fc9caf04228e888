"""A frame through time: the loop, how a frame is orthonormalised and how often, what is lost, sweeps back in time."""

from lyapunov.tangent.criteria import (
    LARGEST,
    MERGED_RATIO,
    NOT_CONVERGING_RATIO,
    SETTLED_RATIO,
    SHADOWED,
    SHORTEST,
    StateMeans,
    Window,
    remaining_distance,
    tolerated_difference,
)
from lyapunov.tangent.divergence import diverged_error, is_finite_state
from lyapunov.tangent.frames import orthonormalise, random_frame, triangularise
from lyapunov.tangent.input_sequences import InputSequences, still_running
from lyapunov.tangent.loop import (
    MAX_BINS,
    NOISE_LIMIT_ADAPTIVE,
    NOISE_LIMIT_FIXED,
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
