"""Frames."""

import pytest
import torch

from cases import drawn
from lyapunov.tangent import Workers, orthonormalise, random_frame
from lyapunov.tangent.frames.orthonormal import CHOLESKY, ELIMINATION, HOUSEHOLDER, Orthonormalisation, cholesky, suited_to
from tolerances import ROUNDING

F64 = torch.float64


def test_q_is_orthonormal_and_r_has_a_positive_diagonal() -> None:
    frame = drawn(4, 7, 3, seed=1)
    q, log_diagonal = orthonormalise(frame)
    torch.testing.assert_close(q.mT @ q, torch.eye(3, dtype=F64).expand(4, -1, -1), rtol=0, atol=ROUNDING)
    r = q.mT @ frame
    torch.testing.assert_close(r.diagonal(dim1=-2, dim2=-1), log_diagonal.exp(), rtol=ROUNDING, atol=ROUNDING)
    torch.testing.assert_close(r.tril(-1), torch.zeros_like(r), rtol=0, atol=ROUNDING)


def test_a_frame_of_zeros_reads_minus_infinity() -> None:
    q, log_diagonal = orthonormalise(torch.zeros(1, 4, 2, dtype=F64))
    assert bool(log_diagonal.isneginf().all())
    assert bool(torch.isfinite(q).all())


def test_first_columns_do_not_depend_on_how_many_are_drawn() -> None:
    like = torch.empty(0, dtype=F64)
    few, many = (random_frame(40, k, batch=2, seed=3, block=0, like=like) for k in (3, 40))
    torch.testing.assert_close(few, many[..., :3], rtol=0, atol=ROUNDING)
    other = random_frame(40, 3, batch=2, seed=3, block=1, like=like)
    assert not torch.allclose(few, other)


WAYS = (HOUSEHOLDER, CHOLESKY, ELIMINATION)


def heights(frame: torch.Tensor) -> torch.Tensor:
    """ln of the distance of each column from the span of the earlier ones, by the plain QR of each sequence."""
    return torch.stack([torch.linalg.qr(one).R.diagonal().abs().log() for one in frame])


@pytest.mark.parametrize("way", WAYS, ids=lambda way: type(way).__name__)
@pytest.mark.parametrize("columns", [3, 9])
def test_every_way_factors_the_frame_into_nested_spans_and_a_triangle(way: Orthonormalisation, columns: int) -> None:
    frame = drawn(4, 9, columns, seed=2) @ torch.diag(10.0 ** -torch.arange(columns, dtype=F64))
    with Workers() as workers:
        found = way.factor(frame, workers)
    triangle = torch.linalg.lstsq(found.frame, frame).solution
    scale = frame.norm(dim=1, keepdim=True)
    torch.testing.assert_close(found.frame @ triangle / scale, frame / scale, rtol=0, atol=ROUNDING)
    torch.testing.assert_close(triangle.tril(-1) / scale, torch.zeros_like(triangle), rtol=0, atol=ROUNDING)
    torch.testing.assert_close(triangle.diagonal(dim1=1, dim2=2).abs().log(), found.log_diagonal, rtol=0, atol=1e-9)
    known = found.log_diagonal if found.log_heights is None else found.log_heights
    torch.testing.assert_close(known, heights(frame), rtol=0, atol=1e-9)


def test_an_eliminated_square_frame_has_a_volume_of_one() -> None:
    with Workers() as workers:
        found = ELIMINATION.factor(drawn(3, 30, 30, seed=3), workers, measured=False)
    torch.testing.assert_close(heights(found.frame).sum(1), torch.zeros(3, dtype=F64), rtol=0, atol=1e-10)
    assert float(found.frame.abs().max()) <= 1.0
    assert found.log_heights is None


def test_cholesky_goes_back_to_reflections_for_the_sequences_that_need_them() -> None:
    frame = drawn(3, 20, 6, seed=4)
    frame[1, :, 5] = frame[1, :, 4] + 1e-10 * frame[1, :, 5]  # too close for a squared condition number
    frame[2, :, 3] = 0.0
    q, log_diagonal = cholesky(frame)
    torch.testing.assert_close(q.mT @ q, torch.eye(6, dtype=F64).expand(3, -1, -1), rtol=0, atol=1e-12)
    torch.testing.assert_close(log_diagonal[:2], heights(frame[:2]), rtol=0, atol=1e-5)
    assert float(log_diagonal[2, 3]) < -30


@pytest.mark.parametrize("way", WAYS, ids=lambda way: type(way).__name__)
def test_a_vanished_direction_leaves_a_whole_frame(way: Orthonormalisation) -> None:
    frame = drawn(2, 8, 8, seed=5)
    frame[:, :, 4] = 0.0
    with Workers() as workers:
        found = way.factor(frame, workers)
    assert bool((found.log_diagonal[:, 4] < -30).all())
    assert bool((torch.linalg.svdvals(found.frame)[:, -1] > 1e-3).all())


def test_narrow_frames_are_reflected_and_large_ones_eliminated() -> None:
    assert suited_to(torch.empty(2, 512, 8)) is HOUSEHOLDER
    assert suited_to(torch.empty(2, 32, 32)) is HOUSEHOLDER
    assert suited_to(torch.empty(2, 512, 512)) is ELIMINATION
    assert suited_to(torch.empty(2, 512, 512), orthonormal=True) is HOUSEHOLDER


def test_each_sequence_has_a_frame_of_its_own_however_many_there_are() -> None:
    like = torch.empty(0, dtype=F64)
    few, many = (random_frame(40, 3, batch=batch, seed=3, block=0, like=like) for batch in (2, 5))
    torch.testing.assert_close(few, many[:2], rtol=0, atol=ROUNDING)
    inner = (many[:, None] * many).sum(-2)  # (batch, batch, columns): cosines of columns of two sequences
    assert float((inner - torch.eye(5).unsqueeze(-1)).abs().max()) < 0.6
