"""The error budget: what transients, rounding, unequal and copied sequences leave is in the error, or in the verdict."""

import math
from dataclasses import replace

import pytest
import torch
from torch import nn

import lyapunov
from cases import drawn, seeded
from growths import counted, estimated_from, grown
from lyapunov.estimate import standard_errors
from lyapunov.estimate.budget import budget

F64 = torch.float64
CHRONO = ((0, -0.0327), (2, -0.0387))
"""Seeds, and the largest exponent by dense Jacobians and NumPy's QR along 12000 steps (errors about 0.0002)."""


def chrono_lstm(seed: int, units: int = 16, *, least: float = 1.0, span: float = 28.0) -> nn.LSTM:
    """Forget gates that remember for up to least + span steps (Tallec and Ollivier 2018)."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        module = nn.LSTM(3, units, batch_first=True).double()
        with torch.no_grad():
            times = torch.rand(units).double() * span + least
            module.bias_ih_l0.zero_()
            module.bias_hh_l0.zero_()
            module.bias_ih_l0[units : 2 * units], module.bias_ih_l0[:units] = times.log(), -times.log()
    return module


def slow_network(units: int = 40) -> tuple[nn.RNN, torch.Tensor]:
    """A network that is linear for small inputs, and its exponents by construction."""
    rates = -torch.linspace(0.02, 1.0, units)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        module = nn.RNN(2, units, batch_first=True)
        basis = torch.linalg.qr(torch.randn(units, units)).Q
        with torch.no_grad():
            for weight in module.parameters():
                weight.zero_()
            module.weight_hh_l0.copy_(basis @ torch.diag(rates.exp()) @ basis.T)
            module.weight_ih_l0.copy_(1e-4 * torch.randn(units, 2))
    return module, rates.double()


def test_the_parts_of_the_budget_add_up_to_the_error() -> None:
    found = lyapunov.spectrum(chrono_lstm(0), drawn(10, 300, 3, seed=1), k=4)
    budget = found.error_budget
    assert budget.total.tolist() == pytest.approx(found.standard_errors.tolist())
    squares = budget.sampling**2 + budget.burn_in**2 + budget.alignment**2 + budget.rounding**2
    assert squares.sqrt().tolist() == pytest.approx(found.standard_errors.tolist())
    assert budget.systematic.tolist() == pytest.approx((squares - budget.sampling**2).clamp(min=0).sqrt().tolist())


@pytest.mark.parametrize(("seed", "truth"), CHRONO)
@pytest.mark.parametrize("k", [1, 4])
def test_the_error_of_a_slow_lstm_holds_the_truth(seed: int, truth: float, k: int) -> None:
    """Frames that are not aligned yet lower the estimate by more than sampling tells."""
    found = [lyapunov.spectrum(chrono_lstm(seed), drawn(10, steps, 3, seed=4), k=k) for steps in (200, 300, 500)]
    for one in found:
        assert abs(one.max - truth) < 2.5 * float(one.standard_errors[0])
    assert any(abs(one.max - truth) > 2 * float(one.sampling_errors[0]) for one in found)


@pytest.mark.parametrize("given", [{}, {"settle": 50, "align": 50}, {"settle": 50, "align": 150}])
@pytest.mark.parametrize("k", [8, None])
def test_probes_far_too_short_for_the_memory_are_flagged_and_cover_it(given: dict[str, int], k: int | None) -> None:
    """The truth: dense Jacobians and NumPy's QR along 32 chains of 4000 steps after 4000, error 0.00002."""
    found = lyapunov.spectrum(chrono_lstm(0, least=2.0, span=228.0), drawn(10, 300, 3, seed=1), k=k, **given)
    assert abs(found.max - -0.00416) < 3 * float(found.standard_errors[0])
    assert "too short" in found.verdict.kinds
    assert "settle=" in str(found.verdict)


@pytest.mark.parametrize(("seed", "truth"), [(0, 0.0042), (1, 0.0028)])
def test_a_difference_of_slow_networks_holds_the_truth_and_is_flagged(seed: int, truth: float) -> None:
    """The truth: along 24 sequences of 2000 steps after 500 to settle and 1000 to align, error 0.0002 at most."""
    inputs, same = drawn(10, 200, 3, seed=seed), {"settle": 30, "align": 30, "k": 4}
    one, other = (lyapunov.spectrum(chrono_lstm(at), inputs, **same) for at in (seed, seed + 10))
    difference = one - other
    low, high = difference.interval()[0].tolist()
    assert low <= truth <= high
    assert low < 0 < high
    assert not difference.verdict.converged


