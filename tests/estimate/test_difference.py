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
        (
            {"seed": 1},
            INPUTS,
            r"got two that differ: seed \(0 and 1\)\. Compute both with the same seed; or take a\.difference\(b, paired=False",
        ),
        ({}, INPUTS + 1e-9, "same inputs"),
        (
            {"seed": 1, "dt": 0.1},
            INPUTS[:2],
            r"got two that differ: dt \(.*\), inputs \(.*\), seed \(.*\), batch \(6 and 2\)\. Compute",
        ),
    ],
)
def test_what_was_not_the_same_is_refused_all_at_once(options: dict, inputs, pattern: str) -> None:
    one, other = lyapunov.spectrum(GRU, INPUTS, **SAME), lyapunov.spectrum(changed(), inputs, **{**SAME, **options})
    with pytest.raises(lyapunov.InvalidInput, match=pattern):
        one - other
    with pytest.raises(TypeError):
        one - 1.0


def test_the_steps_that_both_counted_are_compared() -> None:
    """One started to count later, and took fewer exponents: over 30 draws, the spread is no more than is reported."""
    late, pairs = {"settle": 40, "align": 30, "k": 2}, []
    for seed in range(30):
        inputs = drawn(6, 190, 4, seed=900 + seed)
        pairs.append(lyapunov.spectrum(changed(), inputs, **late) - lyapunov.spectrum(GRU, inputs, **SAME))
    assert all(len(pair.exponents) == 2 for pair in pairs)
    spread = torch.stack([pair.exponents[0] for pair in pairs]).std()
    reported = torch.stack([pair.standard_errors[0] for pair in pairs]).mean()
    assert 0.3 < float(spread / reported) < 1.35


def test_a_run_that_counted_later_differs_from_itself_by_nothing() -> None:
    """What the first steps of the longer one grew is left out, also of the mean; its frames are aligned long before."""
    inputs, rates = drawn(4, 300, 3, seed=77), torch.tensor([0.9, 0.4, 0.2], dtype=torch.float64)

    def run(**options):
        start = torch.zeros(4, 3, dtype=torch.float64)
        return lyapunov.spectrum(lambda h, x: torch.tanh(rates.to(h) * h + x), inputs, state=start, qr_every=1, **options)

    early, late = run(settle=20, align=60), run(settle=60, align=70)
    assert bool(((early.exponents - late.exponents).abs() > 1e-4).any())
    for difference in (late - early, early - late):
        torch.testing.assert_close(difference.exponents, torch.zeros(3).double(), rtol=0, atol=1e-9)
        assert difference.mean == pytest.approx(0.0, abs=1e-9)


def test_runs_that_share_no_steps_are_refused() -> None:
    one = lyapunov.spectrum(GRU, INPUTS, settle=5, align=5, k=1)
    early = replace(one, settings=replace(one.settings, settle=0, align=0, count=10))
    late = replace(one, settings=replace(one.settings, settle=20, align=20))
    with pytest.raises(lyapunov.InvalidInput, match=r"counts from 0 to 10, and one from 40 to \d+\. Pass both"):
        early - late


def test_an_unpaired_difference_has_the_error_of_both() -> None:
    one = lyapunov.spectrum(GRU, INPUTS, **SAME)
    other = lyapunov.spectrum(changed(), drawn(3, 200, 4, seed=5), **{**SAME, "seed": 3, "k": 2})
    found = one.difference(other, paired=False)
    assert not found.paired
    torch.testing.assert_close(found.standard_errors, torch.hypot(one.standard_errors[:2], other.standard_errors))
    torch.testing.assert_close(found.exponents, one.exponents[:2] - other.exponents)
    assert bool((found.degrees >= torch.minimum(one.degrees[:2], other.degrees)).all())
    assert bool((found.degrees <= one.degrees[:2] + other.degrees).all())
    assert repr(found).startswith("Unpaired difference")
    same = one.difference(lyapunov.spectrum(changed(), INPUTS, **SAME))
    assert same.paired
    with pytest.raises(lyapunov.InvalidInput, match=r"dt \(1\.0 and 0\.5\)\. Compute both with the same dt\."):
        one.difference(lyapunov.spectrum(GRU, INPUTS, **SAME, dt=0.5), paired=False)


def test_means_over_other_numbers_of_exponents_have_no_difference() -> None:
    lossy = seeded(nn.RNN, 4, 6, batch_first=True)
    with torch.no_grad():
        lossy.weight_hh_l0[:, 3:] = 0.0  # three directions are lost
    whole = seeded(nn.RNN, 4, 6, batch_first=True)
    one, other = (lyapunov.spectrum(module, INPUTS, settle=20, align=20) for module in (whole, lossy))
    assert one.mean_count != other.mean_count
    found = one.difference(other, paired=False)
    assert (found.mean, found.mean_standard_error) == (None, None)
    lost = other.exponents.isneginf()
    assert bool(lost.any())
    assert torch.equal(found.standard_errors.isnan(), lost)  # as of a paired one


class Embedded(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.embedding, self.gru = nn.Embedding(9, 4), seeded(nn.GRU, 4, 6, batch_first=True)

    def forward(self, tokens):
        return self.gru(self.embedding(tokens).double())[0]


def test_a_model_is_paired_by_what_it_was_called_with(tmp_path) -> None:
    """Its embedding moved in training, so that its core received other inputs."""
    with torch.random.fork_rng():
        torch.manual_seed(5)
        model, tokens = Embedded(), torch.randint(0, 9, (6, 140))
    monitor = lyapunov.Monitor(model, tokens, k=2, every=1, directory=tmp_path)
    before = lyapunov.spectrum(lyapunov.capture(model, tokens), **SAME)
    monitor.observe(0)
    with torch.no_grad():
        model.embedding.weight.mul_(1.2)
        model.gru.weight_hh_l0.mul_(1.1)
    monitor.observe(1)
    after = lyapunov.spectrum(lyapunov.capture(model, tokens), **SAME)
    found = after - before
    assert found.inputs_moved
    assert "called with the same" in repr(found)
    kept = lyapunov.Run.load(tmp_path).spectra()
    assert (kept[1] - kept[0]).inputs_moved
    in_half = lyapunov.spectrum(lyapunov.capture(model, tokens), dtype=torch.float32, **SAME)
    assert not (after - in_half).inputs_moved  # nothing moved: the same in another precision
    other = lyapunov.spectrum(lyapunov.capture(model, tokens.flip(1)), **SAME)
    with pytest.raises(lyapunov.InvalidInput, match="same inputs"):
        other - before


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
