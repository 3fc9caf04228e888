"""Errors between sequences."""

from dataclasses import replace

import pytest
import torch

import lyapunov
from cases import drawn
from growths import counted, estimated_from, grown
from lyapunov.estimate.standard_errors import standard_errors, student_quantile
from lyapunov.estimate.statistics import without_empty
from lyapunov.systems import known

F64 = torch.float64


@pytest.mark.parametrize(
    ("level", "degrees", "quantile"),
    [(0.95, 1, 12.7062), (0.95, 2, 4.3027), (0.95, 9, 2.2622), (0.99, 5, 4.0321), (0.95, 1000, 1.9623)],
)
def test_student_quantiles_are_those_of_the_tables(level: float, degrees: int, quantile: float) -> None:
    assert student_quantile(level, degrees) == pytest.approx(quantile, abs=2e-4)


def test_between_sequences_it_is_the_usual_standard_error() -> None:
    values = torch.tensor([1.0, 2.0, 6.0], dtype=F64).view(1, 3, 1)
    found = standard_errors(7 * values, torch.full((1, 3), 7.0, dtype=F64))
    assert float(found.standard_errors) == pytest.approx(float(values.std() / 3**0.5))
    assert float(found.degrees) == 2
    assert bool(found.within.isnan().all())


def test_intervals_hold_the_truth_about_as_often_as_they_say() -> None:
    """40 replicates of nominal 80 % intervals: fewer than 25 covered has probability 0.3 %, with 40 at 5e-5."""
    case, covered = known.gaussian_products(2), 0
    for seed in range(40):
        spectrum = lyapunov.spectrum(case.system, case.inputs(8, 20, seed=seed), settle=0, align=5, check=seed == 0, k=1)
        low, high = spectrum.interval(0.8)[0]
        covered += bool(low <= case.exponents[0] <= high)
    assert 25 <= covered < 40


def test_sequences_are_averaged_before_the_sort() -> None:
    """Two directions of equal mean but opposite luck: sorting each sequence first would pull them apart."""
    case = known.gaussian_products(6)
    spectrum = lyapunov.spectrum(case.system, case.inputs(16, 16), settle=0, align=6)
    weights = torch.full((16,), 1 / 16, dtype=F64)
    torch.testing.assert_close(spectrum.exponents, (weights.unsqueeze(-1) * spectrum.per_sequence).sum(0))
    torch.testing.assert_close(spectrum.exponents, spectrum.exponents.sort(descending=True).values)
    each_sorted = spectrum.per_sequence.sort(dim=1, descending=True).values.mean(0)
    assert float((each_sorted - spectrum.exponents).cumsum(0).max()) > 0.01


LOST = torch.tensor([[-1, 7], [-1, 9]])
"""Two sequences that lost the second of two columns."""


@pytest.mark.parametrize(
    ("columns", "size", "lost", "rank"), [(2, 2, LOST, 1), (2, 3, LOST, 1), (2, 2, None, 2), (2, 3, None, None)]
)
def test_the_rank_is_known_where_a_column_was_lost_or_all_are_there(
    columns: int, size: int, lost: torch.Tensor | None, rank: int | None
) -> None:
    growth = counted(grown(torch.full((2, columns), -0.5, dtype=F64), bins=50, spread=0.1))
    growth = growth if lost is None else replace(growth, lost_since=lost)
    assert estimated_from(growth, sizes=(size,)).rank == rank


def test_the_residual_is_that_of_the_steps_at_which_the_volume_was_taken() -> None:
    growth = counted(grown(torch.full((2, 2), -0.5, dtype=F64), bins=50), residual=torch.tensor([[0.3], [0.1]], dtype=F64))
    assert estimated_from(growth).volume_residual is None
    taken = replace(growth, residual_steps=torch.tensor([12.0, 8.0], dtype=F64))
    assert estimated_from(taken).volume_residual == pytest.approx(0.02)
    assert estimated_from(taken, sizes=(3,)).volume_residual is None


def test_a_sequence_that_ended_before_counting_is_left_out_of_everything() -> None:
    steps = torch.ones(50, 3, dtype=F64)
    steps[:, 1] = 0
    volumes = drawn(50, 3, 1, seed=3)
    growth = counted(drawn(50, 3, 2, seed=4), steps=steps, log_volume=volumes, volume_steps=steps)
    kept, out = without_empty(growth)
    assert out == [1]
    assert torch.equal(kept.log_growth, growth.log_growth[:, [0, 2]])
    assert torch.equal(kept.log_volume, volumes[:, [0, 2]])
    assert without_empty(replace(growth, log_volume=None, volume_steps=None))[0].log_volume is None
    whole = counted(drawn(50, 3, 2, seed=4))
    assert without_empty(whole) == (whole, [])
