"""Gated linear recurrences: exponents in closed form, by frames, and against the formula written out."""

import math

import pytest
import torch
from torch import nn

import lyapunov
from cases import drawn, seeded
from lyapunov.systems import Diagonal, System, diagonal, forward_mode_push
from lyapunov.tangent import MAX_BINS
from tolerances import CLOSED_FORM, ROUNDING, same

BATCH, STEPS, FEATURES, SIZE = 4, 200, 3, 5
INPUTS = drawn(BATCH, STEPS, FEATURES, seed=40)


def linear(out: int) -> nn.Linear:
    return seeded(nn.Linear, FEATURES, out)


def sigmoid(module: nn.Linear, x=INPUTS):
    return torch.sigmoid(x @ module.weight.double().mT + module.bias.double())


def lru():
    decay, phase = torch.linspace(-3.0, 0.5, SIZE), torch.linspace(-1.0, 1.0, SIZE)
    weight = torch.complex(drawn(SIZE, FEATURES, seed=41), drawn(SIZE, FEATURES, seed=42))
    return diagonal.lru(decay, phase, weight), (-decay.double().exp()).repeat_interleave(2).expand(BATCH, STEPS, -1)


def min_gru():
    gate = linear(SIZE)
    return diagonal.min_gru(gate, linear(SIZE)), torch.log(1 - sigmoid(gate))


def min_lstm():
    forget, enter = linear(SIZE), linear(SIZE)
    kept, entering = sigmoid(forget), sigmoid(enter)
    return diagonal.min_lstm(forget, enter, linear(SIZE)), torch.log(kept / (kept + entering))


def attention():
    decay = linear(SIZE)
    return diagonal.gated_linear_attention(decay, linear(SIZE), linear(2), shape=(SIZE, 2)), torch.log(
        sigmoid(decay)
    ).repeat_interleave(2, -1)


def selective():
    rate, size = torch.linspace(-1.0, 1.0, FEATURES * 2).view(FEATURES, 2), linear(FEATURES)
    steps = torch.log1p(torch.exp(INPUTS @ size.weight.double().mT + size.bias.double()))
    decays = -steps.unsqueeze(-1) * rate.double().exp()
    return diagonal.selective(rate, size, linear(2)), decays.flatten(2)


CASES = {"LRU": lru, "minGRU": min_gru, "minLSTM": min_lstm, "attention": attention, "selective": selective}


@pytest.fixture(params=CASES)
def case(request):
    with torch.no_grad():
        return CASES[request.param]()


def test_exponents_are_the_means_of_the_log_decays(case) -> None:
    system, log_decays = case
    result = lyapunov.spectrum(system, INPUTS, settle=10, align=20)
    wanted = log_decays[:, 30:].mean((0, 1)).sort(descending=True).values
    torch.testing.assert_close(result.exponents, wanted, rtol=0, atol=1e-7)
    assert result.settings.method == "closed"
    assert result.mean == pytest.approx(float(wanted.mean()), abs=1e-7)
    assert result.settings.align == 20
    assert result.settings.count == STEPS - 30
    assert "closed form" in str(result)


def test_frames_agree_within_error_bars(case) -> None:
    """Two random frames in close exponents differ by alignment alone: 1 nat over the counted steps."""
    system, _ = case
    closed = lyapunov.spectrum(system, INPUTS, settle=10, align=60)
    by_frames = lyapunov.spectrum(system, INPUTS, method="qr", settle=10, align=60)
    gap = (closed.exponents - by_frames.exponents).abs()
    assert bool((gap <= 4 * torch.maximum(closed.standard_errors, by_frames.standard_errors) + 1 / (STEPS - 70)).all())
    assert by_frames.sum == pytest.approx(closed.sum, abs=1e-9)
    assert by_frames.volume_residual < 1e-9


