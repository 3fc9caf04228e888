"""A step whose arguments are the wrong way round, as PyTorch's cells have them, is refused; ordinary names are not."""

from functools import partial
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import lyapunov
from cases import drawn, seeded
from lyapunov.systems.arguments import require_order

BATCH, STEPS, UNITS = 3, 40, 5
INPUTS, STATE = drawn(BATCH, STEPS, UNITS, seed=1), torch.zeros(BATCH, UNITS, dtype=torch.float64)
CELL = seeded(nn.GRUCell, UNITS, UNITS, scale=1.0)
LSTM_CELL = seeded(nn.LSTMCell, UNITS, UNITS, scale=1.0)


class OwnCell(nn.Module):
    """A user's own cell, in PyTorch's order."""

    def __init__(self) -> None:
        super().__init__()
        self.w, self.u = nn.Linear(UNITS, UNITS), nn.Linear(UNITS, UNITS)

    def forward(self, input: Tensor, hx: Tensor) -> Tensor:
        return torch.tanh(self.w(input) + self.u(hx))

    def other(self, x: Tensor, h_prev: Tensor) -> Tensor:
        return self(x, h_prev)


OWN = seeded(OwnCell, scale=1.0)


def named(x: Tensor, h: Tensor) -> Tensor:
    return CELL(x, h)


def with_more(x_t: Tensor, state: Tensor, scale: float = 1.0) -> Tensor:
    return scale * CELL(x_t, state)


SWAPPED = {
    "lambda": lambda x, h: CELL(x, h),
    "function": named,
    "more parameters": with_more,
    "partial": partial(with_more, scale=0.5),
    "module": OWN,
    "method": OWN.other,
    "inputs, hidden": lambda inputs, hidden: CELL(inputs, hidden),
    "u, prev_state": lambda u, prev_state: CELL(u, prev_state),
    "token, hx": lambda token, hx: CELL(token, hx),
    "no module": lambda x, hidden_state: torch.tanh(x + 0.5 * hidden_state),
}


@pytest.mark.parametrize("check", [True, False])
@pytest.mark.parametrize("name", SWAPPED)
def test_a_step_named_the_wrong_way_round_is_refused(name: str, check: bool) -> None:
    with pytest.raises(lyapunov.BadSystem, match=r"state first, got .*Wrap it: lambda state, x: \w+\(x, state\)"):
        lyapunov.spectrum(SWAPPED[name], INPUTS, state=STATE, k=2, check=check)


def test_every_analysis_refuses_it() -> None:
    for analysis in (lyapunov.local_exponents, lyapunov.gradient_exponents, lyapunov.covariant_vectors, lyapunov.exponent_sum):
        with pytest.raises(lyapunov.BadSystem, match="Wrap it"):
            analysis(named, INPUTS, state=STATE)


def test_with_carried_values_it_is_refused_too() -> None:
    def step(x: Tensor, h: Tensor, carried: Tensor) -> tuple[Tensor, Tensor]:
        return CELL(x, h), carried

    with pytest.raises(lyapunov.BadSystem, match="Wrap it"):
        lyapunov.spectrum(step, INPUTS, state=STATE, carried=torch.zeros(BATCH))


def lstm(a: tuple[Tensor, Tensor], b: tuple[Tensor, Tensor]) -> Any:
    return LSTM_CELL(a[0], b), b


UNNAMED = {
    "PyTorch's cell": lambda a, b: CELL(a, b),
    "own cell": lambda a, b: OWN(a, b),
    "by keywords": lambda a, b: CELL(hx=b, input=a),
    "layer": lambda a, b: LAYER(a.unsqueeze(1), b.unsqueeze(0))[1][0],
    "right names, wrong call": lambda state, x: CELL(state, x),
}
LAYER = seeded(nn.GRU, UNITS, UNITS, batch_first=True, scale=1.0)


@pytest.mark.parametrize("name", UNNAMED)
def test_a_cell_that_is_called_the_wrong_way_round_is_seen(name: str) -> None:
    with pytest.raises(lyapunov.BadSystem, match=r"to (GRU|GRUCell|OwnCell)\(input, hx\) as the input.*Swap them"):
        lyapunov.spectrum(UNNAMED[name], INPUTS, state=STATE, k=2)


RIGHT = {
    "state, x": lambda state, x: CELL(x, state),
    "h, x": lambda h, x: CELL(x, h),
    "s, u": lambda s, u: CELL(u, s),
    "unknown": lambda a, b: CELL(b, a),
    "control's names": lambda x, u: CELL(u, x),
    "x, forcing": lambda x, forcing: torch.tanh(0.5 * x + forcing),
    "x, signal": lambda x, s: torch.tanh(0.5 * x + s),
    "hidden, inputs": lambda hidden, inputs: OWN(inputs, hidden),
    "underscores": lambda _, __: CELL(__, _),
    "starred": lambda *both: CELL(both[1], both[0]),
    "state fed back": lambda h, x: CELL(torch.tanh(h + x), h),
    "state as input alone": lambda h, x: torch.tanh(OWN.w(h) + x),
}


@pytest.mark.parametrize("name", RIGHT)
def test_steps_the_right_way_round_run(name: str) -> None:
    found = lyapunov.spectrum(RIGHT[name], INPUTS, state=STATE, k=2)
    assert torch.isfinite(found.exponents).all()


def test_without_inputs_the_names_say_nothing() -> None:
    found = lyapunov.spectrum(lambda x, state: torch.tanh(1.2 * x) * 0.9, state=STATE + 0.1, steps=50, k=1)
    assert torch.isfinite(found.exponents).all()


def test_the_two_ways_round_are_different_numbers() -> None:
    """So that the refusal matters: both run, and one is wrong."""
    right = lyapunov.spectrum(RIGHT["h, x"], INPUTS, state=STATE, k=1)
    wrong = lyapunov.spectrum(UNNAMED["PyTorch's cell"], INPUTS, state=STATE, k=1, check=False)
    assert abs(right.max - wrong.max) > 0.05


def test_hooks_are_gone_afterwards() -> None:
    lyapunov.spectrum(RIGHT["h, x"], INPUTS, state=STATE, k=1)
    assert not CELL._forward_pre_hooks


@pytest.mark.parametrize("function", [torch.tanh, max, 3, print, object()], ids=["tanh", "max", "int", "print", "object"])
def test_what_has_no_names_passes(function: Any) -> None:
    require_order(function)
