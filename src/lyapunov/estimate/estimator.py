"""`spectrum(...)`: checks, settings, rollout, statistics, result."""

import warnings
from dataclasses import replace
from typing import Any

import torch
from torch.utils._pytree import tree_map

from lyapunov import _checks
from lyapunov._progress import progress_bar
from lyapunov._shapes import Frames
from lyapunov.errors import Diverged, LyapunovWarning
from lyapunov.estimate.result import Spectrum
from lyapunov.estimate.settings import Settings, Wishes, choose
from lyapunov.estimate.statistics import estimates
from lyapunov.intake import Problem, Request, Sequences, recognize
from lyapunov.systems import Linearization, check_contract
from lyapunov.tangent import Growth, random_frame, rollout

FEW = 8
"""As many exponents as a long run is told to try instead."""


def spectrum(
    system: Any,
    inputs: Any = None,
    *,
    k: int | None = None,
    state: Any = None,
    steps: int | None = None,
    linearization: Linearization = "full",
    coupled: bool = False,
    settle: int | None = None,
    align: int | None = None,
    qr_every: int | None = None,
    lengths: Any = None,
    dt: float = 1.0,
    dtype: torch.dtype = torch.float64,
    seed: int = 0,
    check: bool = True,
    progress: bool | None = None,
) -> Spectrum:
    """Lyapunov exponents of a driven recurrent system, in nats per step, by the QR method.

    With J_t the Jacobian of step t at the state it really has:  J_t Q_(t-1) = Q_t R_t,  lambda_i = mean_t ln (R_t)_ii.

    system: `nn.RNN`, `nn.GRU`, `nn.LSTM` or a cell of theirs; a function (or module) `step(state, x) -> state` with a tensor or
        pytree state, batch first; or a `System`. Modules are taken in evaluation mode and left as they were.
    inputs: for a layer as the layer itself takes them; else (batch, time, ...) or a pytree of those; None: autonomous.
    k: how many leading exponents (None: all). state: where to start, as the module takes it (a step needs one).
    steps: how many steps to count, without inputs.
    linearization: of an LSTM; "full" differentiates (h, c), "hidden" h alone with the recorded c held fixed.
    coupled: one frame over all layers of a stack instead of one each (the same exponents, at a higher cost).
    settle, align: steps in which the state, then the frame, reach what they tend to; not counted. qr_every: steps between
        orthonormalisations. None: fixed defaults, in `Settings` and in the result's `.settings`.
    lengths: (batch,) valid steps of padded sequences. dt: time of one step; exponents are divided by it.
    dtype: of the computation. seed: of the first frame. check: test the system's promises on two steps first.
    progress: a bar (None: on a terminal, after two seconds).

    Raises InvalidInput, Unsupported, BadSystem, or Diverged (with `.step` and `.partial`).
    Source: Benettin et al. 1980; Vogt, Puelma Touzel, Shlizerman, Lajoie 2020 for recurrent networks.
    """
    _checks.one_of(linearization, ("full", "hidden"), "linearization")
    _checks.one_of(dtype, (torch.float64, torch.float32), "dtype")
    with torch.inference_mode(False), torch.no_grad():
        request = Request(inputs, state, steps, lengths, linearization, coupled, dtype)
        problem = recognize(system, request)
        settings = choose(problem, request, Wishes(k, settle, align, qr_every, dt, seed))
        problem = _without_short(problem, settings)
        settings = replace(settings, batch=problem.sequences.batch)
        with problem.system.running(), torch.autocast(problem.system.device.type, enabled=False):
            if check:
                check_contract(problem.system, problem.state, problem.sequences.at(0), problem.sequences.at(1))
            try:
                return _result(_grow(problem, settings, dtype, progress), settings)
            except Diverged as error:
                error.partial = None if error.partial is None else _result(error.partial, settings)
                raise


def _grow(problem: Problem, settings: Settings, dtype: torch.dtype, progress: bool | None) -> Growth:
    system, schedule = problem.system, settings.schedule
    full = settings.k == settings.size
    volume = system.volume_cost == "linear" or (system.volume_cost == "cubic" and full)
    title, faster = f"{settings.k} of {settings.size} Lyapunov exponents", ""
    if settings.k > FEW:
        faster = f"The {FEW} leading ones (k={FEW}) take a small part of that."
    with progress_bar(title, schedule.align + schedule.count, enabled=progress, faster=faster) as advance:
        return rollout(
            system,
            problem.sequences,
            problem.state,
            _first_frames(problem, settings, dtype),
            schedule,
            volume=volume,
            on_step=lambda done: advance(done - schedule.settle),
        )


def _first_frames(problem: Problem, settings: Settings, dtype: torch.dtype) -> Frames:
    like = torch.empty(0, dtype=dtype, device=problem.system.device)
    sizes = problem.system.tangent_size

    def first(size: int, block: int) -> torch.Tensor:
        columns = min(settings.k, size)
        return random_frame(size, columns, batch=problem.sequences.batch, seed=settings.seed, block=block, like=like)

    if isinstance(sizes, int):
        return first(sizes, 0)
    return tuple(first(size, block) for block, size in enumerate(sizes))


def _result(growth: Growth, settings: Settings) -> Spectrum:
    return Spectrum(**vars(estimates(growth, k=settings.k, size=settings.size, dt=settings.dt)), settings=settings)


def _without_short(problem: Problem, settings: Settings) -> Problem:
    """Sequences that end before counting begins are left out, by name."""
    drive = problem.sequences
    if drive.lengths is None:
        return problem
    keep = drive.lengths > settings.schedule.start
    if bool(keep.all()):
        return problem
    left_out = torch.nonzero(~keep).flatten().tolist()
    warnings.warn(
        f"Expected sequences longer than settle + align = {settings.schedule.start}, got shorter ones at {left_out}: they are "
        "left out. Pass smaller settle and align to use them.",
        LyapunovWarning,
        stacklevel=3,
    )
    where = keep.to(problem.system.device)
    values = tree_map(lambda leaf: leaf[:, where], drive.values)
    sequences = Sequences(values, int(keep.sum()), drive.steps, drive.lengths[keep])
    state = tree_map(lambda leaf: leaf[where], problem.state)
    return Problem(problem.system, sequences, state, problem.source_dtype)
