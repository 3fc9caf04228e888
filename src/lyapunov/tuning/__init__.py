"""Searches over hyperparameters that use spectra in addition to losses, by as many workers as there are."""

from lyapunov.tuning.engines import ENGINES, Engine, mapped
from lyapunov.tuning.forecast import Forecast, forecast
from lyapunov.tuning.order import Order
from lyapunov.tuning.rule import Decision, Record, SpectrumRule, numbers_of
from lyapunov.tuning.search import Standing, rows, search, standing
from lyapunov.tuning.trials import PRUNED, trial_folder

__all__ = [
    "ENGINES",
    "PRUNED",
    "Decision",
    "Engine",
    "Forecast",
    "Order",
    "Record",
    "SpectrumRule",
    "Standing",
    "forecast",
    "mapped",
    "numbers_of",
    "rows",
    "search",
    "standing",
    "trial_folder",
]
