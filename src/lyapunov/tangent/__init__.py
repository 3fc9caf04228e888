"""A frame through time: the loop, and how a frame is orthonormalised."""

from lyapunov.tangent.orthonormal import orthonormalise, random_frame
from lyapunov.tangent.rollout import TOLERANCE, Drive, Growth, Schedule, rollout

__all__ = ["TOLERANCE", "Drive", "Growth", "Schedule", "orthonormalise", "random_frame", "rollout"]
