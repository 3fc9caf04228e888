"""The loop over time: what is lost stays lost, what is rounding is known, and bins hold what they say."""

import math
import warnings

import pytest
import torch
from torch import Tensor

import lyapunov
from lyapunov.intake import PaddedSequences
from lyapunov.systems import Step
from lyapunov.tangent import NOISE_LIMIT_FIXED, RolloutOptions, rollout
from paths import PATHS, force

F64 = torch.float64
START = torch.zeros(1, 2, dtype=F64)
DIAGONAL = Step(lambda s, x: s * x, START, dtype=F64)
"""s' = diag(x) s: with the identity as first frame, column i grows by ln x_i, exactly."""


def run(
    diagonals: list[tuple[float, float]], align: int = 0, qr_every: int | None = 1, lengths: Tensor | None = None, dtype=F64
):
    values = torch.tensor(diagonals, dtype=dtype).unsqueeze(1)
    inputs = PaddedSequences(values, 1, len(diagonals), lengths)
    options = RolloutOptions(steps=len(diagonals), settle=0, align=align, qr_every=qr_every)
    system = DIAGONAL if dtype == F64 else Step(lambda s, x: s * x, START.to(dtype), dtype=dtype)
    return rollout(system, inputs, START.to(dtype), (torch.eye(2, dtype=dtype).unsqueeze(0),), options)


@pytest.mark.parametrize("dtype", [F64, torch.float32])
@pytest.mark.parametrize("align", [0, 3])
def test_a_direction_lost_once_is_lost_for_ever(align: int, dtype: torch.dtype) -> None:
    growth = run([(2, 2), (2, 0), *[(2.0, 2.0)] * 6], align=align, dtype=dtype)
    counted = growth.log_growth[:, 0]
    torch.testing.assert_close(counted[:, 0], torch.full((8 - align,), math.log(2), dtype=F64), rtol=0, atol=1e-7)
    assert bool(counted[1 - min(align, 1) :, 1].isneginf().all())
    assert growth.lost_at.tolist() == [-1, 2]
    assert growth.window == (0, 8)  # the product went on for as long as there was input, without another loss


@pytest.mark.parametrize("small", [1e-30, 1e-200])
@pytest.mark.parametrize("interval", [1, 4])
def test_a_direction_that_shrinks_beyond_the_floor_is_not_called_lost(small: float, interval: int) -> None:
    growth = run([(2, 2), (2, small), *[(2.0, 2.0)] * 6], qr_every=interval)
    assert growth.lost_at.tolist() == [-1, -1]
    assert bool(torch.isfinite(growth.log_growth).all())
    assert (growth.noise > NOISE_LIMIT_FIXED).tolist() == [False, True]


def test_noise_is_rounding_relative_to_what_remains() -> None:
    growth = run([(1.0, 1e-6)] * 3)
    assert float(growth.noise[1]) == pytest.approx(2.0**-53 / 1e-6)
    single = run([(1.0, 1e-6)] * 3, dtype=torch.float32)
    assert float(single.noise[1]) == pytest.approx(2.0**-24 / 1e-6, rel=1e-5)
    assert (single.noise > NOISE_LIMIT_FIXED).tolist() == [False, True]


def test_noise_is_a_mean_over_what_was_counted() -> None:
    once = run([(2, 2), (2, 1e-14), *[(2.0, 2.0)] * 6])
    assert float(once.noise[1]) == pytest.approx(2.0**-53 * 2 / 1e-14 / 8**0.5, rel=1e-3)
    assert float(run([(2, 1e-14), *[(2.0, 2.0)] * 7], align=3).noise[1]) < 1e-10


def test_a_small_column_before_a_large_one_is_not_held_against_it() -> None:
    """Rounding in a column comes from those before it, so a later, larger one does no harm."""
    growth = run([(1e-20, 1), (1e-20, 1)])
    assert bool((growth.noise < 1e-15).all())


def test_what_vanishes_only_over_several_steps_is_the_floor_and_not_minus_infinity() -> None:
    growth = run([(1, 1e-200), (1, 1e-200)], qr_every=2)
    torch.testing.assert_close(growth.log_growth[0, 0], torch.tensor([0.0, -53 * math.log(2)], dtype=F64))
    assert growth.lost_at.tolist() == [-1, -1]


def test_an_open_interval_resolves_what_a_long_one_loses() -> None:
    """The second column falls behind by 10 nats a step: two steps fit above the floor, three would not."""
    growth = run([(1.0, math.exp(-10))] * 64, qr_every=None)
    torch.testing.assert_close(growth.log_growth.sum((0, 1)), torch.tensor([0.0, -640.0], dtype=F64), rtol=0, atol=1e-9)
    assert growth.qr_every == 2
    assert float(growth.noise[1]) < 1e-4


def test_an_interval_that_was_too_long_is_taken_back() -> None:
    """32 gentle steps lengthen the interval; the deep ones behind them must not be made in one go."""
    growth = run([(1.0, 1.0)] * 32 + [(1.0, math.exp(-12))] * 16, qr_every=None)
    torch.testing.assert_close(growth.log_growth.sum((0, 1)), torch.tensor([0.0, -192.0], dtype=F64), rtol=0, atol=1e-9)
    assert float(growth.steps.sum()) == 48
    assert float(growth.noise[1]) < 1e-4


def test_a_frame_that_overflows_is_taken_back_where_the_interval_is_open() -> None:
    growth = run([(1.0, 1.0)] * 32 + [(1e100, 1e100)] * 16, qr_every=None)
    torch.testing.assert_close(growth.log_growth.sum((0, 1)), torch.full((2,), 1600 * math.log(10), dtype=F64))


def test_lost_columns_do_not_steer_the_interval() -> None:
    growth = run([(1.0, 0.0)] * 320, qr_every=None)
    assert growth.lost_at.tolist() == [-1, 1]
    assert growth.qr_every == 16


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


@pytest.mark.parametrize("step", [100, 105, 117, 399])
@pytest.mark.parametrize("path", PATHS)
def test_a_single_loss_is_seen_wherever_it_falls(path: str, step: int, monkeypatch: pytest.MonkeyPatch) -> None:
    force(path, monkeypatch)
    inputs = torch.ones(2, 400, 3, dtype=F64)
    inputs[0, step] = torch.tensor([1.0, 1.0, 0.0], dtype=F64)
    start = torch.ones(2, 3, dtype=F64)
    found = lyapunov.spectrum(lambda s, x: s * x, inputs, state=start, settle=0, align=20, check=False)
    assert found.lost_at.tolist() == [-1, -1, step + 1]
    assert bool(found.exponents[2].isneginf())
    assert found.rank == 2


@pytest.mark.parametrize("path", PATHS)
def test_a_single_step_that_loses_much_makes_no_column_pass_for_reliable(path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    force(path, monkeypatch)
    inputs = torch.ones(1, 100, 3, dtype=F64)
    inputs[0, 57] = torch.tensor([1.0, 1.0, 1e-18], dtype=F64)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", lyapunov.LyapunovWarning)
        found = lyapunov.spectrum(
            lambda s, x: s * x, inputs, state=torch.ones(1, 3, dtype=F64), settle=0, align=20, check=False
        )
    assert found.reliable.tolist() == [True, True, False]
    assert not bool(found.exponents.isneginf().any())
