"""Layers of Keras are PyTorch's own with their weights; what PyTorch has not is refused, with a way to go on that works."""

import os
import random
import subprocess
import sys
from collections.abc import Callable, Iterator
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import lyapunov
from cases import drawn
from lyapunov.intake.foreign import is_recurrent, native, native_state
from lyapunov.tangent import random_frame
from test_bad_input import assert_form
from tolerances import NAIVE, same

BATCH, STEPS, ALIGN, FEATURES, UNITS = 2, 24, 4, 3, 4
INPUTS = drawn(BATCH, STEPS, FEATURES, seed=90)
START = drawn(BATCH, UNITS, seed=91, scale=0.3)
RUN = {"settle": 0, "align": ALIGN, "qr_every": 1, "seed": 5}
KERAS_SINGLE = 1e-6
"""Keras multiplies in float32, whatever the dtype of a layer."""
STEP_SINGLE = 1e-4
"""Exponents over twenty steps in float32."""


@pytest.fixture(scope="module")
def keras(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ModuleType]:
    """Keras on PyTorch and the CPU; its import draws seeds and would write into the home folder."""
    plain, numpy = random.getstate(), np.random.get_state()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("KERAS_BACKEND", "torch")
        patch.setenv("KERAS_HOME", str(tmp_path_factory.mktemp("keras")))
        import keras

        with keras.device("cpu"):
            yield keras
    random.setstate(plain)
    np.random.set_state(numpy)


def with_weights(layer: Any, dtype: torch.dtype = torch.float64) -> Any:
    """Built, with strong weights that are the same every time."""
    layer.build((BATCH, STEPS, FEATURES) if hasattr(layer, "cell") else (BATCH, FEATURES))
    for at, weight in enumerate(layer.trainable_weights):
        weight.assign(drawn(*weight.shape, seed=at, scale=0.5).to(dtype))
    return layer


Build = Callable[[Any], Any]
LAYERS: dict[str, Build] = {
    "LSTM": lambda k: k.LSTM(UNITS, return_sequences=True, dtype="float64"),
    "LSTM without bias": lambda k: k.LSTM(UNITS, use_bias=False, return_sequences=True, dtype="float64"),
    "LSTM with dropout": lambda k: k.LSTM(UNITS, dropout=0.5, recurrent_dropout=0.5, return_sequences=True, dtype="float64"),
    "LSTM stateful": lambda k: k.LSTM(UNITS, stateful=True, return_sequences=True, dtype="float64"),
    "GRU": lambda k: k.GRU(UNITS, return_sequences=True, dtype="float64"),
    "GRU without bias": lambda k: k.GRU(UNITS, use_bias=False, return_sequences=True, dtype="float64"),
    "RNN": lambda k: k.SimpleRNN(UNITS, return_sequences=True, dtype="float64"),
    "RNN of relu": lambda k: k.SimpleRNN(UNITS, activation="relu", use_bias=False, return_sequences=True, dtype="float64"),
    "RNN of a cell": lambda k: k.RNN(k.GRUCell(UNITS, dtype="float64"), return_sequences=True, dtype="float64"),
    "RNN of cells": lambda k: k.RNN(
        [k.LSTMCell(UNITS, dtype="float64"), k.LSTMCell(UNITS, dtype="float64")], return_sequences=True, dtype="float64"
    ),
}
CELLS: dict[str, Build] = {
    "LSTMCell": lambda k: k.LSTMCell(UNITS, dtype="float64"),
    "GRUCell": lambda k: k.GRUCell(UNITS, dtype="float64"),
    "SimpleRNNCell": lambda k: k.SimpleRNNCell(UNITS, dtype="float64"),
}


