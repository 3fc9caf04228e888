"""Sequences that are not what they seem: unequal, copied, in groups, not stationary, unbounded."""

import math

import pytest
import torch
from torch import nn

import lyapunov
from cases import drawn, seeded
from lyapunov.intake import independent
from lyapunov.systems import Diagonal, known

F64 = torch.float64


@pytest.mark.parametrize("lengths", [[1000, 30, 30], [1000, *[100] * 9], [300, 400, 500, 1000, 1000]])
def test_unequal_sequences_that_differ_are_covered_or_flagged(lengths: list[int]) -> None:
    """The truth is exactly -0.5: a(x) = exp(x) with E x = -0.5."""
    system = Diagonal(lambda x: (torch.exp(x), 0 * x), shape=(1,))
    held = flagged = 0
    for seed in range(20):
        batch = len(lengths)
        inputs = -0.5 + 0.3 * drawn(batch, 1, 1, seed=seed) + 0.1 * drawn(batch, 1000, 1, seed=100 + seed)
        found = lyapunov.spectrum(system, inputs, lengths=lengths, check=False)
        low, high = found.interval()[0].tolist()
        flagged += not found.verdict.converged
        held += found.verdict.converged and low <= -0.5 <= high
    assert held >= 0.8 * (20 - flagged)
    assert (flagged == 20) == (max(lengths) > sum(lengths) / 2)


MIXED = torch.linalg.qr(drawn(8, 8, seed=9)).Q
ADAPTING = {"state": torch.zeros(10, 8, dtype=F64), "carried": torch.zeros(10, 1, dtype=F64), "k": 2}


def slow_gain(h, x, slow, mixed=MIXED):
    return torch.tanh((0.3 + 60 * slow) * h @ mixed.T + x), slow + 0.005 * (0.01 - slow)


@pytest.mark.parametrize("given", [{}, {"settle": 3}, {"settle": 3, "align": 50}])
def test_a_slow_variable_that_is_carried_is_waited_for(given: dict[str, int]) -> None:
    found = lyapunov.spectrum(slow_gain, drawn(10, 300, 8, seed=1), **ADAPTING, **given)
    assert "copies of the state" in str(found.verdict)


def test_a_slow_variable_that_is_carried_is_right_in_the_end() -> None:
    def settled(h, x):
        return slow_gain(h, x, 0.01)[0]

    found = lyapunov.spectrum(slow_gain, drawn(10, 3000, 8, seed=1), **ADAPTING)
    truth = lyapunov.spectrum(settled, drawn(10, 3000, 8, seed=2), state=ADAPTING["state"], k=2)
    assert found.settings.settle > 500
    assert found.verdict.converged
    assert abs(found.max - truth.max) < 3 * math.hypot(float(found.standard_errors[0]), float(truth.standard_errors[0]))


@pytest.mark.parametrize("clock", [lambda t: t + 1, lambda t: t])
def test_clocks_and_constants_that_are_carried_are_not_waited_for(clock) -> None:
    def step(h, x, t):
        return torch.tanh((0.5 + 0.1 * torch.sin(t)) * h @ MIXED.T + x), clock(t)

    found = lyapunov.spectrum(step, drawn(10, 300, 8, seed=1), **ADAPTING)
    assert found.settings.settle < 10
    assert found.verdict.converged


def test_growth_that_changes_is_seen() -> None:
    """The gain rises with the inputs' clock; nothing in the state is slow."""

    def step(h, x):
        return torch.tanh((0.5 + x[:, :1]) * h @ MIXED.T + x[:, 1:])

    inputs = drawn(10, 400, 9, seed=1)
    inputs[..., 0] = torch.linspace(0, 0.4, 400)
    found = lyapunov.spectrum(step, inputs, state=ADAPTING["state"], k=2)
    assert "growth itself changes" in str(found.verdict)


@pytest.mark.parametrize("batch", [1, 5])
def test_a_state_that_grows_without_bound_has_no_dimension(batch: int) -> None:
    weights = seeded(nn.Linear, 30, 30, bias=False).weight.detach().double()
    weights = 1.5 * weights / torch.linalg.eigvals(weights).abs().max()
    drive = drawn(30, 1, seed=2)

    def step(h, u):
        return 0.7 * h + 0.3 * (u @ drive.T + h @ weights.T)

    inputs, state = drawn(batch, 1000, 1, seed=3), torch.zeros(batch, 30, dtype=F64)
    found = lyapunov.spectrum(step, inputs, state=state, k=3, settle=100, align=150)
    assert "unbounded" in found.verdict.kinds
    assert found.kaplan_yorke_dimension is None
    assert found.entropy_rate is None


def test_sequences_that_fall_into_groups_are_named() -> None:
    def step(h, x):
        first = torch.tanh(2.0 * h[:, :1] + 0.1 + 0.05 * x[:, :1])
        return torch.cat([first, torch.tanh((0.5 + 0.4 * first) * h[:, 1:] + x[:, 1:])], dim=-1)

    state = torch.full((6, 3), 0.5, dtype=F64)
    state[:3, 0] = -0.5
    found = lyapunov.spectrum(step, 0.3 * drawn(6, 800, 3, seed=5), state=state, k=1)
    assert "groups" in found.verdict.kinds
    assert "3 near" in str(found.verdict)


