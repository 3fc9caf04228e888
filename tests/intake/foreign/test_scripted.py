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
