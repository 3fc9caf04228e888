"""What is said of a result as a whole, and that it is said when it should be."""

import math
import re
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import lyapunov
from cases import drawn, seeded
from growths import counted, estimated_from, grown, judged, settings_of
from lyapunov.estimate import RunOptions, estimate_spectrum
from lyapunov.estimate.transient_findings import is_positive
from lyapunov.estimate.verdict import judge
from lyapunov.intake import problem
from lyapunov.systems import Label, known
from tolerances import same

LSTM = seeded(nn.LSTM, 4, 8, batch_first=True, scale=1.0)


def slow_network(memory: float) -> nn.RNN:
    module = seeded(nn.RNN, 4, 4, bias=False, batch_first=True)
    with torch.no_grad():
        module.weight_hh_l0.copy_(memory * torch.linalg.qr(drawn(4, 4, seed=350))[0])
        module.weight_ih_l0.mul_(1e-3)
    return module


def test_a_contracting_network_on_enough_inputs_has_converged() -> None:
    found = lyapunov.spectrum(LSTM, drawn(10, 300, 4, seed=351), k=3)
    assert found.verdict.converged
    assert str(found.verdict) == "converged"
    assert "verdict: converged" in repr(found)


def test_settling_takes_as_long_as_the_state_remembers() -> None:
    """Copies at a distance that shrinks by 0.8 a step are at a hundredth of it after ln 100 / -ln 0.8 = 21 steps."""
    found = lyapunov.spectrum(slow_network(0.8), drawn(4, 200, 4, seed=352), k=1)
    assert found.settings.settle == math.ceil(math.log(100) / -math.log(0.8))


def test_a_memory_longer_than_the_inputs_is_said_with_how_long_it_would_take() -> None:
    found = lyapunov.spectrum(slow_network(0.96), drawn(4, 120, 4, seed=353), k=1)
    assert found.settings.settle == 30
    assert "too short" in found.verdict.kinds
    wanted = math.ceil(math.log(100) / -math.log(0.96))
    named = int(re.search(r"about (\d+) to settle would do", str(found.verdict)).group(1))
    assert wanted <= named <= 2.1 * wanted
    assert f"inputs of {4 * named} steps" in str(found.verdict)
    assert lyapunov.spectrum(slow_network(0.96), drawn(4, 4 * wanted, 4, seed=353), k=1).settings.settle == wanted


def test_a_chaotic_network_settles_for_a_fixed_number_of_steps_and_is_not_blamed() -> None:
    case = known.gaussian_tanh(60, 3.0, 0.1)
    found = lyapunov.spectrum(case.system, case.inputs(10, 400), state=case.start(10), k=2)
    assert found.max > 0
    assert found.settings.settle == 100
    assert not any("copies" in finding.message for finding in found.verdict.findings)


def test_the_frame_is_aligned_where_two_random_ones_agree() -> None:
    """Far apart exponents align at once, and close ones take their time."""
    apart, close = (torch.diag(torch.tensor(values).exp()).double() for values in ([0.0, -3.0, -6.0], [0.0, -0.02, -0.04]))
    turn = torch.linalg.qr(drawn(3, 3, seed=354))[0]
    taken = []
    for matrix in (apart, close):
        whole = turn @ matrix @ turn.mT
        state = torch.zeros(1, 3).double()
        found = lyapunov.spectrum(lambda s, _, whole=whole: s @ whole.mT, state=state, steps=50, settle=0)
        taken.append(found.settings.align)
    assert taken[0] <= 16
    assert taken[1] > taken[0]


def test_inputs_spent_on_transients_are_not_counted_again() -> None:
    found = lyapunov.spectrum(LSTM, drawn(4, 200, 4, seed=355), k=2)
    settings = found.settings
    assert settings.settle + settings.align + settings.count == 200
    assert bool((found.history_steps.sum(0) == settings.count).all())
    again = lyapunov.spectrum(LSTM, drawn(4, 200, 4, seed=355), k=2, settle=settings.settle, align=settings.align)
    torch.testing.assert_close(again.exponents, found.exponents, rtol=0, atol=1e-9)


