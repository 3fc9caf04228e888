"""Bad input gets one clear sentence: what was expected, what was received, what to do."""

import re

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import lyapunov
from cases import drawn, seeded
from lyapunov import _checks
from lyapunov.intake import compute_device
from tolerances import same

LSTM = seeded(nn.LSTM, 4, 6, batch_first=True, scale=1.0)
STACK = seeded(nn.GRU, 4, 6, num_layers=2, scale=1.0)
INPUTS = drawn(3, 40, 4, seed=70)
STATE = torch.zeros(3, 5, dtype=torch.float64)


def with_value(tensor: Tensor, place: tuple[int, ...], value: float) -> Tensor:
    changed = tensor.clone()
    changed[place] = value
    return changed


def broken_weights(value: float) -> nn.LSTM:
    module = seeded(nn.LSTM, 4, 6, batch_first=True, scale=1.0)
    with torch.no_grad():
        module.weight_hh_l0[3, 5] = value
    return module


def tanh_step(h: Tensor, _: Tensor) -> Tensor:
    return torch.tanh(h)


INVALID = {
    "wrong feature size": (lambda: lyapunov.spectrum(LSTM, INPUTS[..., :3]), r"\(batch, time, 4\), got \(3, 40, 3\)"),
    "wrong number of axes": (lambda: lyapunov.spectrum(LSTM, INPUTS.unsqueeze(0)), r"got \(1, 3, 40, 4\)"),
    "wrong axes for a cell": (lambda: lyapunov.spectrum(seeded(nn.GRUCell, 4, 6), INPUTS[0]), r"\(batch, time, 4\)"),
    "NaN in inputs": (lambda: lyapunov.spectrum(LSTM, with_value(INPUTS, (1, 7, 2), torch.nan)), r"nan at inputs\[1, 7, 2\]"),
    "NaN in an array": (
        lambda: lyapunov.spectrum(LSTM, with_value(INPUTS, (1, 7, 2), torch.nan).numpy()),
        r"nan at inputs\[1, 7, 2\]",
    ),
    "infinity in inputs": (
        lambda: lyapunov.spectrum(LSTM, with_value(INPUTS, (0, 0, 0), torch.inf)),
        r"inf at inputs\[0, 0",
    ),
    "NaN in weights": (lambda: lyapunov.spectrum(broken_weights(torch.nan), INPUTS), r"nan at weight_hh_l0\[3, 5\]"),
    "infinity in weights": (lambda: lyapunov.spectrum(broken_weights(-torch.inf), INPUTS), r"-inf at weight_hh_l0\[3, 5\]"),
    "NaN in a state": (
        lambda: lyapunov.spectrum(tanh_step, state=with_value(STATE, (2, 1), torch.nan), steps=50),
        r"nan at state\[2, 1\]",
    ),
    "infinity in a module's state": (
        lambda: lyapunov.spectrum(
            LSTM, INPUTS, state=(torch.zeros(1, 3, 6), with_value(torch.zeros(1, 3, 6), (0, 2, 4), torch.inf))
        ),
        r"inf at state\[1\]\[0, 2, 4\]",
    ),
    "empty sequences": (lambda: lyapunov.spectrum(LSTM, INPUTS[:, :0]), "at least 1 sequence and 2 steps, got 3 of 0"),
    "one-step sequences": (lambda: lyapunov.spectrum(LSTM, INPUTS[:, :1]), "at least 1 sequence and 2 steps, got 3 of 1"),
    "no sequences": (lambda: lyapunov.spectrum(LSTM, INPUTS[:0]), "got 0 of 40"),
    "k of zero": (lambda: lyapunov.spectrum(LSTM, INPUTS, k=0), "from 1 to 12"),
    "k beyond the size": (lambda: lyapunov.spectrum(LSTM, INPUTS, k=13), "from 1 to 12 .*got 13"),
    "negative settle": (lambda: lyapunov.spectrum(LSTM, INPUTS, settle=-1), "at least 0, got -1"),
    "interval of zero": (lambda: lyapunov.spectrum(LSTM, INPUTS, qr_every=0), "at least 1, got 0"),
    "dt of zero": (lambda: lyapunov.spectrum(LSTM, INPUTS, dt=0.0), "above zero, got 0"),
    "nothing left to count": (lambda: lyapunov.spectrum(LSTM, INPUTS, settle=20, align=20), "none is left to count"),
    "integer inputs": (lambda: lyapunov.spectrum(LSTM, INPUTS.long()), "one_hot"),
    "integer state": (lambda: lyapunov.spectrum(tanh_step, state=STATE.long(), steps=50), "floating-point `state`"),
    "inputs that are no tensor": (lambda: lyapunov.spectrum(LSTM, [[1.0]]), "got list"),
    "half precision to compute in": (lambda: lyapunov.spectrum(LSTM, INPUTS, dtype=torch.float16), "one of torch.float64"),
    "state of the wrong shape": (
        lambda: lyapunov.spectrum(STACK, INPUTS.transpose(0, 1), state=torch.zeros(1, 3, 6)),
        r"\(2, 3, 6\), got \(1, 3, 6\)",
    ),
    "state in the wrong form": (lambda: lyapunov.spectrum(LSTM, INPUTS, state=torch.zeros(1, 3, 6)), r"a tuple \(h, c\)"),
    "state of another batch": (
        lambda: lyapunov.spectrum(lambda h, x: torch.tanh(h + x), INPUTS, state=torch.zeros(2, 4)),
        "with 3 sequences",
    ),
    "no state for a step": (lambda: lyapunov.spectrum(tanh_step, INPUTS), "Expected `state` with a step function"),
    "no inputs for a layer": (lambda: lyapunov.spectrum(LSTM, steps=50), r"pass zeros of shape \(batch, time, 4\)"),
    "hidden state of a GRU": (
        lambda: lyapunov.spectrum(seeded(nn.GRU, 4, 6), INPUTS, linearization="hidden"),
        "linearization='full'",
    ),
    "a file that cannot be": (
        lambda: lyapunov.spectrum(LSTM, INPUTS, k=1).save("/no/where/s.safetensors"),
        "folder that exists",
    ),
    "neither inputs nor steps": (lambda: lyapunov.spectrum(tanh_step, state=STATE), "or `steps`"),
    "both inputs and steps": (lambda: lyapunov.spectrum(LSTM, INPUTS, steps=10), "got both"),
    "inputs without a time axis": (lambda: lyapunov.spectrum(tanh_step, torch.zeros(3), state=STATE), r"\(batch, time, ...\)"),
    "inputs of different lengths": (
        lambda: lyapunov.spectrum(tanh_step, {"a": INPUTS, "b": INPUTS[:, :9]}, state=STATE),
        "same batch and time",
    ),
    "lengths of the wrong shape": (lambda: lyapunov.spectrum(LSTM, INPUTS, lengths=[40, 40]), "3 whole numbers"),
    "lengths out of range": (lambda: lyapunov.spectrum(LSTM, INPUTS, lengths=[40, 41, 40]), r"got 41 at lengths\[1\]"),
    "lengths twice": (
        lambda: lyapunov.spectrum(
            LSTM, nn.utils.rnn.pack_padded_sequence(INPUTS, torch.tensor([40, 40, 40]), batch_first=True), lengths=[1, 2, 3]
        ),
        "PackedSequence",
    ),
    "devices that differ": (lambda: lyapunov.spectrum(LSTM, INPUTS.to("meta")), "on cpu, where the module is, got meta"),
    "a state on another device": (
        lambda: lyapunov.spectrum(tanh_step, INPUTS, state=torch.zeros(3, 5, device="meta")),
        "on (meta|cpu)",
    ),
}


