"""Memory of systems whose answer is known: closed forms of the difference of two runs, worked out apart from the package."""

import doctest
import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from matplotlib.figure import Figure
from torch import Tensor, nn

import lyapunov
from cases import drawn, seeded
from lyapunov.analysis import whole_model

TOLERANCE, STEPS = 1e-3, 300


def expected(first: Tensor, decays: Callable[[int], Tensor], tolerance: float = TOLERANCE) -> Tensor:
    """(batch,): of outputs (steps, batch, n) of the first run, and the difference of the second one after k steps."""
    second = torch.stack([first[k - 1] + decays(k) for k in range(1, len(first) + 1)])
    deviation = torch.cat([first, second]).flatten(0, 1).var(0, correction=0).mean().sqrt()
    apart = (second - first).square().mean(-1).sqrt() > tolerance * deviation
    numbers = torch.arange(1, len(first) + 1).unsqueeze(-1)
    return (numbers * apart).amax(0).double() + 1


def leaky_run(decay: Tensor, inputs: Tensor) -> Tensor:
    """(steps, batch, n) of h' = decay h + x, by hand."""
    h, shown = torch.zeros_like(inputs[:, 0]), []
    for x in inputs.unbind(1):
        h = decay * h + x
        shown.append(h)
    return torch.stack(shown)


def swapped(first: Tensor) -> Tensor:
    """The difference of the two starts: each of two sequences starts where the other has ended."""
    return first[-1].flip(0)


def measured(system: Any, inputs: Tensor, **given: Any) -> lyapunov.Memory:
    return lyapunov.memory(system, inputs, starts=1, **given)


def test_a_leaky_integrator_forgets_as_its_decay_says() -> None:
    inputs, decay = drawn(2, STEPS, 1, seed=1), torch.tensor([0.9], dtype=torch.float64)
    first = leaky_run(decay, inputs)
    found = measured(lambda h, x: decay * h + x, inputs, state=torch.zeros(2, 1))
    truth = expected(first, lambda k: decay**k * swapped(first))
    assert found.steps[0].tolist() == truth.tolist()
    second = torch.stack([first[k - 1] + decay**k * swapped(first) for k in range(1, STEPS + 1)])
    deviation = float(torch.cat([first, second]).std(correction=0))
    closed = (TOLERANCE * deviation / swapped(first).abs().flatten()).log() / math.log(0.9)
    assert bool(((found.steps[0] - closed).abs() <= 1).all())
    assert found.predicted.value == pytest.approx(math.log(TOLERANCE) / math.log(0.9))
    assert found.parting == ""


def test_two_leaky_units_forget_with_the_slower_one() -> None:
    inputs, decay = drawn(2, STEPS, 2, seed=2), torch.tensor([0.5, 0.95], dtype=torch.float64)
    first = leaky_run(decay, inputs)
    found = measured(lambda h, x: decay * h + x, inputs, state=torch.zeros(2, 2))
    assert found.steps[0].tolist() == expected(first, lambda k: decay**k * swapped(first)).tolist()


def test_a_spiral_forgets_with_its_radius() -> None:
    turn = 0.93 * torch.tensor([[math.cos(0.4), -math.sin(0.4)], [math.sin(0.4), math.cos(0.4)]], dtype=torch.float64)
    inputs = drawn(2, STEPS, 2, seed=3)
    h, shown = torch.zeros(2, 2, dtype=torch.float64), []
    for x in inputs.unbind(1):
        h = h @ turn.mT + x
        shown.append(h)
    first = torch.stack(shown)
    found = measured(lambda s, x: s @ turn.mT + x, inputs, state=torch.zeros(2, 2))
    powers = {k: torch.linalg.matrix_power(turn, k) for k in range(1, STEPS + 1)}
    assert found.steps[0].tolist() == expected(first, lambda k: swapped(first) @ powers[k].mT).tolist()


def positive_rnn(decays: list[float]) -> nn.RNN:
    """A ReLU layer that never leaves its linear part: inputs are positive."""
    rnn = seeded(nn.RNN, len(decays), len(decays), nonlinearity="relu", bias=False, batch_first=True)
    with torch.no_grad():
        rnn.weight_ih_l0.copy_(torch.eye(len(decays)))
        rnn.weight_hh_l0.copy_(torch.tensor(decays, dtype=torch.float64).diag())
    return rnn


