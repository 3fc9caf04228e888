"""Identities that hold whatever the numbers are."""

import math

import pytest
import torch
from torch import Tensor, nn

import lyapunov
from cases import drawn, seeded
from lyapunov.systems import known
from tolerances import ALIGNED, EXACT_RUN, RECURRENCE, same

F64 = torch.float64
INPUTS = drawn(3, 260, 4, seed=60)
FULL = {"settle": 30, "align": 30}


def lstm(**kwargs) -> nn.LSTM:
    return seeded(nn.LSTM, 4, 6, batch_first=True, scale=1.0, **kwargs)


VOLUMES = {
    "tanh RNN": (seeded(nn.RNN, 4, 6, batch_first=True, scale=1.0), {}),
    "GRU": (seeded(nn.GRU, 4, 6, batch_first=True, scale=1.0), {}),
    "full LSTM": (lstm(), {}),
    "full LSTM, projected": (lstm(proj_size=3), {}),
    "hidden LSTM": (lstm(), {"linearization": "hidden"}),
    "stack": (lstm(num_layers=2), {}),
    "coupled stack": (lstm(num_layers=2), {"coupled": True}),
}


@pytest.mark.parametrize("name", VOLUMES)
def test_exponents_add_up_to_the_mean_log_determinant(name: str) -> None:
    module, kwargs = VOLUMES[name]
    spectrum = lyapunov.spectrum(module, INPUTS, qr_every=1, **FULL, **kwargs)
    assert spectrum.volume_residual < EXACT_RUN
    assert spectrum.sum == pytest.approx(float(spectrum.exponents.sum()), abs=EXACT_RUN)
    assert spectrum.mean == pytest.approx(float(spectrum.exponents.mean()), abs=EXACT_RUN)


def test_the_mean_of_all_comes_with_the_first_few() -> None:
    full, few = (lyapunov.spectrum(lstm(), INPUTS, k=k, **FULL) for k in (None, 2))
    assert few.mean == pytest.approx(full.mean, abs=EXACT_RUN)
    assert few.mean_count == 12


def test_turning_the_coordinates_of_the_state_changes_nothing() -> None:
    weight, turn = drawn(6, 6, seed=61, scale=0.6), torch.linalg.qr(drawn(6, 6, seed=62))[0]
    start, drive = drawn(3, 6, seed=63), drawn(3, 400, 6, seed=64)

    def step(h: Tensor, x: Tensor) -> Tensor:
        return torch.tanh(h @ weight.mT + x)

    def turned(h: Tensor, x: Tensor) -> Tensor:
        return step(h @ turn.mT, x) @ turn

    plain = lyapunov.spectrum(step, drive, state=start, settle=20, align=100)
    other = lyapunov.spectrum(turned, drive, state=start @ turn, settle=20, align=100)
    torch.testing.assert_close(plain.exponents, other.exponents, rtol=0, atol=ALIGNED)


def test_scaling_the_tangent_by_c_adds_ln_c() -> None:
    case, c = known.gaussian_products(5), 0.3
    inputs = case.inputs(4, 200)
    plain, scaled = (
        lyapunov.spectrum(case.system, factor * inputs, settle=30, align=30, qr_every=1).exponents for factor in (1.0, c)
    )
    torch.testing.assert_close(scaled, plain + math.log(c), rtol=0, atol=EXACT_RUN)


def test_exponents_are_rates_per_unit_of_time() -> None:
    case = known.gaussian_products(3)
    inputs = case.inputs(4, 200)
    per_step, per_time = (lyapunov.spectrum(case.system, inputs, dt=dt) for dt in (1.0, 0.1))
    torch.testing.assert_close(per_time.exponents, 10 * per_step.exponents, rtol=EXACT_RUN, atol=0)
    assert per_time.mean == pytest.approx(10 * per_step.mean)
    torch.testing.assert_close(per_time.running_estimates(), 10 * per_step.running_estimates(), rtol=EXACT_RUN, atol=0)


@pytest.mark.parametrize("interval", [2, 3, 7])
def test_how_often_the_frame_is_orthonormalised_does_not_matter_while_precision_lasts(interval: int) -> None:
    every, rarely = (lyapunov.spectrum(lstm(), INPUTS, k=4, qr_every=s, **FULL) for s in (1, interval))
    torch.testing.assert_close(every.exponents, rarely.exponents, rtol=0, atol=ALIGNED)
    assert bool(rarely.reliable.all())


