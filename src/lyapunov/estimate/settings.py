"""Every setting left None becomes a stated choice, frozen."""

from dataclasses import dataclass, field, fields, replace
from typing import Literal, get_args

import torch

from lyapunov import _checks
from lyapunov._shown import Parts, Shown
from lyapunov._trees import tree_flatten
from lyapunov.errors import InvalidInput, Unsupported
from lyapunov.intake import Problem, SystemInputs, digest
from lyapunov.systems import total_size
from lyapunov.tangent import DEFAULT_BURN_IN, STRETCHES, Growth, RolloutOptions

LEAST_SAMPLES = 4
"""Steps at which a costly ln |det J| is taken, at the least."""
SEVERAL, COARSE = 5, 4
"""Sequences whose differences tell errors by themselves; then growth is resolved into so few stretches of time."""
CERTIFICATE_EVERY, SMALL = 50, 128
"""Steps in which a full run takes ln |det J| over one interval, where it is costly; smaller systems take it at every step."""


Method = Literal["qr", "closed"]
"""Frames that are orthonormalised, or the diagonals of triangular Jacobians."""


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

    def _parts(self) -> Parts:
        rows = [(each.name, str(getattr(self, each.name))) for each in fields(self)]
        return Parts(["Settings"], [("setting", "value"), *rows])

    def done(self, growth: Growth) -> "Settings":
        """The settings with what the run found in the data.

        Args:
            growth: what the loop returned.

        Returns:
            `Settings`.
        """
        return replace(
            self,
            batch=growth.steps.shape[1],
            settle=growth.settle,
            align=growth.align,
            count=growth.count,
            qr_every=growth.qr_every,
        )


@dataclass(frozen=True)
class RunOptions:
    """Settings as the caller gave them.

    `fewer`: `k` is the most, and a smaller system has all its exponents taken. `coarse`: where there are SEVERAL sequences,
    whose differences tell the errors, growth need not be resolved in time.
    """

    k: int | None
    settle: int | None
    align: int | None
    from_initial_state: bool
    qr_every: int | None
    dt: float
    seed: int
    chunks: int = 1
    method: Method | None = None
    fewer: bool = False
    coarse: bool = False


def choose(problem: Problem, system_inputs: SystemInputs, run_options: RunOptions) -> tuple[Settings, RolloutOptions]:
    """Checked settings, those that the run finds in the data still 0, and the options that say how it finds them.

    Left None: `k` is all; `settle`, `align` and `qr_every` are found, the first two within a quarter of the inputs each (of
    the median sequence), without inputs within a tenth of `steps`, at least 100; `align` takes at most 100.
    """
    _checks.flag(run_options.from_initial_state, "from_initial_state")
    size = total_size(problem.system)
    named = {"k": run_options.k, "settle": run_options.settle, "align": run_options.align, "qr_every": run_options.qr_every}
    open_names = ("k", "qr_every") if run_options.from_initial_state else tuple(named)
    why = f" (the system has {size} exponents)"
    wanted = size if run_options.k is None else min(run_options.k, size) if run_options.fewer else run_options.k
    k = _checks.whole_number(wanted, "k", least=1, most=size, why=why)
    options = _rollout_options(problem, run_options, k, size)
    settings = Settings(
        system=problem.system.name,
        size=size,
        k=k,
        batch=problem.sequences.batch,
        settle=0,
        align=0,
        count=0,
        qr_every=0,
        dt=_checks.positive(run_options.dt, "dt"),
        dtype=_short(system_inputs.dtype),
        source_dtype=_short(problem.source_dtype),
        device=str(problem.system.device),
        seed=_checks.whole_number(run_options.seed, "seed", least=0),
        linearization=system_inputs.linearization,
        coupled=system_inputs.coupled,
        from_initial_state=run_options.from_initial_state,
        inputs=digest(problem.sequences.values, problem.state, problem.sequences.lengths, *tree_flatten(problem.constant)[0]),
        called=problem.called,
        chosen=tuple(name for name in open_names if named[name] is None),
        chunks=_chunks(problem, run_options),
        method=_way(problem, run_options),
    )
    return settings, options


def _rollout_options(problem: Problem, run_options: RunOptions, k: int, size: int) -> RolloutOptions:
    inputs = problem.sequences
    settle, align = (
        _transient(value, name, run_options) for name, value in (("settle", run_options.settle), ("align", run_options.align))
    )
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
    qr_every = None if run_options.qr_every is None else _checks.whole_number(run_options.qr_every, "qr_every", least=1)
    return RolloutOptions(
        steps=longest,
        settle=settle,
        align=align,
        qr_every=qr_every,
        longest_settle=limit,
        longest_align=min(limit, DEFAULT_BURN_IN),
        autonomous=autonomous,
        volume_every=_volume_every(problem, k, size, longest),
        stretches=COARSE if run_options.coarse and inputs.batch >= SEVERAL else STRETCHES,
        whole_intervals=problem.system.volume_cost == "cubic" and k == size and size >= SMALL,
        follow_copies=not run_options.from_initial_state,
    )


def _transient(value: int | None, name: str, run_options: RunOptions) -> int | None:
    if not run_options.from_initial_state:
        return None if value is None else _checks.whole_number(value, name, least=0)
    if value:
        raise InvalidInput(
            f"Expected `{name}` left out with from_initial_state=True, got {value}. From there, nothing is discarded."
        )
    return 0


def _volume_every(problem: Problem, k: int, size: int, steps: int) -> int:
    """Every step where it is cheap; else so rarely that it costs no more than the frame; samples certify a full run."""
    cost = problem.system.volume_cost
    if cost == "none":
        return 0
    if cost == "linear" or (k == size and size < SMALL):
        return 1
    if k == size:
        return max(1, min(CERTIFICATE_EVERY, steps // LEAST_SAMPLES))
    return max(1, min(size // k, steps // (2 * LEAST_SAMPLES)))


def _way(problem: Problem, run_options: RunOptions) -> Method:
    """The closed form where there is one."""
    _checks.one_of(run_options.method, (*get_args(Method), None), "method")
    triangular = problem.system.triangular
    if run_options.method == "closed" and not triangular:
        raise Unsupported(
            f"Expected a system with triangular Jacobians for method='closed', got {problem.system.name}. Leave `method` out: "
            "its exponents are found by QR."
        )
    if run_options.chunks > 1:
        if run_options.method == "closed":
            raise InvalidInput(
                "Expected `chunks` left out with method='closed', got both. Chunks are for frames; leave one out."
            )
        return "qr"
    method = run_options.method or ("closed" if triangular else "qr")
    if method == "closed" and run_options.qr_every is not None:
        raise InvalidInput(
            f"Expected `qr_every` left out with the closed form, got {run_options.qr_every}. For frames pass method='qr'."
        )
    return method


def _chunks(problem: Problem, run_options: RunOptions) -> int:
    chunks = _checks.whole_number(run_options.chunks, "chunks", least=1)
    if chunks > 1 and problem.system.grows:
        raise Unsupported(
            f"Expected `chunks` left out with {problem.system.name}, whose cache grows with the sequence, got {chunks}. "
            "Chunks start at different steps, with caches of different length."
        )
    if chunks > 1 and problem.constant is not None:
        raise Unsupported(
            f"Expected `chunks` left out with a Loop, whose injected input belongs to its sequences, got {chunks}. Pass more "
            "sequences instead."
        )
    if chunks > 1 and run_options.from_initial_state:
        raise InvalidInput(
            f"Expected `chunks` left out with from_initial_state=True, got {chunks}. There is one start and one whole run."
        )
    return chunks


def _short(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")
