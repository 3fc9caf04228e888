"""Known answers. Starred in docs/theory.md and first here: those that see the order of the Jacobians."""

import math

import pytest
import torch
from torch import Tensor, nn

import lyapunov
from cases import drawn
from lyapunov.estimate.quantities import kaplan_yorke_dimension
from lyapunov.systems import RNN, System, known
from paths import PATHS, force
from tolerances import (
    ALIGNED,
    EXACT_RUN,
    MEAN_FIELD_FINITE_SIZE,
    MEAN_FIELD_LARGEST,
    MEAN_FIELD_RMS,
    RECURRENCE,
    RELU_RMS,
    sampled,
)

F64 = torch.float64
FIRST = {
    "test_driven_gaussian_tanh_network": {"gain": 2.0, "noise": 0.0},
    "test_largest_exponent_of_a_large_gaussian_tanh_network": {"gain": 2.0, "noise": 0.0},
    "test_stack_is_the_union_of_its_layers": {"kind": nn.RNN},
}
"""Of tests that take long, the case that goes every path; the others go the usual one alone."""
ONCE = ("test_ikeda_map_in_the_wrong_order_reads_another_number", "test_lorenz_flow_in_the_wrong_order_reads_another_number")
"""Tests of the answers themselves."""
pytestmark = pytest.mark.usefixtures("shapes_unchecked")


