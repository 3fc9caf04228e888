"""Frames: how they are orthonormalised, what they grew by, and where their columns belong."""

from lyapunov.tangent.frames.leading import Leading
from lyapunov.tangent.frames.orthonormal import (
    ROBUST,
    Orthonormalisation,
    orthonormalise,
    random_frame,
    suited_to,
    triangularise,
)
from lyapunov.tangent.frames.volume_accumulator import Factorization, VolumeAccumulator
