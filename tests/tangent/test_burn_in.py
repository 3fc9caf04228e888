"""Copies of the state that start elsewhere: how long they take to come together, and whether they do."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from lyapunov.intake import PaddedSequences
from lyapunov.systems import Step
from lyapunov.tangent import DEFAULT_BURN_IN, RolloutOptions, TangentPropagator, Workers, remaining_distance
from lyapunov.tangent.criteria.burn_in import AT_LEAST, MERGED_RATIO, TIMES_AROUND, BurnIn, find_burn_in

F64 = torch.float64
STEPS = 400


def run(function: Callable[..., Any], start: Tensor, carried: Tensor | None = None) -> tuple[Any, ...]:
    """System, inputs of 1 at all steps, step and state."""
    system = Step(function, start[:1], dtype=F64, carried=None if carried is None else carried[:1])
    values = torch.ones(STEPS, len(start), 1, dtype=F64)
    state = start if carried is None else (start, carried)
    return system, PaddedSequences(values, len(start), STEPS), lambda s, t: system.step(s, values[t]), state


def settled(
    function: Callable[..., Any], start: Tensor, carried: Tensor | None = None, *, settle: int | None = None, **given: Any
) -> BurnIn:
    options = RolloutOptions(**{"steps": STEPS, "settle": settle, "align": 0, "longest_settle": 300, **given})
    with torch.no_grad():
        return find_burn_in(*run(function, start, carried), options)


def test_copies_come_together_at_the_rate_of_the_state() -> None:
    """0.8^21 is the first power below a hundredth."""
    found = settled(lambda h, x: 0.8 * h + x, torch.zeros(3, 1, dtype=F64))
    assert found.steps == 21
    assert found.distance == pytest.approx(0.8**21)
    assert float(found.state[0]) == pytest.approx((1 - 0.8**21) / 0.2)


def test_copies_of_sequences_on_attractors_of_their_own_stay_apart() -> None:
    """Each sequence has arrived already; only the other's end shows that there is more than one."""
    fixed = torch.ones(1, 1, dtype=F64)
    for _ in range(200):
        fixed = torch.tanh(2 * fixed)
    found = settled(lambda h, _: torch.tanh(2 * h), torch.cat([fixed, -fixed]))
    assert (found.steps, found.distance) == (DEFAULT_BURN_IN, pytest.approx(1.0))
    parted = apart(lambda h, _: torch.tanh(2 * h), torch.cat([fixed, -fixed]))
    torch.testing.assert_close(parted, torch.ones(2, dtype=F64))


def apart(function: Callable[..., Any], start: Tensor, carried: Tensor | None = None) -> Tensor:
    system, inputs, _, state = run(function, start, carried)
    return remaining_distance(system, inputs, lambda those: TangentPropagator(system, those, Workers()).step, state, STEPS)


def test_what_is_carried_starts_elsewhere_too() -> None:
    """The copy's slow variable is that of the end, 1 away; state and variable are linear, so their distances are known."""

    def step(h: Tensor, x: Tensor, slow: Tensor) -> tuple[Tensor, Tensor]:
        return 0.5 * h + slow * x, slow + 0.05 * (1 - slow)

    state, slow = 0.0, 0.0
    for _ in range(300):
        state, slow = 0.5 * state + slow, slow + 0.05 * (1 - slow)
    start, wanted = state, 0
    while state > 0.01 * start:
        state, slow, wanted = 0.5 * state + slow, 0.95 * slow, wanted + 1
    assert wanted > 80
    assert settled(step, torch.zeros(2, 1, dtype=F64), torch.zeros(2, 1, dtype=F64)).steps == wanted


@pytest.mark.parametrize("clock", [lambda t: t + 1.0, lambda t: t])
def test_a_clock_that_is_carried_does_not_start_elsewhere(clock: Callable[[Tensor], Tensor]) -> None:
    def step(h: Tensor, x: Tensor, t: Tensor) -> tuple[Tensor, Tensor]:
        return 0.5 * h + (1 + t) * x, clock(t)

    zeros = torch.zeros(2, 1, dtype=F64)
    assert settled(step, zeros, zeros).steps == 7  # 0.5^7 < 0.01


