"""What `torch.jit` made of PyTorch's layers and cells has the spectrum that they have, and their very weights."""

import io
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import lyapunov
from cases import drawn, seeded
from lyapunov.intake.foreign import is_recurrent, native
from models import Leaky, WithReadout
from test_bad_input import assert_form
from tolerances import same

pytestmark = [
    pytest.mark.filterwarnings("ignore:`torch.jit:DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::torch.jit.TracerWarning"),
]

FEATURES, UNITS = 3, 4
INPUTS = drawn(2, 24, FEATURES, seed=95)
START = drawn(2, UNITS, seed=96)
RUN = {"settle": 4, "align": 4}

MODULES = {
    "LSTM": seeded(nn.LSTM, FEATURES, UNITS, num_layers=2, batch_first=True, proj_size=2),
    "GRU": seeded(nn.GRU, FEATURES, UNITS, bias=False, batch_first=True),
    "RNN": seeded(nn.RNN, FEATURES, UNITS, batch_first=True),
    "RNN of relu": seeded(nn.RNN, FEATURES, UNITS, nonlinearity="relu", batch_first=True, num_layers=2, scale=1.0),
    "time first": seeded(nn.GRU, FEATURES, UNITS),
    "LSTMCell": seeded(nn.LSTMCell, FEATURES, UNITS),
    "GRUCell": seeded(nn.GRUCell, FEATURES, UNITS, bias=False),
    "RNNCell": seeded(nn.RNNCell, FEATURES, UNITS),
    "RNNCell of relu": seeded(nn.RNNCell, FEATURES, UNITS, nonlinearity="relu", scale=1.0),
}
Make = Callable[[nn.Module], Any]


def traced(module: nn.Module) -> Any:
    return torch.jit.trace(module, INPUTS if isinstance(module, nn.RNNBase) else INPUTS[:, 0])


def loaded(scripted: Any) -> Any:
    file = io.BytesIO()
    torch.jit.save(scripted, file)
    file.seek(0)
    return torch.jit.load(file)


WAYS: dict[str, Make] = {
    "scripted": torch.jit.script,
    "scripted and loaded": lambda module: loaded(torch.jit.script(module)),
    "traced": traced,
    "traced and loaded": lambda module: loaded(traced(module)),
}


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("name", MODULES)
def test_it_has_the_spectrum_of_the_module(name: str, way: str) -> None:
    module = MODULES[name]
    made = WAYS[way](module)
    assert is_recurrent(made)
    expected = lyapunov.spectrum(module, INPUTS.transpose(0, 1) if name == "time first" else INPUTS, **RUN)
    found = lyapunov.spectrum(made, INPUTS.transpose(0, 1) if name == "time first" else INPUTS, **RUN)
    assert same(found.exponents, expected.exponents)
    assert found.settings == expected.settings


@pytest.mark.parametrize("make", [torch.jit.script, traced])
def test_its_weights_are_the_modules_own(make: Make) -> None:
    module = seeded(nn.LSTM, FEATURES, UNITS, batch_first=True)
    made = make(module)
    assert native(made).weight_hh_l0 is made.weight_hh_l0
    assert native(made).training is made.training
    before = lyapunov.spectrum(made, INPUTS, **RUN)
    with torch.no_grad():
        module.weight_hh_l0.mul_(0.5)
    after = lyapunov.spectrum(made, INPUTS, **RUN)
    assert not same(before.exponents, after.exponents)
    assert same(after.exponents, lyapunov.spectrum(module, INPUTS, **RUN).exponents)


def test_a_layer_traced_on_one_sequence_is_the_same_layer() -> None:
    module = seeded(nn.GRU, FEATURES, UNITS)
    found = lyapunov.spectrum(torch.jit.trace(module, INPUTS[0]), INPUTS[0], **RUN)
    assert same(found.exponents, lyapunov.spectrum(module, INPUTS[0], **RUN).exponents)


@pytest.mark.parametrize("make", [torch.jit.script, lambda model: torch.jit.trace(model, INPUTS)])
def test_a_layer_within_a_scripted_model_can_be_had(make: Make) -> None:
    model = WithReadout(FEATURES, UNITS)
    made = make(model)
    assert same(lyapunov.spectrum(made.core, INPUTS, **RUN).exponents, lyapunov.spectrum(model.core, INPUTS, **RUN).exponents)
    with pytest.raises(lyapunov.Unsupported, match=r"which holds core\..*\(model\.core\)") as caught:
        lyapunov.spectrum(made, INPUTS)
    assert_form(str(caught.value))


