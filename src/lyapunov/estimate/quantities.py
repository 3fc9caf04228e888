"""What a spectrum says: pure functions of exponents in descending order, in nats per step (or per unit of time).

`total` is the number of exponents the system has; where the k given ones do not determine a quantity, it is None.
"""

import math

import torch
from torch import Tensor

from lyapunov._shapes import Exponents


def kaplan_yorke_dimension(exponents: Exponents, *, total: int) -> float | None:
    """D = j + (lambda_1 + ... + lambda_j) / |lambda_(j+1)|, j the last index at which the sum is not negative.

    0 where the largest exponent is negative, `total` where the sum of all is not; None where more exponents are needed.
    Source: Kaplan & Yorke 1979.
    """
    sums = exponents.cumsum(0)
    negative = torch.nonzero(sums < 0)
    if len(negative) == 0:
        return float(total) if len(exponents) == total else None
    j = int(negative[0])
    if j == 0:
        return 0.0
    return j + float(sums[j - 1]) / abs(float(exponents[j]))


def entropy_rate(exponents: Exponents, *, total: int) -> float | None:
    """The sum of the positive exponents: an upper bound of the entropy rate (Ruelle), equal to it by Pesin's formula.

    None where all k given exponents are positive and there are more.
    """
    if len(exponents) < total and bool((exponents > 0).all()):
        return None
    return float(exponents.clamp(min=0).sum())


def memory_times(exponents: Exponents) -> Exponents:
    """-1 / lambda: the steps in which a small change along each direction shrinks by e; infinite where it does not shrink."""
    return torch.where(exponents < 0, -1 / exponents, math.inf)


def variance(exponents: Tensor) -> float:
    """The population variance of the finite exponents (0 for one, NaN-free)."""
    finite = exponents[torch.isfinite(exponents)]
    return float(finite.var(correction=0)) if len(finite) else 0.0
