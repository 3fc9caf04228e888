"""`spectrum(...)`: checks, settings, rollout, statistics, result."""

from dataclasses import replace
from functools import partial
from typing import NamedTuple, get_args

import torch

from lyapunov import _checks
from lyapunov._frames import join_columns
from lyapunov._progress import progress_bar
from lyapunov._shapes import Frames
from lyapunov._trees import tree_map
from lyapunov._warning import warn
from lyapunov.errors import Diverged, InvalidInput
from lyapunov.estimate.result import Spectrum
from lyapunov.estimate.run_options import QR, RunOptions, TimeMean
from lyapunov.estimate.settings import Method, counted_exponents, decided, fingerprint, rollout_options, settings_of
from lyapunov.estimate.statistics import estimates, without_empty
from lyapunov.estimate.transient_findings import is_positive
from lyapunov.estimate.verdict import judge, unreliable_tail
from lyapunov.intake import CastProblem, Problem, independent, problem, recognize
from lyapunov.systems import Label, Linearization, check_contract, compiled, total_size
from lyapunov.tangent import (
    NOISE_LIMIT_ADAPTIVE,
    NOISE_LIMIT_FIXED,
    SETTLED_RATIO,
    SHADOWED,
    Growth,
    RolloutOptions,
    TangentPropagator,
    Workers,
    orthonormalise,
    random_frame,
    remaining_distance,
    rollout,
    rollout_diagonal,
    split,
)

HELPED = 8
"""As many columns are aligned at the least: further ones show which directions within them grow most."""
FEW = 8
"""As many exponents as a long run is told to try instead."""


def spectrum(
    system: object,
    inputs: object = None,
    *,
    k: int | None = None,
    state: object = None,
    carried: object = None,
    steps: int | None = None,
    linearization: Linearization = "full",
    coupled: bool = False,
    settle: int | None = None,
    align: int | None = None,
    from_initial_state: bool = False,
    qr_every: int | None = None,
    chunks: int = 1,
    method: Method | None = None,
    lengths: object = None,
    dt: float = 1.0,
    dtype: torch.dtype = torch.float64,
    seed: int = 0,
    compile: bool | None = None,
    options: RunOptions | None = None,
    check: bool = True,
    progress: bool | None = None,
) -> Spectrum:
    """Lyapunov exponents of a driven recurrent system, in nats per step, by the QR method.

    With J_t the Jacobian of step t at the state it really has, J_t Q_(t-1) = Q_t R_t, and lambda_i = mean_t ln (R_t)_ii.

    Args:
        system: `nn.RNN`, `nn.GRU`, `nn.LSTM` or a cell of theirs; a function (or module) `step(state, x) -> state` with a
            tensor or pytree state, batch first; a `Loop`, which brings its state; a `System`; or what `lyapunov.capture(model,
            ...)` returned, which brings its inputs, state and lengths. Modules are taken in evaluation mode and left as they
            were. Or a problem, as `lyapunov.problem` makes it, in the place of system and inputs.
        inputs: for a layer as the layer itself takes them; else (batch, time, ...) or a pytree of those; None: autonomous.
        k: how many leading exponents; None: all.
        state: where to start, as the module takes it (a step needs one).
        carried: of a `step(state, x, carried) -> (state, carried)`: what goes along undifferentiated (counters, masks, caches).
        steps: how many steps to count, without inputs.
        linearization: of an LSTM; "full" differentiates (h, c), "hidden" h alone with the recorded c held fixed.
        coupled: one frame over all layers of a stack instead of one each (the same exponents, at a higher cost).
        settle, align: steps of burn-in for the state, then for the frame; not counted. None: found in the data, when copies of
            the state from different starts have come together, and when two random frames give the same exponents. The error
            that remains is in the error budget and in the verdict, also where they are given.
        from_initial_state: the network as trained, from its initial state, nothing discarded: finite-time exponents.
        qr_every: steps between orthonormalizations. None: as many as the arithmetic allows, rolled back where they were too
            many.
        chunks: pieces of each sequence that run side by side, each aligned over steps that the one before still counts: for
            few long sequences. The exponents agree within their errors; the error budget has no part of alignment then.
        method: "closed": time means of ln |diag J|, for systems whose Jacobians are triangular; "qr": frames, for any. None:
            the closed form where there is one, except in chunks, which are of frames.
        lengths: (batch,), valid steps of padded sequences.
        dt: time of one step; exponents are divided by it.
        dtype: of the computation.
        seed: of the frames, one per sequence.
        compile: whether a step of your own is compiled for the run by PyTorch's compiler, which takes seconds and needs a C++
            compiler. None: where the run would take more than half a minute otherwise. What cannot be compiled runs as it is.
        options: settle, align, from_initial_state, method, dtype, seed and compile in one object, in the place of these
            keywords.
        check: test the system's promises on two steps first.
        progress: a bar (None: on a terminal, after two seconds).

    Returns:
        A `Spectrum`. What was chosen is in its `.settings`, what speaks against it in its `.verdict`. A warning names exponents
        below the precision floor, and sequences left out.

    Raises:
        InvalidInput, Unsupported, BadSystem: with the remedy.
        Diverged: with `.step` and `.partial`.

    Example:
        >>> spectrum = lyapunov.spectrum(torch.nn.GRU(2, 6, batch_first=True), torch.randn(4, 200, 2), k=2)
        >>> spectrum.max < 0, spectrum.verdict.converged
        (True, True)

    References:
        Benettin et al. 1980; Vogt, Puelma Touzel, Shlizerman, Lajoie 2020 for recurrent networks.
    """
    words = {"state": state, "carried": carried, "steps": steps, "lengths": lengths, "dt": dt}
    asked = problem(system, inputs, linearization=linearization, coupled=coupled, **words)
    _checks.one_of(dtype, (torch.float64, torch.float32), "dtype")
    spelled = RunOptions(settle, align, from_initial_state, _method(method, qr_every, chunks), dtype, seed, compile)
    if options is not None and spelled != RunOptions(dtype=torch.float64):
        raise InvalidInput(
            "Expected `options`, or keywords of what they hold (settle, align, from_initial_state, qr_every, chunks, method, "
            "dtype, seed, compile), got both. Put all of them into lyapunov.RunOptions(...)."
        )
    result = estimate_spectrum(asked, options or spelled, k=k, check=check, progress=progress)[0]
    _warn_of_tail(result)
    return result