@pytest.fixture(params=PATHS, autouse=True)
def path(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Every answer is asked for on every path a frame can go, but for what is said above."""
    name, given = request.node.originalname, request.node.callspec.params
    if request.param != PATHS[0]:
        if name in ONCE:
            pytest.skip("that a wrong order is seen is asked once")
        if any(given[part] != value for part, value in FIRST.get(name, {}).items()):
            pytest.skip("takes long, and another case goes this path")
    force(request.param, monkeypatch)
    return request.param


def tensor(*values: float) -> Tensor:
    return torch.tensor(values, dtype=F64)


class Transposed(System):
    """The order bug: the transposed Jacobian in forward time order."""

    def __init__(self, system: System) -> None:
        self._system, self.name = system, f"transposed {system.name}"

    @property
    def block_sizes(self):
        return self._system.block_sizes

    def initial_state(self, batch, like):
        return self._system.initial_state(batch, like)

    def step(self, state, x):
        return self._system.step(state, x)

    def vectors(self, state):
        return self._system.vectors(state)

    def with_vectors(self, state, vectors):
        return self._system.with_vectors(state, vectors)

    def push(self, state, x, frames):
        return self._system.step(state, x), self._system.pull(state, x, frames)


def run(case: known.Known, *, batch: int, steps: int, wrong_order: bool = False, **kwargs):
    """The case's spectrum; its own check is off for the transposed system, which fails it."""
    system = Transposed(case.system) if wrong_order else case.system
    kwargs = {"dt": case.dt, "check": not wrong_order, **kwargs}
    if case.draw_inputs is not None:
        return lyapunov.spectrum(system, case.inputs(batch, steps, seed=1), **kwargs)
    return lyapunov.spectrum(system, state=case.start(batch, seed=1), steps=steps, **kwargs)


def assert_sampled(spectrum, exact: Tensor, precision: float = 0.0, least: float = 0.0) -> None:
    for at, (estimate, error, truth) in enumerate(zip(spectrum.exponents, spectrum.standard_errors, exact, strict=True)):
        allowed = sampled(float(error), precision, least)
        assert abs(float(estimate - truth)) <= allowed, f"exponent {at + 1}: {estimate} beside {truth}, allowed {allowed}"


# Starred: a transposed Jacobian gives other numbers.

PERIOD_THREE = {"settle": 0, "align": 60}
LORENZ = {"batch": 400, "steps": 1000, "settle": 1000, "align": 800}
IKEDA = {"batch": 1000, "steps": 200, "settle": 100, "align": 50}
MANY_SHORT = {"batch": 600, "steps": 150, "settle": 60, "align": 30}


def test_period_three_product() -> None:
    case = known.period_three_product()
    spectrum = run(case, batch=1, steps=360, **PERIOD_THREE)
    torch.testing.assert_close(spectrum.exponents, case.exponents, rtol=0, atol=EXACT_RUN)
    assert float(spectrum.exponents[0]) == pytest.approx(0.320808, abs=1e-6)


def test_period_three_product_in_the_wrong_order_reads_another_number() -> None:
    wrong = run(known.period_three_product(), batch=1, steps=360, wrong_order=True, **PERIOD_THREE)
    torch.testing.assert_close(wrong.exponents, tensor(0.483525, -0.483525), rtol=0, atol=1e-6)


def rotating_rnn() -> tuple[nn.RNN, Tensor]:
    """The shift hands the one unit at tanh' = 1 on, while the input holds the two others at tanh' = 0.1."""
    module = nn.RNN(3, 3, bias=False, batch_first=True).double()
    held = math.atanh(math.sqrt(0.9))
    with torch.no_grad():
        module.weight_hh_l0.copy_(torch.eye(3, dtype=F64).roll(1, dims=0))
        module.weight_ih_l0.copy_(torch.eye(3, dtype=F64))
    inputs, h = torch.zeros(1, 330, 3, dtype=F64), torch.zeros(3, dtype=F64)
    for t in range(330):
        wanted = torch.full((3,), held, dtype=F64)
        wanted[(t + 1) % 3] = 0.0
        inputs[0, t] = wanted - module.weight_hh_l0.detach() @ h
        h = torch.tanh(wanted)
    return module, inputs


@pytest.fixture
def seeded_modules():
    with torch.random.fork_rng():
        torch.manual_seed(0)
        yield


@pytest.mark.usefixtures("seeded_modules")
def test_rotating_rnn() -> None:
    module, inputs = rotating_rnn()
    spectrum = lyapunov.spectrum(module, inputs, settle=30, align=60)
    torch.testing.assert_close(spectrum.exponents, tensor(0.0, math.log(0.1), math.log(0.1)), rtol=0, atol=EXACT_RUN)


@pytest.mark.usefixtures("seeded_modules")
def test_rotating_rnn_in_the_wrong_order_reads_another_number() -> None:
    module, inputs = rotating_rnn()
    system = RNN(module.weight_ih_l0.detach(), module.weight_hh_l0.detach())
    wrong = lyapunov.spectrum(Transposed(system), inputs, settle=30, align=60, check=False)
    torch.testing.assert_close(wrong.exponents, torch.full((3,), 2 / 3 * math.log(0.1), dtype=F64), rtol=0, atol=EXACT_RUN)
    assert float(wrong.exponents[0]) == pytest.approx(-1.5351, abs=1e-4)


def test_lorenz_flow() -> None:
    case = known.lorenz()
    spectrum = run(case, **LORENZ)
    assert_sampled(spectrum, case.exponents, case.precision, RECURRENCE)
    assert spectrum.sum == pytest.approx(-41 / 3, abs=2e-3)
    assert spectrum.kaplan_yorke_dimension == pytest.approx(2.062, abs=2e-3)


def test_lorenz_flow_in_the_wrong_order_reads_another_number() -> None:
    wrong = run(known.lorenz(), wrong_order=True, **LORENZ)
    assert_sampled(wrong, tensor(0.66, 0.14, -41 / 3 - 0.80), precision=0.01)


def test_ikeda_map() -> None:
    case = known.ikeda()
    spectrum = run(case, **IKEDA)
    assert_sampled(spectrum, case.exponents, case.precision)
    assert spectrum.sum == pytest.approx(2 * math.log(0.9), abs=EXACT_RUN)


def test_ikeda_map_in_the_wrong_order_reads_another_number() -> None:
    wrong = run(known.ikeda(), wrong_order=True, **IKEDA)
    assert_sampled(wrong, tensor(0.283, 2 * math.log(0.9) - 0.283), precision=5e-4)


# Maps.


def test_logistic_map() -> None:
    case = known.logistic()
    assert_sampled(run(case, **MANY_SHORT), case.exponents, least=1e-4)


def test_henon_map() -> None:
    case = known.henon()
    spectrum = run(case, **MANY_SHORT)
    assert_sampled(spectrum, case.exponents, case.precision)
    assert spectrum.sum == pytest.approx(math.log(0.3), abs=EXACT_RUN)


def test_cat_map() -> None:
    case = known.cat_map()
    torch.testing.assert_close(run(case, batch=2, steps=60, settle=0).exponents, case.exponents, rtol=0, atol=EXACT_RUN)


@pytest.mark.parametrize(("size", "coupling"), [(8, 0.3), (5, 0.1)])
def test_ring_of_doubling_maps(size: int, coupling: float) -> None:
    case = known.bernoulli_ring(size, coupling)
    spectrum = run(case, batch=2, steps=60, settle=0, align=150)
    torch.testing.assert_close(spectrum.exponents, case.exponents, rtol=0, atol=ALIGNED)


# Products.


@pytest.mark.parametrize(("size", "scale"), [(1, 1.0), (4, 1.0), (10, 0.3)])
def test_products_of_gaussian_matrices(size: int, scale: float) -> None:
    case = known.gaussian_products(size, scale)
    assert_sampled(run(case, **MANY_SHORT), case.exponents)


def test_random_fibonacci() -> None:
    case = known.random_fibonacci()
    assert_sampled(run(case, **MANY_SHORT), case.exponents, case.precision)


def test_products_of_triangular_matrices_are_sorted() -> None:
    case = known.triangular_products()
    assert_sampled(run(case, **MANY_SHORT), case.exponents)


# RNN.


def rnn_with(weight: Tensor, nonlinearity: str = "tanh") -> nn.RNN:
    """No inputs to speak of: at h = 0 the tanh network is linear."""
    size = len(weight)
    module = nn.RNN(1, size, nonlinearity=nonlinearity, bias=False, batch_first=True).double()
    with torch.no_grad():
        module.weight_hh_l0.copy_(weight)
    return module


def log_moduli(matrix: Tensor) -> Tensor:
    return torch.linalg.eigvals(matrix).abs().log().sort(descending=True).values


@pytest.mark.usefixtures("seeded_modules")
class TestLinearNetworks:
    steps = torch.zeros(1, 1500, 1, dtype=F64)

    def test_exponents_are_the_moduli_of_the_eigenvalues(self) -> None:
        weight = drawn(6, 6, seed=11)
        spectrum = lyapunov.spectrum(rnn_with(weight), self.steps, settle=0, align=300)
        torch.testing.assert_close(spectrum.exponents, log_moduli(weight), rtol=0, atol=RECURRENCE)

    def test_orthogonal_weights_give_zeros(self) -> None:
        rotation, _ = torch.linalg.qr(drawn(7, 7, seed=12))
        spectrum = lyapunov.spectrum(rnn_with(rotation), self.steps)
        torch.testing.assert_close(spectrum.exponents, torch.zeros(7, dtype=F64), rtol=0, atol=EXACT_RUN)

    def test_a_factor_shifts_every_exponent_by_its_logarithm(self) -> None:
        weight = drawn(5, 5, seed=13)
        plain, scaled = (lyapunov.spectrum(rnn_with(a * weight), self.steps).exponents for a in (1.0, 0.7))
        torch.testing.assert_close(scaled, plain + math.log(0.7), rtol=0, atol=EXACT_RUN)

    def test_leaky_units_shift_the_eigenvalues(self) -> None:
        weight, leak = drawn(6, 6, seed=14), 0.3
        spectrum = lyapunov.spectrum(
            lambda h, _: (1 - leak) * h + leak * h @ weight.mT,
            state=torch.zeros(1, 6, dtype=F64),
            steps=400,
            settle=0,
            align=200,
        )
        expected = log_moduli((1 - leak) * torch.eye(6, dtype=F64) + leak * weight)
        torch.testing.assert_close(spectrum.exponents, expected, rtol=0, atol=RECURRENCE)


def test_teacher_forcing_shifts_every_exponent() -> None:
    weight, strength = drawn(8, 8, seed=15, scale=1.5 / math.sqrt(8)), 0.2
    trajectory = [drawn(4, 8, seed=16)]
    for _ in range(400):
        trajectory.append(torch.tanh(trajectory[-1] @ weight.mT))
    targets = torch.stack(trajectory[1:], dim=1)

    def forced(h, target):
        return (1 - strength) * torch.tanh(h @ weight.mT) + strength * target

    def free(h, _):
        return torch.tanh(h @ weight.mT)

    kwargs = {"state": trajectory[0], "settle": 0, "align": 50}
    shift = lyapunov.spectrum(forced, targets, **kwargs).exponents - lyapunov.spectrum(free, targets, **kwargs).exponents
    torch.testing.assert_close(shift, torch.full((8,), math.log(1 - strength), dtype=F64), rtol=0, atol=1e-7)


@pytest.mark.filterwarnings("ignore:Expected exponents above the precision floor")  # the last before those that are lost
@pytest.mark.usefixtures("seeded_modules")
@pytest.mark.parametrize("gain", [0.9, 1.3])
def test_relu_network_loses_half_of_its_directions(gain: float) -> None:
    size = 120
    module = rnn_with(drawn(size, size, seed=17, scale=gain / math.sqrt(size)), "relu")
    with torch.no_grad():
        module.weight_ih_l0.fill_(1.0)
    module = _with_identity_inputs(module, size)
    spectrum = lyapunov.spectrum(module, drawn(2, 420, size, seed=18), settle=50, align=50)
    fraction = (torch.arange(size, dtype=F64) + 0.5) / size
    theory = 0.5 * (gain**2 * (0.5 - fraction)).log()
    upper = fraction < 0.4
    assert float((spectrum.exponents - theory)[upper].square().mean().sqrt()) < RELU_RMS
    lost = fraction > 0.6
    assert not bool(spectrum.exponents.isnan().any())
    assert bool((spectrum.exponents.isneginf() | ~spectrum.reliable)[lost].all())
    assert bool(spectrum.reliable[fraction < 0.3].all())


def _with_identity_inputs(module: nn.RNN, size: int) -> nn.RNN:
    driven = nn.RNN(size, size, nonlinearity=module.nonlinearity, bias=False, batch_first=True).double()
    with torch.no_grad():
        driven.weight_hh_l0.copy_(module.weight_hh_l0)
        driven.weight_ih_l0.copy_(torch.eye(size, dtype=F64))
    return driven


MEAN_FIELD = {
    (2.0, 0.0): (0.15472, -1.14902, 0.01068, 0.25756),
    (3.0, 0.0): (0.31025, -2.27281, 0.02520, 0.28772),
    (1.5, 0.5): (-0.01673, -0.97178, 0.0, 0.0),
    (2.0, 1.0): (0.04598, -1.71265, 0.00081, 0.06885),
}


@pytest.mark.parametrize(("gain", "noise"), MEAN_FIELD)
def test_mean_field_theory_agrees_with_its_stated_values(gain: float, noise: float) -> None:
    exponents = known.mean_field_exponents(1000, gain, noise)
    largest, mean, entropy, dimension = MEAN_FIELD[gain, noise]
    assert float(exponents[0]) == pytest.approx(largest, abs=1e-3)
    assert float(exponents.mean()) == pytest.approx(mean, abs=1e-3)
    assert float(exponents.clamp(min=0).mean()) == pytest.approx(entropy, abs=1e-4)
    assert kaplan_yorke_dimension(exponents, total=len(exponents)) / len(exponents) == pytest.approx(dimension, abs=1e-3)


@pytest.mark.usefixtures("seeded_modules")
@pytest.mark.parametrize(("gain", "noise"), MEAN_FIELD)
def test_driven_gaussian_tanh_network(gain: float, noise: float) -> None:
    """The theory is an average over weights, which at N = 300 still differ: four draws of them."""
    size, found = 300, []
    for seed in range(4):
        case = known.gaussian_tanh(size, gain, noise, seed=seed)
        module = _with_identity_inputs(rnn_with(case.system.weight_hh), size)
        inputs = noise * drawn(1, 300, size, seed=30 + seed)
        found.append(lyapunov.spectrum(module, inputs, state=case.start(1).unsqueeze(0), settle=50, align=100))

    _, mean, entropy, dimension = MEAN_FIELD[gain, noise]
    assert_average([spectrum.mean for spectrum in found], mean)
    assert_average([spectrum.entropy_rate / size for spectrum in found], entropy)
    assert_average([spectrum.kaplan_yorke_dimension / size for spectrum in found], dimension)
    exponents = torch.stack([spectrum.exponents for spectrum in found]).mean(0)
    upper = slice(0, int(0.9 * size))
    assert float((exponents - case.exponents)[upper].square().mean().sqrt()) < MEAN_FIELD_RMS


def assert_average(values: list[float], truth: float) -> None:
    """Over draws of the weights, within their own standard error and what the finite size moves."""
    drawn_values = tensor(*values)
    error = float(drawn_values.std()) / math.sqrt(len(values))
    assert abs(float(drawn_values.mean()) - truth) <= sampled(error, MEAN_FIELD_FINITE_SIZE)


@pytest.mark.parametrize(("gain", "noise"), MEAN_FIELD)
def test_largest_exponent_of_a_large_gaussian_tanh_network(gain: float, noise: float) -> None:
    """At N = 1000, because at N = 300 and gain 3 the finite size alone moves it by 0.009 (2.7 / N)."""
    case = known.gaussian_tanh(1000, gain, noise)
    leading = lyapunov.spectrum(case.system, case.inputs(4, 400), k=1, state=case.start(4), settle=50, align=50)
    assert abs(leading.max - MEAN_FIELD[gain, noise][0]) < MEAN_FIELD_LARGEST


# Gated networks.


def logit(p: float) -> float:
    return math.log(p / (1 - p))


def zero(module: nn.Module) -> None:
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.zero_()


def gru_at_rest(r: float, z: float, recurrent: Tensor) -> nn.GRU:
    """h = 0 is a fixed point; the gates there have the values r and z."""
    size = len(recurrent)
    module = nn.GRU(1, size, batch_first=True).double()
    zero(module)
    with torch.no_grad():
        module.bias_ih_l0[:size] = logit(r)
        module.bias_ih_l0[size : 2 * size] = logit(z)
        module.weight_hh_l0[2 * size :] = recurrent
        module.weight_hh_l0[: 2 * size] = drawn(2 * size, size, seed=20)  # of no effect at h = 0
    return module


def lstm_at_rest(i: float, f: float, o: float, recurrent: Tensor) -> nn.LSTM:
    """(h, c) = 0 is a fixed point; the gates there have the values i, f, o."""
    size = len(recurrent)
    module = nn.LSTM(1, size, batch_first=True).double()
    zero(module)
    with torch.no_grad():
        for at, value in ((0, i), (1, f), (3, o)):
            module.bias_ih_l0[at * size : (at + 1) * size] = logit(value)
        module.weight_hh_l0.copy_(drawn(4 * size, size, seed=21))  # of no effect at h = c = 0 but for the candidate's
        module.weight_hh_l0[2 * size : 3 * size] = recurrent
    return module


AT_REST = {"settle": 0, "align": 300}
NO_INPUT = torch.zeros(1, 1500, 1, dtype=F64)


@pytest.mark.usefixtures("seeded_modules")
class TestGRUAtItsZeroFixedPoint:
    r, z, recurrent = 0.6, 0.3, drawn(6, 6, seed=22, scale=0.8)

    def test_exponents(self) -> None:
        spectrum = lyapunov.spectrum(gru_at_rest(self.r, self.z, self.recurrent), NO_INPUT, **AT_REST)
        linear = self.z * torch.eye(6, dtype=F64) + (1 - self.z) * self.r * self.recurrent
        torch.testing.assert_close(spectrum.exponents, log_moduli(linear), rtol=0, atol=RECURRENCE)

    def test_critical_gain(self) -> None:
        diagonal = torch.diag(torch.linspace(0.2, 1.0, 6, dtype=F64)) / self.r
        spectrum = lyapunov.spectrum(gru_at_rest(self.r, self.z, diagonal), NO_INPUT, **AT_REST)
        assert spectrum.max == pytest.approx(0.0, abs=EXACT_RUN)


@pytest.mark.filterwarnings("ignore:Expected exponents above the precision floor")  # rows that are equal but for rounding
@pytest.mark.usefixtures("seeded_modules")
class TestLSTMAtItsZeroFixedPoint:
    i, f, o, recurrent = 0.7, 0.8, 0.4, drawn(5, 5, seed=23)

    def test_full_exponents(self) -> None:
        spectrum = lyapunov.spectrum(lstm_at_rest(self.i, self.f, self.o, self.recurrent), NO_INPUT, **AT_REST)
        linear = self.f * torch.eye(5, dtype=F64) + self.i * self.o * self.recurrent
        torch.testing.assert_close(spectrum.exponents[:5], log_moduli(linear), rtol=0, atol=RECURRENCE)
        assert bool(spectrum.reliable[:5].all())
        assert_lost(spectrum, slice(5, None))

    def test_hidden_exponents(self) -> None:
        module = lstm_at_rest(self.i, self.f, self.o, self.recurrent)
        spectrum = lyapunov.spectrum(module, NO_INPUT, linearization="hidden", **AT_REST)
        expected = log_moduli(self.i * self.o * self.recurrent)
        torch.testing.assert_close(spectrum.exponents, expected, rtol=0, atol=RECURRENCE)

    def test_critical_gain(self) -> None:
        diagonal = torch.diag(torch.linspace(0.2, 1.0, 5, dtype=F64)) * (1 - self.f) / (self.i * self.o)
        spectrum = lyapunov.spectrum(lstm_at_rest(self.i, self.f, self.o, diagonal), NO_INPUT, **AT_REST)
        assert spectrum.max == pytest.approx(0.0, abs=EXACT_RUN)


def assert_lost(spectrum, which: slice) -> None:
    """-inf, or said to be unreliable; never NaN."""
    exponents = spectrum.exponents[which]
    assert not bool(exponents.isnan().any())
    assert bool((exponents.isneginf() | ~spectrum.reliable[which]).all())


@pytest.mark.usefixtures("seeded_modules")
class TestLSTMWithoutRecurrentWeights:
    def module(self) -> nn.LSTM:
        module = nn.LSTM(3, 6, batch_first=True).double()
        with torch.no_grad():
            module.weight_hh_l0.zero_()
            module.weight_ih_l0.mul_(4)
            module.bias_ih_l0[6:12] = torch.linspace(4.0, -4.0, 6, dtype=F64)[[3, 0, 5, 1, 4, 2]]
        return module

    def test_full_exponents_are_the_mean_log_forget_gates(self) -> None:
        module, inputs = self.module(), drawn(2, 600, 3, seed=24)
        spectrum = lyapunov.spectrum(module, inputs, settle=0, align=100)
        bias = module.bias_ih_l0 + module.bias_hh_l0
        forget = (inputs @ module.weight_ih_l0.mT + bias)[:, 100:, 6:12]
        expected = torch.nn.functional.logsigmoid(forget).mean((0, 1)).sort(descending=True).values.detach()
        torch.testing.assert_close(spectrum.exponents[:6], expected, rtol=0, atol=RECURRENCE)
        assert float(spectrum.exponents[:6].sum()) == pytest.approx(float(expected.sum()), abs=RECURRENCE)
        assert_lost(spectrum, slice(6, None))

    def test_hidden_exponents_are_all_minus_infinity(self) -> None:
        spectrum = lyapunov.spectrum(self.module(), drawn(2, 100, 3, seed=24), linearization="hidden")
        assert bool(spectrum.exponents.isneginf().all())
        assert bool(spectrum.reliable.all())
        assert spectrum.mean is None
        assert spectrum.sum == -math.inf


# Stacks.


@pytest.mark.usefixtures("seeded_modules")
@pytest.mark.parametrize("kind", [nn.RNN, nn.GRU, nn.LSTM])
def test_stack_is_the_union_of_its_layers(kind: type[nn.RNNBase]) -> None:
    module = kind(3, 6, num_layers=2, batch_first=True).double()
    inputs = drawn(8, 500, 3, seed=25)
    same = {"settle": 100, "align": 100}
    apart = lyapunov.spectrum(module, inputs, **same)
    together = lyapunov.spectrum(module, inputs, coupled=True, **same)
    torch.testing.assert_close(apart.exponents, together.exponents, rtol=0, atol=5 * RECURRENCE)
    first, second = kind(3, 6, batch_first=True).double(), kind(6, 6, batch_first=True).double()
    for at, layer in enumerate((first, second)):
        for name in ("weight_ih", "weight_hh", "bias_ih", "bias_hh"):
            getattr(layer, f"{name}_l0").data.copy_(getattr(module, f"{name}_l{at}").data)
    with torch.no_grad():
        driven = first(inputs)[0]
    for at, (layer, drive) in enumerate(((first, inputs), (second, driven))):
        alone = lyapunov.spectrum(layer, drive, **same).exponents
        torch.testing.assert_close(apart.exponents[apart.layer == at], alone, rtol=0, atol=5 * RECURRENCE)
    assert sorted(apart.layer.tolist()) == [0] * (len(alone)) + [1] * len(alone)


# Backwards.


def test_forward_qr_of_the_jacobians_is_backward_qr_of_their_transposes() -> None:
    case = known.gaussian_tanh(6, 2.0, 0.3)
    inputs, steps = case.inputs(1, 2000), 2000
    state, jacobians = case.start(1), []
    for t in range(steps):
        state, (jacobian,) = case.system.push(state, inputs[:, t], (torch.eye(6, dtype=F64).expand(1, -1, -1),))
        jacobians.append(jacobian[0])
    frame, growth = torch.linalg.qr(drawn(6, 6, seed=26))[0], torch.zeros(6, dtype=F64)
    for jacobian in reversed(jacobians):
        frame, r = torch.linalg.qr(jacobian.mT @ frame)
        growth += r.diagonal().abs().log()
    forwards = lyapunov.spectrum(case.system, inputs, state=case.start(1), settle=0, align=0)
    torch.testing.assert_close(forwards.exponents, growth / steps, rtol=0, atol=10 / steps)
