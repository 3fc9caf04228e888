"""A model that feeds its own output back, captured: the loop written by hand, or a refusal that says why."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn

import lyapunov
from cases import drawn
from lyapunov.errors import Unsupported
from tolerances import same

FEATURES, UNITS, BATCH, SEEN = 3, 9, 4, 8


class Forecaster(nn.Module):
    """Reads a series and goes on with it; how a prediction becomes the next input is `kind`."""

    def __init__(self, core: nn.Module, kind: str = "bent") -> None:
        super().__init__()
        self.core, self.kind = core, kind
        self.readout, self.embedding = nn.Linear(UNITS, FEATURES), nn.Embedding(FEATURES, FEATURES)

    def again(self, output: Tensor, x: Tensor, t: int) -> Tensor:
        y = self.readout(output)
        if self.kind == "argmax":
            return self.embedding(y.argmax(-1))
        if self.kind == "sampled":
            return self.embedding(torch.multinomial(y.softmax(-1), 1)[:, 0])
        if self.kind == "rounded":
            return torch.cat([y[:, :1], y[:, 1:].round(decimals=1)], dim=-1)
        if self.kind == "detached":
            return 2 * y.detach()
        other = {"residual": x, "timed": 0.1 * t, "bent": torch.tanh(y)}
        return y + other[self.kind]

    def step(self, x: Tensor, state: Any) -> tuple[Tensor, Any]:
        if isinstance(self.core, nn.RNNCellBase):
            state = self.core(x, state)
            return (state[0] if isinstance(state, tuple) else state), state
        output, state = self.core(x.unsqueeze(1), state)
        return output[:, 0], state

    def forward(self, series: Tensor, steps: int = 6) -> Tensor:
        state: Any = None
        for t in range(series.shape[1]):
            output, state = self.step(series[:, t], state)
        x, found = series[:, -1], []
        for t in range(steps):
            x = self.again(output, x, t)
            output, state = self.step(x, state)
            found.append(x)
        return torch.stack(found, dim=1)


CORES = {
    "GRUCell": lambda: nn.GRUCell(FEATURES, UNITS),
    "LSTM": lambda: nn.LSTM(FEATURES, UNITS, batch_first=True),
    "GRU of two layers": lambda: nn.GRU(FEATURES, UNITS, num_layers=2, batch_first=True),
}


def forecaster(name: str, kind: str = "bent") -> Forecaster:
    with torch.random.fork_rng():
        torch.manual_seed(3)
        return Forecaster(CORES[name](), kind)


SERIES = drawn(BATCH, SEEN, FEATURES, seed=400).float()
SHORT: dict[str, Any] = {"steps": 30, "k": 3, "settle": 5, "align": 10}
pytestmark = pytest.mark.usefixtures("shapes_unchecked")


@pytest.mark.parametrize("name", CORES)
def test_the_captured_loop_has_the_free_exponents_of_the_one_written_by_hand(name: str) -> None:
    model = forecaster(name)
    loop = lyapunov.capture(model, SERIES).closed_loop()
    by_hand = lyapunov.closed_loop(model.core, model.readout, feedback=lambda y: y + torch.tanh(y))
    found, expected = lyapunov.spectrum(loop, **SHORT), lyapunov.spectrum(by_hand, loop.inputs, **SHORT)
    assert same(found.exponents, expected.exponents)
    core_alone = lyapunov.spectrum(model.core, loop.inputs, k=1, settle=0, align=0)
    assert not same(found.exponents[:1], core_alone.exponents)


def test_the_loop_starts_where_the_model_ended() -> None:
    model = forecaster("GRUCell")
    loop = lyapunov.capture(model, SERIES).closed_loop("core")
    assert loop.inputs.shape == (BATCH, SEEN + 6, FEATURES)
    with torch.no_grad():
        longer = model.double()(SERIES.double(), steps=12)[:, 6:]
    torch.testing.assert_close(lyapunov.predict(lyapunov.closed_loop(model.core, loop.readout), loop.inputs, steps=6), longer)


@pytest.mark.parametrize(
    ("kind", "reason"),
    [
        ("sampled", "draws random numbers"),
        ("argmax", "one that jumps"),
        ("rounded", "one that jumps"),
        ("detached", "its derivative is zero"),
        ("residual", "depends on more than its last output"),
        ("timed", "depends on more than its last output"),
    ],
)
def test_what_is_no_differentiable_map_of_the_output_is_refused_with_the_reason(kind: str, reason: str) -> None:
    captured = lyapunov.capture(forecaster("GRUCell", kind), SERIES)
    with pytest.raises(Unsupported, match=reason):
        captured.closed_loop()


def test_a_spectrum_of_what_was_captured_offers_the_loop_where_there_is_one() -> None:
    with pytest.raises(Unsupported, match=r"Pass lyapunov.spectrum\(captured.closed_loop\('core'\), steps=1000\)"):
        lyapunov.spectrum(lyapunov.capture(forecaster("GRUCell"), SERIES))
    with pytest.raises(Unsupported, match=r"Write one turn of the loop as step\(state, x\)"):
        lyapunov.spectrum(lyapunov.capture(forecaster("GRUCell", "argmax"), SERIES))


def test_a_core_that_is_driven_has_no_loop() -> None:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = nn.Sequential(nn.GRU(FEATURES, UNITS))
    with pytest.raises(Unsupported, match="not fed by its own output"):
        lyapunov.capture(model, drawn(SEEN, BATCH, FEATURES, seed=401).float()).closed_loop()