def test_errors_are_those_of_the_decays(case) -> None:
    """Differences between sequences show in both ways alike."""
    system, log_decays = case
    result = lyapunov.spectrum(system, INPUTS, settle=0)
    per_sequence = log_decays.mean(1)
    between = per_sequence.std(0) / BATCH**0.5
    order = log_decays.mean((0, 1)).argsort(descending=True, stable=True)
    assert bool((result.standard_errors >= between[order] - 1e-6).all())
    torch.testing.assert_close(result.per_sequence, per_sequence[:, order], rtol=0, atol=1e-6)


def test_push_and_the_default_of_log_diagonal_agree(case) -> None:
    system, _ = case
    state = system.initial_state(BATCH, INPUTS)
    state = state + 0.1
    inputs = [INPUTS[:, t] for t in range(3)]
    frames = (drawn(BATCH, *system.block_sizes, 3, seed=43),)
    torch.testing.assert_close(
        system.push(state, inputs[0], frames)[1],
        forward_mode_push(system, state, inputs[0], frames)[1],
        rtol=0,
        atol=CLOSED_FORM,
    )
    keep = lambda new, old, at: new  # noqa: E731
    states, factors = system.log_diagonal(state, inputs, keep)
    by_step = state
    for at, x in enumerate(inputs):
        by_step = system.step(by_step, x)
        torch.testing.assert_close(states[at + 1], by_step, rtol=0, atol=ROUNDING)
    if not state.is_complex():
        slow_states, slow = System.log_diagonal(system, state, inputs, keep)
        torch.testing.assert_close(factors, slow, rtol=0, atol=CLOSED_FORM)
        torch.testing.assert_close(states[-1], slow_states[-1], rtol=0, atol=ROUNDING)


def test_lengths_count_only_what_is_there() -> None:
    with torch.no_grad():
        system, log_decays = min_gru()
    lengths = torch.tensor([200, 120, 90, 200])
    result = lyapunov.spectrum(system, INPUTS, lengths=lengths, settle=10)
    counted = torch.arange(STEPS).expand(BATCH, -1)
    inside = ((counted >= 10) & (counted < lengths.unsqueeze(-1))).unsqueeze(-1)
    wanted = (log_decays * inside).sum((0, 1)) / inside.sum()
    torch.testing.assert_close(result.exponents, wanted.sort(descending=True).values, rtol=0, atol=1e-7)


def test_a_gate_that_closes_loses_its_direction_for_good() -> None:
    def gates(x):
        decay = torch.full_like(x, 0.5)
        decay[:, 0] = torch.where(x[:, 0] > 1.0, 0.0, 0.9)
        return decay, x

    result = lyapunov.spectrum(Diagonal(gates, (FEATURES,)), INPUTS, settle=0)
    assert result.exponents[-1] == -math.inf
    assert result.exponents[0] == pytest.approx(math.log(0.5))
    first = int(torch.nonzero((INPUTS[..., 0] > 1.0).any(0))[0]) + 1
    assert result.lost_at.tolist() == [-1, -1, first]
    assert result.rank == FEATURES - 1
    assert result.mean_count == FEATURES - 1


def test_history_is_bounded_and_adds_up() -> None:
    long = drawn(1, MAX_BINS + 500, FEATURES, seed=44)
    result = lyapunov.spectrum(min_gru()[0], long, settle=0)
    assert len(result.history) <= MAX_BINS
    torch.testing.assert_close(result.history.sum((0, 1)) / result.history_steps.sum(), result.exponents, rtol=0, atol=1e-12)


def test_a_state_that_blows_up_names_its_step() -> None:
    system = Diagonal(lambda x: (torch.full_like(x, 1e200), x), (FEATURES,))
    with pytest.raises(lyapunov.Diverged, match="at step") as caught:
        lyapunov.spectrum(system, INPUTS, settle=0, check=False)
    assert caught.value.step in (1, 2)
    assert caught.value.partial is not None
    assert caught.value.partial.max == pytest.approx(math.log(1e200))


