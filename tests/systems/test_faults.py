"""What a step must not do becomes `BadSystem` with a remedy: at once or at a later step, checked beforehand or not."""

import re
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import lyapunov
from cases import drawn

BATCH, UNITS = 3, 4
STATE = drawn(BATCH, UNITS, seed=1, scale=0.3)
W = drawn(UNITS, UNITS, seed=2, scale=0.4)
LATER = 31
"""Calls after which a step begins to fail."""


class OnlyForwards(torch.autograd.Function):
    @staticmethod
    def forward(ctx, h):
        return torch.tanh(h)


class OnlyBackwards(torch.autograd.Function):
    @staticmethod
    def forward(h):
        return torch.tanh(h)

    @staticmethod
    def setup_context(ctx, inputs, output):
        ctx.save_for_backward(output)

    @staticmethod
    def backward(ctx, grad):
        (y,) = ctx.saved_tensors
        return grad * (1 - y * y)


FAULTS: dict[str, tuple[Callable[..., Any], str]] = {
    "noise": (lambda h, _: torch.tanh(h) + torch.rand_like(h), "noise"),
    "dropout": (lambda h, _: nn.functional.dropout(torch.tanh(h), 0.5), "dropout"),
    "NumPy": (lambda h, _: torch.tanh(h) + torch.as_tensor(np.tanh(h.numpy())), "NumPy"),
    "NumPy, detached": (lambda h, _: torch.tanh(h) + torch.as_tensor(np.tanh(h.detach().numpy())), "NumPy"),
    "state in place": (lambda h, _: h.mul_(0.5), "in place"),
    "no derivative": (lambda h, _: OnlyForwards.apply(h), "forward-mode"),
    "reverse mode alone": (lambda h, _: OnlyBackwards.apply(h), "forward-mode"),
    "another shape": (lambda h, _: h[:, :3], "in the shape"),
    "another batch": (lambda h, _: h[:2], "in the shape"),
    "another structure": (lambda h, _: (h, h), "structure"),
    "nothing": (lambda h, _: None, "structure"),
    "a number": (lambda h, _: 0.5, "structure"),
    "another dtype": (lambda h, _: h.float(), "in the dtype it"),
    "sizes that do not fit": (lambda h, _: h @ torch.eye(7, dtype=h.dtype), r"\(state, x\)"),
    "a dtype that does not fit": (lambda h, _: h @ torch.eye(UNITS), "dtype"),
    "no such attribute": (lambda h, _: h.hidden, r"\(state, x\)"),
    "an index that is not there": (lambda h, _: h[:, 9], r"\(state, x\)"),
}


def from_later_on(step: Callable[..., Any]) -> Callable[..., Any]:
    calls = [0]

    def later(h: Tensor, x: Any) -> Any:
        calls[0] += 1
        return torch.tanh(h @ W) if calls[0] < LATER else step(h, x)

    return later


def assert_form(error: BaseException) -> None:
    assert re.match(r"Expected .+(got|but):? .+\. [A-Z].+", str(error), re.DOTALL), str(error)
    assert "\n" not in str(error)


@pytest.mark.parametrize("later", [False, True], ids=["at once", "later"])
@pytest.mark.parametrize("check", [True, False], ids=["checked", "unchecked"])
@pytest.mark.parametrize("name", FAULTS)
def test_a_fault_is_said_with_its_remedy(name: str, check: bool, later: bool) -> None:
    step, pattern = FAULTS[name]
    for options in ({}, {"from_initial_state": True}):
        run = from_later_on(step) if later else step
        with torch.random.fork_rng():
            found = raised(
                lambda run=run, options=options: lyapunov.spectrum(run, state=STATE, steps=50, k=2, check=check, **options)
            )
        assert isinstance(found, lyapunov.BadSystem), repr(found)
        if check and not later:
            assert re.search(pattern + "|deterministic|derivative", str(found)), str(found)
        else:
            assert re.search(pattern, str(found)), str(found)
        assert_form(found)


def raised(call: Callable[[], Any]) -> Exception | None:
    try:
        call()
    except Exception as error:
        return error
    return None


ANALYSES: dict[str, Callable[..., Any]] = {
    "local": lambda step, **to: lyapunov.local_exponents(step, state=STATE, steps=50, **to),
    "gradient": lambda step, **to: lyapunov.gradient_exponents(step, state=STATE, steps=50, lags=5, starts=2, **to),
    "covariant": lambda step, **to: lyapunov.covariant_vectors(step, state=STATE, steps=50, **to),
    "exponent_sum": lambda step, **to: lyapunov.exponent_sum(step, None, 2, state=STATE, steps=50, **to),
}


@pytest.mark.parametrize("later", [False, True], ids=["at once", "later"])
@pytest.mark.parametrize("name", ["noise", "NumPy", "no derivative", "another shape", "sizes that do not fit"])
@pytest.mark.parametrize("analysis", ANALYSES)
def test_every_analysis_says_it(analysis: str, name: str, later: bool) -> None:
    step = from_later_on(FAULTS[name][0]) if later else FAULTS[name][0]
    with torch.random.fork_rng(), pytest.raises(lyapunov.BadSystem) as caught:
        ANALYSES[analysis](step, check=False)
    assert_form(caught.value)


def test_the_users_own_error_is_the_cause() -> None:
    def step(h: Tensor, _: Any) -> Tensor:
        raise ValueError("the temperature is negative")

    with pytest.raises(lyapunov.BadSystem, match="ValueError: the temperature is negative") as caught:
        lyapunov.spectrum(step, state=STATE, steps=50, check=False)
    assert isinstance(caught.value.__cause__, ValueError)


@pytest.mark.parametrize("error", [KeyboardInterrupt, torch.OutOfMemoryError, AssertionError, lyapunov.InvalidInput])
def test_what_is_not_the_steps_fault_passes(error: type[BaseException]) -> None:
    def step(h: Tensor, _: Any) -> Tensor:
        raise error("as it is")

    with pytest.raises(error, match="as it is"):
        lyapunov.spectrum(step, state=STATE, steps=50, check=False)


def test_a_branch_within_a_transform_is_named() -> None:
    def step(h: Tensor, _: Any) -> Tensor:
        scale = torch.func.vmap(lambda row: row * 0.5 if row.sum() > 0 else row * 0.4)(h)
        return torch.tanh(scale)

    for check in (True, False):
        with pytest.raises(lyapunov.BadSystem, match=r"branches on values.*torch\.where"):
            lyapunov.spectrum(step, state=STATE, steps=50, check=check)


def test_gates_say_it_too() -> None:
    gates = lambda x: (x @ torch.eye(9, dtype=x.dtype), x)  # noqa: E731
    system = lyapunov.systems.Diagonal(gates, (UNITS,))
    with pytest.raises(lyapunov.BadSystem, match="got RuntimeError"):
        lyapunov.spectrum(system, drawn(BATCH, 30, UNITS, seed=3), check=False)