def _method(name: Method | None, qr_every: int | None, chunks: int) -> QR | TimeMean | None:
    """What the keywords say; None: nothing."""
    _checks.one_of(name, (*get_args(Method), None), "method")
    if qr_every is not None:
        _checks.whole_number(qr_every, "qr_every", least=1)
    way = QR(qr_every, chunks)
    if name == "closed":
        for word, given in (("chunks", chunks > 1), ("qr_every", qr_every is not None)):
            if given:
                raise InvalidInput(
                    f"Expected `{word}` left out with method='closed', got both. It is for frames; leave one of them out."
                )
        return TimeMean()
    return way if name == "qr" or way != QR() else None


class WarmStart(NamedTuple):
    """What a later run can start from: one of the same system on the same inputs, whose weights have moved a little since.

    `frames`: those after the last step, None where there were none. `distance`: how far apart copies of the state were when
    counting began, in the last run that checked it; `disagreement`, `tolerated`: of two random frames, likewise. `qr_every`:
    the usual interval. `saturated`: the fraction of units that sit where nothing moves them, None where that is not known.
    `parted`: how far apart copies were after thousands of steps, where that was asked.
    """

    frames: Frames | None
    distance: float | None
    disagreement: float | None
    tolerated: float
    qr_every: int
    saturated: float | None
    parted: torch.Tensor | None = None