def test_more_steps_to_align_leave_less() -> None:
    inputs, module = drawn(10, 700, 2, seed=3).float(), slow_network()[0]
    left = [lyapunov.spectrum(module, inputs, k=1, settle=200, align=align) for align in (20, 60, 180)]
    parts = [float(found.error_budget.alignment[0]) for found in left]
    assert parts[0] > 2 * parts[1] > 4 * parts[2]


@pytest.mark.parametrize("given", [{}, {"settle": 0, "align": 0}, {"settle": 10, "align": 5}, {"settle": 20, "align": 20}])
def test_settings_that_are_given_are_looked_at_all_the_same(given: dict[str, int]) -> None:
    module, rates = slow_network()
    found = lyapunov.spectrum(module, drawn(8, 120, 2, seed=4).float(), k=4, **given)
    assert bool(((found.exponents - rates[:4]).abs() < 3 * found.standard_errors).all())
    assert "too short" in found.verdict.kinds
    assert "align" in str(found.verdict)


def test_steps_that_the_verdict_names_are_enough() -> None:
    module, rates = slow_network()
    found = lyapunov.spectrum(module, drawn(8, 1500, 2, seed=4).float(), k=1, settle=300, align=300)
    assert found.verdict.converged
    assert abs(found.max - float(rates[0])) < 3 * float(found.standard_errors[0]) + 1e-4


@pytest.mark.filterwarnings("ignore::lyapunov.LyapunovWarning")
@pytest.mark.parametrize("options", [{"k": 4, "align": 200}, {"k": 8, "align": 200}, {"k": 1}, {"k": 4, "chunks": 4}])
def test_rounding_that_is_amplified_from_interval_to_interval_is_not_reliable(options: dict[str, int]) -> None:
    """A chain of 20 leaky integrators has 20 exponents of ln 0.5; float64 sees its pseudospectrum, 0.13 above."""
    units = 20
    with torch.random.fork_rng():
        module = nn.RNN(1, units, batch_first=True).double().requires_grad_(False)
    for weight in module.parameters():
        weight.zero_()
    module.weight_hh_l0.copy_(0.5 * torch.eye(units) + 0.5 * torch.diag(torch.ones(units - 1), -1))
    module.weight_ih_l0[0] = 1
    found = lyapunov.spectrum(module, 0.02 * drawn(6, 1600, 1, seed=1), **options)
    assert not bool(found.reliable.any())
    assert "unreliable tail" in found.verdict.kinds
    normal = lyapunov.spectrum(seeded(nn.GRU, 3, 12, batch_first=True), drawn(6, 400, 3, seed=1), k=4)
    assert bool(normal.reliable.all())
    assert float(normal.error_budget.rounding.max()) < 1e-7


def test_a_long_chaotic_transient_is_not_taken_for_chaos() -> None:
    """Above zero while it lasts; the truth is -0.09."""
    with torch.random.fork_rng():
        torch.manual_seed(12)
        module = nn.RNN(3, 10, batch_first=True).double()
        with torch.no_grad():
            module.weight_hh_l0.normal_(0, 8 / math.sqrt(10))
            module.weight_ih_l0.mul_(0.3)
    runs = [lyapunov.spectrum(module, drawn(5, 200, 3, seed=seed), k=1) for seed in range(14)]
    wrong = [found for found in runs if found.max - 4 * float(found.standard_errors[0]) > -0.09]
    assert not any(found.verdict.converged for found in wrong)


def test_each_sequence_starts_from_a_frame_of_its_own_and_two_runs_from_the_same_ones() -> None:
    inputs = drawn(1, 60, 3, seed=6).expand(4, -1, -1)
    module = seeded(nn.GRU, 3, 12, batch_first=True)
    one, two = (lyapunov.spectrum(module, inputs, k=1, from_initial_state=True) for _ in range(2))
    assert float(one.per_sequence.std()) > 1e-4
    torch.testing.assert_close(one.per_sequence, two.per_sequence, rtol=0, atol=1e-9)


