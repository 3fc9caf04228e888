"""Small maps with their Jacobians written out: many steps of them cost little."""

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from lyapunov.systems import System

DTYPE = torch.float64
MU, TIME = 3.0, 0.05
ATTRACTION, TURN, SHEAR = (0.05, 0.02), (0.618033988749895 * 2, math.sqrt(2) / 3), 0.5
MIX = torch.linalg.qr(torch.randn(4, 4, dtype=DTYPE, generator=torch.Generator().manual_seed(41))).Q
"""The torus lies askew in its coordinates."""


class Map(System):
    """s' = step(s, x) with the Jacobian jacobian(s, x), (batch, n, n)."""

    def __init__(
        self, name: str, size: int, step: Callable[[Tensor, Any], Tensor], jacobian: Callable[[Tensor, Any], Tensor]
    ) -> None:
        self.name, self._size, self._step, self._jacobian = name, size, step, jacobian

    @property
    def block_sizes(self) -> tuple[int]:
        """One block with the rows of the state."""
        return (self._size,)

    def initial_state(self, batch: int, like: Tensor) -> Tensor:
        """Zeros."""
        return like.new_zeros(batch, self._size)

    def step(self, state: Tensor, x: Any) -> Tensor:
        """The map."""
        return self._step(state, x)

    def push(self, state: Tensor, x: Any, frames: tuple[Tensor, ...]) -> tuple[Tensor, tuple[Tensor, ...]]:
        """The next state, and the frame by the Jacobian."""
        return self._step(state, x), (self._jacobian(state, x) @ frames[0],)


def product(size: int) -> Map:
    """The inputs are the matrices."""
    return Map("matrix products", size, lambda state, x: (x @ state.unsqueeze(-1)).squeeze(-1), lambda _, x: x)


def integrate(state: Tensor, x: Tensor) -> Tensor:
    """Position and speed; the inputs push the speed."""
    position, speed = state.unbind(-1)
    return torch.stack([position + speed, speed + x[..., 0]], dim=-1)


def double_integrator() -> Map:
    """Its state grows like t^1.5 under noise; both exponents are zero."""
    matrix = torch.tensor([[1.0, 1.0], [0.0, 1.0]], dtype=DTYPE)
    return Map("double integrator", 2, integrate, lambda state, _: matrix.to(state).expand(len(state), 2, 2))


def van_der_pol_step(state: Tensor, _: Any) -> Tensor:
    """x'' = mu (1 - x^2) x' - x by Euler's rule."""
    x, y = state.unbind(-1)
    return state + TIME * torch.stack([y, MU * (1 - x**2) * y - x], dim=-1)


def _van_der_pol_jacobian(state: Tensor, _: Any) -> Tensor:
    x, y = state.unbind(-1)
    one = torch.ones_like(x)
    entries = [one, TIME * one, -TIME * (1 + 2 * MU * x * y), 1 + TIME * MU * (1 - x**2)]
    return torch.stack(entries, dim=-1).unflatten(-1, (2, 2))


def van_der_pol() -> Map:
    """A relaxation oscillation: speeds along the cycle differ a hundredfold."""
    return Map("van der Pol oscillator", 2, van_der_pol_step, _van_der_pol_jacobian)


def _oscillators(state: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Own coordinates (batch, 2, 2), how the length of each changes, and the turn (batch, 2, 2, 2) of each."""
    pairs = (state @ MIX.to(state)).unflatten(-1, (2, 2))
    excess = 1 - pairs.square().sum(-1)
    angle = state.new_tensor(TURN) + SHEAR * excess
    cos, sin = angle.cos(), angle.sin()
    turn = torch.stack([cos, -sin, sin, cos], dim=-1).unflatten(-1, (2, 2))
    return pairs, 1 + state.new_tensor(ATTRACTION) * excess, turn


def torus_step(state: Tensor, _: Any) -> Tensor:
    """Two oscillators z' = z (1 + a (1 - |z|^2)) exp(i (w + shear (1 - |z|^2)))."""
    pairs, scale, turn = _oscillators(state)
    turned = (turn @ pairs.unsqueeze(-1)).squeeze(-1)
    return (scale.unsqueeze(-1) * turned).flatten(-2) @ MIX.to(state).mT


def _torus_jacobian(state: Tensor, _: Any) -> Tensor:
    pairs, scale, turn = _oscillators(state)
    turned, row = turn @ pairs.unsqueeze(-1), pairs.unsqueeze(-2)
    across = torch.stack([-turned[..., 1, :], turned[..., 0, :]], dim=-2)
    wide = scale[..., None, None]
    own = wide * turn - 2 * state.new_tensor(ATTRACTION)[:, None, None] * turned @ row - 2 * SHEAR * wide * across @ row
    whole = state.new_zeros(len(state), 4, 4)
    whole[:, :2, :2], whole[:, 2:, 2:] = own[:, 0], own[:, 1]
    mix = MIX.to(state)
    return mix @ whole @ mix.mT


def torus() -> Map:
    """Exponents 0, 0, ln(1 - 2 a) of both: neutral along each circle, attracted to it."""
    return Map("two oscillators", 4, torus_step, _torus_jacobian)