@pytest.mark.parametrize("name", LAYERS)
def test_a_keras_layer_is_pytorchs_with_its_weights(keras: ModuleType, name: str) -> None:
    layer = with_weights(LAYERS[name](keras.layers))
    module = native(layer)
    assert module.batch_first
    assert module.num_layers == (2 if name == "RNN of cells" else 1)
    with torch.random.fork_rng():  # Keras draws its masks of dropout before it knows whether it trains
        torch.testing.assert_close(module(INPUTS)[0], layer(INPUTS), rtol=0, atol=KERAS_SINGLE)


@pytest.mark.parametrize("kind", ["LSTM", "GRU", "SimpleRNN"])
def test_so_it_is_in_float32_and_after_training_in_half(keras: ModuleType, kind: str) -> None:
    layer = with_weights(getattr(keras.layers, kind)(UNITS, return_sequences=True), torch.float32)
    torch.testing.assert_close(native(layer)(INPUTS.float())[0], layer(INPUTS.float()), rtol=0, atol=KERAS_SINGLE)
    half = with_weights(getattr(keras.layers, kind)(UNITS, dtype="mixed_float16"), torch.float32)
    assert same(lyapunov.spectrum(half, INPUTS, **RUN).exponents, lyapunov.spectrum(layer, INPUTS, **RUN).exponents)


@pytest.mark.parametrize("name", CELLS)
def test_a_keras_cell_is_pytorchs_cell(keras: ModuleType, name: str) -> None:
    cell = with_weights(CELLS[name](keras.layers))
    states = [START, START.flip(0)] if name == "LSTMCell" else [START]
    given = tuple(states) if name == "LSTMCell" else START
    new = native(cell)(INPUTS[:, 0], given)
    for found, expected in zip(new if isinstance(new, tuple) else (new,), cell(INPUTS[:, 0], states)[1], strict=True):
        torch.testing.assert_close(found, expected, rtol=0, atol=KERAS_SINGLE)
    assert same(
        lyapunov.spectrum(cell, INPUTS, state=states, **RUN).exponents,
        lyapunov.spectrum(native(cell), INPUTS, state=given, **RUN).exponents,
    )


def by_hand(cell: Any, states: list[Tensor], x: Tensor) -> list[Tensor]:
    """Keras's documented equations in float64, with its weights in its order."""
    units, (driven, recurrent) = cell.units, (cell.kernel.value, cell.recurrent_kernel.value)
    h, bias = states[0], cell.bias.value
    if len(states) == 2:
        i, f, g, o = (x @ driven + h @ recurrent + bias).split(units, -1)
        c = f.sigmoid() * states[1] + i.sigmoid() * g.tanh()
        return [o.sigmoid() * c.tanh(), c]
    if bias.dim() == 1:
        return [(x @ driven + h @ recurrent + bias).tanh()]
    (xz, xr, xn), (hz, hr, hn) = (x @ driven + bias[0]).split(units, -1), (h @ recurrent + bias[1]).split(units, -1)
    z = (xz + hz).sigmoid()
    return [z * h + (1 - z) * (xn + (xr + hr).sigmoid() * hn).tanh()]


def naive_exponents(cell: Any) -> Tensor:
    """Whole Jacobians by reverse mode, QR by NumPy, from the library's first frame."""
    parts = 2 if isinstance(cell.state_size, list) else 1
    total = np.zeros(parts * UNITS)
    first = random_frame(len(total), len(total), batch=BATCH, seed=5, block=0, like=INPUTS)
    for at in range(BATCH):
        state, frame = torch.zeros(len(total), dtype=torch.float64), first[at].numpy()
        for t in range(STEPS):

            def step(flat: Tensor, x: Tensor = INPUTS[at, t]) -> Tensor:
                return torch.cat(by_hand(cell, list(flat.split(UNITS)), x))

            jacobian = torch.autograd.functional.jacobian(step, state).numpy()
            state = step(state).detach()
            frame, upper = np.linalg.qr(jacobian @ frame)
            frame = frame * np.sign(np.diag(upper))
            total += np.log(np.abs(np.diag(upper))) * (t >= ALIGN)
    return torch.from_numpy(np.sort(total / (BATCH * (STEPS - ALIGN)))[::-1].copy())


