"""Derivatives of outputs by inputs, against autograd through PyTorch's own modules, and their slope against the exponent."""

import math
from typing import Any

import pytest
import torch
from matplotlib.figure import Figure
from torch import Tensor, nn

import lyapunov
from cases import drawn, seeded
from tolerances import GRADIENTS

BATCH, STEPS, INPUTS, UNITS, LAGS = 3, 24, 2, 4, 12


class Model(nn.Module):
    """Convolution in front (causal), recurrent layers, readout."""

    def __init__(self, kind: type[nn.Module] = nn.GRU, **more: Any) -> None:
        super().__init__()
        self.front = seeded(nn.Conv1d, INPUTS, 3, 3)
        self.core, self.readout = seeded(kind, 3, UNITS, batch_first=True, **more), seeded(nn.Linear, UNITS, 2)

    def forward(self, x: Tensor) -> Tensor:
        padded = nn.functional.pad(x.mT, (2, 0))
        return self.readout(self.core(torch.tanh(self.front(padded)).mT)[0])


class Leaky(nn.Module):
    """A cell of one's own: step(state, x)."""

    def __init__(self) -> None:
        super().__init__()
        self.enter, self.recur = seeded(nn.Linear, INPUTS, UNITS), seeded(nn.Linear, UNITS, UNITS, scale=1.0)

    def forward(self, h: Tensor, x: Tensor) -> Tensor:
        return h + 0.3 * (torch.tanh(self.recur(h) + self.enter(x)) - h)


def rolled_out(cell: Leaky, x: Tensor) -> Tensor:
    h, shown = torch.zeros(len(x), UNITS, dtype=torch.float64), []
    for part in x.unbind(1):
        h = cell(h, part)
        shown.append(h)
    return torch.stack(shown, dim=1)


def of_layer(layer: Any) -> Any:
    return lambda x: layer(x)[0]


CASES = {
    "RNN": (seeded(nn.RNN, INPUTS, UNITS, batch_first=True), None),
    "GRU": (seeded(nn.GRU, INPUTS, UNITS, batch_first=True), None),
    "LSTM": (seeded(nn.LSTM, INPUTS, UNITS, batch_first=True), None),
    "stack": (seeded(nn.LSTM, INPUTS, UNITS, num_layers=3, batch_first=True), None),
    "cell": (Leaky(), torch.zeros(BATCH, UNITS)),
    "convolution": (Model(), None),
    "convolution-and-stack": (Model(nn.LSTM, num_layers=2), None),
}


def by_autograd(function: Any, x: Tensor, start: int) -> Tensor:
    """(lags + 1, batch, features): squared derivatives of the output after `start` steps, from the whole dense Jacobian."""
    found = []
    for one in x:
        dense = torch.autograd.functional.jacobian(lambda part: function(part.unsqueeze(0))[0, start - 1], one)
        found.append(dense.square().sum(0)[start - LAGS - 1 : start].flip(0))
    return torch.stack(found, dim=1)


@pytest.mark.parametrize("name", CASES)
def test_it_is_the_derivative_that_autograd_finds(name: str) -> None:
    model, state = CASES[name]
    x = drawn(BATCH, STEPS, INPUTS, seed=31)
    found = lyapunov.input_reach(model, x, lags=LAGS, starts=3, by_feature=True, state=state)
    assert found.log_norms.shape == (LAGS + 1, 3, BATCH)
    function = (lambda part: rolled_out(model, part)) if name == "cell" else model
    function = of_layer(model) if isinstance(model, nn.RNNBase) else function
    for at, start in enumerate(found.starts.tolist()):
        squares = by_autograd(function, x, start)
        torch.testing.assert_close(found.log_norms[:, at].exp(), squares.sum(-1).sqrt(), rtol=GRADIENTS, atol=GRADIENTS)
        torch.testing.assert_close(found.log_features[:, at].exp(), squares.sqrt(), rtol=GRADIENTS, atol=GRADIENTS)


