"""A closed loop as it is handed over: its warm-up, its predictions, what is refused."""

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import lyapunov
from cases import drawn
from lyapunov.errors import BadSystem, InvalidInput, Unsupported
from tolerances import ROUNDING, same

F64 = torch.float64
pytestmark = pytest.mark.usefixtures("shapes_unchecked")
FEATURES, UNITS, BATCH = 3, 7, 4
INPUTS = drawn(BATCH, 10, FEATURES, seed=410)
SHORT: dict[str, Any] = {"steps": 60, "k": 3, "settle": 5, "align": 20}


def parts(core: type[nn.Module] = nn.GRU, **kwargs: Any) -> tuple[Any, nn.Linear]:
    with torch.random.fork_rng():
        torch.manual_seed(5)
        return core(FEATURES, UNITS, **kwargs).double(), nn.Linear(UNITS, FEATURES).double()


def test_free_exponents_are_those_of_dense_jacobians_multiplied_in_numpy() -> None:
    """A strongly coupled tanh network, all exponents; frames of its own, so equal up to their alignment."""
    core, readout = parts(nn.RNN, batch_first=True)
    with torch.no_grad():
        core.weight_hh_l0.mul_(3)
        readout.weight.mul_(3)
    w = {name: value.detach().numpy() for name, value in [*core.named_parameters(), *readout.named_parameters()]}
    whole = w["weight_hh_l0"] + w["weight_ih_l0"] @ w["weight"]
    shift = w["weight_ih_l0"] @ w["bias"] + w["bias_ih_l0"] + w["bias_hh_l0"]
    h, growth = np.zeros((BATCH, UNITS)), []
    for x in INPUTS.numpy().swapaxes(0, 1):
        h = np.tanh(x @ w["weight_ih_l0"].T + w["bias_ih_l0"] + w["bias_hh_l0"] + h @ w["weight_hh_l0"].T)
    frame = np.linalg.qr(np.random.default_rng(0).normal(size=(BATCH, UNITS, UNITS)))[0]
    for _ in range(1300):
        h = np.tanh(h @ whole.T + shift)
        frame, triangle = np.linalg.qr((1 - h**2)[:, :, None] * whole @ frame)
        growth.append(np.log(np.abs(np.diagonal(triangle, axis1=1, axis2=2))))
    expected = np.mean(growth[300:], axis=0)
    loop = lyapunov.closed_loop(core, readout)
    found = lyapunov.spectrum(loop, INPUTS, steps=1000, settle=100, align=200)
    assert found.settings.size == UNITS
    gap = np.abs(found.exponents.numpy() - -np.sort(-expected.mean(0)))
    assert (gap < 4 * found.standard_errors.numpy() + 2e-3).all()


def test_the_loop_is_the_turn_written_by_hand() -> None:
    core, readout = parts(nn.GRUCell)
    loop = lyapunov.closed_loop(core, readout, feedback=torch.tanh)
    state = drawn(BATCH, UNITS, seed=411)

    def turn(h: Tensor, _: None) -> Tensor:
        return core(torch.tanh(readout(h)), h)

    assert same(
        lyapunov.spectrum(loop, state=state, **SHORT).exponents, lyapunov.spectrum(turn, state=state, **SHORT).exponents
    )


def test_a_step_of_the_users_is_looped_as_a_cell_is() -> None:
    core, readout = parts(nn.GRUCell)
    cell = lyapunov.spectrum(lyapunov.closed_loop(core, readout), INPUTS, **SHORT)
    step = lyapunov.closed_loop(lambda h, x: core(x, h), readout)
    assert same(lyapunov.spectrum(step, INPUTS, state=torch.zeros(BATCH, UNITS), **SHORT).exponents, cell.exponents)