@pytest.mark.parametrize("name", ["LSTM", "GRU", "RNN"])
def test_exponents_of_a_keras_layer_are_those_of_its_equations(keras: ModuleType, name: str) -> None:
    layer = with_weights(LAYERS[name](keras.layers))
    states = [START, -START][: 2 if name == "LSTM" else 1]
    for mine, theirs in zip(by_hand(layer.cell, states, INPUTS[:, 0]), layer.cell(INPUTS[:, 0], states)[1], strict=True):
        torch.testing.assert_close(mine, theirs, rtol=0, atol=KERAS_SINGLE, check_dtype=False)
    found = lyapunov.spectrum(layer, INPUTS.numpy(), **RUN)
    torch.testing.assert_close(found.exponents, naive_exponents(layer.cell), rtol=0, atol=NAIVE)
    assert found.settings == lyapunov.spectrum(native(layer), INPUTS, **RUN).settings


@pytest.mark.parametrize("name", ["LSTM", "GRU", "RNN of cells"])
def test_the_state_is_taken_as_keras_takes_it(keras: ModuleType, name: str) -> None:
    layer = with_weights(LAYERS[name](keras.layers))
    parts = {"LSTM": [START, -START], "GRU": START, "RNN of cells": [[START, -START], [2 * START, -2 * START]]}[name]
    state = native_state(layer, parts)
    torch.testing.assert_close(native(layer)(INPUTS, state)[0], layer(INPUTS, initial_state=parts), rtol=0, atol=KERAS_SINGLE)
    found = lyapunov.spectrum(layer, INPUTS, state=parts, **RUN)
    assert same(found.exponents, lyapunov.spectrum(native(layer), INPUTS, state=state, **RUN).exponents)
    assert not same(found.exponents, lyapunov.spectrum(layer, INPUTS, **RUN).exponents)
    assert native_state(layer, state) is state
    with pytest.raises(lyapunov.InvalidInput, match="Expected `state`"):
        lyapunov.spectrum(layer, INPUTS, state=native_state(layer, torch.cat([START, START])), **RUN)


def test_weights_are_those_of_the_moment_and_nothing_of_the_layer_changes(keras: ModuleType) -> None:
    layer = with_weights(keras.layers.GRU(UNITS, dtype="float64"))
    before = {name: value.clone() for name, value in layer.state_dict().items()}
    attributes = dict(vars(layer.cell))
    first = lyapunov.spectrum(layer, INPUTS, **RUN)
    assert all(torch.equal(value, before[name]) for name, value in layer.state_dict().items())
    assert vars(layer.cell) == attributes
    layer.cell.recurrent_kernel.assign(layer.cell.recurrent_kernel * 0.5)
    assert not same(first.exponents, lyapunov.spectrum(layer, INPUTS, **RUN).exponents)
    layer.cell.recurrent_kernel.assign(layer.cell.recurrent_kernel * 2)
    assert same(first.exponents, lyapunov.spectrum(layer, INPUTS, **RUN).exponents)


def test_a_gradient_reaches_the_weights_of_keras(keras: ModuleType) -> None:
    layer = with_weights(keras.layers.LSTM(UNITS, dtype="float64"))
    native(layer).weight_hh_l0.sum().backward()
    assert torch.equal(layer.cell.recurrent_kernel.value.grad, torch.ones(UNITS, 4 * UNITS, dtype=torch.float64))


def test_a_pytorch_layer_within_keras_is_itself(keras: ModuleType) -> None:
    with torch.random.fork_rng():
        lstm = nn.LSTM(FEATURES, UNITS)
        assert native(keras.layers.TorchModuleWrapper(lstm)) is lstm


# What is refused, and what to do instead.