def test_exponents_below_the_floor_are_flagged_and_the_volume_residual_shows_them() -> None:
    with pytest.warns(lyapunov.LyapunovWarning, match="smaller qr_every"):
        spectrum = lyapunov.spectrum(lstm(), INPUTS, qr_every=40, **FULL)
    assert not bool(spectrum.reliable.all())
    assert bool(spectrum.reliable[0])
    assert spectrum.volume_residual > 0.1
    assert not bool(spectrum.exponents.isnan().any())
    truth = lyapunov.spectrum(lstm(), INPUTS, qr_every=1, **FULL).exponents
    wrong = (spectrum.exponents - truth).abs() > 1e-2
    assert not bool((wrong & spectrum.reliable).any())


@pytest.mark.filterwarnings("ignore::lyapunov.LyapunovWarning")
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_no_exponent_called_reliable_is_wrong_in_either_precision(dtype: torch.dtype) -> None:
    spectrum = lyapunov.spectrum(lstm(), INPUTS, dtype=dtype, **FULL)
    truth = lyapunov.spectrum(lstm(), INPUTS, qr_every=1, **FULL).exponents
    assert not bool((((spectrum.exponents - truth).abs() > 1e-3) & spectrum.reliable).any())
    assert spectrum.settings.dtype == str(dtype).removeprefix("torch.")
    assert int(spectrum.reliable.sum()) >= 8


def test_the_seed_of_the_first_frame_is_forgotten() -> None:
    one, two = (lyapunov.spectrum(lstm(), INPUTS, k=3, seed=seed, settle=30, align=130) for seed in (0, 1))
    torch.testing.assert_close(one.exponents, two.exponents, rtol=0, atol=RECURRENCE)
    assert not torch.equal(one.exponents, two.exponents)


@pytest.mark.bits
def test_the_same_call_gives_the_same_bits() -> None:
    one, two = (lyapunov.spectrum(lstm(), INPUTS, **FULL) for _ in range(2))
    assert torch.equal(one.exponents, two.exponents)
    assert one.settings == two.settings


def test_sequences_that_end_early_count_as_if_they_were_alone() -> None:
    lengths = torch.tensor([260, 150, 201])
    together = lyapunov.spectrum(lstm(), INPUTS, lengths=lengths, qr_every=2, **FULL)
    steps, alone = [], []
    for at, length in enumerate(lengths.tolist()):
        single = lyapunov.spectrum(lstm(), INPUTS[:, :length], qr_every=2, **FULL)  # every sequence has a frame of its own
        mean = float(single.per_sequence[at].mean())
        steps.append(length - 60)
        alone.append(mean)
        one, other = (found.per_sequence[at].sort().values for found in (together, single))
        torch.testing.assert_close(one, other, rtol=0, atol=EXACT_RUN)
    weights = torch.tensor(steps, dtype=F64) / sum(steps)
    pooled = sum(float(weight) * mean for weight, mean in zip(weights, alone, strict=True))
    assert together.mean == pytest.approx(pooled, abs=EXACT_RUN)


def test_a_packed_sequence_is_its_padded_form_with_lengths() -> None:
    lengths = torch.tensor([260, 150, 201])
    packed = nn.utils.rnn.pack_padded_sequence(INPUTS, lengths, batch_first=True, enforce_sorted=False)
    one = lyapunov.spectrum(lstm(), packed, **FULL)
    two = lyapunov.spectrum(lstm(), INPUTS, lengths=lengths, **FULL)
    assert same(one.exponents, two.exponents)


def test_axes_follow_the_module() -> None:
    batch_first = lstm()
    time_first = lstm()
    time_first.batch_first = False
    one = lyapunov.spectrum(batch_first, INPUTS, **FULL).exponents
    assert same(one, lyapunov.spectrum(time_first, INPUTS.transpose(0, 1), **FULL).exponents)
    alone = lyapunov.spectrum(batch_first, INPUTS[:1], **FULL).exponents
    assert same(alone, lyapunov.spectrum(batch_first, INPUTS[0], **FULL).exponents)


def test_arrays_are_taken_as_tensors() -> None:
    plain = lyapunov.spectrum(lstm(), INPUTS, k=2).exponents
    assert same(plain, lyapunov.spectrum(lstm(), INPUTS.numpy(), k=2).exponents)


