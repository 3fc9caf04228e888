"""A system that is built once computes with the weights of the moment: nothing that was derived from them outlives a run."""

import inspect
from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import lyapunov
from cases import ALL, BATCH, BESIDE, CLOSED_LOOPS, INPUTS, KNOWN, MIX, STEPS, UNITS, Apart, Case, drawn, seeded
from lyapunov._trees import tree_map
from lyapunov.intake import CastProblem, capture
from lyapunov.systems import GRU, LSTM, RNN, CoupledStack, Diagonal, IndependentLayers, Layer, Stack, System, total_size
from lyapunov.tangent import Growth, RolloutOptions, random_frame, rollout
from tolerances import ROUNDING, SAME

DRIVE = drawn(BATCH, STEPS, INPUTS, seed=90)


def weights_of(system: System) -> list[Tensor]:
    """Every tensor that a system computes with and that a user may move."""
    if isinstance(system, Layer):
        return [value for name, value in vars(system).items() if name.startswith(("weight", "bias")) and torch.is_tensor(value)]
    if isinstance(system, Stack | CoupledStack | IndependentLayers):
        parts = system.parts if isinstance(system, IndependentLayers) else system.layers
        return [weight for part in parts for weight in weights_of(part)]
    if isinstance(system, Diagonal):
        cells = [cell.cell_contents for cell in inspect.unwrap(system._gates).__closure__ or ()]
        modules = [weight for module in system._modules for weight in module.parameters()]
        return modules + [cell for cell in cells if torch.is_tensor(cell)]
    return [weight for module in system.modules for weight in module.parameters()] or [MIX]


@contextmanager
def moved(weights: list[Tensor]) -> Generator[None, None, None]:
    """With all weights moved in place, past what counts the changes of a tensor."""
    kept = [weight.detach().clone() for weight in weights]
    for at, weight in enumerate(weights):
        weight.data.mul_(0.7 - 0.05 * (at % 6))
    try:
        yield
    finally:
        for weight, before in zip(weights, kept, strict=True):
            weight.data.copy_(before)


def grown(problem: CastProblem) -> Growth:
    """A short full run with its log determinants."""
    like = torch.empty(0, dtype=torch.float64)
    frames = tuple(
        random_frame(size, size, batch=BATCH, seed=5, block=at, like=like) for at, size in enumerate(problem.system.block_sizes)
    )
    options = RolloutOptions(steps=10, settle=2, align=2, qr_every=2, volume_every=problem.system.volume_cost != "none")
    with torch.no_grad(), problem.system.running():
        return rollout(problem.system, problem.sequences, problem.state, frames, options)


def numbers(growth: Growth) -> list[Tensor]:
    return [part for part in (growth.log_growth, growth.log_volume) if part is not None]


WITH_WEIGHTS = [
    case for case in ALL if (case not in BESIDE + KNOWN[:-1] or case is KNOWN[-1]) and "step-complex" not in case.name
]


@pytest.mark.parametrize("case", WITH_WEIGHTS, ids=repr)
def test_a_system_built_once_runs_with_the_weights_of_the_moment(case: Case) -> None:
    once = case.build(torch.float64)
    before = numbers(grown(once))
    with moved(weights_of(once.system)):
        again = numbers(grown(once))
        built = case.build(torch.float64) if case not in KNOWN else fresh(once)
        # A closed loop starts where its warm-up ended, by the weights of then.
        expected = numbers(grown(replace(built, state=once.state) if case in CLOSED_LOOPS else built))
    assert any((one - two).abs().nan_to_num(0.0).max() > 1e-3 for one, two in zip(before, again, strict=True))
    for one, two in zip(again, expected, strict=True):
        torch.testing.assert_close(one, two, rtol=SAME, atol=SAME)


def fresh(problem: CastProblem) -> CastProblem:
    """The same of a system that was built from the weights as they are now."""
    system: Any = problem.system
    return CastProblem(RNN(system.weight_ih.clone(), system.weight_hh.clone()), problem.sequences, problem.state, torch.float64)


def parameters(*shape: tuple[int, ...]) -> list[nn.Parameter]:
    return [nn.Parameter(drawn(*size, seed=91 + at, scale=0.6)) for at, size in enumerate(shape)]


def from_parameters(kind: type[Layer], gates: int, *, inputs: int = INPUTS, **kwargs: Any) -> tuple[Layer, list[Tensor]]:
    sizes = ((gates * UNITS, inputs), (gates * UNITS, UNITS), (gates * UNITS,), (gates * UNITS,))
    weights = parameters(*sizes)
    return kind(*weights, **kwargs), weights


SYSTEMS: dict[str, Callable[[], System]] = {
    "RNN": lambda: from_parameters(RNN, 1)[0],
    "RNN of relu": lambda: from_parameters(RNN, 1, nonlinearity="relu")[0],
    "LSTM": lambda: from_parameters(LSTM, 4)[0],
    "hidden LSTM": lambda: from_parameters(LSTM, 4, linearization="hidden")[0],
    "GRU": lambda: from_parameters(GRU, 3)[0],
    "stack": lambda: Stack([from_parameters(RNN, 1)[0], from_parameters(GRU, 3, inputs=UNITS)[0]]),
    "coupled stack": lambda: CoupledStack([from_parameters(LSTM, 4)[0], from_parameters(RNN, 1, inputs=UNITS)[0]]),
}