def test_copies_and_overlapping_windows_count_as_what_they_are() -> None:
    case = known.gaussian_tanh(16, 1.0, 1.0)
    one = case.inputs(1, 300, seed=1)
    assert independent(one.expand(10, -1, -1).transpose(0, 1), None) == pytest.approx(0.1)
    long = case.inputs(1, 570, seed=1)[0]
    windows = torch.stack([long[30 * at : 30 * at + 300] for at in range(10)], dim=1)
    assert independent(windows, None) == pytest.approx(0.19, abs=0.01)
    assert independent(case.inputs(10, 300, seed=1).transpose(0, 1), None) == 1.0
    text = torch.nn.functional.one_hot(torch.randint(0, 3, (300, 10), generator=torch.Generator().manual_seed(0)), 3).double()
    assert independent(text, None) == pytest.approx(1.0, abs=1e-3)
    apart = lyapunov.spectrum(case.system, case.inputs(10, 300, seed=1), k=1)
    copied = lyapunov.spectrum(case.system, one.expand(10, -1, -1), state=case.start(10, seed=2), k=1)
    assert copied.independent == pytest.approx(0.1)
    assert float(copied.standard_errors[0]) > 2 * float(apart.standard_errors[0])
    alone = lyapunov.spectrum(case.system, one, state=case.start(1, seed=2), k=1)
    assert float(copied.sampling_errors[0]) == pytest.approx(float(alone.sampling_errors[0]), rel=1e-3)


def test_sequences_with_a_stretch_in_common_have_the_error_that_they_differ_by() -> None:
    """Windows of a text share phrases and differ in all else: what they differ by counts as it does without the phrases."""
    offsets = torch.linspace(-0.3, 0.3, 10, dtype=F64).view(10, 1, 1)
    x = -0.5 + offsets + 0.01 * drawn(10, 300, 1, seed=21)
    x[:, 40:60] = x[:1, 40:60] - offsets[0]
    system = Diagonal(lambda drive: (torch.exp(drive), 0 * drive), shape=(1,))
    found = lyapunov.spectrum(system, x, k=1, settle=5, align=5)
    assert 0.9 < found.independent < 1
    between = float(found.per_sequence[:, 0].std()) / 10**0.5
    assert float(found.standard_errors[0]) >= between


def test_on_overlapping_windows_a_fluctuation_above_zero_is_not_chaos() -> None:
    """Chaotic sequences on the same inputs differ from each other. Copies of one fluctuation above zero do not show chaos."""
    case = known.gaussian_tanh(32, 2.0, 1.0)  # the largest exponent is near zero
    above = 0
    for seed in range(6):
        long = case.inputs(1, 760, seed=seed)[0]
        windows = torch.stack([long[40 * at : 40 * at + 400] for at in range(10)])
        found = lyapunov.spectrum(case.system, windows, k=1)
        above += float(found.exponents[0]) > 0
        assert found.independent == pytest.approx(0.19, abs=0.01)
    assert above


TURNS = torch.view_as_complex(torch.tensor([[math.cos(1.2), math.sin(1.2)], [math.cos(0.5), math.sin(0.5)]], dtype=F64))


ASKEW = torch.linalg.qr(drawn(4, 4, seed=41)).Q


def two_oscillators(state, _x, mixed=ASKEW):
    pairs = torch.view_as_complex((state @ mixed).unflatten(-1, (2, 2)))
    excess = 1 - pairs.abs().square()
    moved = pairs * (1 + torch.tensor([0.05, 0.02], dtype=F64) * excess) * TURNS * torch.exp(0.5j * excess)
    return torch.view_as_real(moved).flatten(-2) @ mixed.T


def test_a_torus_that_is_still_approached_is_not_chaos() -> None:
    """Its largest exponents are 0. What the approach leaves lies several small errors above, far below one over the steps."""
    state = drawn(10, 4, seed=1) / 2**0.5
    found = lyapunov.spectrum(two_oscillators, steps=1000, state=state, k=4, settle=20, align=20)
    assert 2 * float(found.standard_errors[0]) < float(found.exponents[0]) < 1e-3
    assert "too short" in found.verdict.kinds


def test_what_stands_behind_the_end_of_a_sequence_is_no_copy() -> None:
    inputs = torch.cat([drawn(60, 4, 2, seed=11), drawn(60, 1, 2, seed=13).expand(-1, 4, -1)])
    lengths = torch.tensor([30, 40, 50, 60])
    assert independent(inputs, lengths) == 1.0
    assert independent(inputs, None) < 0.8


def test_what_a_sequence_repeats_by_itself_is_no_copy() -> None:
    cycles = drawn(20, 3, 2, seed=12).repeat(10, 1, 1)
    assert independent(cycles, None) == 1.0
    cycles[:, 2] = cycles[:, 1].roll(7, dims=0)
    assert independent(cycles, None) == pytest.approx(2 / 3)


def test_copies_too_few_for_an_interval_are_not_converged() -> None:
    case = known.gaussian_tanh(16, 1.0, 1.0)
    for seed in range(4):
        copied = case.inputs(1, 120, seed=seed).expand(10, -1, -1)
        found = lyapunov.spectrum(case.system, copied, state=case.start(10, seed=2), k=1, settle=50, align=50)
        assert not found.verdict.converged or bool(found.interval()[0].isfinite().all())
