"""Standard errors, correlation times, blocks, the jackknife: against closed forms, and how often intervals hold the truth."""

import pytest
import torch
from torch import Tensor

import lyapunov
from cases import drawn
from lyapunov.estimate.standard_errors import blocked, correlation_times, jackknife, standard_errors
from lyapunov.systems import known
from tolerances import ROUNDING

F64 = torch.float64


def autoregressive(memory: float, batch: int, steps: int, seed: int) -> Tensor:
    """x' = memory x + noise of variance 1 - memory^2: variance 1, correlation time (1 + memory) / (2 (1 - memory))."""
    noise = drawn(steps, batch, 1, seed=seed) * (1 - memory**2) ** 0.5
    series = [drawn(batch, 1, seed=seed + 1)]
    for at in range(steps):
        series.append(memory * series[-1] + noise[at])
    return torch.stack(series[1:])


@pytest.mark.parametrize("memory", [0.0, 0.5, 0.8])
def test_correlation_time_of_an_autoregressive_series(memory: float) -> None:
    series = autoregressive(memory, 40, 2000, seed=300)
    found = float(correlation_times(series - series.mean((0, 1)), torch.ones(2000, dtype=F64)))
    assert found == pytest.approx((1 + memory) / (2 * (1 - memory)), rel=0.1)


@pytest.mark.parametrize("memory", [0.0, 0.5, 0.8])
def test_standard_error_of_one_correlated_series(memory: float) -> None:
    """sigma sqrt(2 tau / T): the mean over 60 series of what each says of itself, within 10 %."""
    found = [
        float(standard_errors(autoregressive(memory, 1, 1000, seed), torch.ones(1000, 1, dtype=F64)).standard_errors)
        for seed in range(600)[::10]
    ]
    truth = ((1 + memory) / (1 - memory) / 1000) ** 0.5
    assert sum(found) / len(found) == pytest.approx(truth, rel=0.1)


def test_sequences_that_differ_for_good_are_seen_between_and_not_within() -> None:
    own = drawn(1, 10, 1, seed=310)
    found = standard_errors(autoregressive(0.0, 10, 500, seed=311) + own, torch.ones(500, 10, dtype=F64))
    assert float(found.standard_errors) == float(found.between)
    assert float(found.between) == pytest.approx(float(own.std()) / 10**0.5, rel=0.1)
    assert float(found.degrees) == 9


def test_blocks_share_out_what_straddles_their_edges() -> None:
    values, widths = torch.tensor([3.0, 4.0, 8.0], dtype=F64), torch.tensor([3.0, 1.0, 4.0], dtype=F64)
    torch.testing.assert_close(blocked(values, widths, 4), torch.tensor([2.0, 5.0, 4.0, 4.0], dtype=F64))
    torch.testing.assert_close(blocked(values, widths, 1), torch.tensor([15.0], dtype=F64))


def test_how_growth_was_binned_does_not_matter() -> None:
    series, steps = autoregressive(0.5, 6, 960, seed=320), torch.ones(960, 6, dtype=F64)
    fine = standard_errors(series, steps)
    coarse = standard_errors(series.unflatten(0, (240, 4)).sum(1), steps.unflatten(0, (240, 4)).sum(1))
    assert float(coarse.standard_errors) == pytest.approx(float(fine.standard_errors), rel=0.15)
    assert float(coarse.between) == pytest.approx(float(fine.between), rel=ROUNDING)


def test_the_jackknife_of_the_mean_is_the_standard_error() -> None:
    series, steps = autoregressive(0.0, 12, 50, seed=330), torch.ones(50, 12, dtype=F64)
    found = jackknife(series, steps, torch.tensor([100.0]), lambda rates: float(rates[0]))
    assert found == pytest.approx(float(standard_errors(series, steps).between), rel=1e-9)
    assert jackknife(series, steps, torch.tensor([100.0]), lambda rates: None) is None