def test_gates_that_see_the_inputs_alone_have_nothing_to_settle() -> None:
    """However slowly the state forgets."""
    system = Diagonal(lambda x: (torch.full_like(x, 0.9999), x), (FEATURES,))
    result = lyapunov.spectrum(system, INPUTS)
    assert result.settings.settle == 0
    assert result.verdict.converged


def test_without_inputs_steps_are_counted_beside_the_transients() -> None:
    system = Diagonal(lambda x: (torch.full((2, 3), 0.5), torch.ones(2, 3)), (3,))
    result = lyapunov.spectrum(system, state=torch.zeros(2, 3), steps=40, settle=7, align=3)
    assert result.settings.count == 40
    assert result.max == pytest.approx(math.log(0.5))


def test_weights_are_those_of_the_moment() -> None:
    gate, candidate = linear(SIZE), linear(SIZE)
    gate.float(), candidate.float()
    system = diagonal.min_gru(gate, candidate)
    before = lyapunov.spectrum(system, INPUTS, settle=5)
    with torch.no_grad():
        gate.bias.add_(3.0)
    after = lyapunov.spectrum(system, INPUTS, settle=5)
    assert after.max < before.max - 0.5
    assert same(after.exponents, lyapunov.spectrum(diagonal.min_gru(gate, candidate), INPUTS, settle=5).exponents)


def test_gates_are_in_evaluation_mode_and_their_modules_as_before() -> None:
    class Gate(nn.Linear):
        last: torch.Tensor | None = None

        def forward(self, x):
            self.last = torch.nn.functional.dropout(super().forward(x), 0.5, self.training)
            return self.last

    gate, plain = seeded(Gate, FEATURES, SIZE).train(), linear(SIZE)
    system = diagonal.min_gru(gate, linear(SIZE))
    expected = lyapunov.spectrum(diagonal.min_gru(plain, linear(SIZE)), INPUTS, settle=5)
    assert same(lyapunov.spectrum(system, INPUTS, settle=5).exponents, expected.exponents)
    assert gate.training
    assert gate.last is None


def test_a_real_decay_of_a_complex_state_is_one() -> None:
    system = Diagonal(lambda x: (torch.full_like(x, 0.5), torch.complex(x, x)), (FEATURES,), is_complex=True)
    result = lyapunov.spectrum(system, INPUTS, settle=5)
    assert len(result.exponents) == 2 * FEATURES
    assert result.min == pytest.approx(math.log(0.5))


def test_chunks_are_of_frames() -> None:
    result = lyapunov.spectrum(min_gru()[0], INPUTS, chunks=2, settle=10, align=20)
    assert result.settings.method == "qr"


def test_what_is_refused_says_what_to_do() -> None:
    with pytest.raises(lyapunov.Unsupported, match="Leave `method` out"):
        lyapunov.spectrum(seeded(nn.GRU, FEATURES, 4, batch_first=True), INPUTS, method="closed")
    with pytest.raises(lyapunov.BadSystem, match=r"decay.expand"):
        lyapunov.spectrum(Diagonal(lambda x: (torch.tensor(0.5), x), (FEATURES,)), INPUTS)
    for given in ({"qr_every": 7}, {"chunks": 2}):
        with pytest.raises(lyapunov.InvalidInput, match="is for frames; leave one of them out"):
            lyapunov.spectrum(min_gru()[0], INPUTS, method="closed", **given)
    with pytest.raises(lyapunov.BadSystem, match="is_complex=True"):
        lyapunov.spectrum(Diagonal(lambda x: (torch.complex(x, x), x), (FEATURES,)), INPUTS)
    with pytest.raises(lyapunov.BadSystem, match="to return"):
        lyapunov.spectrum(Diagonal(lambda x: x, (FEATURES,)), INPUTS)


def test_saved_spectra_say_how_they_were_computed(tmp_path) -> None:
    result = lyapunov.spectrum(min_gru()[0], INPUTS, settle=5)
    result.save(tmp_path / "s.safetensors")
    assert lyapunov.Spectrum.load(tmp_path / "s.safetensors").settings == result.settings
