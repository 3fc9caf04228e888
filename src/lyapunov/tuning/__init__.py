"""Searches over hyperparameters that use spectra in addition to losses, by as many workers as there are."""

from lyapunov.tuning.engines import ENGINES, Engine, mapped
from lyapunov.tuning.forecast import Forecast, forecast
from lyapunov.tuning.rule import Decision, Record, SpectrumRule, numbers_of
from lyapunov.tuning.search import SearchStatus, rows, search, status
from lyapunov.tuning.search_spec import SearchSpec
from lyapunov.tuning.trials import PRUNED, trial_folder

__all__ = [
    "ENGINES",
    "PRUNED",
    "Decision",
    "Engine",
    "Forecast",
    "Record",
    "SearchSpec",
    "SearchStatus",
    "SpectrumRule",
    "forecast",
    "mapped",
    "numbers_of",
    "rows",
    "search",
    "status",
    "trial_folder",
]
