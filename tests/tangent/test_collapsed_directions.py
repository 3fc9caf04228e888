"""What is lost for good: structures whose rank is known, and the exact rank of recorded products."""

from fractions import Fraction

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import lyapunov
from cases import drawn, seeded
from recorded import Recorded

F32, F64 = torch.float32, torch.float64
DTYPES = [F32, F64]


def shift_register(state: Tensor, x: Tensor) -> Tensor:
    return torch.cat([x[:, :1], state[:, :-1]], dim=-1)


def half_register(state: Tensor, x: Tensor) -> Tensor:
    """Five units that turn, and a register of four behind them."""
    turning = state[:, :5].roll(1, dims=-1)
    return torch.cat([0.9 * turning, x[:, :1], state[:, 5:-1]], dim=-1)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("length", [3, 20])
@pytest.mark.parametrize("qr_every", [None, 1, 5])
def test_a_shift_register_forgets_everything_in_its_length(length: int, dtype: torch.dtype, qr_every: int | None) -> None:
    inputs, state = drawn(2, 60, 1, seed=240), drawn(2, length, seed=241)
    options = {"settle": length, "align": 5, "qr_every": qr_every}
    found = lyapunov.spectrum(shift_register, inputs, state=state, dtype=dtype, **options)
    assert found.rank == 0
    assert bool(found.exponents.isneginf().all())
    assert bool(found.reliable.all())
    assert int(found.lost_at.max()) <= 2 * length + 5
    assert found.sum == -torch.inf
    assert found.mean is None
    assert "lost by step" in repr(found)
    assert found.verdict.converged


@pytest.mark.parametrize("dtype", DTYPES)
def test_what_a_register_stands_beside_is_not_lost(dtype: torch.dtype) -> None:
    found = lyapunov.spectrum(half_register, drawn(2, 80, 1, seed=242), state=drawn(2, 9, seed=243), dtype=dtype)
    assert found.rank == 5
    torch.testing.assert_close(found.exponents[:5], torch.full((5,), 0.9, dtype=F64).log(), rtol=0, atol=1e-6)
    assert bool(found.exponents[5:].isneginf().all())
    assert found.mean_count == 5
    few = lyapunov.spectrum(half_register, drawn(2, 80, 1, seed=242), state=drawn(2, 9, seed=243), dtype=dtype, k=3)
    assert few.rank is None
    assert bool((few.lost_at == -1).all())


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("linearization", ["full", "hidden"])
def test_an_lstm_without_recurrent_weights_keeps_its_cells(dtype: torch.dtype, linearization) -> None:
    module = seeded(nn.LSTM, 3, 6, batch_first=True, scale=1.0)
    with torch.no_grad():
        module.weight_hh_l0.zero_()
    found = lyapunov.spectrum(module, drawn(2, 120, 3, seed=244), dtype=dtype, linearization=linearization)
    assert found.rank == (6 if linearization == "full" else 0)
    assert int(found.exponents.isneginf().sum()) == 6
    assert bool(found.reliable.all())


@pytest.mark.filterwarnings("ignore:Expected exponents above the precision floor")
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("seed", [0, 1])
def test_the_rank_of_a_relu_network_is_that_of_the_recorded_product(dtype: torch.dtype, seed: int) -> None:
    """Exact fractions over the window that the result states, 32 units: equal, in the sequence that loses most."""
    size = 32
    weight = drawn(size, size, seed=250 + seed, scale=1.2 / size**0.5).to(dtype)
    state, inputs = torch.zeros(3, size, dtype=dtype), drawn(3, 60, size, seed=252 + seed).to(dtype)
    factors = []
    for t in range(60):
        before = state @ weight.mT + inputs[:, t]
        factors.append((before > 0).to(dtype).unsqueeze(-1) * weight)
        state = torch.relu(before)
    jacobians = torch.stack(factors, dim=1)
    found = lyapunov.spectrum(Recorded(size), jacobians, dtype=dtype, check=False, settle=0, align=8)
    first, last = found.rank_window
    assert last - first >= 8
    assert found.rank == min(exact_rank(jacobians[at, first:last]) for at in range(3))
    assert found.rank < size
    assert int(found.exponents.isneginf().sum()) == size - found.rank
    assert int(found.lost_at.max()) <= last


def exact_rank(factors: Tensor) -> int:
    """Of the product of the numbers as they are, in whole numbers: scaled by a power of two, then Bareiss's elimination."""
    assert float(factors.double().abs()[factors != 0].min()) > 2.0**-40  # so that 53 bits end before 2^-100
    product = np.eye(factors.shape[-1], dtype=int).astype(object)
    for factor in factors.double().numpy():
        product = np.vectorize(lambda value: int(Fraction(value) * 2**100), otypes=[object])(factor) @ product
    rows, rank, last = product.tolist(), 0, 1
    for column in range(len(rows)):
        at = next((i for i in range(rank, len(rows)) if rows[i][column]), None)
        if at is None:
            continue
        rows[rank], rows[at] = rows[at], rows[rank]
        pivot = rows[rank]
        for i in range(rank + 1, len(rows)):
            rows[i] = [(pivot[column] * a - rows[i][column] * b) // last for a, b in zip(rows[i], pivot, strict=True)]
        rank, last = rank + 1, pivot[column]
    return rank


def test_a_saturated_network_is_not_called_lost() -> None:
    """Slopes of 1e-26 are far below the floor, and the rank is full all the same."""
    module = seeded(nn.RNN, 6, 6, bias=False, batch_first=True, scale=1.0)
    with torch.no_grad():
        module.weight_ih_l0.copy_(torch.eye(6, dtype=F64))
    inputs = 30 * torch.ones(2, 40, 6, dtype=F64)
    inputs[..., :3] = 0.1 * drawn(2, 40, 3, seed=261)
    with pytest.warns(lyapunov.LyapunovWarning, match="precision floor"):
        found = lyapunov.spectrum(module, inputs)
    assert found.rank == 6
    assert bool(torch.isfinite(found.exponents).all())
    assert found.reliable.tolist() == [True] * 3 + [False] * 3
    assert found.min is None
