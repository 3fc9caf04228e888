"""Sums of exponents one can differentiate: their values, and their gradients against autograd and finite differences."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils import parametrizations

import lyapunov
from cases import cast_problem, drawn, seeded
from lyapunov._trees import tree_map
from lyapunov.tangent import random_frame
from tolerances import DIFFERENCES, GRADIENTS

INPUTS, UNITS, STEPS = 3, 5, 30
X = drawn(2, STEPS, INPUTS, seed=1)
LIKE = torch.empty(0, dtype=torch.float64)
SYSTEMS = {
    "RNN": seeded(nn.RNN, INPUTS, UNITS, batch_first=True, scale=2.0),
    "RNN-relu": seeded(nn.RNN, INPUTS, UNITS, batch_first=True, nonlinearity="relu", scale=2.0),
    "GRU": seeded(nn.GRU, INPUTS, UNITS, batch_first=True, scale=2.0),
    "LSTM": seeded(nn.LSTM, INPUTS, UNITS, batch_first=True, scale=2.0),
    "LSTM-proj": seeded(nn.LSTM, INPUTS, UNITS, batch_first=True, proj_size=2, scale=2.0),
    "GRU-stack": seeded(nn.GRU, INPUTS, UNITS, num_layers=2, batch_first=True, scale=2.0),
    "LSTM-stack": seeded(nn.LSTM, INPUTS, UNITS, num_layers=2, batch_first=True, scale=2.0),
}
with torch.no_grad():
    SYSTEMS["RNN-relu"].bias_hh_l0.add_(4.0)  # enough active units for directions to be left
every_system = pytest.mark.parametrize("name", SYSTEMS)


def through_qr(system: Any, inputs: Tensor, k: int, *, align: int = 0, fixed: bool = False, lengths=None, **given) -> Tensor:
    """The same sum with every frame in the graph: PyTorch's derivative of the QR factorisation."""
    problem = cast_problem(system, inputs, given.get("state"), torch.float64, coupled=True, carried=given.get("carried"))
    state = problem.state
    frame = random_frame(*problem.system.block_sizes, k, batch=len(inputs), seed=0, block=0, like=LIKE)
    lengths = torch.full((len(inputs),), inputs.shape[1]) if lengths is None else torch.as_tensor(lengths)
    total: Any = 0.0
    with problem.system.running():
        for t in range(inputs.shape[1]):
            state, (moved,) = problem.system.push(state, problem.sequences.at(t), (frame,))
            state = tree_map(lambda leaf: leaf.detach(), state) if fixed else state
            frame, upper = torch.linalg.qr(moved)
            grown = upper.diagonal(dim1=-2, dim2=-1).abs().log().sum(-1)
            total = total + (grown * ((lengths > t) & (t >= align))).sum()
    return total / float((lengths - align).clamp(min=0).sum())


def gradient(value: Tensor, module: nn.Module) -> Tensor:
    weights = list(module.parameters())
    found = torch.autograd.grad(value, weights, allow_unused=True)
    return torch.cat([torch.zeros_like(w).flatten() if g is None else g.flatten() for w, g in zip(weights, found, strict=True)])


def assert_same_gradient(one: Tensor, other: Tensor) -> None:
    assert float((one - other).norm()) <= GRADIENTS * float(other.norm())
    assert float(other.norm()) > 1e-3


@every_system
@pytest.mark.parametrize(("align", "fixed"), [(0, False), (6, False), (0, True)], ids=["plain", "aligned", "fixed"])
def test_value_and_gradient_are_those_through_the_qr(name: str, align: int, fixed: bool) -> None:
    module = SYSTEMS[name]
    mine = lyapunov.exponent_sum(module, X, 2, align=align, fixed_trajectory=fixed)
    plain = through_qr(module, X, 2, align=align, fixed=fixed)
    torch.testing.assert_close(mine, plain, rtol=GRADIENTS, atol=0)
    assert_same_gradient(gradient(mine, module), gradient(plain, module))


def test_a_long_course_of_many_segments_has_the_same_gradient() -> None:
    module, long = SYSTEMS["GRU"], drawn(2, 300, INPUTS, seed=3)
    mine, plain = lyapunov.exponent_sum(module, long, 3, align=70), through_qr(module, long, 3, align=70)
    assert_same_gradient(gradient(mine, module), gradient(plain, module))


