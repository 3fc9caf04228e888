"""The loop over time, in its three ways (frames, closed form, sweeps back), and what it counts."""

from lyapunov.tangent.loop.chunks import split
from lyapunov.tangent.loop.growth import Growth
from lyapunov.tangent.loop.propagation import TangentPropagator
from lyapunov.tangent.loop.rollout import NOISE_LIMIT_ADAPTIVE, NOISE_LIMIT_FIXED, rollout
from lyapunov.tangent.loop.rollout_diagonal import rollout_diagonal
from lyapunov.tangent.loop.segments import CheckpointedTrajectory, Segment, settled_state
from lyapunov.tangent.loop.time_bins import MAX_BINS
