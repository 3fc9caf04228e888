"""Chaotic flows of three variables, as maps over one step of an integrator, each with published exponents.

Exponents are per unit of time: pass `dt=case.dt`. Those of Sprott are of the tables in the appendix of "Chaos and Time-Series
Analysis" (2003), nats per unit of time, and taken as right to their last digit: that is `precision`.
"""

from collections.abc import Callable

import torch
from torch import Tensor

from lyapunov._shapes import Frames, Input
from lyapunov.systems.known_case import DTYPE, Known, Start, around, uniform
from lyapunov.systems.system import System

Field = Callable[[Tensor], Tensor]
_STAGES = ((1 / 6, 0.5), (1 / 3, 0.5), (1 / 3, 1.0), (1 / 6, 0.0))
"""Of fourth-order Runge-Kutta: the weight of each stage, and how far along it the next one is taken."""
_SPROTT = "J. C. Sprott, Chaos and Time-Series Analysis (2003), appendix A"


class Flow(System):
    """ds/dt = field(s) over one step `dt` of fourth-order Runge-Kutta, whose stages carry the frame along.

    field: (batch, n) -> (batch, n). along(state, frame): its Jacobian times (batch, n, k).
    """

    def __init__(self, name: str, size: int, field: Field, along: Callable[[Tensor, Tensor], Tensor], dt: float) -> None:
        self.name, self._size, self._field, self._along, self._dt = name, size, field, along, dt

    @property
    def block_sizes(self) -> tuple[int]:
        """One block, with a row per variable."""
        return (self._size,)

    def initial_state(self, batch: int, like: Tensor) -> Tensor:
        """Ones; `Known.start` draws states near the attractor."""
        return like.new_ones(batch, self._size)

    def step(self, state: Tensor, x: Input) -> Tensor:  # noqa: ARG002
        """One step of the integrator."""
        new = at = state
        for weight, ahead in _STAGES:
            slope = self._field(at)
            new, at = new + weight * self._dt * slope, state + ahead * self._dt * slope
        return new

    def push(self, state: Tensor, x: Input, frames: Frames) -> tuple[Tensor, Frames]:  # noqa: ARG002
        """The step and its exact derivative, stage by stage."""
        (frame,) = frames
        new, at, moved, along = state, state, frame, frame
        for weight, ahead in _STAGES:
            slope, tangent = self._field(at), self._along(at, along)
            new, at = new + weight * self._dt * slope, state + ahead * self._dt * slope
            moved, along = moved + weight * self._dt * tangent, frame + ahead * self._dt * tangent
        return new, (moved,)


def lorenz(dt: float = 0.01) -> Known:
    """Lorenz 1963 at (10, 28, 8/3) by fourth-order Runge-Kutta: 0.9056, 0, -14.572 per unit of time (sum -41/3).

    Args:
        dt: the step of the integrator, in the system's unit of time.

    Returns:
        A `Known` system.

    Example:
        >>> case = lyapunov.known.lorenz()
        >>> case.start(2).shape[0]
        2
    """

    def field(x: Tensor, y: Tensor, z: Tensor) -> list[Tensor]:
        return [10 * (y - x), x * (28 - z) - y, x * y - 8 / 3 * z]

    def jacobian(x: Tensor, y: Tensor, z: Tensor) -> list[Tensor | float]:
        return [-10, 10, 0, 28 - z, -1, -x, y, x, -8 / 3]

    source = "Lorenz 1963; exponents as in Sprott 2003; 1e-4 of discretization at dt = 0.01"
    return _flow("Lorenz flow", field, jacobian, [0.9056, 0.0, -14.572], uniform(1, 10, 3), dt, source=source, precision=1e-3)


def rossler(dt: float = 0.04) -> Known:
    """Rossler 1976 at a = b = 0.2, c = 5.7: 0.0714, 0, -5.3943 per unit of time.

    Args:
        dt: the step of the integrator, in the system's unit of time.

    Returns:
        A `Known` system.

    Example:
        >>> case = lyapunov.known.rossler()
        >>> case.start(2).shape[0]
        2
    """

    def field(x: Tensor, y: Tensor, z: Tensor) -> list[Tensor]:
        return [-y - z, x + 0.2 * y, 0.2 + z * (x - 5.7)]

    def jacobian(x: Tensor, y: Tensor, z: Tensor) -> list[Tensor | float]:  # noqa: ARG001
        return [0, -1, -1, 1, 0.2, 0, z, 0, x - 5.7]

    return _flow("Rossler flow", field, jacobian, [0.0714, 0.0, -5.3943], _all_phases, dt)


def _all_phases(batch: int, generator: torch.Generator) -> Tensor:
    """Starts all round the attractor, whose phase stays coherent: from one phase, sequences end within the same turn."""
    radius, phase = (torch.rand(batch, dtype=DTYPE, generator=generator) for _ in range(2))
    return torch.stack([(4 + 4 * radius) * (6.2832 * phase).cos(), (4 + 4 * radius) * (6.2832 * phase).sin(), 0 * phase], -1)


