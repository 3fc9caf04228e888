"""From growth to numbers one can trust: the estimator, its settings, its result, its errors and its verdict."""

from lyapunov.estimate.difference import Difference
from lyapunov.estimate.errors import DIFFERENT, Errors, errors
from lyapunov.estimate.estimator import spectrum
from lyapunov.estimate.result import Spectrum
from lyapunov.estimate.settings import Settings
from lyapunov.estimate.verdict import Finding, Verdict

__all__ = ["DIFFERENT", "Difference", "Errors", "Finding", "Settings", "Spectrum", "Verdict", "errors", "spectrum"]
