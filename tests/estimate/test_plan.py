"""The planner: the error asked for is the error got."""

import pytest
import torch

import lyapunov
from cases import drawn
from lyapunov.systems import known

CASE = known.gaussian_products(3)


def run(batch: int, steps: int, seed: int, **options) -> lyapunov.Spectrum:
    return lyapunov.spectrum(CASE.system, CASE.inputs(batch, steps + 10, seed=seed), settle=0, align=10, check=False, **options)


@pytest.mark.parametrize("wanted", [0.01, 0.02])
def test_the_standard_error_asked_for_is_met_within_20_percent(wanted: float) -> None:
    """By the spread of 120 runs at the plan's size (known to 6.5 %), from a pilot whose variance is known to 5 %."""
    plan = lyapunov.plan(run(20, 100, seed=0, k=1), standard_error=wanted)
    assert plan.standard_error <= wanted
    whole = run(120 * plan.sequences, plan.steps, seed=1, k=1).per_sequence[:, 0]
    spread = float(whole.view(120, plan.sequences).mean(1).std())
    assert spread == pytest.approx(wanted, rel=0.2)


def test_where_sequences_truly_differ_only_more_of_them_help() -> None:
    """Each sequence has a factor of its own, of standard deviation 0.1: error^2 = within / (B T) + 0.01 / B."""
    own = (0.1 * drawn(40, 1, 1, 1, seed=360)).exp()
    inputs = CASE.inputs(40, 210) * own
    pilot = lyapunov.spectrum(CASE.system, inputs, settle=0, align=10, check=False, k=1)
    plan = lyapunov.plan(pilot, standard_error=0.01)
    assert plan.between == pytest.approx(0.01, rel=0.5)
    assert plan.sequences >= plan.between / 0.01**2
    assert "truly differ" in str(plan)
    assert plan.total == plan.sequences * (plan.steps + 10)


def test_longer_sequences_are_cheaper_where_they_do_not_differ_unless_there_are_none() -> None:
    pilot = run(20, 100, seed=0, k=1)
    free, bound = lyapunov.plan(pilot, standard_error=0.005), lyapunov.plan(pilot, standard_error=0.005, longest=60)
    assert free.between == 0
    assert bound.steps == 50
    assert bound.sequences > free.sequences
    assert free.total < bound.total
    assert "any split will do" in str(free)


def test_the_mean_can_be_planned_for() -> None:
    plan = lyapunov.plan(run(20, 100, seed=0), standard_error=0.01, exponent="mean")
    means = run(60 * plan.sequences, plan.steps, seed=2).per_sequence.mean(-1).view(60, -1).mean(1)
    assert float(means.std()) == pytest.approx(0.01, rel=0.3)


def test_what_cannot_be_planned_says_what_to_do() -> None:
    pilot = run(20, 100, seed=0, k=1)
    with pytest.raises(lyapunov.InvalidInput, match="above zero"):
        lyapunov.plan(pilot, standard_error=0.0)
    with pytest.raises(lyapunov.InvalidInput, match="from 1 to 1"):
        lyapunov.plan(pilot, standard_error=0.1, exponent=2)
    with pytest.raises(lyapunov.InvalidInput, match="mean of all exponents"):
        lyapunov.plan(pilot, standard_error=0.1, exponent="mean")
    lost = lyapunov.spectrum(lambda h, x: torch.tanh(x), drawn(2, 40, 4, seed=361), state=torch.zeros(2, 4))
    with pytest.raises(lyapunov.InvalidInput, match="finite exponent"):
        lyapunov.plan(lost, standard_error=0.1)
    with pytest.raises(lyapunov.InvalidInput, match="Use several"):
        lyapunov.plan(lyapunov.spectrum(CASE.system, CASE.inputs(1, 6), settle=0, align=3, k=1), standard_error=0.1)
