"""Second frames: what the counted one lacks for want of alignment, and how far rounding moves it."""

import pytest
import torch
from torch import Tensor

from lyapunov.intake import PaddedSequences
from lyapunov.systems import Step
from lyapunov.tangent import Growth, RolloutOptions, Workers, orthonormalise, random_frame, rollout
from lyapunov.tangent.criteria.second_frames import PERTURBED, Alignment, SecondFrame, Sensitivity

F64 = torch.float64
ALL = torch.ones(2, dtype=torch.bool)


def followed(second: SecondFrame, lacked: Tensor, running: Tensor = ALL) -> int:
    """Intervals of one step after which it is over. `lacked`: (steps, batch, columns), the counted frame growing by 1."""
    batch, columns = lacked.shape[1:]
    frames = torch.eye(5, dtype=F64)[:, :columns].expand(batch, -1, -1)
    with Workers() as workers:
        for at, short in enumerate(lacked, start=1):
            new = second.follow(
                (frames * (1 - short).exp().unsqueeze(-2),), 1, torch.ones(batch, columns).double(), running, workers
            )
            if new is None:
                return at
            torch.testing.assert_close(new[0], frames, rtol=0, atol=1e-8)
    return len(lacked)


def made(kind: type = Alignment, *, batch: int = 2, columns: int = 1, **given: int) -> SecondFrame:
    return kind((torch.eye(5, dtype=F64)[:, :columns].expand(batch, -1, -1),), [columns], **given)


def test_what_is_lacked_is_counted_before_and_after_the_age_of_the_counted_frame() -> None:
    lacked = 0.9 ** torch.arange(60, dtype=F64).view(-1, 1, 1).expand(-1, 2, 1)
    second = made(age=10)
    assert followed(second, lacked) == 60
    young, old = second.lacked()
    torch.testing.assert_close(young, lacked[:10].sum(0))
    torch.testing.assert_close(old, lacked[10:].sum(0))


def test_a_frame_that_does_not_reach_twice_the_age_shows_its_second_half() -> None:
    second = made(age=30)
    assert followed(second, torch.full((20, 2, 1), 0.1).double()) == 20
    for part in second.lacked():
        torch.testing.assert_close(part, torch.full((2, 1), 1.0).double())


def test_sequences_that_lack_and_have_more_are_not_taken_for_aligned() -> None:
    lacked = torch.tensor([0.01, -0.01], dtype=F64).view(1, 2, 1)
    assert followed(made(age=3), lacked.expand(40, -1, -1)) == 40
    assert followed(made(age=3), 0 * lacked.expand(40, -1, -1)) == 9


def test_a_sequence_that_has_ended_lacks_nothing() -> None:
    second = made(age=3)
    followed(second, torch.full((20, 2, 1), 0.1).double(), torch.tensor([True, False]))
    torch.testing.assert_close(sum(second.lacked()), torch.tensor([[2.0], [0.0]]).double())


def test_columns_without_a_second_one_lack_an_unknown_amount() -> None:
    frames = tuple(torch.eye(5, dtype=F64)[:, :few].expand(2, -1, -1) for few in (1, 2))
    second = Alignment(frames, [2, 2], age=3)
    counted = torch.tensor([[1.0, 9.0, 2.0, 3.0]], dtype=F64).expand(2, -1)
    with Workers() as workers:
        for _ in range(8):
            second.follow(frames, 1, counted, ALL, workers)
    torch.testing.assert_close(
        second.lacked()[0], torch.tensor([[3.0, torch.nan, 6.0, 9.0]]).double().expand(2, -1), equal_nan=True
    )


def test_sensitivity_is_the_difference_of_rates_less_its_error() -> None:
    """Differences of 0.1 to 0.4 in four sequences: 0.25, less 0.129 / sqrt(4)."""
    each = torch.tensor([0.1, 0.2, 0.3, 0.4], dtype=F64)
    second = made(Sensitivity, batch=4)
    followed(second, each.view(1, 4, 1).expand(20, -1, -1), torch.ones(4, dtype=torch.bool))
    assert float(second.rates()) == pytest.approx(0.25 - float(each.std()) / 2, abs=1e-8)