def test_a_derived_quantity_has_the_error_that_it_varies_by() -> None:
    """Variance and entropy rate over 40 independent runs: their spread within 30 % of the mean error."""
    case = known.gaussian_products(4)
    runs = [
        lyapunov.spectrum(case.system, case.inputs(10, 90, seed=seed), settle=0, align=10, check=False) for seed in range(40)
    ]
    for name in ("variance", "entropy_rate"):
        values = torch.tensor([getattr(run, name) for run in runs])
        reported = torch.tensor([run.standard_error(name) for run in runs])
        assert float(values.std() / reported.mean()) == pytest.approx(1.0, abs=0.3)
    assert runs[0].standard_error("kaplan_yorke_dimension") == pytest.approx(0.0)  # all of the space: it does not vary
    with pytest.raises(lyapunov.InvalidInput, match="variance"):
        runs[0].standard_error("colour")


@pytest.mark.parametrize("which", ["products", "tanh"])
def test_intervals_hold_the_truth_in_at_least_17_of_20_runs(which: str) -> None:
    """Nominal 95 %, largest exponent and mean. Power: 17 or more has probability 98.4 % at a coverage of 95 %, 41 % at 80 %,
    11 % at 70 %; a standard error too small by a half (coverage 67 %) passes both with probability below 1 %.
    """
    if which == "products":
        case = known.gaussian_products(5)
        truth = (float(case.exponents[0]), float(case.exponents.mean()))
    else:
        case = known.gaussian_tanh(16, 2.0, 1.0)
        long = lyapunov.spectrum(case.system, case.inputs(200, 600, seed=999), state=case.start(200), check=False, k=2)
        truth = (long.max, long.mean)
    largest = mean = 0
    for seed in range(20):
        start = {} if which == "products" else {"state": case.start(10, seed=50 + seed)}
        found = lyapunov.spectrum(case.system, case.inputs(10, 150, seed=100 + seed), check=False, **start)
        low, high = found.interval(0.95)[0].tolist()
        largest += low <= truth[0] <= high
        low, high = found.mean_interval(0.95)
        mean += low <= truth[1] <= high
    assert largest >= 17
    assert mean >= 17


def test_between_sequences_it_is_the_jackknife() -> None:
    """Rates with one sequence left out at a time: sqrt((G-1)/G sum_g (rate_g - rate)^2), of unequal lengths, too."""
    own, steps = torch.tensor([-0.5, -0.3, -0.8, -0.1], dtype=F64), torch.tensor([40, 20, 10, 10], dtype=F64)
    counted = (torch.arange(40).unsqueeze(-1) < steps).double()
    found = standard_errors((own * counted).unsqueeze(-1), counted)
    grown = own * steps
    left_out = (grown.sum() - grown) / (steps.sum() - steps)
    expected = (3 / 4 * (left_out - grown.sum() / steps.sum()).square().sum()).sqrt()
    assert float(found.between) == pytest.approx(float(expected))
    # so many sequences of equal length: (sum n^2)^2 / sum n^4
    assert float(found.degrees) == pytest.approx(2200**2 / (40**4 + 20**4 + 2 * 10**4) - 1)


def test_copies_widen_both_errors_and_leave_fewer_degrees() -> None:
    series, steps = autoregressive(0.0, 8, 200, seed=340), torch.ones(200, 8, dtype=F64)
    whole, quarter = standard_errors(series, steps), standard_errors(series, steps, 0.25)
    assert float(quarter.between / whole.between) == pytest.approx(2.0)
    assert float(quarter.within / whole.within) == pytest.approx(2.0)
    assert float(quarter.standard_errors / whole.standard_errors) == pytest.approx(2.0)
    assert float(quarter.degrees) == pytest.approx(float(whole.degrees) / 4)


def test_pieces_of_a_single_sequence_that_differ_tell_its_error() -> None:
    """Eight pieces with means of their own, which correlation times within the sequence are too short to show."""
    noise, means = drawn(2000, 1, 1, seed=350), 0.3 * drawn(8, seed=351)
    series = noise + means.repeat_interleave(250).view(-1, 1, 1)
    alone, apart = (standard_errors(one, torch.ones(2000, 1, dtype=F64)) for one in (noise, series))
    own = series.view(8, 250).mean(1)
    assert float(apart.standard_errors) == pytest.approx(float(own.std() / 8**0.5), rel=1e-6)
    assert float(apart.degrees) == 7
    assert float(alone.degrees) > 7
    assert float(alone.standard_errors) == pytest.approx(1 / 2000**0.5, rel=0.2)