def test_chunks_look_at_a_settle_that_is_given() -> None:
    module, inputs = slow_network()[0], drawn(4, 800, 2, seed=5).float()
    found = lyapunov.spectrum(module, inputs, k=1, settle=0, align=40, chunks=4)
    assert "copies of the state" in str(found.verdict)
    assert float(found.error_budget.alignment[0]) > 0


def test_a_state_that_has_settled_before_needs_no_settling() -> None:
    module = seeded(nn.GRU, 3, 12, batch_first=True, scale=0.5)
    assert lyapunov.spectrum(module, drawn(6, 400, 3, seed=1), k=4, settle=0).verdict.converged


@pytest.mark.parametrize("k", [1, 8, None])
def test_ordinary_networks_converge_on_ordinary_inputs(k: int | None) -> None:
    """Findings that are always there say nothing."""
    converged = []
    for kind in (nn.RNN, nn.GRU, nn.LSTM):
        for seed in range(5):
            with torch.random.fork_rng():
                torch.manual_seed(seed)
                module = kind(8, 24, batch_first=True)
            converged.append(lyapunov.spectrum(module, drawn(10, 400, 8, seed=50 + seed), k=k).verdict.converged)
    assert sum(converged) >= 12


def test_the_burn_in_leaves_the_fluctuations_that_copies_still_differ_by_until_they_come_together() -> None:
    """distance spread / (decay T), with the decay of the largest exponent, and none faster than 1 / T."""
    signs = torch.tensor([1.0, -1.0], dtype=F64).repeat(50).view(-1, 1, 1)
    for rate, decay in ((-0.1, 0.1), (0.2, 0.01)):
        rates = torch.tensor([rate, -0.7], dtype=F64)
        growth = counted(rates + signs * torch.tensor([0.3, 0.5], dtype=F64).expand(4, 2), distance=0.005)
        found = budget(growth, torch.ones(2, dtype=F64), rates).burn_in
        torch.testing.assert_close(found, 0.005 * torch.tensor([0.3, 0.5], dtype=F64) / decay / 100)
        assert not bool(budget(replace(growth, distance=0.05), torch.ones(2, dtype=F64), rates).burn_in.any())


LACKED = torch.tensor([[1.0, 3, 0, -3], [2, -3, 0, -2], [3, 2, 0, -1], [4, -1, 0, -4]], dtype=F64)
"""Of four sequences and columns; two more columns were not seen."""


def left_by_alignment(align: int, fall: float = 20.0) -> torch.Tensor:
    lacked = torch.cat([LACKED, torch.full((4, 2), torch.nan).double()], dim=-1)
    rates = torch.zeros(4, 6, dtype=F64)
    growth = counted(grown(rates, bins=100), lacked=(fall * lacked, lacked), align=align)
    return budget(growth, torch.ones(6, dtype=F64), rates[0]).alignment


def test_alignment_leaves_the_mean_of_what_is_lacked_and_its_error() -> None:
    """Per step of 100; what there is too much of is chance, and unseen columns are as bad as the seen ones."""
    mean, error = LACKED.mean(0).clamp(min=0.0), LACKED.square().mean(0).sqrt() / 2
    expected = (mean**2 + error**2).sqrt() / 100
    found = left_by_alignment(50)
    torch.testing.assert_close(found[:4], expected)
    torch.testing.assert_close(found[4:], expected.square().mean().sqrt().expand(2))


def test_a_frame_that_was_not_aligned_leaves_all_that_random_frames_differ_by() -> None:
    for found in (left_by_alignment(0), left_by_alignment(50, fall=1.0)):  # too short, or without effect
        torch.testing.assert_close(found[:4], LACKED.square().mean(0).sqrt() / 100)


def test_rounding_is_that_of_an_interval_or_of_a_perturbed_frame_whichever_is_more() -> None:
    rates = torch.tensor([-0.1, -0.2, -0.3, -math.inf], dtype=F64)
    noise, sensitivity = torch.tensor([[8e-3, 8e-3, 8e-3, 1.0], [5e-4, 4e-3, torch.nan, torch.nan]], dtype=F64)
    growth = counted(grown(rates.expand(3, -1), bins=20), noise=noise, sensitivity=sensitivity, qr_every=4)
    found = budget(growth, torch.ones(4, dtype=F64), rates).rounding
    assert found.tolist() == pytest.approx([2e-3, 4e-3, (0.5 * (25e-8 + 16e-6)) ** 0.5, 0.0])  # not seen: as what was