def estimate_spectrum(
    asked: Problem,
    options: RunOptions,
    *,
    k: int | None = None,
    fewer: bool = False,
    coarse: bool = False,
    check: bool = True,
    progress: bool | None = False,
    warm_start: WarmStart | None = None,
) -> tuple[Spectrum, WarmStart]:
    """The spectrum that `spectrum` returns, without warnings, and the warm start for the next run.

    `fewer`: of a system that has less than `k` exponents, all are taken. `coarse`: see `rollout_options`.
    `warm_start`: what an earlier run left. Its frames, aligned to these inputs once, are where this one's start, with its
    interval tried first; and what was found of its state's burn-in holds for this one, too, which does not check it again
    (`settle` and `align` given). Without frames, only the interval is taken over.
    """
    warm = warm_start is not None and warm_start.frames is not None
    with torch.inference_mode(False), torch.no_grad():
        cast = recognize(asked, torch.float64 if options.dtype is None else options.dtype)
        width, options = counted_exponents(cast, k, fewer=fewer), decided(cast, options)
        plan = rollout_options(cast, options, width, coarse=coarse)
        if warm_start is not None:
            plan = replace(plan, first=warm_start.qr_every, follow_copies=plan.follow_copies and not warm)
        threads = Workers.suited_to(cast.system, cast.sequences.batch * _chunks(options))
        with cast.system.running(), torch.autocast(cast.system.device.type, enabled=False), threads as workers:
            if _checks.flag(check, "check"):
                check_contract(cast.system, cast.state, cast.sequences.at(0), cast.sequences.at(1))
            cast = _compiled(cast, options, width, plan.most, progress)
            result_of = partial(
                _result, problem=asked, cast=cast, options=options, k=width, inputs=fingerprint(cast), chose_k=k is None
            )
            try:
                growth = _grow(cast, options, width, plan, workers, progress, None if warm_start is None else warm_start.frames)
            except Diverged as error:
                error.partial = None if error.partial is None else result_of(error.partial)
                raise
            if warm_start is not None and warm:
                growth = replace(growth, distance=warm_start.distance, parted=warm_start.parted)
            if _is_chaotic(growth) and growth.distance is not None and growth.parted is None:
                system, sequences = cast.system, cast.sequences
                parted = remaining_distance(
                    system, sequences, lambda those: TangentPropagator(system, those, workers).step, cast.state, plan.most
                )
                growth = replace(growth, parted=parted)
        result = result_of(growth)
        next_start = _warm_start_of(growth, result, cast)
    if warm_start is None or not warm:
        return result, next_start
    return result, next_start._replace(disagreement=warm_start.disagreement, tolerated=warm_start.tolerated)


def _compiled(cast: CastProblem, options: RunOptions, k: int, most: int, progress: bool | None) -> CastProblem:
    """The same with a system whose steps are compiled, where that was asked for or pays."""
    first, how = (cast.sequences.at(0), cast.sequences.at(1)), options.compile
    steps = most // _chunks(options)
    system = compiled(cast.system, cast.state, first, columns=k, steps=steps, wanted=how, progress=progress)
    return replace(cast, system=system)


def _chunks(options: RunOptions) -> int:
    return options.method.chunks if isinstance(options.method, QR) else 1


def _warm_start_of(growth: Growth, result: Spectrum, cast: CastProblem) -> WarmStart:
    flat = None if growth.state is None else cast.system.saturated(growth.state)
    fraction = None if flat is None else float(flat.double().mean())
    qr_every = result.settings.qr_every
    return WarmStart(growth.frames, growth.distance, growth.disagreement, growth.tolerated, qr_every, fraction, growth.parted)


def _grow(
    cast: CastProblem,
    options: RunOptions,
    k: int,
    plan: RolloutOptions,
    workers: Workers,
    progress: bool | None,
    aligned: Frames | None = None,
) -> Growth:
    title, faster = f"{k} of {total_size(cast.system)} Lyapunov exponents", ""
    if k > FEW:
        faster = f"The {FEW} leading ones (k={FEW}) take a small part of that."
    system, sequences, state = cast.system, cast.sequences, cast.state
    if isinstance(options.method, TimeMean):
        with progress_bar(title, plan.most, enabled=progress) as advance:
            return rollout_diagonal(system, sequences, state, plan, workers=workers, on_step=advance)
    columns, seed = [min(k, size) for size in system.block_sizes], options.seed
    frames = _frames(cast, options, k if plan.align == 0 else max(k, HELPED), seed)
    if aligned is not None:
        frames = _joined(aligned, frames)
    shadow = None if options.from_initial_state else _frames(cast, options, min(k, SHADOWED), seed + 2)
    chunks = _chunks(options)
    if chunks > 1:
        pieces = split(system, sequences, state, plan, chunks, workers)
        with progress_bar(title, pieces.options.most, enabled=progress, faster=faster) as advance:
            start = pieces.state, pieces.frames(frames), pieces.options
            second = None if shadow is None else pieces.frames(shadow)
            try:
                growth = rollout(system, pieces, *start, columns=columns, shadow=second, workers=workers, on_step=advance)
            except Diverged as error:
                raise _diverged_in_chunk(error, chunks) from error
        return pieces.joined(growth)
    other = _frames(cast, options, k, seed + 1) if plan.align is None else None
    with progress_bar(title, plan.most, enabled=progress, faster=faster) as advance:
        return rollout(
            system,
            sequences,
            state,
            frames,
            plan,
            columns=columns,
            other_frames=other,
            shadow=shadow,
            workers=workers,
            on_step=advance,
        )


