"""From growth to numbers one can trust: the estimator, its settings, its result, its errors and its verdict."""

from lyapunov._shown import aligned, number, shown_rows
from lyapunov.estimate.difference import Difference
from lyapunov.estimate.estimator import WarmStart, estimate_spectrum, spectrum
from lyapunov.estimate.plan import Plan, plan
from lyapunov.estimate.quantities import DIMENSION, ENTROPY, IN_READINGS, READING_NAMES
from lyapunov.estimate.result import Spectrum
from lyapunov.estimate.run_options import QR, RunOptions, TimeMean
from lyapunov.estimate.settings import Settings
from lyapunov.estimate.standard_errors import (
    DIFFERENT,
    TIMES_PER_BLOCK,
    StandardErrors,
    checked_level,
    half_widths,
    standard_errors,
)
from lyapunov.estimate.timescales import TIME_NAMES, Timescale, exponent_unit, memory_time
from lyapunov.estimate.verdict import ENOUGH_BLOCKS, Finding, Verdict