def test_a_relu_layer_in_its_linear_part_is_a_leaky_integrator() -> None:
    inputs = drawn(2, STEPS, 1, seed=4).abs()
    first = leaky_run(torch.tensor(0.8, dtype=torch.float64), inputs)
    found = measured(positive_rnn([0.8]).requires_grad_(False), inputs)
    assert found.steps[0].tolist() == expected(first, lambda k: 0.8**k * swapped(first)).tolist()


def test_a_gru_whose_gate_is_fixed_is_a_leaky_integrator() -> None:
    gru, decay = seeded(nn.GRU, 1, 1, batch_first=True), torch.sigmoid(torch.tensor(1.5, dtype=torch.float64))
    with torch.no_grad():
        for weight in gru.parameters():
            weight.zero_()
        gru.bias_ih_l0[1], gru.weight_ih_l0[2] = 1.5, 1.0
    inputs = drawn(2, STEPS, 1, seed=5)
    first = leaky_run(decay, (1 - decay) * torch.tanh(inputs))
    assert measured(gru, inputs).steps[0].tolist() == expected(first, lambda k: decay**k * swapped(first)).tolist()


def test_an_lstm_forgets_with_its_forget_gate() -> None:
    lstm, keep = seeded(nn.LSTM, 1, 1, batch_first=True), torch.sigmoid(torch.tensor(2.0, dtype=torch.float64))
    with torch.no_grad():
        for weight in lstm.parameters():
            weight.zero_()
        lstm.bias_ih_l0[1], lstm.weight_ih_l0[2] = 2.0, 1.0
    inputs = drawn(2, STEPS, 1, seed=6)
    cells = leaky_run(keep, 0.5 * torch.tanh(inputs))
    shown = 0.5 * torch.tanh(cells)
    truth = expected(shown, lambda k: 0.5 * torch.tanh(cells[k - 1] + keep**k * swapped(cells)) - shown[k - 1])
    assert measured(lstm, inputs).steps[0].tolist() == truth.tolist()


@pytest.mark.parametrize("length", [1, 7, 20])
def test_a_shift_register_remembers_its_length(length: int) -> None:
    def shift(state: Tensor, x: Tensor) -> Tensor:
        return torch.cat([x, state[:, :-1]], dim=-1)

    found = lyapunov.memory(shift, drawn(6, 60, 1, seed=7), state=torch.zeros(6, length))
    assert bool((found.steps == length).all())
    assert found.interval() == (length, length)
    assert "later than the exponent predicts" in found.parting


def test_a_reset_ends_memory_whatever_the_exponent_says() -> None:
    inputs = torch.stack([drawn(4, 60, seed=8), torch.ones(4, 60).double()], dim=-1)
    inputs[:, 16, 1] = 0.0
    found = lyapunov.memory(lambda h, x: 0.999 * h * x[:, 1:] + x[:, :1], inputs, state=torch.zeros(4, 1))
    assert bool((found.steps == 17).all())


class Read(nn.Module):
    """A layer and a readout."""

    def __init__(self, core: nn.Module, weight: list[float]) -> None:
        super().__init__()
        self.core, self.readout = core, seeded(nn.Linear, len(weight), 1, bias=False)
        self.readout.weight.data = torch.tensor([weight], dtype=torch.float64)

    def forward(self, inputs: Tensor) -> Tensor:
        return self.readout(self.core(inputs)[0])


def test_a_readout_that_does_not_see_the_slow_unit_forgets_with_the_fast_one() -> None:
    inputs, model = drawn(2, STEPS, 2, seed=9).abs(), Read(positive_rnn([0.5, 0.99]), [1.0, 0.0])
    first = leaky_run(torch.tensor(0.5, dtype=torch.float64), inputs[..., :1])
    found = measured(model, inputs)
    assert found.steps[0].tolist() == expected(first, lambda k: 0.5**k * swapped(first)).tolist()
    assert found.predicted.value == pytest.approx(math.log(TOLERANCE) / math.log(0.99), rel=1e-4)
    assert "sooner than the exponent predicts" in found.parting


def test_a_bistable_latch_remembers_longer_than_the_inputs() -> None:
    inputs = torch.zeros(2, 50, 1, dtype=torch.float64)
    inputs[:, 0, 0] = torch.tensor([1.0, -1.0])
    found = measured(lambda h, x: torch.tanh(3 * h + 2 * x), inputs, state=torch.zeros(2, 1))
    assert math.isinf(found.value)
    assert math.isinf(found.interval()[1])
    assert "> 50" in repr(found)
    assert found.verdict.kinds == ("too short",)
    assert "later than the exponent predicts" in found.parting


