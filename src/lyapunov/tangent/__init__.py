"""A frame through time: the loop, how a frame is orthonormalised and how often, what is lost, when transients are over."""

from lyapunov.tangent.bins import MAX_BINS
from lyapunov.tangent.interval import TOLERANCE
from lyapunov.tangent.loss import Window
from lyapunov.tangent.orthonormal import orthonormalise, random_frame
from lyapunov.tangent.rollout import ADAPTED, FORCED, Drive, Growth, Schedule, rollout
from lyapunov.tangent.stationarity import Halves
from lyapunov.tangent.transients import AGREED, TOGETHER

__all__ = [
    "ADAPTED",
    "AGREED",
    "FORCED",
    "MAX_BINS",
    "TOGETHER",
    "TOLERANCE",
    "Drive",
    "Growth",
    "Halves",
    "Schedule",
    "Window",
    "orthonormalise",
    "random_frame",
    "rollout",
]