def test_from_the_initial_state_nothing_is_discarded_and_the_result_says_so() -> None:
    inputs = drawn(4, 25, 4, seed=356)
    found = lyapunov.spectrum(LSTM, inputs, from_initial_state=True)
    assert (found.settings.settle, found.settings.align, found.settings.count) == (0, 0, 25)
    assert "finite-time" in found.verdict.kinds
    assert "finite-time" in repr(found)
    given = lyapunov.spectrum(LSTM, inputs, settle=0, align=0)
    assert same(given.exponents, found.exponents)
    assert "finite-time" not in given.verdict.kinds
    with pytest.raises(lyapunov.InvalidInput, match="left out with from_initial_state=True, got 5"):
        lyapunov.spectrum(LSTM, inputs, from_initial_state=True, settle=5)


def test_cells_that_count_are_named_as_drifting() -> None:
    """Forget and input gates held open: cell 3 adds up a constant, |c| grows like t. The others forget."""
    module = seeded(nn.LSTM, 4, 6, batch_first=True, scale=0.5)
    with torch.no_grad():
        module.bias_ih_l0[3] = module.bias_ih_l0[6 + 3] = 25.0
        module.bias_ih_l0[12 + 3] = 1.0
        module.weight_hh_l0[[3, 9, 15]] = 0
        module.weight_ih_l0[[3, 9, 15]] = 0
    found = lyapunov.spectrum(module, drawn(10, 300, 4, seed=357), k=2)
    assert "drifting" in found.verdict.kinds
    message = next(finding.message for finding in found.verdict.findings if finding.kind == "drifting")
    assert "c[3] of layer 0" in message
    assert message.count("c[") == 1
    assert found.max == pytest.approx(0.0, abs=1e-6)


def test_too_few_independent_steps_are_said() -> None:
    found = lyapunov.spectrum(LSTM, drawn(1, 24, 4, seed=358), settle=4, align=4, k=1)
    assert "too short" in found.verdict.kinds
    assert "in each sequence, or more sequences" in str(found.verdict)


def test_one_sequence_that_ends_early_does_not_keep_the_others_from_settling() -> None:
    inputs = drawn(6, 300, 4, seed=359)
    whole = lyapunov.spectrum(LSTM, inputs, k=1).settings.settle
    with pytest.warns(lyapunov.LyapunovWarning, match=r"shorter ones at \[2\]"):
        found = lyapunov.spectrum(LSTM, inputs, k=1, lengths=[300, 300, 5, 300, 300, 300])
    assert found.settings.settle <= whole + 5
    assert found.verdict.converged


def test_growth_that_is_not_resolved_in_time_is_not_called_correlated() -> None:
    """Five sequences of white-noise growth: read in four stretches, its correlation time cannot come out below half of one."""
    system, inputs = known.gaussian_products(size=3).system, known.gaussian_products(size=3).inputs(batch=5, steps=64)
    options = RunOptions(settle=16, align=16)
    found = estimate_spectrum(problem(system, inputs), options, k=2, coarse=True)[0]
    assert found.settings.qr_every == 16
    assert float(found.correlation_times[0]) == pytest.approx(8, rel=0.2)
    assert "correlated" not in str(found.verdict)
    assert found.degrees.tolist() == pytest.approx([4.0, 4.0], abs=0.1)
    few = estimate_spectrum(problem(system, inputs[:4]), options, k=2, coarse=True)[0]
    assert few.settings.qr_every <= 4


def noisy(*rates: float, batch: int = 10, bins: int = 100, spread: float = 0.1) -> Tensor:
    return grown(torch.tensor(rates, dtype=torch.float64).expand(batch, -1), bins=bins, spread=spread)


def test_a_run_that_leaves_nothing_has_converged() -> None:
    zero = torch.zeros(10, 2, dtype=torch.float64)
    assert judged(counted(noisy(-0.1, -0.5), lacked=(zero, zero), distance=0.001, parted=None)).converged


def test_growth_that_differs_between_the_first_quarter_and_the_last_half_is_a_trend() -> None:
    """In ten sequences a change of 0.08, ten times its error, is one, and one of 0.01 is not."""
    log_growth = noisy(-0.5)
    early = torch.arange(100).view(-1, 1, 1) < 25
    assert judged(counted(log_growth - 0.01 * early)).converged
    verdict = judged(counted(log_growth - 0.08 * early))
    assert verdict.kinds == ("drifting",)
    assert float(re.search(r"exponent 1 is (\S+) higher", str(verdict)).group(1)) == pytest.approx(0.08, abs=0.02)


