"""A frame through time: the loop, how a frame is orthonormalised and how often, what is lost, when transients are over."""

from lyapunov.tangent.bins import MAX_BINS
from lyapunov.tangent.chunks import split
from lyapunov.tangent.drive import Drive
from lyapunov.tangent.factors import rollout_factors
from lyapunov.tangent.growth import Growth, Schedule
from lyapunov.tangent.interval import STRETCHES, TOLERANCE
from lyapunov.tangent.loss import Window
from lyapunov.tangent.orthonormal import orthonormalise, random_frame
from lyapunov.tangent.rank import LARGEST
from lyapunov.tangent.rollout import ADAPTED, FORCED, rollout
from lyapunov.tangent.stationarity import Stretches
from lyapunov.tangent.transients import AGREED, FIXED, FOR_GOOD, TOGETHER
from lyapunov.tangent.workers import Workers

__all__ = [
    "ADAPTED",
    "AGREED",
    "FIXED",
    "FORCED",
    "FOR_GOOD",
    "LARGEST",
    "MAX_BINS",
    "STRETCHES",
    "TOGETHER",
    "TOLERANCE",
    "Drive",
    "Growth",
    "Schedule",
    "Stretches",
    "Window",
    "Workers",
    "orthonormalise",
    "random_frame",
    "rollout",
    "rollout_factors",
    "split",
]