def test_a_cell_is_its_layer() -> None:
    layer = lstm()
    cell = seeded(nn.LSTMCell, 4, 6)
    for name in ("weight_ih", "weight_hh", "bias_ih", "bias_hh"):
        getattr(cell, name).data.copy_(getattr(layer, f"{name}_l0").data)
    assert same(lyapunov.spectrum(layer, INPUTS).exponents, lyapunov.spectrum(cell, INPUTS).exponents)


def test_the_module_is_left_as_it_was() -> None:
    with torch.random.fork_rng():
        module = nn.Sequential(nn.Linear(4, 4), nn.Dropout(0.9)).train()
    weights = [parameter.detach().clone() for parameter in module.parameters()]

    class Cell(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner = module

        def forward(self, state: Tensor, x: Tensor) -> Tensor:
            return torch.tanh(self.inner(state) + x)

    cell = Cell()
    spectrum = lyapunov.spectrum(cell, drawn(2, 80, 4, seed=65).float(), state=torch.zeros(2, 4))
    assert spectrum.settings.source_dtype == "float32"
    assert all(part.training for part in cell.modules())
    for parameter, before in zip(module.parameters(), weights, strict=True):
        assert torch.equal(parameter, before)
        assert parameter.grad is None
        assert parameter.dtype == torch.float32


def test_a_step_that_forgets_its_state_has_nothing_but_lost_directions() -> None:
    spectrum = lyapunov.spectrum(lambda h, x: torch.tanh(x), drawn(2, 40, 4, seed=66), state=torch.zeros(2, 4))
    assert bool(spectrum.exponents.isneginf().all())


def test_parametrized_weights_are_read_in_evaluation_mode() -> None:
    module = lstm().train()
    nn.utils.parametrizations.weight_norm(module, "weight_hh_l0")
    plain = lyapunov.spectrum(lstm(), INPUTS, k=2).exponents
    torch.testing.assert_close(lyapunov.spectrum(module, INPUTS, k=2).exponents, plain, rtol=0, atol=1e-6)
    with torch.random.fork_rng():
        nn.utils.parametrizations.spectral_norm(module, "weight_ih_l0")
    before = [buffer.clone() for buffer in module.buffers()]
    lyapunov.spectrum(module, INPUTS, k=2)
    assert all(torch.equal(one, two) for one, two in zip(before, module.buffers(), strict=True))
    assert module.training


def test_inference_mode_and_autocast_around_the_call_change_nothing() -> None:
    plain = lyapunov.spectrum(lstm(), INPUTS, k=2)
    with torch.inference_mode():
        made_inside = INPUTS + 0.0
        inside = lyapunov.spectrum(lstm(), made_inside, k=2)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        cast = lyapunov.spectrum(lstm(), INPUTS, k=2)
    assert same(plain.exponents, inside.exponents)
    assert same(plain.exponents, cast.exponents)


@pytest.mark.parametrize("interval", [1, 16])
def test_a_sampled_mean_counts_the_samples_of_each_sequence(interval: int) -> None:
    """Sequences that end inside a bin were sampled as often as they ran, not as often as the bin is long."""
    module, lengths = seeded(nn.GRU, 4, 12, batch_first=True, scale=1.0), [200, 90, 75, 71]
    options = {"settle": 10, "align": 10, "lengths": lengths, "qr_every": interval}
    inputs = drawn(4, 200, 4, seed=67)
    few, full = (lyapunov.spectrum(module, inputs, k=k, **options) for k in (1, None))
    assert few.mean == pytest.approx(full.mean, abs=4 * few.mean_standard_error)
    every = few.volume_history.sum(0) / few.volume_steps.sum(0) / 12
    assert every.tolist() == pytest.approx([full.mean] * 4, abs=0.1)


def test_a_sequence_that_lost_nothing_keeps_its_own_exponents() -> None:
    inputs = torch.ones(2, 40, 3, dtype=F64)
    inputs[0, :, 2] = 0.0
    found = lyapunov.spectrum(lambda s, x: 0.9 * s * x, inputs, state=torch.ones(2, 3), settle=0, align=10)
    assert found.exponents[2] == -math.inf
    assert found.per_sequence[0, 2] == -math.inf
    torch.testing.assert_close(found.per_sequence[1], torch.full((3,), math.log(0.9), dtype=F64))
