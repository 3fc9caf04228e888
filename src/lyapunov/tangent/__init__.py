"""A frame through time: the loop, how a frame is orthonormalised and how often, what is lost, sweeps back in time."""

from lyapunov.tangent.alignment import SHADOWED
from lyapunov.tangent.burn_in import COLLAPSED, NOT_CONVERGING_RATIO, SETTLED_RATIO, remaining_distance
from lyapunov.tangent.chunks import split
from lyapunov.tangent.collapsed_directions import Window
from lyapunov.tangent.growth import Growth
from lyapunov.tangent.input_sequences import InputSequences, still_running
from lyapunov.tangent.interval import TOLERANCE
from lyapunov.tangent.orthonormal import orthonormalise, random_frame, triangularise
from lyapunov.tangent.propagation import TangentPropagator
from lyapunov.tangent.rank import LARGEST
from lyapunov.tangent.rollout import NOISE_LIMIT_ADAPTIVE, NOISE_LIMIT_FIXED, rollout
from lyapunov.tangent.rollout_diagonal import rollout_diagonal
from lyapunov.tangent.rollout_options import DEFAULT_BURN_IN, STRETCHES, RolloutOptions
from lyapunov.tangent.segments import CheckpointedTrajectory, Segment, settled_state
from lyapunov.tangent.stationarity import Stretches
from lyapunov.tangent.time_bins import MAX_BINS
from lyapunov.tangent.transients import ALIGNED_DIFFERENCE, SHORTEST
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