def test_features_add_up_to_the_whole() -> None:
    found = lyapunov.input_reach(CASES["GRU"][0], drawn(BATCH, STEPS, INPUTS, seed=32), lags=5, by_feature=True)
    parts = torch.stack([found.feature(at).log_norms for at in range(INPUTS)])
    torch.testing.assert_close((2 * parts).exp().sum(0), (2 * found.log_norms).exp(), rtol=1e-12, atol=0)
    assert "input feature 1" in repr(found.feature(1))
    with pytest.raises(lyapunov.InvalidInput, match="by_feature=True"):
        found.feature(0).feature(0)


@pytest.mark.parametrize("kind", [nn.RNN, nn.GRU, nn.LSTM])
def test_its_slope_is_the_largest_exponent(kind: type[nn.Module]) -> None:
    """Where every direction is driven and seen: full input and output weights."""
    layer = seeded(kind, 16, 16, batch_first=True, scale=1.0)
    if kind is nn.RNN:
        with torch.no_grad():
            layer.weight_hh_l0.copy_(1.3 * drawn(16, 16, seed=33) / 4)
    x = drawn(8, 300, 16, seed=34, scale=0.5)
    reach = lyapunov.input_reach(layer, x, lags=80, starts=20)
    slope, exponent = reach.slope(20, 80), lyapunov.spectrum(layer, x, k=1)
    assert slope.value == pytest.approx(exponent.max, rel=0.05)


def test_the_slope_of_a_leaky_integrator_is_exact() -> None:
    reach = lyapunov.input_reach(lambda h, x: 0.8 * h + x, drawn(2, 60, 1, seed=35), state=torch.zeros(2, 1), lags=30)
    assert reach.slope().value == pytest.approx(math.log(0.8), abs=1e-12)
    assert reach.gain == pytest.approx(1.0)
    assert reach.lag_at(0.01).value == math.ceil(math.log(0.01) / math.log(0.8))
    assert reach.verdict.converged
    assert reach.to_pandas()["mean"].tolist() == pytest.approx([lag * math.log(0.8) for lag in range(31)])


def test_a_shift_register_reaches_its_length_and_no_further() -> None:
    def shift(state: Tensor, x: Tensor) -> Tensor:
        return torch.cat([x, state[:, :-1]], dim=-1)

    reach = lyapunov.input_reach(shift, drawn(2, 40, 1, seed=36), state=torch.zeros(2, 7), lags=20)
    assert reach.mean[:7].tolist() == [0.0] * 7
    assert bool(reach.mean[7:].isneginf().all())
    assert reach.lag_at(0.01).value == 7
    assert "some derivatives are zero" in repr(reach)


