"""Every setting left None becomes a stated choice, frozen."""

from dataclasses import dataclass

import torch

from lyapunov import _checks
from lyapunov.errors import InvalidInput
from lyapunov.intake import Problem, Request, digest
from lyapunov.systems import total_size
from lyapunov.tangent import Schedule

LONGEST_TRANSIENT = 100
"""The most steps that `settle` and `align`, left None, each take of driving inputs."""


@dataclass(frozen=True)
class Settings:
    """What a run did. `chosen` names what the caller left open; `inputs` is a hash of inputs, state and lengths."""

    system: str
    size: int
    k: int
    batch: int
    settle: int
    align: int
    count: int
    qr_every: int
    dt: float
    dtype: str
    source_dtype: str
    device: str
    seed: int
    linearization: str
    coupled: bool
    inputs: str
    chosen: tuple[str, ...]

    @property
    def schedule(self) -> Schedule:
        """The parts of the run."""
        return Schedule(self.settle, self.align, self.count, self.qr_every)


@dataclass(frozen=True)
class Wishes:
    """Settings as the caller gave them."""

    k: int | None
    settle: int | None
    align: int | None
    qr_every: int | None
    dt: float
    seed: int


def choose(problem: Problem, request: Request, wishes: Wishes) -> Settings:
    """Checked settings.

    Left None: `k` is all; `qr_every` is 1; `settle` and `align` each take a quarter of the inputs (of the median sequence), at
    most 100 steps, or without inputs a tenth of `steps`, at least 100.
    """
    size, drive = total_size(problem.system), problem.sequences
    named = {"k": wishes.k, "settle": wishes.settle, "align": wishes.align, "qr_every": wishes.qr_every}
    k = (
        size
        if wishes.k is None
        else _checks.whole_number(wishes.k, "k", least=1, most=size, why=f" (the system has {size} exponents)")
    )
    transient = _default_transient(problem)
    settle = transient if wishes.settle is None else _checks.whole_number(wishes.settle, "settle", least=0)
    align = transient if wishes.align is None else _checks.whole_number(wishes.align, "align", least=0)
    return Settings(
        system=problem.system.name,
        size=size,
        k=k,
        batch=drive.batch,
        settle=settle,
        align=align,
        count=_counted(problem, settle, align),
        qr_every=1 if wishes.qr_every is None else _checks.whole_number(wishes.qr_every, "qr_every", least=1),
        dt=_checks.positive(wishes.dt, "dt"),
        dtype=_short(request.dtype),
        source_dtype=_short(problem.source_dtype),
        device=str(problem.system.device),
        seed=_checks.whole_number(wishes.seed, "seed", least=0),
        linearization=request.linearization,
        coupled=request.coupled,
        inputs=digest(drive.values, problem.state, drive.lengths),
        chosen=tuple(name for name, value in named.items() if value is None),
    )


def _default_transient(problem: Problem) -> int:
    drive = problem.sequences
    if drive.values is None:
        return max(LONGEST_TRANSIENT, drive.steps // 10)
    typical = drive.steps if drive.lengths is None else int(drive.lengths.median())
    return min(LONGEST_TRANSIENT, typical // 4)


def _counted(problem: Problem, settle: int, align: int) -> int:
    drive = problem.sequences
    if drive.values is None:
        return drive.steps
    longest = drive.steps if drive.lengths is None else int(drive.lengths.max())
    if settle + align >= longest:
        raise InvalidInput(
            f"Expected `inputs` longer than settle + align = {settle} + {align}, got {longest} steps: none is left to count. "
            "Pass longer sequences, or smaller settle and align."
        )
    return longest - settle - align


def _short(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")