def test_a_scripted_cell_of_ones_own_is_a_step() -> None:
    cell = Leaky(FEATURES, UNITS)
    expected = lyapunov.spectrum(cell, INPUTS, state=START, **RUN)
    for made in (torch.jit.script(cell), torch.jit.trace(cell, (START, INPUTS[:, 0]))):
        assert native(made) is made
        found = lyapunov.spectrum(made, INPUTS, state=START, **RUN)
        torch.testing.assert_close(found.exponents, expected.exponents)


# What is refused.


def doubled(module: nn.Module, given: tuple[Tensor, Tensor | None]) -> tuple[Tensor, Tensor | None]:
    return 2 * given[0], given[1]


def hooked(kind: type[nn.Module]) -> nn.Module:
    module = seeded(kind, FEATURES, UNITS)
    module.register_forward_pre_hook(lambda _, given: (2 * given[0], *given[1:]))
    return module


def hooked_in_script() -> Any:
    module = seeded(nn.GRUCell, FEATURES, UNITS)
    module.register_forward_pre_hook(doubled)
    return torch.jit.script(module)


def with_changed_weights(layer: int) -> Any:
    module = seeded(nn.GRU, FEATURES, UNITS, num_layers=2, batch_first=True)
    with pytest.warns(FutureWarning, match="weight_norm"):
        torch.nn.utils.weight_norm(module, f"weight_hh_l{layer}")
    return traced(module)


