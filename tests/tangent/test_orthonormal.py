"""Frames."""

import torch

from cases import drawn
from lyapunov.tangent import orthonormalise, random_frame
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
