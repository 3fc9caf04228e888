"""Measured decay of loss gradients: the same as starting again from a state, whichever way the core is called."""

import math
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, one_hot
from torch.nn.utils.rnn import pack_padded_sequence

import lyapunov
from cases import drawn, seeded
from tolerances import ROUNDING

BATCH, STEPS, SYMBOLS, UNITS = 3, 40, 5, 6
GENERATOR = torch.Generator().manual_seed(1)
TEXT = torch.randint(SYMBOLS, (BATCH, STEPS + 1), generator=GENERATOR)
DATA = (one_hot(TEXT[:, :-1], SYMBOLS).double(), TEXT[:, 1:])


class Whole(nn.Module):
    """A layer called once."""

    def __init__(self, kind: type[nn.Module] = nn.LSTM, *, batch_first: bool = True, **more: Any) -> None:
        super().__init__()
        self.core, self.head = kind(SYMBOLS, UNITS, batch_first=batch_first, **more), nn.Linear(UNITS, SYMBOLS)

    def forward(self, x: Tensor) -> Tensor:
        if self.core.batch_first:
            return self.head(self.core(x)[0])
        return self.head(self.core(x.transpose(0, 1))[0]).transpose(0, 1)


class InPieces(Whole):
    """A layer called for some steps at a time, its state handed on."""

    def forward(self, x: Tensor) -> Tensor:
        state, outputs = None, []
        for part in x.split(7, dim=1):
            hidden, state = self.core(part, state)
            outputs.append(hidden)
        return self.head(torch.cat(outputs, dim=1))


class Stepped(nn.Module):
    """A cell called at every step."""

    def __init__(self, kind: type[nn.Module]) -> None:
        super().__init__()
        self.core, self.head = kind(SYMBOLS, UNITS), nn.Linear(UNITS, SYMBOLS)

    def forward(self, x: Tensor) -> Tensor:
        state, outputs = None, []
        for step in x.unbind(1):
            state = self.core(step, state)
            outputs.append(self.head(state[0] if isinstance(state, tuple) else state))
        return torch.stack(outputs, dim=1)


def loss(model: nn.Module, batch: tuple[Tensor, Tensor]) -> Tensor:
    return cross_entropy(model(batch[0]).mT, batch[1], reduction="none")


MODELS = {
    "RNN": seeded(Whole, nn.RNN),
    "GRU": seeded(Whole, nn.GRU, batch_first=False),
    "LSTM": seeded(Whole),
    "LSTM-stack": seeded(Whole, num_layers=2, dropout=0.5),
    "in-pieces": seeded(InPieces),
    "LSTMCell": seeded(Stepped, nn.LSTMCell),
    "GRUCell": seeded(Stepped, nn.GRUCell),
}


def started_again(model: Any, stop: int, lag: int) -> Tensor:
    """(batch,): ln of the gradient of the loss after `stop` steps by the state `lag` steps before, made a start of its own."""
    x, y = DATA
    model.eval()
    cell = isinstance(model.core, nn.RNNCellBase)
    layout = (lambda v: v) if cell or model.core.batch_first else (lambda v: v.transpose(0, 1))

    def run(part: Tensor, state: Any) -> tuple[Tensor, Any]:
        if not cell:
            hidden, state = model.core(layout(part), state)
            return layout(hidden)[:, -1], state
        for step in part.unbind(1):
            state = model.core(step, state)
        return (state[0] if isinstance(state, tuple) else state), state

    _, state = run(x[:, : stop - lag], None)
    parts = [part.detach().requires_grad_() for part in (state if isinstance(state, tuple) else (state,))]
    hidden, _ = run(x[:, stop - lag : stop], tuple(parts) if len(parts) > 1 else parts[0])
    value = cross_entropy(model.head(hidden), y[:, stop - 1], reduction="none").sum()
    batch_at = 0 if cell else 1
    squares = [g.square().movedim(batch_at, 0).flatten(1).sum(-1) for g in torch.autograd.grad(value, parts)]
    return torch.stack(squares).sum(0).sqrt().log()


@pytest.mark.parametrize("name", MODELS)
def test_it_is_the_gradient_of_a_run_that_starts_there(name: str) -> None:
    model = MODELS[name]
    found = lyapunov.gradient_decay(model, loss, DATA, lags=20, starts=4)
    assert found.core == "core"
    for at, stop in enumerate(found.starts.tolist()):
        for lag in (1, 8, 20):
            expected = started_again(model, stop, lag)
            torch.testing.assert_close(found.log_norms[lag, at], expected, rtol=0, atol=1e3 * ROUNDING)


def test_the_model_is_left_as_it_was() -> None:
    model = seeded(Whole, num_layers=2, dropout=0.5)
    model.train()
    model.head.weight.grad = torch.ones_like(model.head.weight)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    lyapunov.gradient_decay(model, loss, DATA, lags=5)
    assert all(part.training for part in model.modules())
    assert not any(part._forward_hooks for part in model.modules())
    assert torch.equal(model.head.weight.grad, torch.ones_like(model.head.weight))
    assert model.core.weight_hh_l0.grad is None
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


