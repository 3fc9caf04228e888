"""Growth as a run would have counted it, made by hand: for everything that is concluded from it."""

from typing import Any

import torch
from torch import Tensor

from cases import drawn
from lyapunov.estimate.settings import Settings
from lyapunov.estimate.statistics import Estimates, estimates
from lyapunov.estimate.verdict import Verdict, judge
from lyapunov.tangent import Growth

F64 = torch.float64


def grown(rates: Tensor, *, bins: int, spread: float = 0.0, seed: int = 0) -> Tensor:
    """(bins, batch, columns) from rates (batch, columns), with white noise on top."""
    return rates + spread * drawn(bins, *rates.shape, seed=seed)


def counted(log_growth: Tensor, **given: Any) -> Growth:
    """A run of one step per bin, aligned for 50 steps, whose parts are `given`."""
    bins, batch, columns = log_growth.shape
    defaults = {
        "steps": torch.ones(bins, batch, dtype=F64),
        "noise": torch.zeros(columns, dtype=F64),
        "block": torch.zeros(columns, dtype=torch.long),
        "lost_since": torch.full((batch, columns), -1),
        "window": None,
        "log_volume": None,
        "volume_steps": None,
        "residual": torch.zeros(batch, 1, dtype=F64),
        "residual_steps": torch.zeros(batch, dtype=F64),
        "drift": None,
        "settle": 10,
        "align": 50,
        "count": bins,
        "qr_every": 1,
        "distance": None,
        "disagreement": None,
    }
    return Growth(log_growth, **{**defaults, **given})


def estimated_from(growth: Growth, **given: Any) -> Estimates:
    """All columns of a system of one block."""
    columns = growth.log_growth.shape[-1]
    return estimates(growth, **{"k": columns, "sizes": (columns,), "dt": 1.0, "tolerated": 1.0, **given})


def settings_of(growth: Growth) -> Settings:
    """Those of a run that counted this."""
    columns = growth.log_growth.shape[-1]
    texts = {"system": "made", "dtype": "float64", "source_dtype": "float64", "device": "cpu", "inputs": "0"}
    open_or_not = {"linearization": "full", "coupled": False, "from_initial_state": False, "chosen": ()}
    found = {name: getattr(growth, name) for name in ("settle", "align", "count", "qr_every")}
    numbers = {"size": columns, "k": columns, "batch": growth.steps.shape[1], "seed": 0, **found}
    return Settings(**texts, **open_or_not, **numbers, dt=1.0)


def judged(growth: Growth) -> Verdict:
    """The verdict on a run that counted this."""
    return judge(estimated_from(growth), settings_of(growth), growth, ())
