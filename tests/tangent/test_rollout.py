"""The loop over time: what is lost stays lost, what fell below the floor stays marked, and bins hold what they say."""

import math

import pytest
import torch
from torch import Tensor

from lyapunov.intake import Sequences
from lyapunov.systems import Step
from lyapunov.tangent import Schedule, rollout

F64 = torch.float64
START = torch.zeros(1, 2, dtype=F64)
DIAGONAL = Step(lambda s, x: s * x, START, dtype=F64)
"""s' = diag(x) s: with the identity as first frame, column i grows by ln x_i, exactly."""


def run(diagonals: list[tuple[float, float]], align: int = 0, qr_every: int = 1, lengths: Tensor | None = None):
    values = torch.tensor(diagonals, dtype=F64).unsqueeze(1)
    drive = Sequences(values, 1, len(diagonals), lengths)
    schedule = Schedule(0, align, len(diagonals) - align, qr_every)
    return rollout(DIAGONAL, drive, START, torch.eye(2, dtype=F64).unsqueeze(0), schedule)


@pytest.mark.parametrize("align", [0, 3])
def test_a_direction_lost_once_is_lost_for_ever(align: int) -> None:
    growth = run([(2, 2), (2, 0), *[(2.0, 2.0)] * 6], align=align)
    counted = growth.log_growth[:, 0]
    torch.testing.assert_close(counted[:, 0], torch.full((8 - align,), math.log(2), dtype=F64))
    lost = counted[1 - min(align, 1) :, 1]
    assert bool(lost.isneginf().all())
    assert growth.trusted.tolist() == [[True, True]]


@pytest.mark.parametrize("align", [0, 3])
def test_a_direction_once_below_the_floor_stays_marked(align: int) -> None:
    growth = run([(2, 2), (2, 1e-14), *[(2.0, 2.0)] * 6], align=align)
    assert growth.trusted.tolist() == [[True, False]]
    assert bool(torch.isfinite(growth.log_growth).all())


def test_the_floor_is_that_of_the_dtype() -> None:
    values = torch.tensor([(1.0, 1e-6)] * 3).unsqueeze(1)
    single = Step(lambda s, x: s * x, START.float(), dtype=torch.float32)
    growth = rollout(single, Sequences(values, 1, 3), START.float(), torch.eye(2).unsqueeze(0), Schedule(0, 0, 3, 1))
    assert growth.trusted.tolist() == [[True, False]]


def test_a_direction_well_above_the_floor_is_trusted() -> None:
    assert run([(2, 2), (2, 1e-12), (2, 2)]).trusted.tolist() == [[True, True]]


def test_what_vanishes_only_over_several_steps_is_not_called_certain() -> None:
    growth = run([(1, 1e-200), (1, 1e-200)], qr_every=2)
    assert bool(growth.log_growth[:, 0, 1].isneginf().all())
    assert growth.trusted.tolist() == [[True, False]]


def test_a_small_column_before_a_large_one_is_not_held_against_it() -> None:
    """Rounding in a column comes from those before it, so a later, larger one does no harm."""
    assert run([(1e-20, 1), (1e-20, 1)]).trusted.tolist() == [[True, True]]


def test_bins_hold_the_growth_of_their_own_steps() -> None:
    diagonals = [(float(t + 1), 1.0) for t in range(7)]
    growth = run(diagonals, align=2, qr_every=2)
    expected = [math.log(3 * 4), math.log(5 * 6), math.log(7)]
    torch.testing.assert_close(growth.log_growth[:, 0, 0], torch.tensor(expected, dtype=F64))
    assert growth.steps[:, 0].tolist() == [2, 2, 1]


def test_a_sequence_that_ends_inside_an_interval_is_closed_by_the_next() -> None:
    growth = run([(float(t + 1), 1.0) for t in range(8)], qr_every=3, lengths=torch.tensor([4]))
    torch.testing.assert_close(growth.log_growth[:, 0, 0], torch.tensor([math.log(6), math.log(4), 0.0], dtype=F64))
    assert growth.steps[:, 0].tolist() == [3, 1, 0]
