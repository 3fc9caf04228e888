"""What is judged along the way: transients of state and frame, rounding, lost directions, a state that drifts."""

from lyapunov.tangent.criteria.burn_in import (
    MERGED_RATIO,
    NOT_CONVERGING_RATIO,
    SETTLED_RATIO,
    BurnIn,
    find_burn_in,
    remaining_distance,
    settled_after,
)
from lyapunov.tangent.criteria.collapsed_directions import SUSPICIOUS, CollapsedColumns, RankMonitor, Window
from lyapunov.tangent.criteria.frame_agreement import ALIGNED_DIFFERENCE, SHORTEST, Agreement, tolerated_difference
from lyapunov.tangent.criteria.rank import LARGEST
from lyapunov.tangent.criteria.rounding import Rounding
from lyapunov.tangent.criteria.second_frames import LAST_PART, SHADOWED, Alignment, Sensitivity, leading
from lyapunov.tangent.criteria.stationarity import PARTS, StateMeans
