"""A network that feeds itself: driven and free exponents, predictability, forecasts."""

from lyapunov.analysis.closed_loops.comparison import Comparison, compare
from lyapunov.analysis.closed_loops.forecasts import ValidPredictionTime, predict, valid_prediction_time
from lyapunov.analysis.closed_loops.loop_spectra import ConditionalGap, EchoState, LoopSpectra, echo_state, loop_spectra
from lyapunov.analysis.closed_loops.predictability import Predictability, predictability