def refused(build: Callable[[ModuleType], Any], keras: ModuleType, error: type[Exception], words: str) -> None:
    with pytest.raises(error, match=words) as caught:
        lyapunov.spectrum(build(keras), INPUTS, **RUN)
    assert_form(str(caught.value))


def own_call(keras: ModuleType) -> Any:
    class Mine(keras.layers.LSTM):
        def call(self, sequences: Any, **kwargs: Any) -> Any:
            return super().call(2 * sequences, **kwargs)

    return with_weights(Mine(UNITS))


def own_cell(keras: ModuleType) -> Any:
    class MyCell(keras.layers.Layer):
        state_size = UNITS

        def call(self, x: Tensor, states: Any) -> Any:
            return states[0], states

    return keras.layers.RNN(MyCell())


def sequential(keras: ModuleType) -> Any:
    return keras.Sequential([keras.Input((STEPS, FEATURES)), keras.layers.Dense(2), keras.layers.GRU(UNITS)])


def functional(keras: ModuleType) -> Any:
    inputs = keras.Input((STEPS, FEATURES))
    return keras.Model(inputs, keras.layers.LSTM(UNITS)(inputs))


def own_model(keras: ModuleType) -> Any:
    class Model(keras.Model):
        def __init__(self) -> None:
            super().__init__()
            self.rnn = keras.layers.GRU(UNITS)

    return Model()


