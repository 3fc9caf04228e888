"""What is said of a result as a whole, and that it is said when it should be."""

import math

import pytest
import torch
from torch import nn

import lyapunov
from cases import drawn, request, seeded
from lyapunov.estimate import Wishes, estimated
from lyapunov.systems import known
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
    assert f"about {wanted} would do" in str(found.verdict)
    assert f"inputs of {4 * wanted} steps" in str(found.verdict)
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


def test_from_reset_nothing_is_discarded_and_the_result_says_so() -> None:
    inputs = drawn(4, 25, 4, seed=356)
    found = lyapunov.spectrum(LSTM, inputs, from_reset=True)
    assert (found.settings.settle, found.settings.align, found.settings.count) == (0, 0, 25)
    assert "finite-time" in found.verdict.kinds
    assert "finite-time" in repr(found)
    given = lyapunov.spectrum(LSTM, inputs, settle=0, align=0)
    assert same(given.exponents, found.exponents)
    assert "finite-time" not in given.verdict.kinds
    with pytest.raises(lyapunov.InvalidInput, match="left out with from_reset=True, got 5"):
        lyapunov.spectrum(LSTM, inputs, from_reset=True, settle=5)


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
    coarse = Wishes(2, 16, 16, False, None, 1.0, 0, coarse=True)
    found = estimated(system, request(inputs, None, torch.float64), coarse)[0]
    assert found.settings.qr_every == 16
    assert float(found.correlation_times[0]) == pytest.approx(8, rel=0.2)
    assert "correlated" not in str(found.verdict)
    assert found.degrees.tolist() == [4.0, 4.0]
    few = estimated(system, request(inputs[:4], None, torch.float64), coarse)[0]
    assert few.settings.qr_every <= 4