@every_system
def test_gradient_is_a_finite_difference(name: str) -> None:
    module, step = SYSTEMS[name], 1e-5
    direction = [drawn(*weight.shape, seed=9) for weight in module.parameters()]

    def moved(by: float) -> float:
        with torch.no_grad():
            for weight, along in zip(module.parameters(), direction, strict=True):
                weight.add_(by * along)
            value = float(lyapunov.exponent_sum(module, X, 2))
            for weight, along in zip(module.parameters(), direction, strict=True):
                weight.sub_(by * along)
        return value

    slope = (moved(step) - moved(-step)) / (2 * step)
    along = torch.cat([part.flatten() for part in direction])
    exact = float(gradient(lyapunov.exponent_sum(module, X, 2), module) @ along)
    assert slope == pytest.approx(exact, rel=DIFFERENCES)


@pytest.mark.parametrize("name", ["RNN", "GRU", "LSTM", "GRU-stack"])
def test_all_exponents_are_the_volume_and_so_is_their_gradient(name: str) -> None:
    """Without a frame, against one of all columns."""
    module = SYSTEMS[name]
    size = lyapunov.spectrum(module, X, k=1).settings.size
    mine, plain = lyapunov.exponent_sum(module, X), through_qr(module, X, size)
    torch.testing.assert_close(mine, plain, rtol=GRADIENTS, atol=0)
    assert_same_gradient(gradient(mine, module), gradient(plain, module))


def test_several_sums_come_from_the_same_sweeps() -> None:
    module = SYSTEMS["LSTM"]
    together = lyapunov.exponent_sum(module, X, (1, 2, 4), align=5)
    for at, k in enumerate((1, 2, 4)):
        alone = lyapunov.exponent_sum(module, X, k, align=5)
        torch.testing.assert_close(together[at], alone, rtol=GRADIENTS, atol=0)
    weighted = gradient((together * torch.tensor([1.0, -2.0, 0.5])).sum(), module)
    parts = [gradient(lyapunov.exponent_sum(module, X, k, align=5), module) for k in (1, 2, 4)]
    assert_same_gradient(weighted, parts[0] - 2 * parts[1] + 0.5 * parts[2])


def test_sequences_of_different_length_are_pooled() -> None:
    module, lengths = SYSTEMS["RNN"], [STEPS, 17]
    mine = lyapunov.exponent_sum(module, X, 2, align=4, lengths=lengths)
    plain = through_qr(module, X, 2, align=4, lengths=lengths)
    torch.testing.assert_close(mine, plain, rtol=GRADIENTS, atol=0)
    assert_same_gradient(gradient(mine, module), gradient(plain, module))


def test_the_value_is_the_spectrums_sum() -> None:
    module = SYSTEMS["LSTM-stack"]
    spectrum = lyapunov.spectrum(module, X, k=3, settle=0, align=0, qr_every=1, coupled=True)
    torch.testing.assert_close(lyapunov.exponent_sum(module, X, 3).detach(), spectrum.exponents.sum(), rtol=1e-10, atol=0)


class Cell(nn.Module):
    """A user's own cell."""

    def __init__(self) -> None:
        super().__init__()
        self.mix = nn.Linear(UNITS + INPUTS, UNITS)

    def forward(self, state: Tensor, x: Tensor) -> Tensor:
        return 0.5 * state + torch.tanh(self.mix(torch.cat([state, x], dim=-1)))


CELL = seeded(Cell, scale=1.5)


def _carried(state: Tensor, x: Tensor, mean: Tensor) -> tuple[Tensor, Tensor]:
    new = CELL(state, x) - mean
    return new, 0.5 * mean + 0.1 * new


def _turning(state: Tensor, x: Tensor) -> Tensor:
    return torch.complex(CELL(state.real, x), 0.7 * state.imag + torch.sin(state.real))


@pytest.mark.parametrize(
    ("step", "given"),
    [
        (CELL, {"state": drawn(2, UNITS, seed=4)}),
        (_carried, {"state": drawn(2, UNITS, seed=4), "carried": drawn(2, UNITS, seed=5)}),
        (_turning, {"state": torch.complex(drawn(2, UNITS, seed=4), drawn(2, UNITS, seed=5))}),
    ],
    ids=["module", "carried", "complex"],
)
def test_any_step_has_a_gradient(step: Callable[..., Any], given: dict[str, Any]) -> None:
    mine, plain = lyapunov.exponent_sum(step, X, 2, **given), through_qr(step, X, 2, **given)
    torch.testing.assert_close(mine, plain, rtol=GRADIENTS, atol=0)
    assert_same_gradient(gradient(mine, CELL), gradient(plain, CELL))