REFUSED: dict[str, tuple[Callable[[ModuleType], Any], str]] = {
    "activation": (lambda k: with_weights(k.layers.LSTM(UNITS, activation="relu")), "activation='tanh' with a LSTMCell, got"),
    "recurrent activation": (
        lambda k: with_weights(k.layers.GRU(UNITS, recurrent_activation="hard_sigmoid")),
        "recurrent_activation='sigmoid' with a GRUCell, got 'hard_sigmoid'",
    ),
    "user's tanh": (lambda k: with_weights(k.layers.SimpleRNN(UNITS, activation=np.tanh)), "'tanh' or 'relu' with a SimpleRNN"),
    "reset before": (lambda k: with_weights(k.layers.GRU(UNITS, reset_after=False)), "GRUCell with reset_after=False"),
    "backwards": (lambda k: with_weights(k.layers.LSTM(UNITS, go_backwards=True)), r"layer\.cell, inputs\.flip\(1\)"),
    "both ways": (lambda k: k.layers.Bidirectional(k.layers.GRU(UNITS)), r"layer\.backward_layer\.cell with inputs\.flip"),
    "own call": (own_call, "Mine with its own call"),
    "own cell": (own_cell, "got MyCell"),
    "convolution": (lambda k: k.layers.ConvLSTM1D(UNITS, 3), "got ConvLSTMCell"),
    "unlike cells": (
        lambda k: with_weights(k.layers.RNN([k.layers.LSTMCell(3), k.layers.LSTMCell(4)])),
        r"one kind and size, got LSTMCell\(3\), LSTMCell\(4\)",
    ),
    "sequential": (sequential, r"model\.layers\[1\] with its own inputs"),
    "functional": (functional, r"model\.layers\[1\] with its own inputs"),
    "model": (own_model, r"got Model, which holds rnn, rnn\.cell"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_pytorch_has_not_is_refused(keras: ModuleType, name: str) -> None:
    build, words = REFUSED[name]
    refused(build, keras, lyapunov.Unsupported, words)


def test_a_layer_without_weights_is_told_to_be_called(keras: ModuleType) -> None:
    refused(lambda k: k.layers.LSTM(UNITS), keras, lyapunov.InvalidInput, "Call the layer once on its inputs")


def test_each_direction_can_be_had_by_itself(keras: ModuleType) -> None:
    both = keras.layers.Bidirectional(keras.layers.GRU(UNITS, return_sequences=True, dtype="float64"), dtype="float64")
    output = both(INPUTS)
    forwards, backwards = native(both.forward_layer)(INPUTS)[0], native(both.backward_layer.cell)
    torch.testing.assert_close(output[..., :UNITS], forwards, rtol=0, atol=KERAS_SINGLE)
    state = torch.zeros_like(START)
    for x in INPUTS.flip(1).unbind(1):
        state = backwards(x, state)
    torch.testing.assert_close(output[:, 0, UNITS:], state, rtol=0, atol=KERAS_SINGLE)
    assert lyapunov.spectrum(both.backward_layer.cell, INPUTS.flip(1), **RUN).exponents.shape == (UNITS,)


def test_what_is_refused_runs_as_a_step(keras: ModuleType) -> None:
    """Of the same equations when the reset gate stays open, as it does with a bias of 30."""
    cells = [with_weights(keras.layers.GRUCell(UNITS, reset_after=after), torch.float32) for after in (False, True)]
    for cell in cells:
        bias = torch.zeros(3, UNITS).index_fill(0, torch.tensor(1), 30.0).flatten()
        cell.bias.assign(torch.stack([bias, 0 * bias]) if cell.reset_after else bias)
    before, after = cells
    with pytest.raises(lyapunov.Unsupported, match=r"dtype=torch\.float32"):
        lyapunov.spectrum(before, INPUTS, **RUN)
    run = {"state": START.float(), "dtype": torch.float32, **RUN}
    found = lyapunov.spectrum(lambda h, x: before(x, [h])[1][0], INPUTS.float(), **run)
    expected = lyapunov.spectrum(after, INPUTS.float(), **run)
    torch.testing.assert_close(found.exponents, expected.exponents, rtol=0, atol=STEP_SINGLE)


def test_time_distributed_and_dense_layers_are_no_recurrent_ones(keras: ModuleType) -> None:
    for layer in (keras.layers.TimeDistributed(keras.layers.Dense(2)), keras.layers.Dense(2)):
        assert native(layer) is layer
        assert not is_recurrent(layer)


def test_another_backend_is_refused(tmp_path: Any) -> None:
    pytest.importorskip("jax")
    code = (
        "import torch, keras, lyapunov; layer = keras.layers.LSTM(4); layer.build((2, 24, 3))\n"
        "try: lyapunov.spectrum(layer, torch.zeros(2, 24, 3))\n"
        "except lyapunov.Unsupported as error: print(error)"
    )
    place = {**os.environ, "KERAS_BACKEND": "jax", "KERAS_HOME": str(tmp_path), "JAX_PLATFORMS": "cpu"}
    reported = subprocess.run([sys.executable, "-c", code], env=place, capture_output=True, text=True, check=True).stdout
    assert "on the PyTorch backend, got LSTM on another. Set KERAS_BACKEND=torch" in reported


def test_capture_names_what_it_does_not_follow(keras: ModuleType) -> None:
    class Mixed(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.below = with_weights(keras.layers.LSTM(FEATURES, return_sequences=True), torch.float32)
            with torch.random.fork_rng():
                self.above = nn.LSTM(FEATURES, UNITS, batch_first=True)

        def forward(self, x: Tensor) -> Tensor:
            return self.above(self.below(x))[0]

    with pytest.warns(lyapunov.LyapunovWarning, match=r"got below \(keras\..*\.LSTM\), whose calls are not followed"):
        captured = lyapunov.capture(Mixed(), INPUTS.float())
    assert captured.names == ("above",)
    alone = nn.Sequential(with_weights(keras.layers.GRU(UNITS), torch.float32))
    with pytest.raises(lyapunov.Unsupported, match=r"got 0 \(keras\..*\.GRU\)"):
        lyapunov.capture(alone, INPUTS.float())
    whole = keras.Sequential([keras.layers.Input((STEPS, FEATURES)), keras.layers.LSTM(UNITS)])
    with pytest.raises(lyapunov.Unsupported, match="layers"):
        lyapunov.capture(whole, INPUTS.float())
