"""What a system of known spectrum is made of: the system, its exponents with their source, and where it starts."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from lyapunov._shapes import Input, State
from lyapunov.systems.step import Step
from lyapunov.systems.system import System

Start = Callable[[int, torch.Generator], Tensor]
Inputs = Callable[[int, int, torch.Generator], Tensor]
DTYPE = torch.float64


@dataclass(frozen=True)
class Known:
    """A system whose exponents are known, and where they come from.

    Attributes:
        system: the system, to be handed to `lyapunov.spectrum`.
        exponents: in descending order; the leading ones, where not all are known.
        source: who states them.
        draw_start, draw_inputs: how initial states and inputs are drawn; see `start` and `inputs`.
        precision: how far the stated exponents may be off.
        dt: the time of one step.

    Example:
        >>> henon = lyapunov.known.henon()
        >>> [round(value, 3) for value in henon.exponents.tolist()]
        [0.419, -1.623]
    """

    system: System
    exponents: Tensor
    source: str
    draw_start: Start
    draw_inputs: Inputs | None = None
    precision: float = 0.0
    dt: float = 1.0

    def start(self, batch: int, *, seed: int = 0) -> Tensor:
        """Initial states.

        Args:
            batch: how many.
            seed: of the draw.

        Returns:
            (batch, n).
        """
        return self.draw_start(batch, torch.Generator().manual_seed(seed))

    def inputs(self, batch: int, steps: int, *, seed: int = 0) -> Tensor:
        """Input sequences.

        Args:
            batch: how many.
            steps: of each.
            seed: of the draw.

        Returns:
            (batch, steps, ...).
        """
        if self.draw_inputs is None:
            raise ValueError(f"Expected a driven system, got {self.system.name}, which is autonomous. Pass `steps` instead.")
        return self.draw_inputs(batch, steps, torch.Generator().manual_seed(seed))


def case(
    name: str,
    function: Callable[[State, Input], State],
    exponents: list[float] | Tensor,
    source: str,
    start: Start,
    *,
    inputs: Inputs | None = None,
    precision: float = 0.0,
    dt: float = 1.0,
) -> Known:
    """A map given by its step, with its exponents in any order."""
    example = start(1, torch.Generator().manual_seed(0))
    ordered = torch.as_tensor(exponents, dtype=DTYPE).sort(descending=True).values
    system = Step(function, example, dtype=DTYPE)
    system.name = name
    return Known(system, ordered, source, start, inputs, precision, dt)


def uniform(low: float, high: float, size: int) -> Start:
    """Starts drawn uniformly from a box."""
    return lambda batch, generator: low + (high - low) * torch.rand(batch, size, dtype=DTYPE, generator=generator)


def around(*point: float, spread: float) -> Start:
    """Starts within `spread` of a point, for attractors with a small basin."""
    center = torch.tensor(point, dtype=DTYPE)
    return lambda batch, generator: center + spread * (2 * torch.rand(batch, len(point), dtype=DTYPE, generator=generator) - 1)


def zeros(size: int) -> Start:
    """Initial states, all of them zero."""
    return lambda batch, _: torch.zeros(batch, size, dtype=DTYPE)