class Alternating(nn.Module):
    """Other weights at every second step."""

    def __init__(self) -> None:
        super().__init__()
        self.fast, self.slow, self.enter = nn.Linear(UNITS, UNITS), nn.Linear(UNITS, UNITS), nn.Linear(INPUTS, UNITS)

    def forward(self, state: Tensor, x: Tensor, count: Tensor) -> tuple[Tensor, Tensor]:
        turn = self.slow if int(count[0]) % 2 else self.fast
        return torch.tanh(turn(state) + self.enter(x)), count + 1


def test_weights_that_the_first_step_leaves_out_have_their_gradient() -> None:
    module, given = seeded(Alternating), {"state": drawn(2, UNITS, seed=4), "carried": torch.zeros(2, dtype=torch.long)}
    mine, plain = lyapunov.exponent_sum(module, X, 2, **given), through_qr(module, X, 2, **given)
    assert_same_gradient(gradient(mine, module), gradient(plain, module))
    assert float(torch.autograd.grad(lyapunov.exponent_sum(module, X, 2, **given), module.slow.weight)[0].norm()) > 1e-3


class Volumed(lyapunov.System):
    """A user's own system that knows its volume."""

    volume_cost = "linear"
    name, block_sizes = "volumed", (UNITS,)

    def __init__(self) -> None:
        self.weight, self.enter = drawn(UNITS, UNITS, seed=6).requires_grad_(), drawn(INPUTS, UNITS, seed=7)

    def initial_state(self, batch: int, like: Tensor) -> Tensor:
        return like.new_zeros(batch, UNITS)

    def step(self, state: Tensor, x: Tensor) -> Tensor:
        return torch.tanh(state @ self.weight.mT + x @ self.enter)

    def log_volume(self, state: Tensor, x: Tensor) -> Tensor:
        return (1 - self.step(state, x).square()).log().sum(-1) + torch.linalg.slogdet(self.weight).logabsdet


def test_all_exponents_of_a_users_system_have_a_gradient() -> None:
    system = Volumed()
    mine, plain = lyapunov.exponent_sum(system, X), through_qr(system, X, UNITS)
    torch.testing.assert_close(mine, plain, rtol=GRADIENTS, atol=0)
    found, expected = (torch.autograd.grad(value, system.weight)[0] for value in (mine, plain))
    assert_same_gradient(found, expected)


def test_language_models_have_a_value_and_no_gradient() -> None:
    from transformers import MambaConfig, MambaForCausalLM

    config = MambaConfig(vocab_size=9, hidden_size=4, state_size=2, num_hidden_layers=1, intermediate_size=8)
    with torch.random.fork_rng():
        model = MambaForCausalLM(config).double().eval()
    tokens = torch.randint(9, (2, 12), generator=torch.Generator().manual_seed(0))
    with pytest.raises(lyapunov.Unsupported, match="reverse mode can follow"):
        lyapunov.exponent_sum(model, tokens, 2)
    with torch.no_grad():
        assert bool(lyapunov.exponent_sum(model, tokens, 2).isfinite())


def test_autocast_around_backward_changes_nothing() -> None:
    module = seeded(nn.GRU, INPUTS, UNITS, batch_first=True).float()
    value = lyapunov.exponent_sum(module, X.float(), 2, dtype=torch.float32)
    plain = torch.autograd.grad(value, module.weight_hh_l0, retain_graph=True)[0]
    with torch.autocast("cpu", torch.bfloat16):
        found = torch.autograd.grad(value, module.weight_hh_l0)[0]
    assert torch.equal(found, plain)


def test_gradients_reach_what_the_weights_are_made_from() -> None:
    module = parametrizations.orthogonal(seeded(nn.RNN, INPUTS, UNITS, batch_first=True, scale=1.0), "weight_hh_l0")
    mine, plain = lyapunov.exponent_sum(module, X, 2), through_qr(module, X, 2)
    assert_same_gradient(gradient(mine, module), gradient(plain, module))


def test_float32_modules_get_their_gradient_in_float32() -> None:
    module = seeded(nn.GRU, INPUTS, UNITS, batch_first=True).float()
    (value := lyapunov.exponent_sum(module, X.float(), 2)).backward()
    assert value.dtype == torch.float64
    assert all(weight.grad is not None and weight.grad.dtype == torch.float32 for weight in module.parameters())


def test_without_gradients_there_is_no_graph() -> None:
    with torch.no_grad():
        assert not lyapunov.exponent_sum(SYSTEMS["RNN"], X, 2).requires_grad
    frozen = seeded(nn.RNN, INPUTS, UNITS, batch_first=True).requires_grad_(False)
    assert not lyapunov.exponent_sum(frozen, X, 2).requires_grad


