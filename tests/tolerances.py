"""Every tolerance of the suite, with its reason."""

CLOSED_FORM = 1e-10
"""A closed form against forward mode, float64."""
ROUNDING = 1e-12
"""The same arithmetic in another order, float64."""
SINGLE = 2e-4
"""float32 against float64 for one step of numbers of order one."""
EXACT_RUN = 1e-9
"""A run whose exponents are exact at every step (constant or diagonal Jacobians), after alignment."""
ALIGNED = 1e-6
"""A run with a constant Jacobian whose frame has aligned at a finite rate."""
Z = 4.0
"""Standard errors within which a statistical estimate must hold the truth; seeds are fixed."""
RECURRENCE = 2e-3
"""What a finite run may miss through its first and last frame: of order 1 / steps."""


def sampled(standard_error: float, precision: float = 0.0, least: float = 0.0) -> float:
    """Allowed distance of an estimate from a truth that is itself known to `precision`."""
    return Z * standard_error + precision + least