@pytest.mark.parametrize("name", INVALID)
def test_invalid_input_says_what_to_do(name: str) -> None:
    call, pattern = INVALID[name]
    with pytest.raises(lyapunov.InvalidInput, match=pattern) as caught:
        call()
    assert_form(str(caught.value))


def assert_form(message: str) -> None:
    assert re.match(r"Expected .+(got|but):? .+\. [A-Z].+", message, re.DOTALL), message
    assert "\n" not in message


def test_bidirectional_modules_are_refused_with_the_remedy() -> None:
    module = seeded(nn.GRU, 4, 6, bidirectional=True)
    with pytest.raises(lyapunov.Unsupported, match="each direction by itself") as caught:
        lyapunov.spectrum(module, INPUTS)
    assert_form(str(caught.value))


def test_what_is_not_recurrent_is_refused() -> None:
    with pytest.raises(lyapunov.Unsupported, match="got int") as caught:
        lyapunov.spectrum(3, INPUTS)
    assert_form(str(caught.value))


def test_an_input_changed_in_place_is_named_and_stays_as_it_was() -> None:
    inputs, state = drawn(3, 40, 5, seed=71), drawn(3, 5, seed=72)
    kept = inputs.clone(), state.clone()
    for step in (lambda h, x: torch.tanh(x.add_(h)), lambda h, x: h.mul_(0.5).add_(x)):
        with pytest.raises(lyapunov.BadSystem, match="in place"):
            lyapunov.spectrum(step, inputs, state=state)
    assert torch.equal(inputs, kept[0])
    assert torch.equal(state, kept[1])


