"""Chaos of many variables, as maps over one step of an integrator: a ring, a partial differential equation, a delay."""

import math

import torch
from torch import Tensor

from lyapunov._shapes import Frames, Input
from lyapunov.systems.flows import Flow
from lyapunov.systems.known_case import DTYPE, Known, Start
from lyapunov.systems.system import System


def lorenz96(size: int = 40, forcing: float = 8.0, dt: float = 0.05) -> Known:
    """x_i' = (x_(i+1) - x_(i-2)) x_(i-1) - x_i + F round a ring; at 40 variables and F = 8 the largest exponent is 1.67.

    Lorenz & Emanuel 1998 give the doubling time, 0.42 units (2.1 days), that is ln 2 / 0.42 = 1.65. The sum is -size exactly.
    For other sizes and forcings no exponents are stated.

    Args:
        size: how many variables.
        forcing: F.
        dt: the step of the integrator, in the system's unit of time.

    Returns:
        A `Known` system.

    Example:
        >>> case = lyapunov.known.lorenz96()
        >>> case.start(2).shape[0]
        2
    """

    def field(x: Tensor) -> Tensor:
        return (x.roll(-1, -1) - x.roll(2, -1)) * x.roll(1, -1) - x + forcing

    def along(x: Tensor, frame: Tensor) -> Tensor:
        behind, gap = x.roll(1, -1).unsqueeze(-1), (x.roll(-1, -1) - x.roll(2, -1)).unsqueeze(-1)
        return behind * (frame.roll(-1, 1) - frame.roll(2, 1)) + gap * frame.roll(1, 1) - frame

    def start(batch: int, generator: torch.Generator) -> Tensor:
        return forcing + torch.randn(batch, size, dtype=DTYPE, generator=generator)

    stated = [math.log(2) / 0.42] if (size, forcing) == (40, 8.0) else []
    source = "Lorenz & Emanuel 1998: errors double in 0.42 units of time, to the two digits given"
    system = Flow(f"Lorenz-96 flow ({size})", size, field, along, dt)
    return Known(system, torch.tensor(stated, dtype=DTYPE), source, start, precision=0.02, dt=dt)


def mackey_glass(delay: float = 31.8, points: int = 106) -> Known:
    """x' = 0.2 x(t - delay) / (1 + x(t - delay)^10) - 0.1 x: at a delay of 31.8, 0.0063, 0.0026, 0, -0.0139 per unit of time.

    The state is x at `points` + 2 times, delay / points apart: as many numbers as the integrator needs of the past. Between
    them the past is interpolated by a cubic, so that the step of Runge-Kutta keeps its fourth order.

    Args:
        delay: the delay, in units of time.
        points: how many points of the past the state holds, less two.

    Returns:
        A `Known` system.

    Example:
        >>> case = lyapunov.known.mackey_glass()
        >>> case.start(2).shape[0]
        2
    """
    stated = [6.30e-3, 2.62e-3, 0.0, -1.39e-2] if delay == 31.8 else []
    source = (
        "Wolf et al. 1985, table 1, whose numbers for this system agree with others as nats, not as the bits of its heading"
    )

    def start(batch: int, generator: torch.Generator) -> Tensor:
        level = 0.5 + 0.8 * torch.rand(batch, 1, dtype=DTYPE, generator=generator)
        return level.expand(batch, points + 2).clone()

    dt = delay / points
    return Known(_MackeyGlass(points, dt), torch.tensor(stated, dtype=DTYPE), source, start, precision=5e-5, dt=dt)


