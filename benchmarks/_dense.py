"""Exponents as a textbook has them: the dense Jacobian of every step by reverse mode, and NumPy's QR.

Shares no code with the library. Steps are in float64, one sequence at a time.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

FLOOR = -30.0
"""Rates below that are rounding: a triangle of one step cannot show them."""


@dataclass(frozen=True)
class Dense:
    """A recurrence for the reference: `step(state, x) -> state`, a flat state (size,), one sequence's inputs (time, ...) each.

    `state`: where each sequence starts, (sequences, size).
    """

    step: Callable[[Tensor, Any], Tensor]
    state: Tensor
    inputs: Sequence[Any]
    vectorize: bool = True
    """Whether all rows of a Jacobian are computed together, which not all code bears."""

    @property
    def size(self) -> int:
        """Entries of the state."""
        return self.state.shape[-1]


def growth(part: Dense, frames: np.ndarray, settle: int) -> list[np.ndarray]:
    """ln |diag R| of every step after `settle`, for each sequence: (steps, columns)."""
    found = []
    for start, inputs, frame in zip(part.state, part.inputs, frames, strict=True):
        state, rows = start.detach().double(), []
        for at, x in enumerate(inputs):
            if at >= settle:
                frame, row = _pushed(part, state, x, frame)
                rows.append(row)
            with torch.no_grad():
                state = part.step(state, x)
        found.append(np.array(rows))
    return found


def _pushed(part: Dense, state: Tensor, x: Any, frame: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    with torch.enable_grad():
        jacobian = torch.autograd.functional.jacobian(lambda s: part.step(s, x), state, vectorize=part.vectorize).numpy()
    frame, triangle = np.linalg.qr(jacobian @ frame)
    with np.errstate(divide="ignore"):
        return frame, np.log(np.abs(np.diagonal(triangle)))


def exponents(grown: list[list[np.ndarray]], align: int, k: int) -> list[float]:
    """The k largest mean rates over all parts, each counted after `align` further steps."""
    means = [np.concatenate([rows[align:] for rows in part]).mean(0) for part in grown]
    ordered = sorted((float(rate) for mean in means for rate in mean), reverse=True)[:k]
    return [rate if rate > FLOOR else -math.inf for rate in ordered]


def lstm_step(weight_ih: Tensor, weight_hh: Tensor, bias_ih: Tensor, bias_hh: Tensor) -> Callable[[Tensor, Tensor], Tensor]:
    """(h, c) of one LSTM layer, in a row, from its weights."""
    weight_ih, weight_hh, bias_ih, bias_hh = (value.detach().double() for value in (weight_ih, weight_hh, bias_ih, bias_hh))
    units, bias = weight_hh.shape[1], bias_ih + bias_hh

    def step(state: Tensor, x: Tensor) -> Tensor:
        h, c = state[:units], state[units:]
        i, f, g, o = (weight_ih @ x + weight_hh @ h + bias).split(units)
        cell = torch.sigmoid(f) * c + torch.sigmoid(i) * torch.tanh(g)
        return torch.cat([torch.sigmoid(o) * torch.tanh(cell), cell])

    return step


def gru_step(weight_ih: Tensor, weight_hh: Tensor, bias_ih: Tensor, bias_hh: Tensor) -> Callable[[Tensor, Tensor], Tensor]:
    """h of one GRU layer from its weights."""
    weight_ih, weight_hh, bias_ih, bias_hh = (value.detach().double() for value in (weight_ih, weight_hh, bias_ih, bias_hh))
    units = weight_hh.shape[1]

    def step(h: Tensor, x: Tensor) -> Tensor:
        ir, iz, new = (weight_ih @ x + bias_ih).split(units)
        hr, hz, old = (weight_hh @ h + bias_hh).split(units)
        z = torch.sigmoid(iz + hz)
        return (1 - z) * torch.tanh(new + torch.sigmoid(ir + hr) * old) + z * h

    return step


def layer_step(module: Any, layer: int = 0) -> Callable[[Tensor, Tensor], Tensor]:
    """One layer of an `nn.LSTM` or `nn.GRU`, from its weights."""
    names = ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
    weights = [getattr(module, f"{name}_l{layer}") for name in names]
    return gru_step(*weights) if isinstance(module, torch.nn.GRU) else lstm_step(*weights)


def stacked(module: Any, inputs: Sequence[Tensor]) -> list[Dense]:
    """The layers of a whole `nn.LSTM` or `nn.GRU` from zeros, each along what the one below gives it in float64."""
    parts, below = [], [x.double() for x in inputs]
    for layer in range(module.num_layers):
        step = layer_step(module, layer)
        size = module.hidden_size * (2 if isinstance(module, torch.nn.LSTM) else 1)
        parts.append(Dense(step, torch.zeros(len(below), size), below))
        below = [run(step, torch.zeros(size, dtype=torch.float64), x)[:, : module.hidden_size] for x in below]
    return parts


def run(step: Callable[[Tensor, Any], Tensor], state: Tensor, inputs: Sequence[Any]) -> Tensor:
    """The states after each step: (time, size)."""
    states = []
    with torch.no_grad():
        for x in inputs:
            state = step(state, x)
            states.append(state)
    return torch.stack(states)