def test_the_frame_of_sensitivity_is_perturbed_by_so_many_units_of_rounding() -> None:
    frames = torch.eye(200, dtype=F64)[:, :4].expand(2, -1, -1)
    with Workers() as workers:
        (new,) = Sensitivity((frames,), [4]).follow((frames,), 1, torch.zeros(2, 4).double(), ALL, workers)
    assert float((new - frames).std()) == pytest.approx(PERTURBED * 2.0**-52, rel=0.1)


RATES = torch.tensor([0.0, -0.05, -0.5, -0.9, -1.0, -2.0], dtype=F64)
BASIS = orthonormalise(torch.randn(1, 6, 6, dtype=F64, generator=torch.Generator().manual_seed(1)))[0][0]
MATRIX = BASIS @ torch.diag(RATES.exp()) @ BASIS.T


def power(steps: int) -> Tensor:
    return BASIS @ torch.diag((steps * RATES).exp()) @ BASIS.T


def random(columns: int, seed: int) -> Tensor:
    return random_frame(6, columns, batch=3, seed=seed, block=0, like=torch.zeros(0, dtype=F64))


def of_symmetric_steps(columns: list[int] | None) -> Growth:
    """20 steps of alignment and 60 that are counted, of one and the same symmetric matrix."""
    state = torch.zeros(3, 6, dtype=F64)
    system = Step(lambda s, _: s @ MATRIX, state[:1], dtype=F64)
    options = RolloutOptions(steps=80, settle=0, align=20, qr_every=1)
    inputs = PaddedSequences(torch.zeros(80, 3, 1, dtype=F64), 3, 80)
    return rollout(system, inputs, state, (random(4, 1),), options, columns=columns, shadow=(random(1, 2),))


def first_after_alignment() -> Tensor:
    """(batch, 6): P P^T e_1 of the triangles' product P, in terms of the frame that QR left."""
    frame, triangle = torch.linalg.qr(power(20) @ random(4, 1))
    first = (frame @ triangle @ triangle.mT)[..., 0]
    return first / first.norm(dim=-1, keepdim=True)


@pytest.mark.parametrize("columns", [None, [1]])
def test_counting_starts_with_a_frame_that_is_turned_and_cut(columns: list[int] | None) -> None:
    """The first column grows by ln |A^60 v|, with v the direction that grew most while the frame was aligned."""
    growth = of_symmetric_steps(columns)
    assert growth.log_growth.shape[-1] == (4 if columns is None else 1)
    expected = (power(60) @ first_after_alignment().unsqueeze(-1)).norm(dim=(-2, -1)).log()
    torch.testing.assert_close(growth.log_growth.sum(0)[:, 0], expected, rtol=0, atol=1e-9)


def test_the_second_frame_starts_where_counting_begins_and_is_compared_by_its_age() -> None:
    """It goes along for three quarters of 60 steps, and is as old as the counted one was after 20."""

    def between(start: int, stop: int, vector: Tensor) -> Tensor:
        one, other = ((power(steps) @ vector).norm(dim=(-2, -1)).log() for steps in (start, stop))
        return other - one

    first, other = first_after_alignment().unsqueeze(-1), random(1, 2)
    found = of_symmetric_steps([1]).lacked
    for part, (start, stop) in zip(found, ((0, 20), (20, 45)), strict=True):
        torch.testing.assert_close(part[:, 0], between(start, stop, first) - between(start, stop, other), rtol=0, atol=1e-9)


def test_a_second_frame_goes_back_with_an_interval_that_was_too_long() -> None:
    """The same columns twice: what they grew by in steps that were taken back would count as more growth of the second."""
    state = torch.zeros(1, 2, dtype=F64)
    values = torch.tensor([2.0, 1e-6], dtype=F64).expand(64, 1, -1)
    system = Step(lambda s, x: s * x, state, dtype=F64)
    options = RolloutOptions(steps=64, settle=0, align=0, first=4)
    frame = torch.eye(2, dtype=F64).unsqueeze(0)
    growth = rollout(system, PaddedSequences(values, 1, 64), state, (frame,), options, shadow=(frame,))
    assert growth.qr_every < 4
    torch.testing.assert_close(sum(growth.lacked), torch.zeros(1, 2).double(), rtol=0, atol=1e-9)