def test_a_saturated_lstm_remembers_longer_than_the_inputs() -> None:
    lstm = seeded(nn.LSTM, 1, 2, batch_first=True)
    with torch.no_grad():
        lstm.bias_ih_l0[:4] = torch.tensor([-60.0, -60.0, 60.0, 60.0])  # nothing comes in, nothing is lost
    state = drawn(1, 3, 2, seed=10), drawn(1, 3, 2, seed=11)
    found = lyapunov.memory(lstm, drawn(3, 80, 1, seed=12), state=state)
    assert bool(found.steps.isinf().all())
    assert "> 80" in repr(found)
    assert "6 of 6 pairs" in str(found.verdict)


def test_the_interval_holds_the_truth_as_often_as_it_says() -> None:
    """Of a memory that is geometric; benchmarks/memory_coverage.py has 400 replicates of this and another."""
    inside = 0
    for seed in range(30):
        generator = torch.Generator().manual_seed(seed)
        kept = (torch.rand(64, 130, 1, generator=generator, dtype=torch.float64) > 0.1).double()
        numbers = torch.randn(64, 130, 1, generator=generator, dtype=torch.float64)
        given = {"state": torch.zeros(64, 1), "tolerance": 1e-9, "predict": False, "check": False, "starts": 2}
        found = lyapunov.memory(lambda h, x: h * x[:, 1:] + x[:, :1], torch.cat([numbers, kept], -1), **given)
        low, high = found.interval()
        inside += low <= 10 <= high
    assert inside >= 25  # fewer than that happens once in 300 times at 95 %, and with intervals a third as wide always


def test_starts_that_are_one_state_count_as_one() -> None:
    """A system that forgets ends every run in the same states, so more starts tell no more."""
    inputs = drawn(12, STEPS, 1, seed=13)
    errors = [
        lyapunov.memory(lambda h, x: 0.8 * h + x, inputs, state=torch.zeros(12, 1), starts=starts, predict=False).standard_error
        for starts in (1, 8)
    ]
    assert errors[1] > 0.7 * errors[0]


def test_a_whole_model_is_its_layer_and_readout() -> None:
    gru = seeded(nn.GRU, 2, 3, num_layers=2, batch_first=True, scale=1.5)
    inputs, model = drawn(5, 120, 2, seed=14), Read(gru, [1.0, 0.0, 0.0])
    found, alone = lyapunov.memory(model, inputs, seed=3), lyapunov.memory(gru, inputs, seed=3)
    first, ends = gru(inputs)
    for start, sources in enumerate(found.sources):
        apart = (gru(inputs, ends[:, sources])[0] - first).detach()
        torch.testing.assert_close(found.differences[start], apart[..., 0].abs().T / found.deviation, rtol=1e-9, atol=1e-12)
        expected_alone = apart.square().mean(-1).sqrt().T / alone.deviation
        torch.testing.assert_close(alone.differences[start], expected_alone, rtol=1e-9, atol=1e-12)
    assert found.spectrum.max == pytest.approx(alone.spectrum.max, rel=1e-9)
    assert bool((found.sources != torch.arange(5)).all())


class Noisy(Read):
    """Noise is added to the inputs at every call."""

    def forward(self, inputs: Tensor) -> Tensor:
        return super().forward(inputs + 0.5 * torch.randn_like(inputs))


class Counting(Read):
    """Inputs are scaled by a statistic that every call updates: a number, a tensor, and one changed in place."""

    def __init__(self, core: nn.Module, weight: list[float]) -> None:
        super().__init__(core, weight)
        self.number, self.new = 1.0, torch.ones(1).double()
        self.register_buffer("old", torch.ones(1).double())

    def forward(self, inputs: Tensor) -> Tensor:
        shown = super().forward(inputs * self.number * self.new * self.old)
        self.number, self.new = 0.5 * self.number, 0.5 * self.new
        self.old.mul_(0.5)
        return shown


