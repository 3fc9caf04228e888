"""Every tolerance of the suite, with its reason."""

import re
from typing import Any

import pytest
import torch

CLOSED_FORM = 1e-10
"""A closed form against forward mode, float64."""
ROUNDING = 1e-12
"""The same arithmetic in another order, float64."""
SINGLE = 2e-4
"""float32 against float64 for one step of numbers of order one."""
EXACT_RUN = 1e-9
"""A run whose exponents are exact at every step (constant or diagonal Jacobians), after alignment."""
FIRST_COLUMNS = 1e-8
"""Log growth of the same column among few and among many, over a few steps."""
ALIGNED = 1e-6
"""A run with a constant Jacobian whose frame has aligned at a finite rate."""
Z = 4.0
"""Standard errors within which a statistical estimate must hold the truth; seeds are fixed."""
NAIVE = 1e-9
"""The same frames by another way: reverse mode and NumPy's QR, over some twenty steps."""
GRADIENTS = 1e-10
"""The gradient of a sum of exponents by two sweeps against autograd through the QR, relative."""
DENSE = 1e-9
"""ln of singular values of a product by frames against those of the dense product, down to a condition of 1e5."""
COVARIANCE = 1e-8
"""A covariant vector pushed through a step against the next one, float64."""
DIFFERENCES = 1e-6
"""A central difference of a smooth function against its derivative, relative."""
RECURRENCE = 2e-3
"""What a finite run may miss through its first and last frame: of order 1 / steps."""
MEAN_FIELD_LARGEST = 0.005
"""N = 1000 against N -> infinity: the finite size moves the largest exponent by up to 2.7 / N."""
MEAN_FIELD_RMS = 0.03
"""N = 300, upper 90 % of the spectrum, averaged over draws of the weights."""
MEAN_FIELD_FINITE_SIZE = 0.004
"""Mean, entropy, dimension per unit at N = 300 and gain 3, where the positive exponents (a share of 0.17) are shifted by 0.009:
the entropy by 0.0015, the dimension by 0.009 x 0.288 over the exponent there, -0.6. Draws of the weights come on top."""
RELU_RMS = 0.05
"""N = 120, upper 40 %, one draw of the weights."""


def sampled(standard_error: float, precision: float = 0.0, least: float = 0.0) -> float:
    """Allowed distance of an estimate from a truth that is itself known to `precision`."""
    return Z * standard_error + precision + least


SAME = 1e-6
"""Exponents of the same computation, with its numbers laid out in another way in memory, or on another processor. The last
digits of sums differ then, and an interval left open allows rounding of up to 2e-5 in what remains of a column. Other weights,
inputs, states or first frames move exponents a hundred times as far."""


PRINTED = 2e-4
"""A printed number, on another processor."""
_NUMBER = re.compile(r"-?\d+\.\d+(?:e-?\d+)?")


def assert_same_text(printed: str, promised: str) -> None:
    """Word for word, and number for number to within PRINTED."""
    assert _NUMBER.sub("#", printed).split() == _NUMBER.sub("#", promised).split()
    one, two = ([float(number) for number in _NUMBER.findall(text)] for text in (printed, promised))
    assert one == pytest.approx(two, abs=PRINTED, rel=1e-6)


def same(one: Any, two: Any) -> bool:
    """Whether two sets of exponents come from the same computation: equal to within SAME, and -inf in the same places."""
    first, second = (torch.as_tensor(values, dtype=torch.float64) for values in (one, two))
    return first.shape == second.shape and torch.allclose(first, second, rtol=0, atol=SAME)