class Words(nn.Module):
    """Tokens, embedded."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding, self.core = seeded(nn.Embedding, 5, 3), seeded(nn.GRU, 3, UNITS, batch_first=True)

    def forward(self, tokens: Tensor) -> Tensor:
        return self.core(self.embedding(tokens))[0]


def test_tokens_are_differentiated_at_their_embedding() -> None:
    tokens = torch.randint(5, (BATCH, STEPS), generator=torch.Generator().manual_seed(2))
    model = Words()
    found = lyapunov.input_reach(model, tokens, lags=LAGS, starts=2)
    with torch.no_grad():
        embedded = model.embedding(tokens)
    same = lyapunov.input_reach(model.core, embedded, lags=LAGS, starts=2)
    torch.testing.assert_close(found.log_norms, same.log_norms, rtol=0, atol=1e-10)
    assert not model.embedding._forward_hooks


def test_an_output_of_the_last_step_alone_has_one_starting_time() -> None:
    class Last(Model):
        def forward(self, x: Tensor) -> Tensor:
            return super().forward(x)[:, -1]

    x = drawn(BATCH, STEPS, INPUTS, seed=37)
    last, whole = lyapunov.input_reach(Last(), x, lags=LAGS), lyapunov.input_reach(Model(), x, lags=LAGS)
    assert last.starts.tolist() == [STEPS]
    torch.testing.assert_close(last.log_norms[:, 0], whole.log_norms[:, -1], rtol=0, atol=1e-12)


def test_the_model_is_left_as_it_was() -> None:
    model, x = Model(nn.LSTM, num_layers=2), drawn(BATCH, STEPS, INPUTS, seed=38)
    model.train().requires_grad_(False)
    with torch.no_grad():
        lyapunov.input_reach(model, x, lags=3, starts=1)
    assert all(part.training for part in model.modules())
    assert all(weight.grad is None for weight in model.parameters())
    assert not x.requires_grad


def test_the_figure_has_the_line_of_the_exponent() -> None:
    reach = lyapunov.input_reach(lambda h, x: 0.8 * h + x, drawn(2, 60, 1, seed=35), state=torch.zeros(2, 1), lags=30)
    axes = lyapunov.plots.input_reach(reach, Figure().subplots(), exponent=math.log(0.8))
    labels = [text.get_text() for text in axes.get_legend().get_texts()]
    assert "1 % at lag 21" in labels
    line = next(line for line in axes.lines if line.get_linestyle() == "--")
    assert line.get_ydata()[0] == pytest.approx(0.0, abs=1e-9)


class Mixed(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x - x.mean(0)


class Fewer(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x[:, ::2]


@pytest.mark.parametrize(
    ("model", "given", "error", "words"),
    [
        (Model(), {"lags": STEPS}, lyapunov.InvalidInput, "below the 24 steps"),
        (Mixed(), {"lags": 3}, lyapunov.BadSystem, "do not see each other"),
        (Fewer(), {"lags": 3}, lyapunov.InvalidInput, "as many outputs as inputs"),
        (lambda h, x: 0.5 * h, {"lags": 3, "state": torch.ones(BATCH, 1)}, lyapunov.InvalidInput, "depend on the inputs"),
    ],
)
def test_what_cannot_be_differentiated_is_refused(model: Any, given: Any, error: Any, words: str) -> None:
    with pytest.raises(error, match=words):
        lyapunov.input_reach(model, drawn(BATCH, STEPS, INPUTS, seed=39), **given)


class Blind(Model):
    """Weights require a gradient, inputs do not arrive."""

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x.detach())


class Masked(Model):
    """The mask comes first, and nothing depends on it."""

    def forward(self, mask: Tensor, x: Tensor) -> Tensor:
        return super().forward(x)


class BlindWords(Words):
    def forward(self, tokens: Tensor) -> Tensor:
        return self.core(self.embedding(tokens).detach())[0]


class Still(Leaky):
    def forward(self, h: Tensor, x: Tensor) -> Tensor:
        return super().forward(h, x.detach())


@pytest.mark.parametrize("batch", [1, 2])
@pytest.mark.parametrize("name", ["detached", "mask first", "tokens", "step"])
def test_outputs_that_do_not_depend_on_the_first_tensor_are_refused(name: str, batch: int) -> None:
    x, mask = drawn(batch, STEPS, INPUTS, seed=41), torch.ones(batch, STEPS, dtype=torch.float64)
    model, inputs, state = {
        "detached": (Blind(), x, None),
        "mask first": (Masked(), {"mask": mask, "x": x}, None),
        "tokens": (BlindWords(), torch.zeros(batch, STEPS, dtype=torch.long), None),
        "step": (Still(), x, torch.zeros(batch, UNITS)),
    }[name]
    with pytest.raises(lyapunov.InvalidInput, match="depend on the inputs, got ones that do not"):
        lyapunov.input_reach(model, inputs, state=state, lags=3, starts=2)


def test_a_level_that_is_none_is_refused() -> None:
    reach = lyapunov.input_reach(lambda h, x: 0.8 * h + x, drawn(2, 20, 1, seed=42), state=torch.zeros(2, 1), lags=3)
    for level in (95, 0.0, -0.5, 1.0):
        with pytest.raises(lyapunov.InvalidInput, match="`level` between 0 and 1"):
            reach.interval(level)


def test_what_was_captured_is_refused_with_the_remedy() -> None:
    x = drawn(BATCH, STEPS, INPUTS, seed=40)
    with pytest.raises(lyapunov.Unsupported, match="the model itself"):
        lyapunov.input_reach(lyapunov.capture(Model(), x))
