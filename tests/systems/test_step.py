"""Any step: what is carried, complex states, weights that a function reaches, and what the module is afterwards."""

import math
from functools import partial

import pytest
import torch
from torch import nn

import lyapunov
from cases import drawn, seeded
from lyapunov.systems import Label, Step, forward_mode_push
from tolerances import CLOSED_FORM, ROUNDING, same

BATCH, STEPS, SIZE = 3, 60, 5
CELL = seeded(nn.GRUCell, 4, SIZE)
READOUT = seeded(nn.Linear, SIZE, 4)
INPUTS = drawn(BATCH, STEPS, 4, seed=3)
START = torch.zeros(BATCH, SIZE)


def run(step, inputs=INPUTS, *, state=START, **settings):
    return lyapunov.spectrum(step, inputs, state=state, settle=5, align=10, qr_every=1, **settings)


def by_the_cell():
    return lyapunov.spectrum(CELL, INPUTS, settle=5, align=10, qr_every=1)


def test_a_counter_is_carried_and_not_differentiated() -> None:
    seen = []

    def step(h, x, count):
        seen.append(count.clone())
        return CELL(x, h), count + 1

    result = run(step, carried=torch.zeros(BATCH, dtype=torch.long))
    torch.testing.assert_close(result.exponents, by_the_cell().exponents, rtol=0, atol=CLOSED_FORM)
    assert len(result.exponents) == SIZE
    assert int(max(count.max() for count in seen)) == STEPS - 1


def test_what_is_carried_has_no_derivative_even_where_it_could() -> None:
    """A cell state that is carried is the hidden linearization, one that is not is the full one."""
    cell = seeded(nn.LSTMCell, 4, SIZE)

    def held(h, x, c):
        return cell(x, (h, c))

    result = run(held, carried=torch.zeros(BATCH, SIZE))
    hidden = lyapunov.spectrum(cell, INPUTS, linearization="hidden", settle=5, align=10, qr_every=1)
    torch.testing.assert_close(result.exponents, hidden.exponents, rtol=0, atol=CLOSED_FORM)
    full = run(lambda state, x: cell(x, state), state=(START, START))
    exact = lyapunov.spectrum(cell, INPUTS, settle=5, align=10, qr_every=1)
    torch.testing.assert_close(full.exponents, exact.exponents, rtol=0, atol=CLOSED_FORM)


def test_sequences_that_end_keep_what_they_carried() -> None:
    lengths = torch.tensor([STEPS, 30, 45])

    def step(h, x, count):
        return CELL(x, h) * (1 + 0 * count.unsqueeze(-1)), count + 1

    result = run(step, carried=torch.zeros(BATCH, dtype=torch.long), lengths=lengths)
    exact = lyapunov.spectrum(CELL, INPUTS, lengths=lengths, settle=5, align=10, qr_every=1)
    torch.testing.assert_close(result.exponents, exact.exponents, rtol=0, atol=CLOSED_FORM)


def test_a_complex_entry_turns_and_scales_a_plane() -> None:
    decay, phase = torch.tensor([0.2, 0.9, 1.7]), torch.tensor([0.3, 1.1, 2.0])
    factor = torch.polar(torch.exp(-decay.double()), phase.double())
    inputs = torch.complex(drawn(BATCH, STEPS, 3, seed=4), drawn(BATCH, STEPS, 3, seed=5))
    start = torch.zeros(BATCH, 3, dtype=torch.complex64)
    result = run(lambda z, x: factor * z + x, inputs, state=start, k=2)
    torch.testing.assert_close(result.exponents, torch.full((2,), -0.2, dtype=torch.float64), rtol=0, atol=1e-6)
    full = run(lambda z, x: factor * z + x, inputs, state=start)
    assert full.sum == pytest.approx(-2 * float(decay.sum()), abs=1e-6)
    assert full.settings.size == 6


def test_push_of_a_complex_map_is_its_complex_derivative() -> None:
    weight = torch.complex(drawn(3, 3, seed=6), drawn(3, 3, seed=7))
    state = torch.complex(drawn(BATCH, 3, seed=8), drawn(BATCH, 3, seed=9))
    system = Step(lambda z, x: torch.tanh(z @ weight.mT), state, dtype=torch.float64)
    assert system.labels[:3] == (Label(0, "state.real", 0), Label(0, "state.imag", 0), Label(0, "state.real", 1))
    frame = drawn(BATCH, 6, 2, seed=10)
    (moved,) = forward_mode_push(system, state, None, (frame,))[1]
    slope = 1 - torch.tanh(state @ weight.mT) ** 2
    pairs = torch.view_as_complex(frame.unflatten(1, (3, 2)).transpose(2, 3).contiguous())
    expected = torch.view_as_real(slope.unsqueeze(-1) * (weight @ pairs)).transpose(2, 3).flatten(1, 2)
    torch.testing.assert_close(moved, expected, rtol=0, atol=CLOSED_FORM)