def test_copies_that_stay_apart_are_followed_for_longer_than_the_inputs_unless_something_is_carried() -> None:
    zeros = torch.zeros(2, 1, dtype=F64)
    alone = apart(lambda h, x: 0.9999 * h + x, zeros)
    assert float(alone[0]) == pytest.approx(0.9999 ** (TIMES_AROUND * STEPS))
    counting = apart(lambda h, x, c: (0.999 * h + x, c + 1), zeros, torch.zeros(2, 1, dtype=torch.long))
    assert float(counting[0]) == pytest.approx(0.999**STEPS)


def test_large_states_are_followed_for_fewer_steps_and_none_beyond_where_copies_come_together() -> None:
    large = apart(lambda h, x: 0.9999 * h + x, torch.zeros(2, 3000, dtype=F64))
    assert float(large[0]) == pytest.approx(0.9999**AT_LEAST)
    soon = apart(lambda h, x: 0.9 * h + x, torch.zeros(2, 1, dtype=F64))
    assert 0.9**40 * MERGED_RATIO < float(soon[0]) <= MERGED_RATIO


def test_a_settle_that_is_given_is_looked_at_unless_it_was_before() -> None:
    zeros = torch.zeros(2, 1, dtype=F64)
    found = settled(lambda h, x: 0.8 * h + x, zeros, settle=5)
    assert (found.steps, found.distance) == (5, pytest.approx(0.8**5))
    assert settled(lambda h, x: 0.8 * h + x, zeros, settle=5, align=10).distance == pytest.approx(0.8**15)
    assert settled(lambda h, x: 0.8 * h + x, zeros, settle=5, follow_copies=False).distance is None


def test_each_time_around_sequences_go_on_along_the_next_ones_inputs() -> None:
    """Copies come together along the third sequence's inputs alone, and every sequence gets to them."""
    values = torch.ones(STEPS, 3, 1, dtype=F64)
    values[:, 2] = 0.99
    start = torch.tensor([[1.0], [2.0], [4.0]], dtype=F64)
    system = Step(lambda h, x: x * h, start[:1], dtype=F64)
    with torch.no_grad():
        inputs = PaddedSequences(values, 3, STEPS)
        left = remaining_distance(system, inputs, lambda those: lambda s, t: system.step(s, those.at(t)), start, STEPS)
    assert bool((left < 0.01).all())


def test_chaotic_copies_that_come_near_each_other_by_chance_have_not_come_together() -> None:
    start = torch.rand(20, 1, dtype=F64, generator=torch.Generator().manual_seed(1))
    left = apart(lambda s, x: 3.9 * s * (1 - s), start)
    assert bool((left > MERGED_RATIO).all())


@pytest.mark.parametrize("seed", range(4))
def test_a_transient_that_may_end_at_any_time_is_seen_on_some_copy(seed: int) -> None:
    """The logistic map with a hole of 2e-4 that leads to a fixed point: chaos lasts for 7000 steps in the mean."""

    def step(h: Tensor, _: Tensor) -> Tensor:
        inside = (h - 0.3).abs() > 1e-4
        return torch.where((h > 0) & inside, 4 * h * (1 - h), -1.0 + 0.1 * (h + 1))

    parted = apart(step, torch.rand(1, 1, generator=torch.Generator().manual_seed(seed), dtype=F64))
    assert float(parted.max()) <= MERGED_RATIO


def test_copies_of_a_short_sequence_do_not_step_along_its_padding() -> None:
    values = torch.ones(STEPS, 2, 1, dtype=F64)
    values[50:, 1] = torch.nan
    inputs, start = PaddedSequences(values, 2, STEPS, torch.tensor([STEPS, 50])), torch.zeros(2, 1, dtype=F64)
    system = Step(lambda h, x: 0.9 * h + x, start[:1], dtype=F64)
    left = remaining_distance(system, inputs, lambda those: TangentPropagator(system, those, Workers()).step, start, STEPS)
    assert bool(left.isfinite().all())
