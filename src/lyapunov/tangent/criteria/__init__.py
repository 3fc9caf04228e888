"""What is judged along the way: transients of state and frame, rounding, lost directions, a state that drifts."""

from lyapunov.tangent.criteria.alignment import LAST_PART, SHADOWED, Alignment, Sensitivity, leading
from lyapunov.tangent.criteria.burn_in import (
    COLLAPSED,
    NOT_CONVERGING_RATIO,
    SETTLED_RATIO,
    BurnIn,
    burn_in,
    remaining_distance,
    settled_after,
)
from lyapunov.tangent.criteria.collapsed_directions import SUSPICIOUS, CollapsedColumns, RankMonitor, Window
from lyapunov.tangent.criteria.rank import LARGEST
from lyapunov.tangent.criteria.rounding import Rounding
from lyapunov.tangent.criteria.stationarity import PARTS, Stretches
from lyapunov.tangent.criteria.transients import ALIGNED_DIFFERENCE, SHORTEST, Agreement

__all__ = [
    "ALIGNED_DIFFERENCE",
    "COLLAPSED",
    "LARGEST",
    "LAST_PART",
    "NOT_CONVERGING_RATIO",
    "PARTS",
    "SETTLED_RATIO",
    "SHADOWED",
    "SHORTEST",
    "SUSPICIOUS",
    "Agreement",
    "Alignment",
    "BurnIn",
    "CollapsedColumns",
    "RankMonitor",
    "Rounding",
    "Sensitivity",
    "Stretches",
    "Window",
    "burn_in",
    "leading",
    "remaining_distance",
    "settled_after",
]
