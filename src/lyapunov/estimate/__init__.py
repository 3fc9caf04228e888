"""From growth to numbers one can trust: the estimator, its settings, its result."""

from lyapunov.estimate.estimator import spectrum
from lyapunov.estimate.result import Spectrum
from lyapunov.estimate.settings import Settings

__all__ = ["Settings", "Spectrum", "spectrum"]