class _MackeyGlass(System):
    """A delay as a shift register: the oldest value leaves, a Runge-Kutta step from the newest enters."""

    name = "Mackey-Glass flow"

    def __init__(self, points: int, dt: float) -> None:
        self._points, self._dt = points, dt

    @property
    def block_sizes(self) -> tuple[int]:
        """One block, with a row per point of the past that a step needs."""
        return (self._points + 2,)

    def initial_state(self, batch: int, like: Tensor) -> Tensor:
        """A past that was constant until now."""
        return like.new_full((batch, self._points + 2), 0.9)

    def step(self, state: Tensor, x: Input) -> Tensor:  # noqa: ARG002
        """The past one step further on."""
        feed = [0.2 * past / (1 + past**10) for past in self._delayed(state)]
        return torch.cat([state[:, 1:], self._advanced(state[:, -1], feed).unsqueeze(1)], dim=1)

    def push(self, state: Tensor, x: Input, frames: Frames) -> tuple[Tensor, Frames]:
        """The step and its derivative: only the newest row is computed, the others move up."""
        (frame,) = frames
        feed = []
        for past, moved in zip(self._delayed(state), self._delayed(frame), strict=True):
            power = past**10
            slope = 0.2 * (1 - 9 * power) / (1 + power) ** 2
            feed.append(slope.unsqueeze(-1) * moved)
        newest = self._advanced(frame[:, -1], feed).unsqueeze(1)
        return self.step(state, x), (torch.cat([frame[:, 1:], newest], dim=1),)

    @staticmethod
    def _delayed(rows: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """One delay before the start, the middle and the end of the step."""
        before, first, last, after = rows[:, 0], rows[:, 1], rows[:, 2], rows[:, 3]
        return first, (9 * (first + last) - before - after) / 16, last

    def _advanced(self, newest: Tensor, feed: list[Tensor]) -> Tensor:
        """One Runge-Kutta step of x' = feed - 0.1 x, which is linear in x and so holds for rows of a frame, too."""
        dt = self._dt
        first = feed[0] - 0.1 * newest
        second = feed[1] - 0.1 * (newest + dt / 2 * first)
        third = feed[1] - 0.1 * (newest + dt / 2 * second)
        fourth = feed[2] - 0.1 * (newest + dt * third)
        return newest + dt / 6 * (first + 2 * second + 2 * third + fourth)


def kuramoto_sivashinsky(length: float = 22.0, modes: int = 16, dt: float = 0.25) -> Known:
    """u_t = -u u_x - u_xx - u_xxxx, periodic over a length of 22: 0.048, 0, 0, -0.003, -0.189, -0.256, -0.290, -0.310.

    The state is the real and imaginary parts of the Fourier modes 1 to `modes` (the mean of u is conserved and is 0); a step
    is one of exponential time differencing (ETDRK4: Cox & Matthews 2002, Kassam & Trefethen 2005).

    Args:
        length: the length of the domain.
        modes: how many Fourier modes.
        dt: the step of the integrator, in the system's unit of time.

    Returns:
        A `Known` system.

    Example:
        >>> case = lyapunov.known.kuramoto_sivashinsky()
        >>> case.start(2).shape[0]
        2
    """
    stated = [0.048, 0.0, 0.0, -0.003, -0.189, -0.256, -0.290, -0.310] if length == 22 else []
    source = "Cvitanovic, Davidchack & Siminos 2010; Ding et al. 2016"
    return Known(
        _KuramotoSivashinsky(length, modes, dt),
        torch.tensor(stated, dtype=DTYPE),
        source,
        _smooth(modes),
        precision=1e-3,
        dt=dt,
    )


def _smooth(modes: int) -> Start:
    """Starts with the first four modes only."""

    def start(batch: int, generator: torch.Generator) -> Tensor:
        drawn = 0.2 * torch.randn(batch, modes, 2, dtype=DTYPE, generator=generator)
        drawn[:, 4:] = 0
        return drawn.flatten(1)

    return start


class _KuramotoSivashinsky(System):
    """Modes v_q of u: v' = (q^2 - q^4) v + N(v), N(v) = -i q / 2 F(u^2), free of aliasing on a grid of more than 3 x modes."""

    name = "Kuramoto-Sivashinsky flow"

    def __init__(self, length: float, modes: int, dt: float) -> None:
        self._modes, self._grid = modes, 2 ** math.ceil(math.log2(3 * modes + 1))
        numbers = torch.arange(1, modes + 1, dtype=DTYPE) * (2 * math.pi / length)
        linear = numbers**2 - numbers**4
        self._whole, self._half = (dt * linear).exp(), (dt / 2 * linear).exp()
        self._weights = _etdrk4_weights(dt * linear, dt)
        self._slope = -0.5j * numbers

    @property
    def block_sizes(self) -> tuple[int]:
        """One block, with two rows a mode: real and imaginary parts in turn."""
        return (2 * self._modes,)

    def initial_state(self, batch: int, like: Tensor) -> Tensor:
        """The first two modes at 0.2."""
        state = like.new_zeros(batch, self._modes, 2)
        state[:, :2] = 0.2
        return state.flatten(1)

    def step(self, state: Tensor, x: Input) -> Tensor:  # noqa: ARG002
        """One step of ETDRK4."""
        return self._stepped(self._complex(state))[0]

    def push(self, state: Tensor, x: Input, frames: Frames) -> tuple[Tensor, Frames]:  # noqa: ARG002
        """The step and its exact derivative, stage by stage."""
        columns = self._complex(frames[0].mT)  # (batch, k, modes)
        new, moved = self._stepped(self._complex(state), columns)
        return new, (moved.mT,)

    def _stepped(self, v: Tensor, w: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """ETDRK4 of the modes v, and of the columns w along it."""
        whole, half = self._whole.to(v.real), self._half.to(v.real)
        inner, first, middle, last = (weight.to(v.real) for weight in self._weights)
        points = [(v, v[:0].unsqueeze(1) if w is None else w)]
        slopes = [self._nonlinear(*points[0], w is not None)]
        for stage in range(3):
            origin, slope = (points[1], _axpy(2.0, slopes[2], -1.0, slopes[0])) if stage == 2 else (points[0], slopes[-1])
            points.append(_axpy(half, origin, inner, slope))
            slopes.append(self._nonlinear(*points[-1], w is not None))
        ends = []
        for part in (0, 1):
            n = [slope[part] for slope in slopes]
            ends.append(whole * points[0][part] + first * n[0] + 2 * middle * (n[1] + n[2]) + last * n[3])
        return self._real(ends[0]), self._real(ends[1])

    def _nonlinear(self, v: Tensor, w: Tensor, follow: bool) -> tuple[Tensor, Tensor]:
        slope = self._slope.to(v)
        u = self._on_grid(v)
        n = slope * self._to_modes(u * u)
        if not follow:
            return n, w
        return n, 2 * slope * self._to_modes(u.unsqueeze(1) * self._on_grid(w))

    def _on_grid(self, v: Tensor) -> Tensor:
        padded = torch.nn.functional.pad(v, (1, self._grid // 2 - self._modes))
        return torch.fft.irfft(padded, n=self._grid, norm="forward")

    def _to_modes(self, u: Tensor) -> Tensor:
        return torch.fft.rfft(u, norm="forward")[..., 1 : self._modes + 1]

    @staticmethod
    def _complex(rows: Tensor) -> Tensor:
        return torch.complex(*rows.unflatten(-1, (-1, 2)).unbind(-1))

    @staticmethod
    def _real(v: Tensor) -> Tensor:
        return torch.stack([v.real, v.imag], dim=-1).flatten(-2)


def _axpy(
    a: Tensor | float, one: tuple[Tensor, Tensor], b: Tensor | float, two: tuple[Tensor, Tensor]
) -> tuple[Tensor, Tensor]:
    """a x + b y of a point and of its columns."""
    return a * one[0] + b * two[0], a * one[1] + b * two[1]


def _etdrk4_weights(z: Tensor, dt: float) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """The integrals of the scheme at z = dt x the linear rate, as means over a circle round z, where they do not cancel."""
    angles = torch.exp(1j * math.pi * (torch.arange(1, 33, dtype=DTYPE) - 0.5) / 32)
    r = z.unsqueeze(-1) + angles
    e = r.exp()
    inner = ((r / 2).exp() - 1) / r
    first = (-4 - r + e * (4 - 3 * r + r**2)) / r**3
    middle = (2 + r + e * (r - 2)) / r**3
    last = (-4 - 3 * r - r**2 + e * (4 - r)) / r**3
    one, two, three, four = (dt * weight.mean(-1).real for weight in (inner, first, middle, last))
    return one, two, three, four