def test_frozen_weights_and_no_grad_around_it_do_not_matter() -> None:
    model = seeded(Whole)
    expected = lyapunov.gradient_decay(model, loss, DATA, lags=10)
    with torch.no_grad():
        found = lyapunov.gradient_decay(model.requires_grad_(False), loss, DATA, lags=10)
    torch.testing.assert_close(found.log_norms, expected.log_norms, rtol=0, atol=ROUNDING)


def test_a_loss_of_the_last_step_has_one_starting_time() -> None:
    last = lyapunov.gradient_decay(MODELS["LSTM"], lambda model, batch: loss(model, batch)[:, -1], DATA, lags=15)
    whole = lyapunov.gradient_decay(MODELS["LSTM"], loss, DATA, lags=15)
    assert last.starts.tolist() == [STEPS]
    torch.testing.assert_close(last.log_norms[:, 0], whole.log_norms[:, -1], rtol=0, atol=ROUNDING)


def test_the_slope_is_that_of_the_mean() -> None:
    found = lyapunov.gradient_decay(MODELS["RNN"], loss, DATA, lags=20)
    lags, means = found.lags[5:].double(), found.mean[5:]
    expected = ((lags - lags.mean()) * means).sum() / (lags - lags.mean()).square().sum()
    slope = found.slope(5, 20)
    assert slope.value == pytest.approx(float(expected))
    assert slope.interval[0] < slope.value < slope.interval[1]
    assert slope.e_folding_lag == pytest.approx(-1 / slope.value)
    assert "over lags 5 to 20" in str(slope)
    assert f"{float(found.mean[-1]):.5f}" in repr(found)


def test_gradients_below_the_dtype_have_no_slope() -> None:
    model = seeded(Whole, nn.RNN, scale=1.0).float()
    with torch.no_grad():
        model.core.weight_hh_l0.mul_(1e-4)
    data = (DATA[0].float(), DATA[1])
    found = lyapunov.gradient_decay(model, loss, data, lags=20)
    assert bool(found.log_norms[-1].isneginf().all())
    with pytest.raises(lyapunov.InvalidInput, match=r"model\.double"):
        found.slope()
    assert lyapunov.gradient_decay(model.double(), loss, DATA, lags=20).slope().value < -8


def test_a_chaotic_network_is_no_other_network() -> None:
    """Rounding sets its steps apart from PyTorch's own pass after some time."""
    model, size = seeded(Whole, nn.RNN, scale=1.0), 100
    model.core, model.head = seeded(nn.RNN, SYMBOLS, size, batch_first=True), seeded(nn.Linear, size, SYMBOLS)
    with torch.no_grad():
        model.core.weight_hh_l0.copy_(2.0 * drawn(size, size, seed=3) / size**0.5)
        model.core.weight_ih_l0.mul_(0.1)
    text = torch.randint(SYMBOLS, (BATCH, 801), generator=torch.Generator().manual_seed(2))
    long = one_hot(text[:, :-1], SYMBOLS).double(), text[:, 1:]
    assert lyapunov.spectrum(model.core, long[0], k=1).max > 0.05
    assert lyapunov.gradient_decay(model, loss, long, lags=10, starts=5).log_norms.isfinite().all()


class Two(nn.Module):
    """Two cores."""

    def __init__(self) -> None:
        super().__init__()
        self.below, self.above = nn.GRU(SYMBOLS, UNITS, batch_first=True), nn.GRU(UNITS, SYMBOLS, batch_first=True)

    def forward(self, x: Tensor) -> Tensor:
        return self.above(self.below(x)[0])[0]


def test_one_of_several_cores_is_named() -> None:
    model = seeded(Two)
    with pytest.raises(lyapunov.InvalidInput, match="Choose among below, above"):
        lyapunov.gradient_decay(model, loss, DATA, lags=5)
    below, above = (lyapunov.gradient_decay(model, loss, DATA, lags=5, core=name) for name in ("below", "above"))
    assert float((below.log_norms - above.log_norms).abs().min()) > 1e-6
    with pytest.raises(lyapunov.InvalidInput, match="'below', 'above'"):
        lyapunov.gradient_decay(model, loss, DATA, core="middle")


def test_flattened_losses_of_one_sequence_are_not_its_last() -> None:
    one = tuple(part[:1] for part in DATA)
    with pytest.raises(lyapunov.InvalidInput, match=r"losses\.view"):
        lyapunov.gradient_decay(MODELS["LSTM"], lambda model, batch: loss(model, batch).flatten(), one, lags=5)


class Packed(Whole):
    def forward(self, x: Tensor) -> Tensor:
        self.core(pack_padded_sequence(x, [STEPS] * BATCH, batch_first=True))
        return x