@pytest.mark.parametrize("bent", [False, True], ids=["linear", "bent"])
def test_two_threads_find_what_one_finds(bent: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """A linear readout is dealt out sequence by sequence; the user's own code is called by one thread, with all of them."""
    core, readout = parts(batch_first=True)
    loop = lyapunov.closed_loop(core, nn.Sequential(readout, nn.Tanh()) if bent else readout)
    one = lyapunov.spectrum(loop, INPUTS, **SHORT)
    monkeypatch.setattr(torch, "get_num_threads", lambda: 2)
    assert same(lyapunov.spectrum(loop, INPUTS, **SHORT).exponents, one.exponents)


def test_predictions_are_those_of_a_loop_in_pytorch() -> None:
    core, readout = parts(num_layers=2, batch_first=True)
    with torch.no_grad():
        output, state = core(INPUTS)
        expected = [readout(output[:, -1])]
        for _ in range(4):
            output, state = core(expected[-1].unsqueeze(1), state)
            expected.append(readout(output[:, -1]))
    found = lyapunov.predict(lyapunov.closed_loop(core, readout), INPUTS, steps=5)
    torch.testing.assert_close(found, torch.stack(expected, dim=1), rtol=0, atol=ROUNDING)


def refused(kind: type[Exception], match: str, loop: Any, *args: Any, **kwargs: Any) -> None:
    with pytest.raises(kind, match=match):
        lyapunov.spectrum(loop, *args, **kwargs)


def test_what_does_not_fit_is_refused_with_what_to_do() -> None:
    core, readout = parts(nn.LSTM, batch_first=True)
    loop = lyapunov.closed_loop(core, readout)
    refused(InvalidInput, "Expected `steps` with a closed loop", loop, INPUTS)
    refused(InvalidInput, "Expected `inputs` to warm the loop up along", loop, steps=50)
    refused(InvalidInput, "without `lengths`", loop, INPUTS, steps=50, lengths=torch.full((BATCH,), 5))
    refused(InvalidInput, "linearization='full' with a closed loop", loop, INPUTS, steps=50, linearization="hidden")
    narrow = lyapunov.closed_loop(core, lambda h: readout(h)[:, :2])
    refused(InvalidInput, r"of shape \(4, 3\), got \(4, 2\). Pass a `feedback`", narrow, INPUTS, steps=50)
    with pytest.raises(InvalidInput, match="Expected `readout` to be a module or a function, got int"):
        lyapunov.closed_loop(core, 3)


@pytest.mark.parametrize(
    ("readout", "reason"),
    [
        (lambda h: h.argmax(-1), "got symbols"),
        (lambda h: nn.functional.one_hot(h.argmax(-1), UNITS)[:, :FEATURES].to(h), "one that jumps"),
        (lambda h: torch.bernoulli(torch.sigmoid(h[:, :FEATURES])), "draws random numbers"),
        (lambda h: h[:, :FEATURES].detach(), "its derivative is zero"),
    ],
)
def test_a_feedback_that_is_not_continuous_is_refused_with_the_reason(readout: Any, reason: str) -> None:
    core = parts(nn.GRUCell)[0]
    if reason == "got symbols":
        loop = lyapunov.closed_loop(lambda h, x: core(x[:, None].to(h).expand(-1, FEATURES), h), readout)
        refused(Unsupported, reason, loop, state=torch.zeros(BATCH, UNITS, dtype=F64), steps=50)
    else:
        refused(Unsupported, reason, lyapunov.closed_loop(core, readout), INPUTS, steps=50)


class Counting(nn.Linear):
    """Counts its calls in a buffer."""

    def __init__(self) -> None:
        super().__init__(UNITS, FEATURES)
        self.register_buffer("calls", torch.zeros(1))

    def forward(self, input: Tensor) -> Tensor:
        self.calls += 1
        return super().forward(input)


@pytest.mark.parametrize(
    ("kind", "readout", "reason"),
    [
        (BadSystem, nn.Linear(UNITS + 2, FEATURES), r"takes the core's output, \(4, 7\).* got RuntimeError: mat1 and mat2"),
        (BadSystem, lambda h: torch.from_numpy(h.detach().numpy()[:, :FEATURES]), "got RuntimeError: Cannot access data"),
        (BadSystem, Counting(), "got RuntimeError: During a grad"),
        (BadSystem, lambda h: {}["missing"], "got KeyError: 'missing'"),
        (InvalidInput, lambda h: h[:, :FEATURES] / 0, "Expected a finite feedback"),
        (InvalidInput, lambda h: h.sum(), "for each sequence, got one number"),
    ],
)
def test_what_readouts_raise_is_one_sentence(kind: type[Exception], readout: Any, reason: str) -> None:
    core = parts(nn.GRUCell)[0]

    def step(h: Tensor, x: Tensor) -> Tensor:
        return core(x, h)

    refused(kind, reason, lyapunov.closed_loop(step, readout), INPUTS, state=torch.zeros(BATCH, UNITS), steps=50)


def test_a_rectified_feedback_is_continuous() -> None:
    core, readout = parts(nn.GRUCell)
    found = lyapunov.spectrum(lyapunov.closed_loop(core, nn.Sequential(readout, nn.ReLU())), INPUTS, **SHORT)
    assert bool(found.exponents.isfinite().all())
