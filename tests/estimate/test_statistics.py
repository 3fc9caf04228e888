"""Errors between sequences."""

import pytest
import torch

import lyapunov
from lyapunov.estimate.standard_errors import standard_errors, student_quantile
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
