"""When two frames that started differently count as aligned."""

import pytest
import torch

from lyapunov.tangent.criteria.frame_agreement import ALIGNED_DIFFERENCE, LEADING, SHORTEST, Agreement

GROWN = torch.tensor([[4.0, -6.0], [6.0, -4.0]], dtype=torch.float64)
NOWHERE = torch.zeros(2, 1, dtype=torch.float64)


def agreement(*, apart: float, leading: float = 0.0, taken: int = SHORTEST) -> Agreement:
    found = Agreement()
    for _ in range(2):
        found.add(taken, GROWN, GROWN + apart, NOWHERE + leading)
    return found


def test_frames_that_grow_alike_agree_after_enough_steps() -> None:
    found = agreement(apart=0.0)
    assert found.distance == 0.0
    assert found.reached
    assert agreement(apart=0.0, taken=SHORTEST // 2).reached
    assert not agreement(apart=0.0, taken=SHORTEST // 2 - 1).reached


def test_the_distance_is_the_difference_of_the_exponents_and_not_of_what_they_have_in_common() -> None:
    limit = ALIGNED_DIFFERENCE * SHORTEST
    assert agreement(apart=0.5 * limit).distance == pytest.approx(0.5 * ALIGNED_DIFFERENCE)
    assert agreement(apart=0.9 * limit).reached
    assert not agreement(apart=1.1 * limit).reached


def test_leading_columns_must_agree_too() -> None:
    assert agreement(apart=0.0, leading=0.9 * LEADING).reached
    assert not agreement(apart=0.0, leading=1.1 * LEADING).reached