REFUSED: dict[str, tuple[Callable[[], Any], str]] = {
    "frozen": (
        lambda: torch.jit.freeze(torch.jit.script(seeded(nn.GRUCell, 3, 4)).eval()),
        "as it was before torch.jit.freeze",
    ),
    "hook in a trace": (lambda: traced(hooked(nn.RNNCell)), "uses its input in aten::mul"),
    "hook in a traced layer": (lambda: traced(hooked(nn.GRU)), "uses its input in aten::mul"),
    "hook in a script": (hooked_in_script, "forward pre-hooks"),
    "weights that change": (lambda: with_changed_weights(0), "weight_hh_l0_g"),
    "weights above that change": (lambda: with_changed_weights(1), "weight_hh_l1_g"),
    "both ways": (lambda: torch.jit.script(seeded(nn.GRU, 3, 4, bidirectional=True)), "each direction by itself"),
    "exported": (
        lambda: torch.export.export(seeded(nn.GRUCell, FEATURES, UNITS), (INPUTS[:, 0],)),
        r"got an ExportedProgram.*step = program\.module\(\)",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_be_read_is_refused(name: str) -> None:
    build, words = REFUSED[name]
    with pytest.raises(lyapunov.Unsupported, match=words) as caught:
        lyapunov.spectrum(build(), INPUTS, **RUN)
    assert_form(str(caught.value))


def test_an_exported_step_runs_as_a_step() -> None:
    cell, batch = Leaky(FEATURES, UNITS), torch.export.Dim("batch")
    program = torch.export.export(cell, (START, INPUTS[:, 0]), dynamic_shapes=({0: batch}, {0: batch}))
    found = lyapunov.spectrum(program.module(), INPUTS, state=START, **RUN)
    torch.testing.assert_close(found.exponents, lyapunov.spectrum(cell, INPUTS, state=START, **RUN).exponents)


class Listening(nn.Module):
    """A core behind a convolution, in a loop where it is a cell; what `torch.jit` scripts as a whole."""

    def __init__(self, core: nn.Module) -> None:
        super().__init__()
        self.front, self.core = nn.Conv1d(1, FEATURES, 4, 4).double(), core

    def forward(self, x: Tensor) -> Tensor:
        return self.front(x).tanh().transpose(1, 2)

    @torch.jit.export
    def listened(self, x: Tensor) -> Tensor:
        return self.forward(x)


class OfLayer(Listening):
    def forward(self, x: Tensor) -> Tensor:
        return self.core(self.front(x).tanh().transpose(1, 2))[0]


class OfLSTMCell(Listening):
    def forward(self, x: Tensor) -> Tensor:
        y = self.front(x).tanh().transpose(1, 2)
        h, c = self.core(y[:, 0])
        for t in range(1, y.shape[1]):
            h, c = self.core(y[:, t], (h, c))
        return h


class OfCell(Listening):
    def forward(self, x: Tensor) -> Tensor:
        y = self.front(x).tanh().transpose(1, 2)
        h = self.core(y[:, 0])
        for t in range(1, y.shape[1]):
            h = self.core(y[:, t], h)
        return h


class Packing(Listening):
    def forward(self, x: Tensor) -> Tensor:
        y = self.front(x).tanh().transpose(1, 2)
        packed = nn.utils.rnn.pack_padded_sequence(y, torch.tensor([30, 20]), batch_first=True)
        return self.core(packed)[0].data


class InALoop(Listening):
    """Fed by its own output."""

    def forward(self, x: Tensor) -> Tensor:
        h = torch.zeros(x.shape[0], 4, dtype=torch.float64)
        for _ in range(30):
            h = self.core(h[:, :3], h)
        return h


SOUND = drawn(2, 1, 120, seed=97)
LISTENING = {name: OfLayer(module) for name, module in MODULES.items() if isinstance(module, nn.RNNBase)}
LISTENING |= {name: OfCell(module) for name, module in MODULES.items() if isinstance(module, nn.GRUCell | nn.RNNCell)}
LISTENING |= {"LSTMCell": OfLSTMCell(MODULES["LSTMCell"]), "packed": Packing(MODULES["GRU"])}
LOOP = InALoop(MODULES["GRUCell"])


class Traceable(nn.Module):
    def __init__(self, core: nn.Module) -> None:
        super().__init__()
        self.core = core

    def forward(self, x: Tensor) -> Tensor:
        y = x.reshape(2, 40, 3)
        if isinstance(self.core, nn.RNNBase):
            return self.core(y)[0]
        h = self.core(y[:, 0])
        for t in range(1, 40):
            h = self.core(y[:, t], h)
        return h


TRACEABLE = {name: Traceable(MODULES[name]) for name in ("GRU", "GRUCell")}
LISTENING.pop("time first")  # whose first axis is the batch here


@pytest.mark.parametrize("name", LISTENING)
def test_a_core_in_a_scripted_model_is_seen_at_work(name: str) -> None:
    plain = LISTENING[name]
    scripted = loaded(torch.jit.script(plain.train()))
    right = lyapunov.spectrum(lyapunov.capture(plain, SOUND), k=2, **RUN)
    for called in (scripted, scripted.listened):
        captured = lyapunov.capture(called, SOUND)
        assert same(lyapunov.spectrum(captured, k=2, **RUN).exponents, right.exponents)
    assert scripted.training
    assert torch.equal(captured.inputs, lyapunov.capture(plain, SOUND).inputs)


def test_a_traced_model_shows_its_layers_but_not_its_cells() -> None:
    plain = TRACEABLE["GRU"]
    found = lyapunov.spectrum(lyapunov.capture(torch.jit.trace(plain, SOUND), SOUND), k=2, **RUN)
    assert same(found.exponents, lyapunov.spectrum(lyapunov.capture(plain, SOUND), k=2, **RUN).exponents)
    with pytest.raises(lyapunov.Unsupported, match=r"core .*whose calls are not followed\. Pass it by itself") as caught:
        lyapunov.capture(torch.jit.trace(TRACEABLE["GRUCell"], SOUND), SOUND)
    assert_form(str(caught.value))


def test_a_closed_loop_in_a_scripted_model_is_told() -> None:
    model = torch.jit.script(LOOP)
    with pytest.raises(lyapunov.Unsupported, match="got core, fed by its own output"):
        lyapunov.spectrum(lyapunov.capture(model, SOUND))


def test_a_scripted_model_can_be_watched_while_it_trains(tmp_path) -> None:
    model = torch.jit.script(LISTENING["LSTM"])
    reading = lyapunov.Monitor(model, (SOUND,), k=2, directory=tmp_path).read(0)
    expected = lyapunov.Monitor(LISTENING["LSTM"], (SOUND,), k=2, directory=tmp_path / "plain").read(0)
    assert same(reading.exponents, expected.exponents)


class OfOnesOwn(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.cell = Leaking()

    def forward(self, x: Tensor) -> Tensor:
        h = torch.zeros(2, 3, dtype=torch.float64)
        for t in range(40):
            h = self.cell(x[:, 0, 3 * t : 3 * t + 3], h)
        return h


class Leaking(nn.Module):
    def forward(self, x: Tensor, h: Tensor) -> Tensor:
        return 0.9 * h + x


def test_a_scripted_cell_of_ones_own_is_asked_for_as_it_was() -> None:
    model = torch.jit.script(OfOnesOwn())
    for core in (None, "cell"):
        with pytest.raises(lyapunov.Unsupported, match=r"got OfOnesOwn, Leaking\. Pass the module that it was made from"):
            lyapunov.capture(model, SOUND, core=core)
