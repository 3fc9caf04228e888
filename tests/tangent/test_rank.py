"""The rank of a product of Jacobians: the same as by elimination with fractions, whatever the grading and the precision."""

import math
from fractions import Fraction

import pytest
import torch
from torch import Tensor

from cases import drawn
from lyapunov.tangent.criteria.rank import LARGEST, PRIMES, ProductRank, residues

F32, F64 = torch.float32, torch.float64
DTYPES = pytest.mark.parametrize("dtype", [F64, F32])


def exact(matrix: Tensor) -> list[list[Fraction]]:
    return [[Fraction(value) for value in row] for row in matrix.tolist()]


def product(left: list[list[Fraction]], right: list[list[Fraction]]) -> list[list[Fraction]]:
    columns = list(zip(*right, strict=True))
    return [[sum((a * b for a, b in zip(row, column, strict=True) if a), Fraction(0)) for column in columns] for row in left]


def rank_by_fractions(rows: list[list[Fraction]]) -> int:
    """Fraction-free elimination (Bareiss) on whole numbers: every division is exact."""
    scale = math.lcm(*(value.denominator for row in rows for value in row))
    whole = [[int(value * scale) for value in row] for row in rows]
    rank, last = 0, 1
    for column in range(len(whole[0])):
        at = next((row for row in range(rank, len(whole)) if whole[row][column]), None)
        if at is None:
            continue
        whole[rank], whole[at] = whole[at], whole[rank]
        top = whole[rank]
        for row in range(rank + 1, len(whole)):
            factor = whole[row][column]
            whole[row] = [(top[column] * a - factor * b) // last for a, b in zip(whole[row], top, strict=True)]
        rank, last = rank + 1, top[column]
    return rank


def relu_like(size: int, share: float, steps: int, seed: int) -> list[Tensor]:
    """diag(0 or 1) W, as in a ReLU network: the gates change from step to step, the weights do not."""
    weights = drawn(size, size, seed=seed) / size**0.5
    gates = torch.rand(steps, size, dtype=F64, generator=torch.Generator().manual_seed(seed)) < share
    return [gate.to(F64)[:, None] * weights for gate in gates]


def ranks_of(*jacobians: Tensor) -> list[int]:
    """Of a product of (batch, n, n), the first factor first."""
    counted = ProductRank(*jacobians[0].shape[:2])
    for jacobian in jacobians:
        counted.multiply(jacobian)
    return counted.ranks().tolist()


def shift(size: int, *, cyclic: bool = False) -> Tensor:
    moved = torch.eye(size, dtype=F64).roll(1, 0)
    if not cyclic:
        moved[0] = 0
    return moved[None]


def test_the_primes_are_primes_that_keep_products_exact() -> None:
    assert len(set(PRIMES)) == 3
    assert all(prime % divisor for prime in PRIMES for divisor in range(2, math.isqrt(prime) + 1))
    assert LARGEST * max(PRIMES) ** 2 <= 2**53


@pytest.mark.parametrize("prime", PRIMES)
@DTYPES
def test_residues_are_those_of_the_fractions(prime: int, dtype: torch.dtype) -> None:
    limits = torch.finfo(dtype)
    special = [0.0, -0.0, 1.0, -1.0, 0.1, prime, -prime, limits.max, limits.min, limits.tiny, limits.smallest_normal / 3]
    subnormal = [math.ldexp(1, -1074), -math.ldexp(12345, -1074)] if dtype == F64 else [2**-149, -12345 * 2**-149]
    huge = [1e300, -1e300] if dtype == F64 else [1e38, -1e38]
    graded = drawn(300, seed=1) * 10.0 ** torch.linspace(-30, 30, 300, dtype=F64)
    values = torch.cat([torch.tensor([*special, *subnormal, *huge], dtype=F64), graded]).to(dtype)
    found = residues(values, prime)
    fractions = [Fraction(value) for value in values.tolist()]
    assert found.dtype == F64
    assert found.tolist() == [value.numerator * pow(value.denominator, -1, prime) % prime for value in fractions]


@DTYPES
@pytest.mark.parametrize("share", [0.5, 0.8, 0.97])
def test_relu_ranks_are_those_of_the_fractions(share: float, dtype: torch.dtype) -> None:
    jacobians = [jacobian.to(dtype) for jacobian in relu_like(32, share, 8, seed=3)]
    counted = ProductRank(1, 32)
    whole = exact(torch.eye(32))
    found = []
    for jacobian in jacobians:
        counted.multiply(jacobian[None])
        found += counted.ranks().tolist()
        whole = product(exact(jacobian), whole)
    assert found[-1] == rank_by_fractions(whole)
    assert found == sorted(found, reverse=True)
    assert ranks_of(*(jacobian[None] for jacobian in jacobians)) == found[-1:]


def test_a_graded_product_stays_of_full_rank() -> None:
    lengths = 10.0 ** torch.linspace(-200, 200, 24, dtype=F64)
    graded = lengths[:, None] * drawn(24, 24, seed=4)
    assert int(torch.linalg.matrix_rank(graded)) < 24
    assert ranks_of(*[graded[None]] * 5) == [24]


def test_a_cycle_keeps_all_and_a_register_loses_one_per_step() -> None:
    cycle, register = ProductRank(1, 20), ProductRank(1, 20)
    for step in range(1, 23):
        cycle.multiply(shift(20, cyclic=True))
        register.multiply(shift(20))
        assert cycle.ranks().tolist() == [20]
        assert register.ranks().tolist() == [max(0, 20 - step)]


def test_sequences_of_a_batch_have_ranks_of_their_own() -> None:
    factors = [torch.cat([shift(40), shift(40, cyclic=True), drawn(1, 40, 40, seed=seed)]) for seed in range(4)]
    factors[2][2, :, :25] = 0
    assert ranks_of(*factors) == [36, 40, 15]
    counted, found = ProductRank(3, 40), []
    for factor in factors:
        counted.multiply(factor)
        found.append(counted.ranks().tolist())
    assert found == [[39, 40, 40], [38, 40, 40], [37, 40, 15], [36, 40, 15]]


def test_the_product_of_a_sequence_that_has_ended_stays() -> None:
    counted = ProductRank(2, 6)
    for step in range(4):
        counted.multiply(shift(6).expand(2, -1, -1), torch.tensor([True, step < 1]))
    assert counted.ranks().tolist() == [2, 5]
    counted.multiply(torch.zeros(2, 6, 6), torch.tensor([False, True]))
    assert counted.ranks().tolist() == [2, 0]


@DTYPES
@pytest.mark.parametrize("rank", [0, 1, 31, 32, 33, 70, 100])
def test_an_outer_product_has_the_rank_it_was_made_with(rank: int, dtype: torch.dtype) -> None:
    whole = [drawn(100, rank, seed=seed, scale=20).round().to(dtype) for seed in (5, 6)]
    assert ranks_of((whole[0] @ whole[1].mT)[None]) == [rank]


def test_lost_rows_and_columns_need_not_be_at_the_end() -> None:
    matrix = drawn(2, 90, 90, seed=7, scale=100).round()
    matrix[0, 10:30], matrix[0, :, 5:50] = 0, 0
    matrix[1, :, 33:57] = matrix[1, :, :24] - 3 * matrix[1, :, 60:84]
    matrix[1, 80:] = matrix[1, :10]
    assert ranks_of(matrix) == [45, 66]


@pytest.mark.parametrize("prime", PRIMES)
@DTYPES
def test_a_number_that_one_prime_divides_is_not_taken_for_zero(prime: int, dtype: torch.dtype) -> None:
    assert ranks_of(torch.diag(torch.tensor([prime, 1.0, 0.0], dtype=dtype))[None]) == [2]


def test_order_of_factors_matters() -> None:
    keeps, drops = torch.diag(torch.tensor([1.0, 0.0]))[None], torch.tensor([[[0.0, 1.0], [0.0, 0.0]]])
    assert ranks_of(keeps, drops) == [0]
    assert ranks_of(drops, keeps) == [1]


def test_a_size_beyond_exact_arithmetic_is_refused() -> None:
    with pytest.raises(ValueError, match="at most 2048"):
        ProductRank(1, LARGEST + 1)


@pytest.mark.parametrize("prime", PRIMES)
def test_saturated_gates_in_single_precision_do_not_pass_for_zero(prime: int) -> None:
    """They crowd just below 1, at whole numbers of 2^-24: no more than a few in a million may be multiples of the prime."""
    before = 3 * torch.randn(1_000_000, generator=torch.Generator().manual_seed(5)) + 4
    gates = torch.sigmoid(before)
    assert int((residues(gates, prime) == 0).sum()) <= 5
