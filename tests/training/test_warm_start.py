"""A warm start is as good as a cold start, and not every measurement is a cold start."""

from typing import Any

import pytest
import torch
from torch import nn

import lyapunov
from cases import drawn, seeded
from lyapunov.estimate import RunOptions, estimate_spectrum
from lyapunov.intake import problem
from lyapunov.training.warm_start import Measurement, WarmStartedSpectra, _is_power_of_three
from tolerances import same

INPUTS = drawn(6, 160, 3, seed=3)


def measure(spectra: WarmStartedSpectra, module: nn.Module, inputs: Any = INPUTS, k: int | None = 4, **options) -> Measurement:
    return spectra.measure(problem(module, inputs), RunOptions(**options), k)


def network() -> nn.Module:
    return seeded(nn.GRU, 3, 20, batch_first=True, scale=1.5)


def nudge(module: nn.Module, size: float) -> None:
    generator = torch.Generator().manual_seed(5)
    with torch.no_grad():
        for weight in module.parameters():
            weight.add_(size * torch.randn(weight.shape, generator=generator, dtype=weight.dtype))


def test_the_first_measurement_is_the_spectrum_and_later_ones_take_the_same_steps() -> None:
    module, spectra = network(), WarmStartedSpectra()
    first = measure(spectra, module).spectrum
    assert same(first.exponents, lyapunov.spectrum(module, INPUTS, k=4).exponents)
    second = measure(spectra, module)
    assert second.warm_start_error is not None
    assert same(second.spectrum.exponents, first.exponents)
    third = measure(spectra, module).spectrum.settings
    assert (third.settle, third.align, third.count) == (first.settings.settle, first.settings.align, first.settings.count)
    assert {"settle", "align"} & set(third.chosen) == set()


def test_a_network_that_stays_has_readings_that_stay() -> None:
    module, spectra = network(), WarmStartedSpectra()
    found_each = [measure(spectra, module).spectrum.exponents for _ in range(9)]
    """From one warm start to the next by less than frames may differ by (0.01), and nowhere by much more."""
    assert float((found_each[7] - found_each[8]).abs().max()) < 0.005
    assert max(float((found - found_each[0]).abs().max()) for found in found_each) < 0.02


@pytest.mark.parametrize("size", [0.01, 0.05])
def test_a_warm_start_is_as_good_as_a_cold_start_while_the_network_changes(size: float) -> None:
    """Against frames that aligned for 100 steps: the root mean square over measurements, beside that of random frames."""
    module, spectra = network(), WarmStartedSpectra()
    warm, cold = [], []
    for at in range(12):
        found = measure(spectra, module, settle=40, align=20).spectrum
        truth = lyapunov.spectrum(module, INPUTS, k=4, settle=0, align=60)
        if at not in (0, 1, 3, 9):
            again = lyapunov.spectrum(module, INPUTS, k=4, settle=40, align=20)
            warm.append(float((found.exponents - truth.exponents).square().mean()))
            cold.append(float((again.exponents - truth.exponents).square().mean()))
        nudge(module, size * (1 if at % 2 else -1))
    assert len(warm) >= 7
    assert (sum(warm) / len(warm)) ** 0.5 < 1.5 * (sum(cold) / len(cold)) ** 0.5 + 1e-3


def test_a_memory_that_outgrows_the_transients_asks_for_a_cold_start() -> None:
    module, spectra = seeded(nn.RNN, 3, 10, batch_first=True, scale=0.5), WarmStartedSpectra()
    first = [measure(spectra, module).spectrum.settings.settle for _ in range(3)]
    with torch.no_grad():
        module.weight_hh_l0.mul_(3.2)
    measure(spectra, module)
    later = [measure(spectra, module).spectrum.settings.settle for _ in range(2)]
    assert later[1] > 2 * first[0]


def test_a_cold_start_follows_where_a_warm_start_fails(monkeypatch) -> None:
    module, spectra = network(), WarmStartedSpectra()
    monkeypatch.setattr("lyapunov.training.warm_start.distance", lambda *_: 1.0)
    aligned = [measure(spectra, module).spectrum.settings.align for _ in range(3)]
    assert aligned[2] == aligned[0]


