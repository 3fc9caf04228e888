"""Turning a frame towards the directions that have grown most."""

import pytest
import torch
from torch import Tensor

from lyapunov.tangent import Workers, orthonormalise, random_frame
from lyapunov.tangent.frames.leading import FIRST, Leading
from lyapunov.tangent.frames.orthonormal import ELIMINATION, HOUSEHOLDER

LIKE = torch.zeros(0, dtype=torch.float64)


def pushed(matrices: list[Tensor], frame: Tensor) -> tuple[Leading, Tensor]:
    leading = Leading()
    for matrix in matrices:
        longer = matrix @ frame
        frame = orthonormalise(longer)[0]
        leading.add((longer,), (frame,))
    return leading, frame


def angles(one: Tensor, other: Tensor) -> Tensor:
    """Sines of the angles between the first columns."""
    cosines = (one[..., 0] * other[..., 0]).sum(-1).abs().clamp(max=1.0)
    return (1 - cosines.square()).sqrt()


@pytest.mark.parametrize("steps", [20, 40])
def test_the_first_column_comes_twice_as_near_to_its_direction(steps: int) -> None:
    """For symmetric steps the angle goes with exp(-2 gap steps), for exp(-gap steps)."""
    basis = orthonormalise(torch.randn(1, 6, 6, dtype=torch.float64, generator=torch.Generator().manual_seed(1)))[0][0]
    rates = torch.tensor([0.0, -0.05, -0.5, -0.9, -1.0, -2.0], dtype=torch.float64)
    step = basis @ torch.diag(rates.exp()) @ basis.T
    leading, frame = pushed([step] * steps, random_frame(6, 4, batch=50, seed=3, block=0, like=LIKE))
    truth = basis[:, :1].expand(50, -1, -1)
    before, after = angles(frame, truth), angles(leading.turned((frame,))[0], truth)
    assert float(after.median()) == pytest.approx(float(before.median()) ** 2, rel=0.5)


def test_what_the_columns_span_stays() -> None:
    generator = torch.Generator().manual_seed(2)
    steps = [torch.randn(3, 7, 7, dtype=torch.float64, generator=generator) for _ in range(30)]
    leading, frame = pushed(steps, random_frame(7, 3, batch=3, seed=1, block=0, like=LIKE))
    turned = leading.turned((frame,))[0]
    torch.testing.assert_close(turned @ turned.mT, frame @ frame.mT, rtol=0, atol=1e-12)
    assert float((turned - frame).abs().max()) > 0.01


def test_the_turn_is_that_of_the_product_itself() -> None:
    """A few steps, whose product double precision holds: the first column is P P^T e_1."""
    generator = torch.Generator().manual_seed(4)
    steps = [torch.randn(2, 4, 4, dtype=torch.float64, generator=generator) for _ in range(5)]
    start = random_frame(4, 4, batch=2, seed=1, block=0, like=LIKE)
    leading, frame = pushed(steps, start)
    product = torch.eye(4, dtype=torch.float64)
    for step in steps:
        product = step @ product
    triangle = frame.mT @ product @ start
    wanted = torch.nn.functional.normalize(frame @ triangle @ triangle.mT[..., :1], dim=1)
    assert float(angles(leading.turned((frame,))[0], wanted).max()) < 1e-7


def test_growth_beyond_all_numbers_and_lost_directions_are_borne() -> None:
    factors = torch.tensor([1e30, 1e-30, 0.0], dtype=torch.float64)
    leading, frame = pushed([torch.diag(factors)] * 50, torch.eye(3, dtype=torch.float64).expand(2, -1, -1))
    torch.testing.assert_close(leading.turned((frame,))[0].abs(), torch.eye(3, dtype=torch.float64).expand(2, -1, -1))


def test_only_the_first_columns_are_turned() -> None:
    generator = torch.Generator().manual_seed(5)
    steps = [torch.randn(1, 30, 30, dtype=torch.float64, generator=generator) for _ in range(4)]
    leading, frame = pushed(steps, random_frame(30, 20, batch=1, seed=1, block=0, like=LIKE))
    turned = leading.turned((frame,))[0]
    assert torch.equal(turned[..., FIRST:], frame[..., FIRST:])
    assert not torch.allclose(turned[..., :FIRST], frame[..., :FIRST])


def test_without_a_step_nothing_is_turned() -> None:
    frame = random_frame(5, 2, batch=1, seed=1, block=0, like=LIKE)
    assert Leading().turned((frame,))[0] is frame


@pytest.mark.parametrize(("steps", "expected"), [(40, False), (90, True)])
def test_directions_are_told_apart_once_one_has_grown_by_three_nats_more(steps: int, expected: bool) -> None:
    """A gap of 0.05 makes 2 nats in 40 steps and 4.5 in 90."""
    step = torch.diag(torch.tensor([0.0, -0.05, -1.0], dtype=torch.float64).exp())
    leading, _ = pushed([step] * steps, random_frame(3, 2, batch=50, seed=3, block=0, like=LIKE))
    assert leading.told_apart == expected


def test_how_frames_were_factored_does_not_matter() -> None:
    """Eliminated columns are mixtures of orthonormal ones with the same spans: the turn is the same."""
    generator = torch.Generator().manual_seed(6)
    steps = [torch.randn(2, 6, 6, dtype=torch.float64, generator=generator) for _ in range(8)]
    start = random_frame(6, 4, batch=2, seed=1, block=0, like=LIKE)
    turned = []
    for way in (HOUSEHOLDER, ELIMINATION):
        leading, frame = Leading(), start
        with Workers() as workers:
            for step in steps:
                longer = step @ frame
                frame = way.factor(longer, workers).frame
                leading.add((longer,), (frame,))
        turned.append(leading.turned(orthonormalise(frame)[:1])[0])
    torch.testing.assert_close(turned[0].abs(), turned[1].abs(), rtol=0, atol=1e-8)