@pytest.mark.parametrize("kind", [Noisy, Counting])
def test_every_run_sees_the_same_noise_and_statistics(kind: type[Read]) -> None:
    gru, inputs = seeded(nn.GRU, 2, 3, batch_first=True, scale=1.0), drawn(4, 150, 2, seed=27)
    with torch.random.fork_rng():
        torch.manual_seed(7)
        model = kind(gru, [1.0, 2.0, 3.0])
        found = lyapunov.memory(model, inputs, predict=False)
        noise = 0.5 * torch.randn_like(inputs) if kind is Noisy else 0.0
    plain = Read(gru, [1.0, 2.0, 3.0])
    same = lyapunov.memory(plain, inputs + noise, predict=False)
    assert math.isfinite(same.value)
    torch.testing.assert_close(found.differences, same.differences, rtol=1e-9, atol=1e-12)
    assert kind is Noisy or (model.number, float(model.new), float(model.old)) == (1.0, 1.0, 1.0)


class InSteps(nn.Module):
    """A cell that is called at every step, from a state of its own."""

    def __init__(self) -> None:
        super().__init__()
        self.cell, self.readout = seeded(nn.LSTMCell, 2, 3, scale=1.0), seeded(nn.Linear, 3, 1)

    def forward(self, inputs: Tensor) -> Tensor:
        state, shown = None, []
        for x in inputs.unbind(1):
            state = self.cell(x, state)
            shown.append(self.readout(state[0]))
        return torch.stack(shown, dim=1)


def test_cells_that_are_called_step_by_step_are_started_once() -> None:
    inputs, model = drawn(3, 90, 2, seed=15), InSteps()
    found = measured(model, inputs)
    state = None
    for x in inputs.unbind(1):
        state = model.cell(x, state)
    state, apart = tuple(part[found.sources[0]] for part in state), []
    first = model(inputs)
    for t, x in enumerate(inputs.unbind(1)):
        state = model.cell(x, state)
        apart.append((model.readout(state[0]) - first[:, t]).abs().squeeze(-1))
    torch.testing.assert_close(found.differences[0] * found.deviation, torch.stack(apart).detach(), rtol=1e-9, atol=1e-12)
    assert not model.cell._forward_hooks
    assert not model.cell._forward_pre_hooks


def test_sequences_of_unequal_length_end_where_they_end() -> None:
    inputs, lengths = drawn(3, 200, 1, seed=16), torch.tensor([200, 150, 5])
    found = lyapunov.memory(lambda h, x: 0.7 * h + x, inputs, state=torch.zeros(3, 1), lengths=lengths)
    assert bool(found.steps[:, 2].isinf().all())
    assert bool(found.steps[:, :2].isfinite().all())
    assert "5 to 200 steps" in repr(found)


def test_time_is_in_the_unit_of_dt() -> None:
    inputs, lstm = drawn(4, 100, 2, seed=17), seeded(nn.LSTM, 2, 3, batch_first=True, scale=1.0)
    steps, milliseconds = (lyapunov.memory(lstm, inputs, dt=dt) for dt in (1.0, 10.0))
    for name in ("value", "longest", "standard_error"):
        assert getattr(milliseconds, name) == pytest.approx(10 * getattr(steps, name))
    assert milliseconds.predicted.value == pytest.approx(10 * steps.predicted.value)
    assert milliseconds.interval() == pytest.approx([10 * end for end in steps.interval()])
    assert "units of time" in repr(milliseconds)
    assert milliseconds.to_pandas()["memory"].tolist() == (10 * steps.steps).flatten().tolist()


def test_one_sequence_has_no_error() -> None:
    found = lyapunov.memory(lambda h, x: 0.5 * h + x, drawn(1, 60, 1, seed=18), state=torch.ones(1, 1), starts=2)
    assert math.isnan(found.standard_error)
    assert "one sequence has no error" in str(found.verdict)


@pytest.mark.parametrize("level", [95, 0.0, -0.5, 1.0])
def test_a_level_that_is_none_is_refused(level: float) -> None:
    found = lyapunov.memory(lambda h, x: 0.1 * h + x, drawn(3, 20, 1, seed=28), state=torch.zeros(3, 1), predict=False)
    with pytest.raises(lyapunov.InvalidInput, match="`level` between 0 and 1"):
        found.interval(level)


def test_the_exponent_is_left_out_on_request() -> None:
    none = lyapunov.memory(lambda h, x: 0.1 * h + x, drawn(2, 9, 1, seed=19), state=torch.zeros(2, 1), predict=False)
    assert none.predicted is None
    assert "predicted" not in repr(none)