def test_other_numbers_of_exponents_carry_nothing_over() -> None:
    module, spectra = network(), WarmStartedSpectra()
    for _ in range(4):
        measure(spectra, module)
    whole = measure(spectra, module, k=None).spectrum
    assert same(whole.exponents, lyapunov.spectrum(module, INPUTS).exponents)
    warm = measure(spectra, module).spectrum
    assert "align" not in warm.settings.chosen
    assert len(warm.exponents) == 4


def test_closed_forms_have_no_frames_to_start_from() -> None:
    from lyapunov.systems import diagonal

    torch_cell = seeded(nn.Linear, 3, 8, scale=1.0)
    system = diagonal.min_gru(torch_cell, seeded(nn.Linear, 3, 8, scale=1.0))
    spectra = WarmStartedSpectra()
    found_each = [measure(spectra, system, k=None).spectrum.exponents for _ in range(3)]
    assert same(found_each[0], found_each[2])


def test_layers_apart_carry_a_frame_each_and_the_state_is_plain() -> None:
    module, spectra = seeded(nn.LSTM, 3, 6, num_layers=2, batch_first=True, scale=1.0), WarmStartedSpectra()
    for _ in range(3):
        measure(spectra, module)
    again = WarmStartedSpectra()
    again.load_state_dict(spectra.state_dict())
    one, two = (measure(each, module).spectrum.exponents for each in (spectra, again))
    assert same(one, two)


def test_a_warm_start_is_judged_as_any_other() -> None:
    """What is found of the state's burn-in holds on; the frames are judged again."""
    short, spectra = INPUTS[:, :40], WarmStartedSpectra()
    cold = measure(spectra, network(), short).spectrum
    measure(spectra, network(), short)
    warm = measure(spectra, network(), short).spectrum
    assert warm.settings.settle == cold.settings.settle
    assert warm.error_budget.burn_in.tolist() == pytest.approx(cold.error_budget.burn_in.tolist(), rel=0.5)
    assert float(warm.error_budget.alignment[0]) > 0


def test_other_inputs_have_frames_and_transients_of_their_own() -> None:
    module, spectra = network(), WarmStartedSpectra()
    for _ in range(3):
        measure(spectra, module)
    short = INPUTS[:4, :60]
    found = measure(spectra, module, short).spectrum
    expected = lyapunov.spectrum(module, short, k=4)
    assert (found.settings.settle, found.settings.align) == (expected.settings.settle, expected.settings.align)
    torch.testing.assert_close(found.exponents, expected.exponents, rtol=0, atol=1e-6)


def test_an_interval_that_was_found_is_tried_first() -> None:
    asked = problem(network(), INPUTS)
    warm_start = estimate_spectrum(asked, RunOptions(), k=4)[1]
    assert warm_start.qr_every > 1
    steps = estimate_spectrum(problem(network(), INPUTS), RunOptions(settle=20, align=20), k=4, warm_start=warm_start)[
        0
    ].history_steps[:, 0]
    assert float(steps[0]) == warm_start.qr_every


def test_powers_of_three() -> None:
    assert [count for count in range(100) if _is_power_of_three(count)] == [0, 1, 3, 9, 27, 81]


def test_a_warm_start_takes_over_how_far_apart_chaotic_copies_stay(monkeypatch: pytest.MonkeyPatch) -> None:
    """Following them takes thousands of steps, which a cold start spends and a warm one does not."""
    module = seeded(nn.RNN, 3, 40, batch_first=True, scale=8.0)
    chaotic = problem(module, 0.02 * INPUTS)
    cold, start = estimate_spectrum(chaotic, RunOptions(settle=20, align=20), k=4)
    assert float(cold.exponents[0]) > 0
    assert start.parted is not None

    def refused(*_: object) -> None:
        raise AssertionError("followed again")

    monkeypatch.setattr("lyapunov.estimate.estimator.remaining_distance", refused)
    warm, kept = estimate_spectrum(chaotic, RunOptions(settle=20, align=20), k=4, warm_start=start)
    assert float(warm.exponents[0]) > 0
    assert kept.parted is start.parted