@pytest.mark.parametrize(
    ("model", "function", "given", "error", "words"),
    [
        (seeded(nn.Linear, 2, 2), loss, {}, lyapunov.Unsupported, "one of PyTorch's recurrent layers"),
        (MODELS["LSTM"], lambda m, b: loss(m, b).mean(), {}, lyapunov.InvalidInput, "Leave the mean out"),
        (MODELS["LSTM"], lambda m, b: loss(m, b).mT, {}, lyapunov.InvalidInput, "one row for each of the 3 sequences"),
        (MODELS["LSTM"], lambda m, b: loss(m, b).flatten(), {}, lyapunov.InvalidInput, "losses.view"),
        (MODELS["LSTM"], lambda m, b: loss(m, b)[:, 3:], {}, lyapunov.InvalidInput, "batch first"),
        (MODELS["LSTM"], lambda m, b: loss(m, b).detach(), {}, lyapunov.InvalidInput, "without a gradient"),
        (MODELS["LSTM"], lambda m, b: b[0].sum(-1), {}, lyapunov.Unsupported, "calls the recurrent core"),
        (MODELS["LSTM"], loss, {"lags": STEPS}, lyapunov.InvalidInput, "below the 40 steps"),
        (seeded(Packed), loss, {}, lyapunov.Unsupported, "without packing"),
        (seeded(Whole, bidirectional=True), lambda m, b: m.core(b[0])[0], {}, lyapunov.Unsupported, "one-directional"),
    ],
)
def test_what_cannot_be_used_is_said(model: nn.Module, function: Any, given: Any, error: type[Exception], words: str) -> None:
    with pytest.raises(error, match=words):
        lyapunov.gradient_decay(model, function, DATA, **{"lags": 5, **given})


def test_drawn_inputs_are_not_needed() -> None:
    """A regression on plain numbers, the loss a square."""
    model = seeded(nn.GRU, 2, 3, batch_first=True)
    x, y = drawn(2, 20, 2, seed=1), drawn(2, 20, 3, seed=2)
    found = lyapunov.gradient_decay(model, lambda m, b: (m(b[0])[0] - b[1]).square().sum(-1), (x, y), lags=5)
    assert found.log_norms.shape == (6, 15, 2)
    assert found.core == ""


class Linear(nn.Module):
    """One unit that decays; the gradient n steps back is decay^n of the last one."""

    def __init__(self, decay: float) -> None:
        super().__init__()
        self.core = seeded(nn.RNN, 1, 1, nonlinearity="relu", bias=False, batch_first=True)
        self.core.weight_ih_l0.data.fill_(1.0)
        self.core.weight_hh_l0.data.fill_(decay)

    def forward(self, x: Tensor) -> Tensor:
        return self.core(x)[0].squeeze(-1)


def test_the_lag_at_a_fraction_is_where_the_gradient_falls_below_it() -> None:
    x = drawn(4, 60, 1, seed=3).abs()
    found = lyapunov.gradient_decay(Linear(0.8), lambda model, inputs: model(inputs), x, lags=30)
    for fraction in (0.5, 0.1, 0.01):
        lag = found.lag_at(fraction)
        assert lag.value == math.ceil(math.log(fraction) / math.log(0.8))
        assert lag.interval == (lag.value, lag.value)
    assert math.isinf(found.lag_at(1e-4).value)
    assert str(found.lag_at(1e-4)) == "> 30 steps"
    assert str(found.lag_at()) == "21 steps (95 %: 21 to 21)"
    with pytest.raises(lyapunov.InvalidInput, match="between 0 and 1"):
        found.lag_at(1.0)


def test_a_decay_that_rises_again_has_the_last_lag() -> None:
    values = torch.tensor([0.0, -6.0, -1.0, -6.0, -7.0]).double().view(-1, 1, 1).expand(5, 3, 2)
    found = lyapunov.GradientDecay(torch.arange(5), values, torch.arange(3), "core")
    assert found.lag_at(0.01).value == 3


def test_the_interval_of_a_lag_is_where_the_band_ends() -> None:
    rates = torch.linspace(0.3, 0.5, 6).double().expand(1, 40, 6)  # of six sequences
    values = -torch.arange(30.0).double().view(-1, 1, 1) * rates
    found = lyapunov.GradientDecay(torch.arange(30), values, torch.arange(40), "core").lag_at(0.01)
    half = 2.571 * float(rates[0, 0].std()) / 6**0.5
    assert found.value == 12
    assert found.interval == tuple(math.ceil(math.log(100) / (0.4 + sign * half)) for sign in (1, -1))
    offsets = torch.tensor([-9.0, 5.0, 0.0, 3.0, 8.0, -7.0]).double()  # what all lags share cancels
    moved = lyapunov.GradientDecay(torch.arange(30), values + offsets, torch.arange(40), "core").lag_at(0.01)
    assert moved == found
