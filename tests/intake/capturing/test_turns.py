"""A model that feeds its own output back, captured: the loop written by hand, or a refusal that says why."""

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import lyapunov
from cases import drawn
from lyapunov.errors import Unsupported
from lyapunov.intake.continuity import require_continuous
from tolerances import same

FEATURES, UNITS, BATCH, SEEN = 3, 9, 4, 8


class Forecaster(nn.Module):
    """Reads a series and goes on with it; how a prediction becomes the next input is `kind`."""

    def __init__(self, core: nn.Module, kind: str = "bent") -> None:
        super().__init__()
        self.core, self.kind = core, kind
        self.register_buffer("count", torch.zeros(1))
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
        if self.kind == "checked":
            assert bool((output.abs() <= 1).all())
            return torch.tanh(y)
        if self.kind == "counted":
            self.count += 1
            return torch.tanh(y)
        if self.kind == "numpy":
            return torch.from_numpy(np.tanh(y.detach().numpy()))
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
        ("checked", "does not go on when it returns other outputs .AssertionError"),
        ("counted", "cannot be run in float64 and differentiated .RuntimeError: During a grad"),
        ("numpy", "cannot be run in float64 and differentiated .RuntimeError: Cannot access data pointer"),
        ("residual", "depends on more than its last output"),
        ("timed", "depends on more than its last output"),
    ],
)
def test_what_is_no_differentiable_map_of_the_output_is_refused_with_the_reason(kind: str, reason: str) -> None:
    model = forecaster("GRUCell", kind)
    captured = lyapunov.capture(model, SERIES)
    with pytest.raises(Unsupported, match=reason):
        captured.closed_loop()
    assert not bool(model.count)
    with pytest.raises(Unsupported, match="Write one turn of the loop as step"):
        lyapunov.spectrum(captured)


class Twice(nn.Module):
    """Calls its core twice for each input: with it, and with what the core made of it, or that alone where it came before."""

    def __init__(self, free: int) -> None:
        super().__init__()
        self.core, self.readout, self.free = nn.GRUCell(FEATURES, UNITS), nn.Linear(UNITS, FEATURES), free

    def forward(self, series: Tensor) -> Tensor:
        h = torch.zeros(len(series), UNITS)
        for t in range(series.shape[1] + self.free):
            h = self.core(series[:, t] if t < series.shape[1] else torch.sin(self.readout(h)), h)
            h = self.core(torch.tanh(self.readout(h)), h)
        return h


@pytest.mark.parametrize("free", [0, 6])
def test_a_core_that_is_called_twice_in_a_turn_has_no_loop_of_one_call(free: int) -> None:
    with torch.random.fork_rng():
        torch.manual_seed(3)
        model = Twice(free)
    captured = lyapunov.capture(model, SERIES)
    with pytest.raises(Unsupported, match="depends on more than its last output"):
        captured.closed_loop()


def test_a_model_that_bends_the_output_in_place_is_a_loop() -> None:
    class Bent(Forecaster):
        def again(self, output: Tensor, x: Tensor, t: int) -> Tensor:
            return self.readout(output.tanh_())

    with torch.random.fork_rng():
        torch.manual_seed(3)
        model = Bent(CORES["LSTM"]())
    loop = lyapunov.capture(model, SERIES).closed_loop()
    by_hand = lyapunov.closed_loop(model.core, lambda h: model.readout(h.tanh()))
    assert same(lyapunov.spectrum(loop, **SHORT).exponents, lyapunov.spectrum(by_hand, loop.inputs, **SHORT).exponents)


def test_a_core_that_is_fed_what_it_returned_is_a_loop_without_a_readout() -> None:
    class Echo(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.core = nn.GRUCell(FEATURES, FEATURES)

        def forward(self, series: Tensor) -> Tensor:
            h: Any = None
            for t in range(SEEN + 6):
                h = self.core(series[:, t] if t < SEEN else h, h)
            return h

    with torch.random.fork_rng():
        torch.manual_seed(3)
        model = Echo()
    loop = lyapunov.capture(model, SERIES).closed_loop()
    by_hand = lyapunov.closed_loop(model.core, nn.Identity())
    assert same(lyapunov.spectrum(loop, **SHORT).exponents, lyapunov.spectrum(by_hand, loop.inputs, **SHORT).exponents)


def test_whoever_captures_does_not_wait_for_the_loop() -> None:
    """The runs of a model are as many however long it goes on; a loop that is asked for takes some more, not one a step."""
    model, runs = forecaster("GRUCell"), []
    model.register_forward_pre_hook(lambda *_: runs.append(1))
    counts = []
    for steps in (20, 60, 100):
        runs.clear()
        captured = lyapunov.capture(model, SERIES, steps)
        counts.append([len(runs)])
        captured.closed_loop()
        counts[-1].append(len(runs))
    assert all(count[0] <= 3 for count in counts)
    assert counts[0][1] < counts[1][1] == counts[2][1]


def test_a_model_that_changed_since_is_to_be_captured_again() -> None:
    model = forecaster("GRUCell")
    captured = lyapunov.capture(model, SERIES)
    with torch.no_grad():
        model.readout.weight.mul_(1.5)
    with pytest.raises(Unsupported, match="Expected a model as it was captured"):
        captured.closed_loop()


def test_a_spectrum_of_what_was_captured_offers_the_loop_where_there_is_one() -> None:
    with pytest.raises(Unsupported, match=r"Pass lyapunov.spectrum\(captured.closed_loop\('core'\), steps=1000\)"):
        lyapunov.spectrum(lyapunov.capture(forecaster("GRUCell"), SERIES))
    with pytest.raises(Unsupported, match=r"Write one turn of the loop as step\(state, x\)"):
        lyapunov.spectrum(lyapunov.capture(forecaster("GRUCell", "argmax"), SERIES))


def test_a_core_that_reads_both_ways_has_no_loop() -> None:
    with torch.random.fork_rng():
        torch.manual_seed(3)
        model = Forecaster(nn.GRU(FEATURES, UNITS, bidirectional=True, batch_first=True))
        model.readout = nn.Linear(2 * UNITS, FEATURES)
    with pytest.raises(Unsupported, match="it is bidirectional"):
        lyapunov.capture(model, SERIES).closed_loop()


def test_a_core_that_is_driven_has_no_loop() -> None:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = nn.Sequential(nn.GRU(FEATURES, UNITS))
    with pytest.raises(Unsupported, match="not fed by its own output"):
        lyapunov.capture(model, drawn(SEEN, BATCH, FEATURES, seed=401).float()).closed_loop()


def test_a_sample_that_comes_out_the_same_twice_is_a_sample_still() -> None:
    output = torch.linspace(-1, 1, 12, dtype=torch.float64).reshape(3, 4)
    with pytest.raises(Unsupported, match="draws random numbers"):
        require_continuous(lambda out: torch.bernoulli(torch.ones_like(out)) * out, output)