def chen(dt: float = 0.004) -> Known:
    """Chen & Ueta 1999 at (35, 3, 28): 2.0272, 0, -12.0272 per unit of time (sum -10).

    Args:
        dt: the step of the integrator, in the system's unit of time.

    Returns:
        A `Known` system.

    Example:
        >>> case = lyapunov.known.chen()
        >>> case.start(2).shape[0]
        2
    """

    def field(x: Tensor, y: Tensor, z: Tensor) -> list[Tensor]:
        return [35 * (y - x), -7 * x - x * z + 28 * y, x * y - 3 * z]

    def jacobian(x: Tensor, y: Tensor, z: Tensor) -> list[Tensor | float]:
        return [-35, 35, 0, -7 - z, 28, -x, y, x, -3]

    return _flow("Chen flow", field, jacobian, [2.0272, 0.0, -12.0272], around(-10, 0, 37, spread=1), dt)


def thomas(dt: float = 0.2) -> Known:
    """Thomas 1999, x' = sin y - b x and so on round, at b = 0.18: 0.0349, 0, -0.5749 per unit of time (sum -3 b).

    Args:
        dt: the step of the integrator, in the system's unit of time.

    Returns:
        A `Known` system.

    Example:
        >>> case = lyapunov.known.thomas()
        >>> case.start(2).shape[0]
        2
    """

    def field(x: Tensor, y: Tensor, z: Tensor) -> list[Tensor]:
        return [y.sin() - 0.18 * x, z.sin() - 0.18 * y, x.sin() - 0.18 * z]

    def jacobian(x: Tensor, y: Tensor, z: Tensor) -> list[Tensor | float]:
        return [-0.18, y.cos(), 0, 0, -0.18, z.cos(), x.cos(), 0, -0.18]

    return _flow("Thomas flow", field, jacobian, [0.0349, 0.0, -0.5749], uniform(-1, 1, 3), dt)


def halvorsen(dt: float = 0.01) -> Known:
    """x' = -a x - 4 y - 4 z - y^2 and so on round, at a = 1.27: 0.7899, 0, -4.5999 per unit of time (sum -3 a).

    Args:
        dt: the step of the integrator, in the system's unit of time.

    Returns:
        A `Known` system.

    Example:
        >>> case = lyapunov.known.halvorsen()
        >>> case.start(2).shape[0]
        2
    """

    def field(x: Tensor, y: Tensor, z: Tensor) -> list[Tensor]:
        def one(x: Tensor, y: Tensor, z: Tensor) -> Tensor:
            return -1.27 * x - 4 * y - 4 * z - y**2

        return [one(x, y, z), one(y, z, x), one(z, x, y)]

    def jacobian(x: Tensor, y: Tensor, z: Tensor) -> list[Tensor | float]:
        return [-1.27, -4 - 2 * y, -4, -4, -1.27, -4 - 2 * z, -4 - 2 * x, -4, -1.27]

    return _flow("Halvorsen flow", field, jacobian, [0.7899, 0.0, -4.5999], around(-5, 0, 0, spread=0.1), dt)


def windmi(dt: float = 0.1) -> Known:
    """x''' = -a x'' - x' + b - exp x at (0.7, 2.5): 0.0755, 0, -0.7755 per unit of time (sum -a).

    Args:
        dt: the step of the integrator, in the system's unit of time.

    Returns:
        A `Known` system.

    Example:
        >>> case = lyapunov.known.windmi()
        >>> case.start(2).shape[0]
        2
    """

    def field(x: Tensor, y: Tensor, z: Tensor) -> list[Tensor]:
        return [y, z, -0.7 * z - y + 2.5 - x.exp()]

    def jacobian(x: Tensor, y: Tensor, z: Tensor) -> list[Tensor | float]:  # noqa: ARG001
        return [0, 1, 0, 0, 0, 1, -x.exp(), -1, -0.7]

    return _flow("WINDMI flow", field, jacobian, [0.0755, 0.0, -0.7755], around(0, 0.8, 0, spread=0.01), dt)


def _flow(
    name: str,
    field: Callable[[Tensor, Tensor, Tensor], list[Tensor]],
    jacobian: Callable[[Tensor, Tensor, Tensor], list[Tensor | float]],
    exponents: list[float],
    start: Start,
    dt: float,
    *,
    source: str = _SPROTT,
    precision: float = 5e-5,
) -> Known:
    """A flow of three variables from its field and the nine entries of its Jacobian, row by row."""

    def slope(state: Tensor) -> Tensor:
        return torch.stack(field(*state.unbind(-1)), dim=-1)

    def along(state: Tensor, frame: Tensor) -> Tensor:
        entries = jacobian(*state.unbind(-1))
        one = torch.ones_like(state[..., 0])
        filled = [entry if isinstance(entry, Tensor) else entry * one for entry in entries]
        return torch.stack(filled, dim=-1).reshape(-1, 3, 3) @ frame

    return Known(
        Flow(name, 3, slope, along, dt), torch.tensor(exponents, dtype=DTYPE), source, start, precision=precision, dt=dt
    )