def test_a_state_is_unbounded_where_its_length_grows_from_part_to_part() -> None:
    sizes = torch.linspace(0, 1, 8, dtype=torch.float64).unsqueeze(-1) + 0.01 * drawn(8, 10, seed=1)
    assert judged(counted(noisy(0.1), sizes=sizes)).kinds == ("unbounded",)
    assert judged(counted(noisy(0.1), sizes=sizes.flip(0))).converged
    assert judged(counted(noisy(0.1), sizes=0.1 * sizes)).converged
    assert judged(counted(noisy(0.1), sizes=sizes + 3 * drawn(1, 10, seed=2) * sizes)).converged


@pytest.mark.parametrize(("own", "kinds"), [((0, 0.01, 0.02, 1, 1.01, 1.02), ("groups",)), ((0, 0.1, 0.25, 0.4, 0.5, 0.6), ())])
def test_groups_are_further_apart_than_sequences_within_them(own: tuple[float, ...], kinds: tuple[str, ...]) -> None:
    rates = torch.tensor(own, dtype=torch.float64).unsqueeze(-1)
    verdict = judged(counted(grown(rates, bins=400, spread=0.01)))
    assert verdict.kinds == kinds
    assert verdict.converged or re.search("3 near 0.0.*, 3 near 1.01", str(verdict))


@pytest.mark.parametrize(("lengths", "found"), [((400, 20, 20), True), ((300, 150, 60), True), ((200, 150, 150), False)])
def test_one_sequence_that_decides_is_said(lengths: tuple[int, ...], found: bool) -> None:
    steps = (torch.arange(max(lengths)).unsqueeze(-1) < torch.tensor(lengths)).double()
    log_growth = grown(torch.tensor([[-0.5], [-0.3], [-0.8]]).double(), bins=max(lengths), spread=0.1) * steps.unsqueeze(-1)
    assert ("holds" in str(judged(counted(log_growth, steps=steps)))) == found


def test_one_sequence_that_decides_is_said_though_the_others_seem_to_agree() -> None:
    steps = (torch.arange(1000).unsqueeze(-1) < torch.tensor((1000, 30, 30))).double()
    growth = counted(noisy(-0.5, batch=3, bins=1000) * steps.unsqueeze(-1), steps=steps)
    assert "the others cannot show how much sequences differ" in str(judged(growth))


def test_a_positive_exponent_is_judged_by_its_interval() -> None:
    """Five errors above zero are plenty with many degrees of freedom, and nothing with one."""
    growth = counted(noisy(0.3))
    found, settings = estimated_from(growth), settings_of(growth)
    found = replace(found, standard_errors=found.exponents / 5)
    assert is_positive(found, settings)
    assert not is_positive(replace(found, degrees=torch.ones(1)), settings)
    assert not is_positive(replace(found, degrees=torch.full((1,), 0.5)), settings)


@pytest.mark.parametrize(
    ("lacked", "message"),
    [
        ([[5, -5, 0], [-5, 5, 0]], None),
        ([[5, 3, 0], [6, 2, 0]], "the sum of exponents 1 to 2 by 0.055,"),
        ([[0, 0, 8], [0, 0, 8]], "exponent 3 by 0.055,"),
        ([[0, 0, 80], [0, 0, -64]], None),
    ],
    ids=["columns that change places", "two that lack", "one that lacks", "one that lacks less than its error"],
)
def test_columns_that_alignment_has_not_told_apart_are_judged_by_their_sum(lacked: list, message: str | None) -> None:
    """Over 50 steps a gap of 0.01 tells nothing apart, and one of 0.9 does. Eight nats of 100 steps are 0.08;
    their error in ten sequences, 0.08 / sqrt(10), is not counted.
    """
    found = torch.tensor(lacked, dtype=torch.float64).repeat(5, 1)
    verdict = judged(counted(noisy(-0.1, -0.11, -1.0), lacked=(20 * found, found)))
    assert verdict.kinds == (() if message is None else ("too short",))
    assert message is None or f"the first frame may still move {message}" in str(verdict)