def test_parts_are_by_exponent_and_per_unit_of_time() -> None:
    """Columns out of order: the second is that of the larger exponent."""
    lacked = torch.tensor([[4.0, 1.0], [2.0, 1.0]], dtype=F64)
    rates = torch.tensor([[-1.0, -0.1]], dtype=F64).expand(2, -1)
    noise = torch.tensor([3e-3, 1e-3], dtype=F64)
    history = grown(rates, bins=400, spread=1.0) * torch.tensor([0.5, 0.2], dtype=F64)
    growth = counted(history, lacked=(20 * lacked, lacked), noise=noise, distance=0.005)
    found = estimated_from(growth)
    assert found.rounding_errors.tolist() == pytest.approx([1e-3, 3e-3])
    assert found.alignment_errors.tolist() == pytest.approx([(1 + 1 / 2) ** 0.5 / 400, (9 + 5.0) ** 0.5 / 400])
    torch.testing.assert_close(found.sampling_errors, standard_errors(history, growth.steps).standard_errors.flip(0))
    assert float(found.burn_in_errors[1] / found.burn_in_errors[0]) == pytest.approx(2.5, rel=0.1)
    halved = estimated_from(growth, dt=0.5)
    for part in ("exponents", "sampling_errors", "burn_in_errors", "alignment_errors", "rounding_errors", "standard_errors"):
        torch.testing.assert_close(getattr(halved, part), 2 * getattr(found, part))


def test_degrees_are_those_of_the_part_that_was_sampled() -> None:
    """Welch and Satterthwaite: total^4 / (sampling^4 / degrees), the other parts being known."""
    growth = counted(grown(torch.tensor([[-0.5], [-0.3], [-0.6], [-0.4]], dtype=F64), bins=50, spread=0.01))
    alone = estimated_from(growth)
    sampling = float(alone.sampling_errors[0])
    assert float(alone.degrees[0]) == pytest.approx(3)
    both = estimated_from(replace(growth, noise=torch.full((1,), sampling, dtype=F64)))
    assert float(both.standard_errors[0]) == pytest.approx(2**0.5 * sampling)
    assert float(both.degrees[0]) == pytest.approx(12)


def test_an_exponent_that_rounding_moves_more_than_all_else_is_not_reliable() -> None:
    """Neither where it hardly moves it, nor where it is lost anyway."""
    rates = torch.tensor([-0.1, -0.2, -0.3], dtype=F64).expand(4, -1)
    lost_since = torch.tensor([-1, -1, 9]).expand(4, -1)
    sensitivity = torch.tensor([5e-4, 0.1, 0.1], dtype=F64)
    growth = counted(grown(rates, bins=100, spread=1e-4), sensitivity=sensitivity, lost_since=lost_since)
    assert estimated_from(growth).reliable.tolist() == [True, False, True]
    noisy = counted(grown(rates, bins=100, spread=10.0), sensitivity=sensitivity, lost_since=lost_since)
    assert bool(estimated_from(noisy).reliable.all())


def test_a_spectrum_names_the_parts_of_its_budget_and_derived_errors_have_them_too() -> None:
    found = lyapunov.spectrum(seeded(nn.GRU, 3, 3, batch_first=True), drawn(5, 60, 3, seed=7), settle=10, align=10)
    sampling = found.sampling_errors
    made = replace(found, burn_in_errors=2 * sampling, alignment_errors=3 * sampling, rounding_errors=4 * sampling)
    assert [float(part[0] / sampling[0]) for part in made.error_budget] == pytest.approx([1, 2, 3, 4])
    error = replace(found, standard_errors=sampling).standard_error("variance")
    larger = replace(found, standard_errors=sampling * torch.tensor([1.0, 2.0, 4.0]).double())
    assert larger.standard_error("variance") == pytest.approx(7**0.5 * error)  # root mean square
    assert replace(larger, independent=0.25).standard_error("variance") == pytest.approx(2 * 7**0.5 * error)