class Closed(nn.Module):
    """A cell that is fed by its own output: no exponent along fixed inputs."""

    def __init__(self) -> None:
        super().__init__()
        self.cell = seeded(nn.GRUCell, 3, 3, scale=1.0)

    def forward(self, inputs: Tensor) -> Tensor:
        h, shown = None, []
        for x in inputs.unbind(1):
            h = self.cell(x if h is None else x + h, h)
            shown.append(h)
        return torch.stack(shown, dim=1)


def test_a_closed_loop_has_a_memory_and_no_exponent_of_its_core() -> None:
    found = lyapunov.memory(Closed(), drawn(3, 100, 3, seed=20))
    assert math.isfinite(found.value)
    assert found.spectrum is None
    assert "fed by its own output" in repr(found)


def test_the_figure_shows_the_measured_memory() -> None:
    found = lyapunov.memory(lambda h, x: 0.8 * h + x, drawn(6, 200, 1, seed=21), state=torch.zeros(6, 1))
    axes = lyapunov.plots.memory(found, Figure().subplots())
    labels = [text.get_text() for text in axes.get_legend().get_texts()]
    assert any(f"memory {found.value:.3g} (" in label for label in labels)
    assert axes.get_yscale() == "log"


class Twice(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.core = seeded(nn.GRU, 2, 2, batch_first=True)

    def forward(self, inputs: Tensor) -> Tensor:
        return self.core(inputs)[0] + self.core(inputs.flip(1))[0]


@pytest.mark.parametrize(
    ("model", "given", "error", "words"),
    [
        (Read(seeded(nn.GRU, 2, 3, batch_first=True), [1.0] * 3), {"tolerance": 0.0}, lyapunov.InvalidInput, "between 0 and 1"),
        (Read(seeded(nn.GRU, 2, 3, batch_first=True), [1.0] * 3), {"steps": 5}, lyapunov.InvalidInput, "left out"),
        (Twice(), {}, lyapunov.Unsupported, "as one batch"),
        (
            Read(seeded(nn.GRU, 2, 3, batch_first=True, bidirectional=True), [1.0] * 6),
            {},
            lyapunov.Unsupported,
            "direction='forward'",
        ),
    ],
)
def test_what_cannot_be_measured_is_refused_with_a_remedy(model: nn.Module, given: Any, error: Any, words: str) -> None:
    with pytest.raises(error, match=words):
        lyapunov.memory(model, drawn(3, 20, 2, seed=22), **given)


def test_a_method_of_a_model_is_run_as_it_is() -> None:
    class Named(Read):
        def run(self, inputs: Tensor) -> Tensor:
            return 2 * self(inputs)

    inputs, model = drawn(3, 60, 2, seed=24), Named(seeded(nn.GRU, 2, 3, batch_first=True), [1.0] * 3)
    one, other = lyapunov.memory(model.run, inputs, predict=False), lyapunov.memory(model, inputs, predict=False)
    assert one.steps.tolist() == other.steps.tolist()
    reach = [lyapunov.input_reach(system, inputs, lags=3, starts=2).log_norms for system in (model.run, model)]
    torch.testing.assert_close(reach[0] - reach[1], torch.full((4, 2, 3), math.log(2), dtype=torch.float64), rtol=0, atol=1e-12)


def test_a_core_that_no_hook_sees_is_refused() -> None:
    model = torch.jit.script(Read(seeded(nn.GRU, 2, 3, batch_first=True), [1.0] * 3))
    with pytest.raises(lyapunov.Unsupported, match="called as modules"):
        lyapunov.memory(model, drawn(3, 20, 2, seed=25))


class Own(nn.Module):
    """A cell of one's own, called step by step."""

    def __init__(self) -> None:
        super().__init__()
        self.cell = Cell()

    def forward(self, inputs: Tensor) -> Tensor:
        h, shown = torch.zeros(len(inputs), 2, dtype=inputs.dtype), []
        for x in inputs.unbind(1):
            h = self.cell(h, x)
            shown.append(h)
        return torch.stack(shown, dim=1)


class Cell(nn.Module):
    def forward(self, h: Tensor, x: Tensor) -> Tensor:
        return 0.7 * h + x


def test_a_cell_of_ones_own_in_a_model_is_measured_by_itself() -> None:
    inputs, model = drawn(3, 90, 2, seed=26), Own()
    with pytest.raises(lyapunov.Unsupported, match=r"lyapunov\.memory\(lyapunov\.capture"):
        lyapunov.memory(model, inputs)
    found = lyapunov.memory(lyapunov.capture(model, inputs))
    step = lyapunov.memory(lambda h, x: 0.7 * h + x, inputs[:, 1:], state=inputs[:, 0])
    assert found.value == pytest.approx(step.value, abs=1.5)


class Last(nn.Module):
    """Some numbers of the last step alone; `fixed`: only of so many steps."""

    def __init__(self, outputs: int, fixed: int | None = None) -> None:
        super().__init__()
        self.core, self.outputs, self.fixed = seeded(nn.GRU, 2, outputs, batch_first=True), outputs, fixed

    def forward(self, inputs: Tensor) -> Tensor:
        if self.fixed not in (None, inputs.shape[1]):
            raise ValueError("so many steps, please")
        return self.core(inputs)[0][:, -1]


class Squeezed(Read):
    """One number at each step, (batch, time); a mask by step, and an input that is not by step."""

    def forward(self, inputs: Tensor, mask: Tensor | None = None, shift: Tensor | None = None) -> Tensor:
        shown = super().forward(inputs).squeeze(-1)
        return shown if mask is None else shown * mask + shift.mean(1, keepdim=True)


@pytest.mark.parametrize("outputs", [3, 20])
def test_outputs_of_the_last_step_alone_are_refused(outputs: int) -> None:
    """Also where there are as many of them as steps."""
    with pytest.raises(lyapunov.InvalidInput, match="every step"):
        lyapunov.memory(Last(outputs), drawn(3, 20, 2, seed=23))


def test_the_last_step_is_told_from_one_number_at_each_step() -> None:
    inputs, gru = drawn(3, 20, 2, seed=23), seeded(nn.GRU, 2, 3, batch_first=True)
    last = lyapunov.input_reach(Last(20), inputs, lags=5)
    assert last.starts.tolist() == [20]
    every = lyapunov.input_reach(Last(20).core, inputs, lags=5)
    torch.testing.assert_close(last.log_norms[:, 0], every.log_norms[:, -1], rtol=0, atol=1e-12)
    squeezed, whole = Squeezed(gru, [1.0] * 3), Read(gru, [1.0] * 3)
    given = {"inputs": inputs, "mask": torch.ones(3, 20).double(), "shift": torch.zeros(3, 4).double()}
    for called in (inputs, given):
        one, other = lyapunov.memory(squeezed, called, predict=False), lyapunov.memory(whole, inputs, predict=False)
        torch.testing.assert_close(one.differences, other.differences, rtol=1e-9, atol=1e-12)


def test_what_cannot_be_told_from_the_last_step_is_refused() -> None:
    for measure in (lyapunov.memory, lyapunov.input_reach):
        with pytest.raises(lyapunov.InvalidInput, match=r"\(batch, time, 1\), or \(batch, 1, outputs\)"):
            measure(Last(20, fixed=20), drawn(3, 20, 2, seed=23))


class TimeFirst(nn.Module):
    def __init__(self, kind: type[nn.Module]) -> None:
        super().__init__()
        self.core = seeded(kind, 2, 3)

    def forward(self, inputs: Tensor) -> Tensor:
        if isinstance(self.core, nn.RNNBase):
            return self.core(inputs)[0]
        h, shown = None, []
        for x in inputs:
            h = self.core(x, h)
            shown.append(h)
        return torch.stack(shown)


@pytest.mark.parametrize("kind", [nn.GRU, nn.LSTM, nn.GRUCell])
def test_a_model_with_time_first_is_refused(kind: type[nn.Module]) -> None:
    with pytest.raises(lyapunov.InvalidInput, match=r"runs 60 sequences.* that ran 4\. Wrap"):
        lyapunov.memory(TimeFirst(kind), drawn(60, 4, 2, seed=29))


def test_outputs_of_another_form_are_named() -> None:
    with pytest.raises(lyapunov.InvalidInput, match="batch first"):
        whole_model.tensor_of({"a": 1}, 2)


@pytest.mark.parametrize("name", ["memory", "input_reach", "jacobians", "effective_remembrance", "effective_state_size"])
def test_the_example_of_the_docstring_runs(name: str) -> None:
    with torch.random.fork_rng():
        globs = {"lyapunov": lyapunov, "torch": torch}
        test = doctest.DocTestParser().get_doctest(getattr(lyapunov, name).__doc__, globs, name, None, 0)
        assert test.examples
        assert doctest.DocTestRunner(verbose=False).run(test).failed == 0