@pytest.mark.parametrize("name", SYSTEMS)
def test_a_spectrum_from_parameters_follows_an_optimizer(name: str) -> None:
    system = SYSTEMS[name]()
    lyapunov.spectrum(system, DRIVE, settle=2, align=2)
    weights = weights_of(system)
    optimizer = torch.optim.SGD([weight for weight in weights if isinstance(weight, nn.Parameter)], lr=0.3)
    sum((weight.square()).sum() for weight in weights).backward()
    optimizer.step()
    other = SYSTEMS[name]()
    for own, moved_to in zip(weights_of(other), weights, strict=True):
        own.data.copy_(moved_to)
    found, expected = (lyapunov.spectrum(one, DRIVE, settle=2, align=2) for one in (system, other))
    torch.testing.assert_close(found.exponents, expected.exponents, rtol=0, atol=SAME)
    for one, two in ((found.rank, expected.rank), (found.reliable, expected.reliable)):
        assert torch.equal(torch.as_tensor(one), torch.as_tensor(two))


@pytest.mark.parametrize("name", SYSTEMS)
def test_a_determinant_outside_a_run_is_that_of_the_moment(name: str) -> None:
    system = SYSTEMS[name]()
    x, state = DRIVE[:, 0], system.initial_state(BATCH, DRIVE)
    state = system.with_vectors(state, tree_map(lambda part: part + 0.1, system.vectors(state)))
    with torch.no_grad():
        before = system.log_volume(state, x)
        if before is None:
            pytest.skip("has no determinant")
        with moved(weights_of(system)):
            after = system.log_volume(state, x)
            with system.running():
                within = system.log_volume(state, x)
    assert (after - before).abs().max() > 1e-2
    torch.testing.assert_close(within, after, rtol=ROUNDING, atol=ROUNDING)


@pytest.mark.parametrize("kind", [RNN, LSTM, GRU])
@pytest.mark.parametrize("given", ["bias_ih", "bias_hh"])
def test_one_bias_alone_is_not_dropped(kind: type[Layer], given: str) -> None:
    gates = {RNN: 1, LSTM: 4, GRU: 3}[kind]
    w, u, b = drawn(gates * UNITS, INPUTS, seed=1), drawn(gates * UNITS, UNITS, seed=2), drawn(gates * UNITS, seed=3)
    one = kind(w, u, **{given: b})
    both = kind(w, u, **{"bias_ih": torch.zeros_like(b), "bias_hh": torch.zeros_like(b), given: b})
    state = one.initial_state(BATCH, DRIVE)
    for system in (one, both):
        assert system.linearize(state, DRIVE[:, 0])[0] is not None
    found, expected = (system.vectors(system.step(state, DRIVE[:, 0])) for system in (one, both))
    torch.testing.assert_close(found, expected, rtol=0, atol=ROUNDING)
    found, expected = (system.vectors(system.linearize(state, DRIVE[:, 0])[0]) for system in (one, both))
    torch.testing.assert_close(found, expected, rtol=0, atol=ROUNDING)


def test_gradients_can_be_taken_of_a_system_twice() -> None:
    system, weights = from_parameters(LSTM, 4)
    state = system.initial_state(BATCH, DRIVE)
    for _ in range(2):  # a graph that was built with the system would be gone the second time
        system.log_volume(state, DRIVE[:, 0]).sum().backward()
    assert all(torch.isfinite(weight.grad).all() for weight in weights[:3])


def test_inputs_that_a_core_below_made_are_refused_once_its_weights_moved() -> None:
    model, x = Apart(), DRIVE
    state = drawn(1, BATCH, UNITS, seed=3)
    above = drawn(2, BATCH, 2, seed=4), drawn(2, BATCH, UNITS, seed=5)
    captured = capture(model, x, state, above)
    first = lyapunov.spectrum(captured, settle=2, align=2)
    with moved(list(model.above.parameters())):  # nothing it receives depends on those
        assert not torch.equal(lyapunov.spectrum(captured, settle=2, align=2).exponents, first.exponents)
    with moved(list(model.below.parameters())):
        for part in (captured, captured.core("above")):
            with pytest.raises(lyapunov.InvalidInput, match=r"above along inputs from before.*Capture the model again"):
                lyapunov.spectrum(part, settle=2, align=2)
        lyapunov.spectrum(captured.core("below"), settle=2, align=2)
        lyapunov.spectrum(capture(model, x, state, above), settle=2, align=2)
    again = lyapunov.spectrum(captured, settle=2, align=2)
    torch.testing.assert_close(again.exponents, first.exponents, rtol=0, atol=SAME)


def test_the_determinant_is_worked_out_once_in_a_run(monkeypatch: pytest.MonkeyPatch) -> None:
    system = seeded_layer()
    worked_out = []
    slogdet = torch.linalg.slogdet
    monkeypatch.setattr(torch.linalg, "slogdet", lambda matrix: worked_out.append(matrix.shape) or slogdet(matrix))
    for runs in (1, 2):
        lyapunov.spectrum(system, DRIVE, settle=2, align=2, check=False)
        assert sum(shape == (UNITS, UNITS) for shape in worked_out) == runs
    assert total_size(system) == UNITS


def seeded_layer() -> RNN:
    module: Any = seeded(nn.RNN, INPUTS, UNITS, scale=1.0)
    return RNN(module.weight_ih_l0, module.weight_hh_l0, module.bias_ih_l0, module.bias_hh_l0)