def test_labels_name_the_leaves_of_a_pytree() -> None:
    state = {"fast": torch.zeros(2, 2), "slow": torch.zeros(2, 1)}
    system = Step(lambda s, x: s, state, dtype=torch.float64)
    assert [label.part for label in system.labels] == ["['fast']", "['fast']", "['slow']"]


def closed_loop(h, x):
    """The model fed by its own output: weights found among the names of this file."""
    return CELL(READOUT(h), h)


class Holder:
    """An object that is no module and has some."""

    def __init__(self) -> None:
        self.parts = {"cell": CELL, "readout": READOUT}

    def __call__(self, h, x):
        return self.parts["cell"](self.parts["readout"](h), h)

    def turn(self, h, x):
        return self(h, x)


def by_arguments(cell, readout, h, x):
    return cell(readout(h), h)


def with_defaults(h, x, *, cell=CELL, readout=READOUT):
    return cell(readout(h), h)


def enclosed():
    cell, readout = CELL, READOUT

    def read(h):
        return readout(h)

    return lambda h, x: cell(read(h), h)


@pytest.mark.parametrize(
    "step",
    [
        closed_loop,
        Holder(),
        Holder().turn,
        partial(by_arguments, CELL, READOUT),
        with_defaults,
        enclosed(),
    ],
    ids=["globals", "object", "method", "partial", "defaults", "closure"],
)
def test_float32_weights_that_a_function_reaches_are_cast(step) -> None:
    """A closed loop in float64, though every weight is float32; and the weights are as before."""
    before = [weight.clone() for weight in (*CELL.parameters(), *READOUT.parameters())]
    CELL.float(), READOUT.float()
    try:
        result = lyapunov.spectrum(step, state=START, steps=60, settle=5, align=10, qr_every=1)
        assert CELL.weight_hh.dtype == torch.float32
    finally:
        CELL.double(), READOUT.double()
    with torch.no_grad():
        point = START.double()
        for _ in range(2000):
            point = CELL(READOUT(point), point)
        jacobian = torch.func.jacrev(lambda h: CELL(READOUT(h), h))(point[0])
    fixed = torch.linalg.eigvals(jacobian).abs().log().sort(descending=True).values
    assert result.max == pytest.approx(float(fixed[0]), abs=0.02)
    for old, new in zip(before, (*CELL.parameters(), *READOUT.parameters()), strict=True):
        torch.testing.assert_close(old, new, rtol=1e-6, atol=1e-7)


def test_modules_that_a_function_reaches_are_in_evaluation_mode_and_back() -> None:
    drop = nn.Dropout(0.5).train()
    result = run(lambda h, x: drop(CELL(x, h)))
    torch.testing.assert_close(result.exponents, by_the_cell().exponents, rtol=0, atol=CLOSED_FORM)
    assert drop.training


class Remembering(nn.Module):
    """A cell that keeps what it computed, and counts."""

    def __init__(self) -> None:
        super().__init__()
        self.cell, self.log, self.last = seeded(nn.GRUCell, 4, SIZE), [], None

    def forward(self, h, x):
        self.last = self.cell(x, h)
        self.log.append(1)
        return self.last


def test_what_a_module_keeps_for_itself_is_as_before() -> None:
    model = Remembering().train()
    run(model)
    assert model.last is None
    assert model.log == []
    assert model.training


def test_weights_are_those_of_the_moment() -> None:
    cell = seeded(nn.GRUCell, 4, SIZE, scale=1.0)
    system = Step(lambda h, x: cell(x, h), START.double(), dtype=torch.float64)
    before = lyapunov.spectrum(system, INPUTS, settle=5, align=10, k=2)
    cell.float()
    with torch.no_grad():
        cell.weight_hh.mul_(3.0)
    after = lyapunov.spectrum(system, INPUTS, settle=5, align=10, k=2)
    torch.testing.assert_close(after.exponents, lyapunov.spectrum(cell, INPUTS, settle=5, align=10, k=2).exponents)
    assert float((after.exponents - before.exponents).abs().max()) > 0.01


def test_a_real_part_of_odd_size_may_stand_before_a_complex_one() -> None:
    state = (torch.zeros(BATCH, 1), torch.zeros(BATCH, 2, dtype=torch.complex64))

    def step(state, x):
        real, turning = state
        return 0.5 * real + x[:, :1], 0.9j * turning + x[:, 1:3]

    assert run(step, state=state).sum == pytest.approx(math.log(0.5) + 4 * math.log(0.9))


class Plain:
    """An object with a method for a step, and modules among its attributes."""

    def __init__(self) -> None:
        self.cell = seeded(nn.GRUCell, 4, SIZE).float()

    def turn(self, h, x):
        return self.cell(x, h)


class Slotted:
    """An object without a dictionary of attributes."""

    __slots__ = ()

    def turn(self, h, x):
        return 0.5 * h + torch.tanh(x.sum(-1, keepdim=True))


def test_a_method_of_an_object_with_slots_is_a_step() -> None:
    torch.testing.assert_close(run(Slotted().turn).max, math.log(0.5), rtol=0, atol=ROUNDING)