def test_weights_that_moved_before_backward_are_refused() -> None:
    module = seeded(nn.RNN, INPUTS, UNITS, batch_first=True)
    value = lyapunov.exponent_sum(module, X, 2)
    with torch.no_grad():
        module.weight_hh_l0.mul_(0.5)
    with pytest.raises(RuntimeError, match="Call backward"):
        value.backward()


def test_a_lost_direction_has_no_derivative() -> None:
    module = seeded(nn.RNN, INPUTS, UNITS, batch_first=True, nonlinearity="relu")
    with torch.no_grad():
        module.weight_hh_l0[:, 1:] = 0.0
        assert float(lyapunov.exponent_sum(module, X, 2)) == -torch.inf
    with pytest.raises(lyapunov.InvalidInput, match=r"a direction collapses.* Pass a smaller k"):
        lyapunov.exponent_sum(module, X, 2)


def test_a_direction_that_only_rounding_keeps_is_lost() -> None:
    """A network of low rank: QR would show -37 nats per step for what is not there."""
    low, start = drawn(6, 2, seed=4) @ drawn(2, 6, seed=5), torch.zeros(2, 6, dtype=torch.float64)
    mix = seeded(nn.Linear, INPUTS, 6)

    def step(h: Tensor, x: Tensor) -> Tensor:
        return torch.tanh(h @ low + mix(x))

    assert lyapunov.exponent_sum(step, X, 2, state=start).requires_grad
    with torch.no_grad():
        two, three = lyapunov.exponent_sum(step, X, (2, 3), state=start)
    assert bool(two.isfinite())
    assert float(three) == -torch.inf
    with pytest.raises(lyapunov.InvalidInput, match="Pass a smaller k"):
        lyapunov.exponent_sum(step, X, 3, state=start)


def test_settling_moves_the_start_and_is_not_differentiated() -> None:
    module = SYSTEMS["RNN"]
    state = cast_problem(module, X, None, torch.float64).state
    problem = cast_problem(module, X, state.unsqueeze(0), torch.float64)
    for t in range(5):
        state = problem.system.step(state, problem.sequences.at(t)).detach()
    one = lyapunov.exponent_sum(module, X, 2, settle=5)
    other = lyapunov.exponent_sum(module, X[:, 5:], 2, state=state.unsqueeze(0))
    assert_same_gradient(gradient(one, module), gradient(other, module))


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"k": 6}, "from 1 to 5"),
        ({"k": (2, 1)}, "ascending order"),
        ({"k": ()}, "numbers of exponents"),
        ({"k": 1, "align": STEPS}, "none is left to count"),
        ({"k": 1, "settle": STEPS}, "longer than settle"),
    ],
)
def test_what_cannot_be_used_is_said(given: dict[str, Any], words: str) -> None:
    with pytest.raises(lyapunov.InvalidInput, match=words):
        lyapunov.exponent_sum(SYSTEMS["RNN"], X, **given)


MEASURE = """
import sys, torch
from pathlib import Path
sys.path[:0] = ["tests", "tests/analysis"]
torch.set_num_threads(1)
import lyapunov
from test_exponent_sum import drawn, seeded, through_qr
from torch import nn
module, inputs = seeded(nn.LSTM, 4, 32, batch_first=True, scale=1.0), drawn(4, 2000, 4, seed=1)

def kilobytes(name):
    return next(int(line.split()[1]) for line in Path("/proc/self/status").read_text().splitlines() if line.startswith(name))

{run}(module, inputs[:, :20], 8).backward()
Path("/proc/self/clear_refs").write_text("5")  # the peak starts again from what is there now
before = kilobytes("VmRSS")
{run}(module, inputs, 8).backward()
print(kilobytes("VmHWM") - before)
"""


@pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="peaks are read from Linux's /proc")
def test_memory_of_a_long_backward_is_less_than_a_third_of_that_through_the_qr() -> None:
    """At T = 2000: what the process grows by at the most, in kilobytes."""
    mine, plain = (_grown(run) for run in ("lyapunov.exponent_sum", "through_qr"))
    assert mine <= plain / 3
    assert plain > 50_000  # so that the comparison is of something


def _grown(run: str) -> int:
    done = subprocess.run([sys.executable, "-c", MEASURE.format(run=run)], capture_output=True, text=True, check=True)
    return int(done.stdout.split()[-1])