def _diverged_in_chunk(error: Diverged, chunks: int) -> Diverged:
    return Diverged(
        f"Expected finite frames in all {chunks} chunks, got NaN or infinity {error.step} steps into one; nothing is kept. "
        "Orthonormalise more often (a smaller `qr_every`), use float64, or run without chunks, which names the step.",
        step=error.step,
    )


def _joined(aligned: Frames, frames: Frames) -> Frames:
    """Columns that are aligned already, and further ones at random."""

    def joined(one: torch.Tensor, other: torch.Tensor) -> torch.Tensor:
        return orthonormalise(join_columns((one.to(other), other[..., one.shape[-1] :])))[0]

    return tree_map(joined, aligned, frames)


def _frames(cast: CastProblem, options: RunOptions, most: int, seed: int) -> Frames:
    """Random ones of at most so many columns, of the dtype and on the device of the run."""
    like = torch.empty(0, dtype=options.dtype, device=cast.system.device)

    def first(size: int, block: int) -> torch.Tensor:
        return random_frame(size, min(size, most), batch=cast.sequences.batch, seed=seed, block=block, like=like)

    return tuple(first(size, block) for block, size in enumerate(cast.system.block_sizes))


def _result(
    growth: Growth, *, problem: Problem, cast: CastProblem, options: RunOptions, k: int, inputs: str, chose_k: bool
) -> Spectrum:
    growth, left_out = without_empty(growth)
    settings = settings_of(growth, problem, cast, options, k=k, inputs=inputs, left_open=chose_k)
    if left_out:
        warn(
            f"Expected sequences longer than settle + align = {growth.settle + growth.align}, got shorter ones at {left_out}: "
            "they are left out. Pass smaller settle and align to use them."
        )
    sizes, dt = cast.system.block_sizes, settings.dt
    tolerated = NOISE_LIMIT_ADAPTIVE if "qr_every" in settings.chosen else NOISE_LIMIT_FIXED
    # Where it is not chaos, the inputs decide: what they have in common, growth has, too.
    fraction = independent(cast.sequences.values, cast.sequences.lengths)
    found = estimates(growth, k=k, sizes=sizes, dt=dt, tolerated=tolerated, independent=fraction)
    if fraction < 1 and _is_chaotic(growth) and is_positive(found, settings):
        found = estimates(growth, k=k, sizes=sizes, dt=dt, tolerated=tolerated)
    labels = cast.system.labels
    found = replace(found, layer=_layers(labels, sizes)[found.layer])
    return Spectrum(**vars(found), settings=settings, verdict=judge(found, settings, growth, labels))


def _is_chaotic(growth: Growth) -> bool:
    """Whether sequences on the same inputs may still differ from each other."""
    largest = float((growth.log_growth.sum((0, 1)) / growth.steps.sum()).max())
    return largest > 0 and (growth.distance is None or growth.distance > SETTLED_RATIO)


def _layers(labels: tuple[Label, ...], sizes: tuple[int, ...]) -> torch.Tensor:
    """(blocks,): the layer that each block is; 0 for one that has the rows of several."""
    starts = [sum(sizes[:at]) for at in range(len(sizes))]
    of_block = [{label.layer for label in labels[start : start + size]} for start, size in zip(starts, sizes, strict=True)]
    return torch.tensor([min(layers) if len(layers) == 1 else 0 for layers in of_block])


def _warn_of_tail(result: Spectrum) -> None:
    finding = unreliable_tail(result, result.settings)
    if finding is not None:
        warn(f"Expected exponents above the precision floor, got {finding.message}")
