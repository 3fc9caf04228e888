"""Every setting left None becomes a stated choice: what the loop is to do, and what a result says was done."""

from dataclasses import dataclass, field, fields, replace
from typing import Literal

import torch

from lyapunov import _checks
from lyapunov._shown import Parts, Shown
from lyapunov._trees import tree_flatten
from lyapunov.errors import InvalidInput, Unsupported
from lyapunov.estimate.run_options import QR, RunOptions, TimeMean
from lyapunov.intake import CastProblem, Problem, digest
from lyapunov.systems import System, total_size
from lyapunov.tangent import DEFAULT_BURN_IN, STRETCHES, Growth, RolloutOptions

LEAST_SAMPLES = 4
"""Steps at which a costly ln |det J| is taken, at the least."""
SEVERAL, COARSE = 5, 4
"""Sequences whose differences tell errors by themselves; then growth is resolved into so few stretches of time."""
CERTIFICATE_EVERY, SMALL = 50, 128
"""Steps in which a full run takes ln |det J| over one interval, where it is costly; smaller systems take it at every step."""


Method = Literal["qr", "closed"]
"""Frames that are orthonormalised, or time means of the diagonals of triangular Jacobians."""


@dataclass(frozen=True)
class Settings(Shown):
    """What a run did, with all that was found in the data or left to the defaults.

    Attributes:
        system: what was analysed.
        size, k, batch: the entries of the state, the number of exponents, the number of sequences.
        settle, align, count: steps of burn-in of the state, of the frame, and steps counted.
        qr_every: the interval between orthonormalizations by which most steps were made; 1 for `method="closed"`.
        dt: the time of one step.
        dtype, source_dtype, device: the precision of the run, that of the module, and where it ran.
        seed: of the frames.
        linearization, coupled, from_initial_state, chunks, method: as for `lyapunov.spectrum`.
        inputs: a hash of inputs, state and lengths.
        chosen: the names of what the caller left open.
        called: a hash of what a model was called with, whose core received the inputs.
        compiled: whether the steps of the run were compiled, as machine code made for it.

    Example:
        >>> spectrum = lyapunov.spectrum(torch.nn.RNN(2, 6, batch_first=True), torch.randn(4, 200, 2), k=1)
        >>> spectrum.settings.size, "settle" in spectrum.settings.chosen
        (6, True)
    """

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
    from_initial_state: bool
    inputs: str
    chosen: tuple[str, ...]
    chunks: int = 1
    method: Method = "qr"
    called: str = field(default="", compare=False)
    compiled: bool = False

    def _parts(self) -> Parts:
        rows = [(each.name, str(getattr(self, each.name))) for each in fields(self)]
        return Parts(["Settings"], [("setting", "value"), *rows])


def settings_of(
    growth: Growth, problem: Problem, cast: CastProblem, options: RunOptions, *, k: int, inputs: str, left_open: bool
) -> Settings:
    """Of a run, by what it was asked and what it found. `left_open`: whether `k` was."""
    method = options.method
    given = {"settle": options.settle, "align": options.align, "qr_every": getattr(method, "every", None)}
    if options.from_initial_state:
        given = {"qr_every": given["qr_every"]}
    return Settings(
        system=cast.system.name,
        size=total_size(cast.system),
        k=k,
        batch=growth.steps.shape[1],
        settle=growth.settle,
        align=growth.align,
        count=growth.count,
        qr_every=growth.qr_every,
        dt=float(problem.dt),
        dtype=_short(options.dtype or torch.float64),
        source_dtype=_short(cast.precision),
        device=str(cast.system.device),
        seed=options.seed,
        linearization=problem.linearization,
        coupled=problem.coupled,
        from_initial_state=options.from_initial_state,
        inputs=inputs,
        called=cast.called,
        compiled=cast.system.compiled,
        chosen=(*(["k"] if left_open else []), *(name for name, value in given.items() if value is None)),
        chunks=method.chunks if isinstance(method, QR) else 1,
        method="closed" if isinstance(method, TimeMean) else "qr",
    )


def fingerprint(cast: CastProblem) -> str:
    """A hash of inputs, state and lengths."""
    return digest(cast.sequences.values, cast.state, cast.sequences.lengths, *tree_flatten(cast.constant)[0])