class OwnForward(nn.GRU):
    def forward(self, inputs, state=None):
        return super().forward(5 + 0 * inputs, state)


def test_what_is_not_pytorchs_own_forward_is_refused() -> None:
    hooked = seeded(nn.GRU, 4, 6)
    hooked.register_forward_pre_hook(lambda module, arguments: (10 * arguments[0],))
    cases = ((seeded(OwnForward, 4, 6), "forward of nn.GRU itself"), (hooked, "pre-hooks"), (nn.GRU, "the class GRU"))
    for system, pattern in cases:
        with pytest.raises(lyapunov.Unsupported, match=pattern) as caught:
            lyapunov.spectrum(system, INPUTS)
        assert_form(str(caught.value))


def test_padding_may_hold_anything() -> None:
    padded = with_value(INPUTS, (1, 35, 2), torch.nan)
    spectrum = lyapunov.spectrum(LSTM, padded, lengths=[40, 30, 40])
    assert same(spectrum.exponents, lyapunov.spectrum(LSTM, INPUTS, lengths=[40, 30, 40]).exponents)
    with pytest.raises(lyapunov.InvalidInput, match=r"nan at inputs\[1, 35, 2\]"):
        lyapunov.spectrum(LSTM, padded, lengths=[40, 36, 40])


def test_whole_numbers_of_numpy_are_whole_numbers() -> None:
    assert _checks.whole_number(np.int64(2), "k", least=1) == 2
    assert _checks.positive(np.float32(0.5), "dt") == 0.5