def test_steps_to_align_are_as_many_as_the_fall_of_what_is_lacked_asks_for() -> None:
    """It fell by 20 over 50 steps, and is to become 0.4 of the sampling error; twice as many are named."""
    found = torch.full((10, 1), 8.0, dtype=torch.float64)
    growth = counted(noisy(-0.1), lacked=(20 * found, found))
    ratio = 0.08 * (1 - 0.1**0.5) / float(estimated_from(growth).sampling_errors[0])
    wanted = math.ceil(2 * 50 * (1 + math.log(ratio / 0.4) / math.log(20)))
    assert f"pass align={wanted} with inputs of {10 + 4 * wanted} steps" in str(judged(growth))
    # where it does not fall, 25 times as many counted steps at the most
    assert f"pass align=100 with inputs of {10 + 100 + 25 * 100} steps" in str(judged(replace(growth, lacked=(found, found))))


def test_steps_to_settle_are_as_many_as_the_largest_exponent_asks_for() -> None:
    growth = counted(noisy(-0.002, batch=40, bins=400, spread=0.01), distance=0.009)
    found = estimated_from(growth)
    ratio = float(found.burn_in_errors[0] / found.sampling_errors[0])
    assert ratio > 1
    wanted = 10 + math.ceil(math.log(ratio / 0.4) / -float(found.exponents[0]))
    assert f"settle={wanted} with inputs of {wanted + 50 + max(wanted, 400)}." in str(judged(growth))
    assert judged(replace(growth, distance=0.0001)).converged


def test_steps_after_which_copies_come_together_allow_for_growth_that_fluctuates() -> None:
    """60 steps left a fifth of the distance. Twice those and t more are named, with rate t - spread sqrt(t) = ln 20."""
    growth = counted(noisy(-0.03, batch=10, bins=400, spread=0.5), distance=0.2)
    found = estimated_from(growth)
    rate, error = -float(found.exponents[0]), float(found.sampling_errors[0])
    spread = 0.5 * error * 4000**0.5
    root = max(np.roots([max(rate, error), -spread, -math.log(20)]))
    assert f"about {math.ceil(2 * (60 + root**2))} to settle would do" in str(judged(growth))


def test_no_absurd_number_of_steps_to_settle_is_named() -> None:
    """A rate that is hardly told from zero would ask for more than 25 times the steps that were made."""
    verdict = str(judged(counted(noisy(-1e-5, batch=40, bins=400, spread=1e-3), distance=0.8)))
    assert "pass a larger settle and longer inputs, unless the system has cycles" in verdict


def test_chaos_along_which_copies_come_together_is_a_transient() -> None:
    parted = torch.ones(10, dtype=torch.float64)
    growth = counted(noisy(0.3), distance=0.9, parted=parted)
    assert judged(growth).converged
    parted[:2] = 1e-9
    assert "come together in the end (2 of 10 sequences)" in str(judged(replace(growth, parted=parted)))
    assert "copies of the state" in str(judged(replace(growth, log_growth=noisy(-0.3))))


def correlated(bins: int, *, width: int = 32, batch: int = 2) -> Tensor:
    """Growth as a moving average over `width` steps, and correlated over about half of them."""
    noise = drawn(bins + width - 1, batch, 1, seed=5).unfold(0, width, 1)
    return -0.5 + 0.1 * noise.mean(-1)


def test_half_more_steps_than_are_named_are_enough_and_a_quarter_of_them_are_not() -> None:
    """Six blocks of five correlation times are asked for, in two sequences."""
    growth = counted(correlated(200))
    named = int(re.search(r"about (\d+) in each sequence", str(judged(growth))).group(1))
    assert named == pytest.approx(6 * 5 * float(estimated_from(growth).correlation_times[0]) / 2, abs=1)
    assert "too few" not in str(judged(counted(correlated(round(1.5 * named)))))
    assert "too few" in str(judged(counted(correlated(named // 4))))


@pytest.mark.parametrize(("moved", "kinds"), [((1.0, 1.1, 0.9, 1.05), ("drifting",)), ((4.0, 0.0, 0.05, -0.05), ())])
def test_a_state_drifts_where_sequences_agree_that_it_does(moved: tuple[float, ...], kinds: tuple[str, ...]) -> None:
    """Pooled, both means rise from 1 to 2 or so, part by part."""
    means = 1 + torch.linspace(0, 1, 8, dtype=torch.float64).view(-1, 1, 1) * torch.tensor(moved).double().view(1, -1, 1)
    growth = counted(noisy(-0.5, batch=4), drift=means)
    assert judge(estimated_from(growth), settings_of(growth), growth, (Label(0, "h", 0),)).kinds == kinds