def counted_exponents(cast: CastProblem, k: int | None, *, fewer: bool = False) -> int:
    """How many exponents are taken: `k`, checked; None: all. `fewer`: of a system that has less, all."""
    size = total_size(cast.system)
    wanted = size if k is None else min(k, size) if fewer else k
    return _checks.whole_number(wanted, "k", least=1, most=size, why=f" (the system has {size} exponents)")


def decided(cast: CastProblem, options: RunOptions) -> RunOptions:
    """With a dtype and a method: the time mean where Jacobians are triangular, unless frames are asked for."""
    triangular, method = cast.system.triangular, options.method
    if isinstance(method, TimeMean) and not triangular:
        raise Unsupported(
            f"Expected a system with triangular Jacobians for method='closed', got {cast.system.name}. Leave `method` out: "
            "its exponents are found by QR."
        )
    if isinstance(method, QR) and method.chunks > 1:
        _require_chunks(cast, method.chunks)
    method = method or (TimeMean() if triangular else QR())
    return replace(options, method=method, dtype=options.dtype or torch.float64)


def rollout_options(cast: CastProblem, options: RunOptions, k: int, *, coarse: bool = False) -> RolloutOptions:
    """What the loop is to do with its steps, and how it finds in the data what is left open.

    Left None: `settle`, `align` and the interval are found, the first two within a quarter of the inputs each (of the median
    sequence), without inputs within a tenth of `steps`, at least 100; `align` takes at most 100. `coarse`: where there are
    SEVERAL sequences, whose differences tell the errors, growth need not be resolved in time.
    """
    inputs, system = cast.sequences, cast.system
    settle, align = (0, 0) if options.from_initial_state else (options.settle, options.align)
    given = (settle or 0) + (align or 0)
    autonomous = inputs.values is None
    longest = inputs.steps if inputs.lengths is None else int(inputs.lengths.max())
    if autonomous:
        limit = max(DEFAULT_BURN_IN, inputs.steps // 10)
    elif given >= longest:
        raise InvalidInput(
            f"Expected `inputs` longer than settle + align = {settle or 0} + {align or 0}, got {longest} steps: none is left "
            "to count. Pass longer sequences, or smaller settle and align."
        )
    else:
        typical = inputs.steps if inputs.lengths is None else int(inputs.lengths.median())
        limit = min(typical // 4, longest - given - 1)
    certifying = k == total_size(system) and k >= SMALL and system.volume_cost == "cubic"
    return RolloutOptions(
        steps=longest,
        settle=settle,
        align=align,
        qr_every=options.method.every if isinstance(options.method, QR) else None,
        longest_settle=limit,
        longest_align=min(limit, DEFAULT_BURN_IN),
        autonomous=autonomous,
        volume_every=_volume_every(system, k, longest),
        stretches=COARSE if coarse and inputs.batch >= SEVERAL else STRETCHES,
        whole_intervals=certifying,
        follow_copies=not options.from_initial_state,
    )


def _volume_every(system: System, k: int, steps: int) -> int:
    """Every step where it is cheap; else so rarely that it costs no more than the frame; samples certify a full run."""
    cost, size = system.volume_cost, total_size(system)
    if cost == "none":
        return 0
    if cost == "linear" or (k == size and size < SMALL):
        return 1
    if k == size:
        return max(1, min(CERTIFICATE_EVERY, steps // LEAST_SAMPLES))
    return max(1, min(size // k, steps // (2 * LEAST_SAMPLES)))


def _require_chunks(cast: CastProblem, chunks: int) -> None:
    """Chunks start at different steps of a sequence, and each sequence has several."""
    if cast.system.grows:
        raise Unsupported(
            f"Expected `chunks` left out with {cast.system.name}, whose cache grows with the sequence, got {chunks}. "
            "Chunks start at different steps, with caches of different length."
        )
    if cast.constant is not None:
        raise Unsupported(
            f"Expected `chunks` left out with a Loop, whose injected input belongs to its sequences, got {chunks}. Pass more "
            "sequences instead."
        )


def _short(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")