def test_a_method_of_a_plain_object_has_its_modules_cast() -> None:
    owner = Plain()
    cell = owner.cell
    assert same(run(owner.turn).exponents, run(lambda h, x: cell(x, h)).exponents)


def test_state_is_handed_from_batch_to_batch() -> None:
    """Stateful training: the second half of long sequences, from where the first half ended, is the rest of the whole."""
    lstm = seeded(nn.LSTM, 4, SIZE, batch_first=True)
    with torch.no_grad():
        handed = lstm(INPUTS[:, :20])[1]
    rest = lyapunov.spectrum(lstm, INPUTS[:, 20:], state=handed, settle=0, align=10, qr_every=1)
    whole = lyapunov.spectrum(lstm, INPUTS, settle=20, align=10, qr_every=1)
    torch.testing.assert_close(rest.exponents, whole.exponents, rtol=0, atol=ROUNDING)


def test_a_rate_network_through_an_integrator_has_rates_per_unit_of_time() -> None:
    """dh/dt = -h / tau by Euler: ln(1 - dt / tau) / dt."""
    dt, tau = 0.05, torch.tensor([0.5, 1.0, 4.0], dtype=torch.float64)
    result = lyapunov.spectrum(lambda h, x: h + dt * (x - h) / tau, drawn(2, 100, 3, seed=11), state=torch.zeros(2, 3), dt=dt)
    expected = (torch.log1p(-dt / tau) / dt).sort(descending=True).values
    assert result.max == pytest.approx(float(expected[0]), abs=0.02)
    assert result.sum == pytest.approx(float(expected.sum()), abs=1e-9)


def test_slow_exponents_are_not_called_converged_before_frames_agree_in_proportion() -> None:
    """A linear flow by small steps, eigenvalues known: what is off is said."""
    rates = torch.tensor([-0.2, -0.5, -0.8, -1.2], dtype=torch.float64)
    basis = drawn(4, 4, seed=12)
    matrix = basis @ torch.diag(rates) @ torch.linalg.inv(basis)
    dt = 0.01

    def flow(r, x):
        return r + dt * (r @ matrix.mT + x)

    result = lyapunov.spectrum(flow, drawn(4, 1500, 4, seed=13), state=torch.zeros(4, 4), dt=dt)
    exact = torch.log1p(dt * rates) / dt
    assert float((result.exponents - exact).abs().max()) < 0.02 or "too short" in result.verdict.kinds
    assert result.settings.align == 100
    long = lyapunov.spectrum(flow, drawn(4, 3000, 4, seed=13), state=torch.zeros(4, 4), dt=dt, settle=200, align=1800)
    torch.testing.assert_close(long.exponents, exact, rtol=0, atol=2e-3)


def refused(error, step, **settings) -> str:
    with pytest.raises(error) as caught:
        run(step, **settings)
    return str(caught.value)


def test_what_is_refused_says_what_to_do() -> None:
    count = torch.zeros(BATCH, dtype=torch.long)
    assert "got TypeError" in refused(lyapunov.BadSystem, lambda h: h)
    assert "state first" in refused(lyapunov.BadSystem, lambda x, h: CELL(x, h))
    assert "in that order" in refused(lyapunov.BadSystem, lambda a, b: CELL(a, b))
    assert "Return the pair" in refused(lyapunov.BadSystem, lambda h, x, c: CELL(x, h), carried=count)
    assert "batch first with 3" in refused(lyapunov.InvalidInput, lambda h, x, c: (CELL(x, h), c), carried=count[:2])
    assert "as `carried`" in refused(lyapunov.InvalidInput, lambda h, x: h, state=count.unsqueeze(-1))
    assert "as `carried`" in refused(lyapunov.InvalidInput, lambda h, x: CELL(x, h), linearization="hidden")
    with pytest.raises(lyapunov.InvalidInput, match="step\\(state, x, carried\\) only"):
        lyapunov.spectrum(CELL, INPUTS, carried=count)
    assert math.isfinite(by_the_cell().max)


def test_real_leaves_of_what_is_carried_can_be_varied_and_others_not() -> None:
    carried = (torch.arange(3), drawn(3, 2, seed=1), torch.ones(3, dtype=torch.bool), drawn(3, 1, seed=2))
    system = Step(lambda h, x, c: (h, c), torch.zeros(1, SIZE), dtype=torch.float64, carried=carried)
    state = (torch.zeros(3, SIZE), carried)
    first, second = system.carried(state)
    assert first is carried[1]
    assert second is carried[3]
    varied = system.with_carried(state, (first + 1, second + 2))[1]
    for one, other in zip(varied, (carried[0], first + 1, carried[2], second + 2), strict=True):
        assert torch.equal(one, other)
    assert not system.endless
    plain = Step(lambda h, x: h, torch.zeros(1, SIZE), dtype=torch.float64)
    assert plain.endless
    assert plain.carried(state[0]) == ()
    assert plain.with_carried(state[0], ()) is state[0]
