"""What is carried from one look to the next is as good as what is found anew, and is not found anew each time."""

import pytest
import torch
from torch import nn

import lyapunov
from cases import drawn, request, seeded
from lyapunov.estimate import Wishes, estimated
from lyapunov.training.continued import Continued, _is_power_of_three
from tolerances import same

INPUTS = drawn(6, 160, 3, seed=3)


def wishes(k: int | None = 4, **kwargs) -> Wishes:
    return Wishes(k, kwargs.pop("settle", None), kwargs.pop("align", None), False, None, 1.0, 0, **kwargs)


def asked(inputs=INPUTS):
    return request(inputs, None, torch.float64)


def network() -> nn.Module:
    return seeded(nn.GRU, 3, 20, batch_first=True, scale=1.5)


def nudge(module: nn.Module, size: float) -> None:
    generator = torch.Generator().manual_seed(5)
    with torch.no_grad():
        for weight in module.parameters():
            weight.add_(size * torch.randn(weight.shape, generator=generator, dtype=weight.dtype))


def test_the_first_look_is_the_spectrum_and_later_ones_take_the_same_steps() -> None:
    module, continued = network(), Continued()
    first = continued.look(module, asked(), wishes()).spectrum
    assert same(first.exponents, lyapunov.spectrum(module, INPUTS, k=4).exponents)
    second = continued.look(module, asked(), wishes())
    assert second.carried_apart is not None
    assert same(second.spectrum.exponents, first.exponents)
    third = continued.look(module, asked(), wishes()).spectrum.settings
    assert (third.settle, third.align, third.count) == (first.settings.settle, first.settings.align, first.settings.count)
    assert {"settle", "align"} & set(third.chosen) == set()


def test_a_network_that_stays_has_readings_that_stay() -> None:
    module, continued = network(), Continued()
    looks = [continued.look(module, asked(), wishes()).spectrum.exponents for _ in range(9)]
    """From one carried look to the next by less than frames may differ by (0.01), and nowhere by much more."""
    assert float((looks[7] - looks[8]).abs().max()) < 0.005
    assert max(float((look - looks[0]).abs().max()) for look in looks) < 0.02


@pytest.mark.parametrize("size", [0.01, 0.05])
def test_carried_frames_are_as_good_as_new_ones_while_the_network_changes(size: float) -> None:
    """Against frames that aligned for 100 steps: the root mean square over looks, beside that of random frames."""
    module, continued = network(), Continued()
    carried, fresh = [], []
    for look in range(12):
        found = continued.look(module, asked(), wishes(settle=40, align=20)).spectrum
        truth = lyapunov.spectrum(module, INPUTS, k=4, settle=0, align=60)
        if look not in (0, 1, 3, 9):
            again = lyapunov.spectrum(module, INPUTS, k=4, settle=40, align=20)
            carried.append(float((found.exponents - truth.exponents).square().mean()))
            fresh.append(float((again.exponents - truth.exponents).square().mean()))
        nudge(module, size * (1 if look % 2 else -1))
    assert len(carried) >= 7
    assert (sum(carried) / len(carried)) ** 0.5 < 1.5 * (sum(fresh) / len(fresh)) ** 0.5 + 1e-3


def test_transients_are_found_anew_when_the_memory_has_outgrown_them() -> None:
    module, continued = seeded(nn.RNN, 3, 10, batch_first=True, scale=0.5), Continued()
    first = [continued.look(module, asked(), wishes()).spectrum.settings.settle for _ in range(3)]
    with torch.no_grad():
        module.weight_hh_l0.mul_(3.2)
    continued.look(module, asked(), wishes())
    later = [continued.look(module, asked(), wishes()).spectrum.settings.settle for _ in range(2)]
    assert later[1] > 2 * first[0]


def test_where_carrying_fails_the_next_look_is_from_random_frames(monkeypatch) -> None:
    module, continued = network(), Continued()
    monkeypatch.setattr("lyapunov.training.continued.distance", lambda *_: 1.0)
    aligned = [continued.look(module, asked(), wishes()).spectrum.settings.align for _ in range(3)]
    assert aligned[2] == aligned[0]


def test_other_numbers_of_exponents_carry_nothing_over() -> None:
    module, continued = network(), Continued()
    for _ in range(4):
        continued.look(module, asked(), wishes())
    whole = continued.look(module, asked(), wishes(k=None)).spectrum
    assert same(whole.exponents, lyapunov.spectrum(module, INPUTS).exponents)
    carried = continued.look(module, asked(), wishes()).spectrum
    assert "align" not in carried.settings.chosen
    assert len(carried.exponents) == 4


def test_closed_forms_have_no_frames_to_carry() -> None:
    from lyapunov.systems import diagonal

    torch_cell = seeded(nn.Linear, 3, 8, scale=1.0)
    system = diagonal.min_gru(torch_cell, seeded(nn.Linear, 3, 8, scale=1.0))
    continued = Continued()
    looks = [continued.look(system, asked(), wishes(k=None)).spectrum.exponents for _ in range(3)]
    assert same(looks[0], looks[2])


def test_layers_apart_carry_a_frame_each_and_the_state_is_plain() -> None:
    module, continued = seeded(nn.LSTM, 3, 6, num_layers=2, batch_first=True, scale=1.0), Continued()
    for _ in range(3):
        continued.look(module, asked(), wishes())
    again = Continued()
    again.load_state_dict(continued.state_dict())
    one, two = (each.look(module, asked(), wishes()).spectrum.exponents for each in (continued, again))
    assert same(one, two)


def test_a_carried_look_is_looked_at_as_any_other() -> None:
    """What is found of the state's burn-in holds on; the frames are judged anew."""
    short, continued = INPUTS[:, :40], Continued()
    fresh = continued.look(network(), asked(short), wishes()).spectrum
    continued.look(network(), asked(short), wishes())
    carried = continued.look(network(), asked(short), wishes()).spectrum
    assert carried.settings.settle == fresh.settings.settle
    assert carried.error_budget.burn_in.tolist() == pytest.approx(fresh.error_budget.burn_in.tolist(), rel=0.5)
    assert float(carried.error_budget.alignment[0]) > 0


def test_other_inputs_have_frames_and_transients_of_their_own() -> None:
    module, continued = network(), Continued()
    for _ in range(3):
        continued.look(module, asked(), wishes())
    short = INPUTS[:4, :60]
    found = continued.look(module, asked(short), wishes()).spectrum
    expected = lyapunov.spectrum(module, short, k=4)
    assert (found.settings.settle, found.settings.align) == (expected.settings.settle, expected.settings.align)
    torch.testing.assert_close(found.exponents, expected.exponents, rtol=0, atol=1e-6)


def test_an_interval_that_was_found_is_tried_first() -> None:
    ending = estimated(network(), asked(), wishes())[1]
    assert ending.qr_every > 1
    steps = estimated(network(), asked(), wishes(settle=20, align=20), after=ending)[0].history_steps[:, 0]
    assert float(steps[0]) == ending.qr_every


def test_powers_of_three() -> None:
    assert [count for count in range(100) if _is_power_of_three(count)] == [0, 1, 3, 9, 27, 81]
