"""Paired differences: what is common cancels, and what was not the same is refused."""

from dataclasses import replace

import pytest
import torch
from torch import nn

import lyapunov
from cases import drawn, seeded
from lyapunov.estimate import Finding

GRU = seeded(nn.GRU, 4, 8, batch_first=True, scale=1.0)
INPUTS = drawn(6, 140, 4, seed=340)
SAME = {"settle": 20, "align": 20, "k": 3}


def changed() -> nn.GRU:
    other = seeded(nn.GRU, 4, 8, batch_first=True, scale=1.0)
    with torch.no_grad():
        other.weight_hh_l0.mul_(1.02)
    return other


def test_what_is_common_to_both_cancels() -> None:
    one, other = (lyapunov.spectrum(module, INPUTS, **SAME) for module in (changed(), GRU))
    difference = one - other
    torch.testing.assert_close(difference.exponents, one.exponents - other.exponents)
    apart = (one.standard_errors**2 + other.standard_errors**2).sqrt()
    assert bool((difference.standard_errors < 0.5 * apart).all())
    low, high = difference.interval(0.95)[0].tolist()
    assert low < float(difference.exponents[0]) < high
    assert difference.mean == pytest.approx(one.mean - other.mean)
    assert 0 < difference.mean_standard_error < one.mean_standard_error
    assert "difference" in repr(difference)


def test_a_spectrum_differs_from_itself_by_nothing() -> None:
    one = lyapunov.spectrum(GRU, INPUTS, **SAME)
    difference = one - one
    assert bool((difference.exponents == 0).all())
    assert bool((difference.standard_errors == 0).all())


def test_the_paired_error_is_what_the_difference_varies_by() -> None:
    """Over 30 draws of the inputs: the spread within 35 % of the mean reported error."""
    pairs = []
    for seed in range(30):
        inputs = drawn(6, 140, 4, seed=400 + seed)
        pairs.append(lyapunov.spectrum(changed(), inputs, **SAME) - lyapunov.spectrum(GRU, inputs, **SAME))
    spread = torch.stack([pair.exponents[0] for pair in pairs]).std()
    reported = torch.stack([pair.standard_errors[0] for pair in pairs]).mean()
    assert float(spread / reported) == pytest.approx(1.0, abs=0.35)


@pytest.mark.parametrize(
    ("options", "inputs", "pattern"),
    [
        ({"seed": 1}, INPUTS, "same seed, got 0 and 1"),
        ({"settle": 21}, INPUTS, "same settle and align"),
        ({"k": 2}, INPUTS, "same k, got 3 and 2"),
        ({}, INPUTS + 1e-9, "same inputs"),
    ],
)
def test_what_was_not_the_same_is_refused(options: dict, inputs, pattern: str) -> None:
    one, other = lyapunov.spectrum(GRU, INPUTS, **SAME), lyapunov.spectrum(changed(), inputs, **{**SAME, **options})
    with pytest.raises(lyapunov.InvalidInput, match=pattern):
        one - other
    with pytest.raises(TypeError):
        one - 1.0


def test_the_error_of_a_sampled_mean_is_that_of_the_sampled_steps() -> None:
    """With one of three columns the determinant is taken at some steps only; what was not taken is no agreement."""
    options = {"settle": 20, "align": 20, "k": 1, "qr_every": 1}
    pairs = []
    for seed in range(30):
        inputs = drawn(6, 140, 4, seed=500 + seed)
        pairs.append(lyapunov.spectrum(changed(), inputs, **options) - lyapunov.spectrum(GRU, inputs, **options))
    spread = torch.tensor([pair.mean for pair in pairs]).std()
    reported = torch.tensor([pair.mean_standard_error for pair in pairs]).mean()
    assert float(spread / reported) == pytest.approx(1.0, abs=0.35)


SHORT, MOVES = Finding("too short", "about 40 would do."), Finding("drifting", "the state moves.")


@pytest.mark.parametrize(
    ("first", "second", "expected"),
    [
        ((), (), "converged"),
        ((SHORT,), (), "too short: first: about 40 would do."),
        ((), (SHORT,), "too short: second: about 40 would do."),
        ((SHORT,), (SHORT,), "too short: both: about 40 would do."),
        ((SHORT, MOVES), (SHORT,), "too short: both: about 40 would do. drifting: first: the state moves."),
    ],
)
def test_a_difference_carries_the_verdicts_of_both_sides(first, second, expected: str) -> None:
    found = lyapunov.spectrum(GRU, INPUTS, **SAME)
    one, other = (replace(found, verdict=lyapunov.Verdict(findings)) for findings in (first, second))
    difference = one - other
    assert str(difference.verdict) == expected
    assert difference.verdict.converged == (not first and not second)
    assert repr(difference).splitlines()[-1] == f"verdict: {expected}"


def test_a_finite_time_side_makes_a_difference_finite_time() -> None:
    one, other = (lyapunov.spectrum(module, INPUTS, k=3, from_initial_state=True) for module in (changed(), GRU))
    assert (one - other).verdict.kinds == ("finite-time",)


def test_what_transients_leave_in_both_sides_cancels_as_far_as_what_sampling_leaves() -> None:
    """0.03 and 0.04 are 0.05, times the fraction of the sampling errors that the pair does not share."""
    one, other = (lyapunov.spectrum(module, INPUTS, **SAME) for module in (changed(), GRU))
    none = {name: torch.zeros(3, dtype=torch.float64) for name in ("burn_in_errors", "alignment_errors", "rounding_errors")}
    one, other = replace(one, **none), replace(other, **none)
    alone = one - other
    shared = alone.standard_errors / torch.hypot(one.sampling_errors, other.sampling_errors)
    assert bool((shared < 0.5).all())
    one = replace(one, alignment_errors=torch.full((3,), 0.03, dtype=torch.float64))
    other = replace(other, burn_in_errors=torch.full((3,), 0.04, dtype=torch.float64))
    both = one - other
    torch.testing.assert_close(both.standard_errors, torch.hypot(alone.standard_errors, 0.05 * shared))
    torch.testing.assert_close(both.degrees, alone.degrees * (both.standard_errors / alone.standard_errors).clamp(max=100) ** 4)
