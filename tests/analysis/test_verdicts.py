"""What is computed along a trajectory says what speaks against it, in the words of a spectrum's verdict."""

from typing import Any

import pytest
import torch
from torch import nn

import lyapunov
from cases import drawn, seeded

GRU = seeded(nn.GRU, 3, 6, batch_first=True, scale=1.0)
LONG, SHORT = drawn(6, 400, 3, seed=1), drawn(2, 16, 3, seed=1)
ANALYSES = {
    "local": lambda system, inputs, **options: lyapunov.local_exponents(system, inputs, **{"k": 1, **options}),
    "covariant": lambda system, inputs, **options: lyapunov.covariant_vectors(system, inputs, **{"k": 1, **options}),
    "gradients": lambda system, inputs, **options: lyapunov.gradient_exponents(system, inputs, lags=4, k=1, **options),
}
ALIGNED = {"covariant": {"align": 250, "align_back": 10}}
"""Of vectors whose exponents are close: so many steps determine the first one."""


def slow(rate: float) -> Any:
    """Two directions that forget at the same slow rate, the inputs notwithstanding."""
    return lambda h, x: rate * h + x


@pytest.mark.parametrize("name", ANALYSES)
def test_enough_of_everything_is_converged_and_printed(name: str) -> None:
    found = ANALYSES[name](GRU, LONG, **ALIGNED.get(name, {}))
    assert isinstance(found.verdict, lyapunov.Verdict)
    assert found.verdict.converged, str(found.verdict)
    assert repr(found).splitlines()[-1] == "verdict: converged"


@pytest.mark.parametrize("name", ANALYSES)
def test_nothing_discarded_is_finite_time(name: str) -> None:
    assert ANALYSES[name](GRU, LONG, settle=0, **ALIGNED.get(name, {})).verdict.kinds == ("finite-time",)


@pytest.mark.parametrize("name", ANALYSES)
@pytest.mark.parametrize("settle", [None, 30])
def test_a_state_that_has_not_settled_is_named_with_the_steps_that_would_do(name: str, settle: int | None) -> None:
    """At 0.98 a difference has 0.545 left after 30 steps, and needs 228 for a hundredth."""
    options = {"state": drawn(4, 1, seed=3), "settle": settle}
    verdict = ANALYSES[name](slow(0.98), drawn(4, 120, 1, seed=2), **options).verdict
    assert verdict.kinds == ("too short",)
    assert "54.5% apart after 30 steps" in str(verdict)
    options |= {"settle": 228}
    assert ANALYSES[name](slow(0.98), drawn(4, 400, 1, seed=2), **options).verdict.converged
    faster = ANALYSES[name](slow(0.9), drawn(4, 120, 1, seed=2), state=drawn(4, 1, seed=3), settle=20).verdict
    assert "About 44 would do: pass that as settle." in str(faster)


@pytest.mark.parametrize("name", ANALYSES)
def test_a_chaotic_state_need_not_forget_its_start(name: str) -> None:
    chaotic = {"system": lambda x, _: 4 * x * (1 - x), "state": drawn(20, 1, seed=1).abs() / 10, "steps": 200, "settle": 10}
    verdict = ANALYSES[name](chaotic.pop("system"), None, **chaotic).verdict
    assert "apart" not in str(verdict)


def test_a_frame_that_has_not_aligned_is_named_with_the_steps_that_would_do() -> None:
    """Diagonal factors 0.9 and 0.8 that turn into each other by 1 - 1/9 a step."""
    step = lambda h, x: h * torch.tensor([0.9, 0.8]).double() + x  # noqa: E731
    inputs, state = drawn(4, 300, 2, seed=2), drawn(4, 2, seed=3)
    short = lyapunov.local_exponents(step, inputs, state=state, settle=60, align=4)
    assert short.verdict.kinds == ("too short",)
    assert "two random frames still differed" in str(short.verdict)
    wanted = int(str(short.verdict).split("About ")[1].split()[0])
    assert lyapunov.local_exponents(step, inputs, state=state, settle=60, align=wanted).verdict.converged
    none = lyapunov.local_exponents(step, inputs, state=state, settle=60, align=0)
    assert "no step was left to align" in str(none.verdict)


def test_vectors_that_are_not_determined_are_named() -> None:
    found = lyapunov.covariant_vectors(GRU, LONG[:, :40], k=3, settle=10, align=2, align_back=2)
    wrong = [str(at + 1) for at in range(3) if not bool(found.converged[at])]
    assert wrong
    assert f"vector{'s' * (len(wrong) > 1)} {', '.join(wrong)} by up to" in str(found.verdict)


@pytest.mark.parametrize("name", ["local", "covariant"])
def test_growth_that_stays_correlated_for_too_long_has_no_error(name: str) -> None:
    """One factor of two that lasts for 25 steps at a time."""
    factors = torch.where(torch.arange(100) // 25 % 2 == 0, 0.5, 0.9).double().expand(1, 100).unsqueeze(-1)
    verdict = ANALYSES[name](lambda h, x: h * x, factors, state=torch.ones(1, 1).double(), settle=10).verdict
    assert "too few for an error" in str(verdict)


def test_gradients_without_an_error_and_below_the_arithmetic_say_so() -> None:
    one = lyapunov.gradient_exponents(GRU, LONG[:1], lags=4, k=1, starts=1)
    assert "one starting time of one sequence has no error" in str(one.verdict)
    turn = torch.tensor([0.9, 1e-3]).double()
    options = {"state": drawn(4, 2, seed=3), "settle": 100}
    lost = lyapunov.gradient_exponents(lambda h, x: h * turn + x, drawn(4, 200, 2, seed=2), lags=20, **options)
    assert lost.verdict.kinds == ("unreliable tail",)
    assert "from number 2 on. Pass k=1 to leave them out" in str(lost.verdict)


def test_the_spectrum_beside_a_growth_agrees_and_has_a_verdict() -> None:
    """What the documentation of `exponent_sum` says to ask, once, beside a training."""
    found = lyapunov.spectrum(GRU, LONG, k=3, coupled=True)
    assert found.verdict.converged
    settings = {"settle": found.settings.settle, "align": found.settings.align}
    with torch.no_grad():
        value = lyapunov.exponent_sum(GRU, LONG, 3, **settings)
    assert float(value) == pytest.approx(float(found.exponents.sum()), abs=float(found.standard_errors.sum()))
    assert lyapunov.spectrum(GRU, SHORT, k=3, coupled=True, from_initial_state=True).verdict.kinds[0] == "finite-time"