def test_a_model_around_a_layer_is_told_to_hand_over_the_layer() -> None:
    class Model(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.encoder = LSTM

    with pytest.raises(lyapunov.Unsupported, match=r"model\.encoder") as caught:
        lyapunov.spectrum(Model(), INPUTS)
    assert_form(str(caught.value))


BAD_STEPS = {
    "another shape": (lambda h, x: h[:, :3], r"shape \(3, 5\) and torch.float64, got \(3, 3\)"),
    "another structure": (lambda h, x: (h, h), "structure"),
    "another dtype": (lambda h, x: h.float(), "float32"),
    "no tensor": (lambda h, x: None, "structure"),
    "not deterministic": (lambda h, x: h + torch.rand(3, 5, generator=GENERATOR, dtype=h.dtype), "deterministic"),
    "not finite": (lambda h, x: h / 0 * 0, "finite state"),
    "batch mixed": (lambda h, x: torch.tanh(h + h.mean(0)), "do not see each other"),
    "detached": (lambda h, x: torch.tanh(h.detach() + 0.1 * h), "finite differences"),
    "wrong dtype inside": (lambda h, x: h @ torch.eye(5), "float64 state, got RuntimeError: "),
    "one argument": (lambda h: h, r"step\(state, x\).*got TypeError"),
    "state in place": (lambda h, x: h.mul_(0.5), "in place"),
    "fully detached": (lambda h, x: torch.tanh(h.detach()), "finite differences"),
    "no forward derivative": (lambda h, x: OnlyForwards.apply(h), "forward-mode.* For a spike with a surrogate gradient"),
}
GENERATOR = torch.Generator().manual_seed(0)


class OnlyForwards(torch.autograd.Function):
    @staticmethod
    def forward(ctx, h):
        return torch.tanh(h)


HALF = torch.zeros(3, 8)
DRIVE = drawn(3, 60, 8, seed=4)
BAD_AXES = {
    "batch on the second axis": (
        lambda s, u: torch.tanh(s),
        torch.zeros(4, 3, 8),
        DRIVE,
        r"axis 1 has them.*s\.movedim\(1, 0\)",
    ),
    "batch on the third axis of one part": (
        lambda s, u: s,
        {"a": HALF, "b": torch.zeros(4, 8, 3)},
        DRIVE,
        r"`state\['b'\]` batch first .*axis 2 has them.*s\.movedim\(2, 0\)",
    ),
    "batch on the second axis, as many parts": (
        lambda s, u: torch.tanh(s + u),
        torch.zeros(3, 3, 8),
        DRIVE,
        r"input .*s\.movedim",
    ),
    "time first": (
        lambda s, u: torch.tanh(s + u),
        HALF,
        DRIVE.transpose(0, 1),
        r"3 along their second axis.*x\.transpose\(0, 1\)",
    ),
    "one part in float32": (
        lambda s, u: (s[0], (s[1] > 0).float()),
        (HALF, HALF),
        DRIVE,
        r"float32 at state\[1\].* not \.float\(\) by",
    ),
    "one part in place": (lambda s, u: (s[0], s[1].mul_(0.5)), (HALF, HALF + 1), DRIVE, r"changes state\[1\] in place"),
    "its input in place": (lambda s, u: torch.tanh(s + u.add_(1.0)), HALF, DRIVE, "changes x in place"),
    "features before time": (
        nn.GRU(8, 5, batch_first=True),
        None,
        DRIVE.transpose(1, 2),
        r"move it there, x\.movedim\(1, -1\)",
    ),
}


@pytest.mark.parametrize("name", BAD_AXES)
def test_an_axis_out_of_place_is_told_where_it_belongs(name: str) -> None:
    system, state, inputs, pattern = BAD_AXES[name]
    with pytest.raises((lyapunov.InvalidInput, lyapunov.BadSystem), match=pattern) as caught:
        lyapunov.spectrum(system, inputs, state=state)
    assert_form(str(caught.value))


def test_the_remedy_for_a_spike_works() -> None:
    def step(v, u):
        s = torch.sigmoid(25 * (v - 1))
        return 0.9 * v + u - (s + ((v > 1).to(v) - s).detach())

    found = lyapunov.spectrum(step, DRIVE, state=HALF, check=False, settle=10, align=10)
    assert torch.isfinite(found.exponents).all()


@pytest.mark.parametrize("name", BAD_STEPS)
def test_bad_steps_are_named(name: str) -> None:
    step, pattern = BAD_STEPS[name]
    with pytest.raises(lyapunov.BadSystem, match=pattern) as caught:
        lyapunov.spectrum(step, state=STATE + 0.1, steps=50)
    assert_form(str(caught.value))


def test_the_check_can_be_switched_off() -> None:
    lyapunov.spectrum(BAD_STEPS["batch mixed"][0], state=STATE + 0.1, steps=50, check=False)


def growing(h: Tensor, _: Tensor) -> Tensor:
    return h * h


def test_a_map_that_diverges_says_when_and_keeps_what_was_counted() -> None:
    with pytest.raises(lyapunov.Diverged, match="Expected a finite state") as caught:
        lyapunov.spectrum(growing, state=torch.full((2, 3), 1.0001, dtype=torch.float64), steps=200, settle=2, align=3)
    error = caught.value
    reached = torch.tensor(1.0001, dtype=torch.float64)
    step = 0
    while torch.isfinite(reached := reached * reached):
        step += 1
    assert error.step == step
    assert error.partial is not None
    assert int(error.partial.history_steps[:, 0].sum()) == step - 5
    expected = [2 ** (t + 1) for t in range(5, step)]
    growth = sum(torch.tensor(1.0001, dtype=torch.float64).log() * (2.0**t) + torch.tensor(2.0).log() for t in range(5, step))
    assert float(error.partial.exponents[0]) == pytest.approx(float(growth) / len(expected), rel=1e-6)


def test_divergence_while_settling_has_nothing_to_keep() -> None:
    with pytest.raises(lyapunov.Diverged, match="nothing was counted") as caught:
        lyapunov.spectrum(growing, state=torch.full((2, 3), 1.5, dtype=torch.float64), steps=200)
    assert caught.value.partial is None


def test_a_frame_that_overflows_is_told_apart_from_a_state() -> None:
    with pytest.raises(lyapunov.Diverged, match=r"finite frame.*qr_every") as caught:
        lyapunov.spectrum(
            lambda h, _: torch.remainder(100 * h, 1.0),
            state=torch.rand(2, 2, generator=torch.Generator().manual_seed(0)),
            steps=200,
            settle=0,
            align=0,
            qr_every=200,
        )
    assert 150 < caught.value.step < 160


def test_short_sequences_are_left_out_by_name() -> None:
    with pytest.warns(lyapunov.LyapunovWarning, match=r"at \[1\]"):
        spectrum = lyapunov.spectrum(LSTM, INPUTS, lengths=[40, 15, 33], settle=10, align=10)
    assert len(spectrum.per_sequence) == 2
    assert spectrum.settings.batch == 2


def test_a_device_without_float64_computes_on_the_cpu() -> None:
    assert compute_device(torch.device("mps"), torch.float64) == torch.device("cpu")
    assert compute_device(torch.device("mps"), torch.float32) == torch.device("mps")
    assert compute_device(torch.device("cpu"), torch.float64) == torch.device("cpu")
