"""Warm starts: one reading after another of a network that changes a little in between starts where the last one ended."""

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import torch
from torch.nn.utils.rnn import PackedSequence

from lyapunov._shapes import Frames
from lyapunov._trees import tree_flatten, tree_map
from lyapunov.estimate import RunOptions, Spectrum, WarmStart, estimate_spectrum, memory_time
from lyapunov.intake import Captured, Problem
from lyapunov.tangent import SETTLED_RATIO, orthonormalise, random_frame
from lyapunov.training.reading import distance

_FORGOTTEN = -math.log(SETTLED_RATIO)
"""Memory times in which a difference of states shrinks to SETTLED_RATIO of what it was."""
_OUTGROWN = 1.5
"""Times as long as the settling that was found: then it is looked for again."""


Estimated = Callable[..., tuple[Spectrum, WarmStart]]


@dataclass(frozen=True)
class Measurement:
    """A spectrum; the fraction of saturated units; and how far a warm-started run was from it, where both were made."""

    spectrum: Spectrum
    saturated: float | None
    warm_start_error: float | None


class WarmStartedSpectra:
    """Spectra of one system on the same inputs, again and again.

    The frames that a run ends with lie close to where the next one's belong: an equal part of random directions is mixed in
    (alone they would be too pure: a direction that has meanwhile become a leading one would grow out of rounding only), and
    they are aligned for as many steps as random ones. So a warm-started reading is no worse than a cold-started one, and the
    error that its own second frame shows holds for it. The steps that are counted stay the same. After 1, 3, 9, 27, ...
    measurements, and when the memory has outgrown the settling, a cold start finds the transients again from random frames.
    The warm-started run is made as well. Where the two disagree by more than random frames do, and by more than twice what
    they may, the next measurement is a cold start again.
    """

    def __init__(self) -> None:
        self._warm_start: WarmStart | None = None
        self._settle = self._align = 0
        self._count = 0
        self._trusted = True
        self._memory_time = 0.0
        self._shape: object = None
        self._measured = False

    def measure(self, asked: Problem, options: RunOptions, k: int | None) -> Measurement:
        """The next spectrum. `k`: the most exponents; None: all of them, in a spectrum outside of the series."""
        check = not self._measured
        self._measured = True
        run = partial(estimate_spectrum, asked, k=k, fewer=True, coarse=True)
        if k is None:
            spectrum, warm_start = run(options, check=check)
            return Measurement(spectrum, warm_start.saturated, None)
        shape = _shape(asked)
        if shape != self._shape:
            self._warm_start, self._shape = None, shape
        warm = self._warm_started(run, options) if self._can_warm_start(options, k) else None
        if warm is not None and not self._is_cold_start_due():
            found, error = warm, None
        else:
            start = None if self._warm_start is None else self._warm_start._replace(frames=None)
            found = run(options, check=check, warm_start=start)
            self._settle, self._align = found[0].settings.settle, found[0].settings.align
            error = None if warm is None else distance(found[0].exponents.tolist(), warm[0].exponents.tolist())
            self._trusted = error is None or not error > max(2 * found[1].tolerated, found[1].disagreement or 0.0)
        self._count += 1
        spectrum, self._warm_start = found
        self._memory_time = memory_time(spectrum.max)
        return Measurement(spectrum, self._warm_start.saturated, error)

    def forget(self) -> None:
        """The next measurement is a cold start: the inputs are others, or the last run failed."""
        self._warm_start = None

    def state_dict(self) -> dict[str, Any]:
        """Plain numbers and tensors on the CPU."""
        warm_start = self._warm_start
        frames = None if warm_start is None else tree_map(lambda part: part.cpu(), warm_start.frames)
        return {
            "warm_start": None if warm_start is None else {**warm_start._asdict(), "frames": frames},
            "settle": self._settle,
            "align": self._align,
            "count": self._count,
            "trusted": self._trusted,
            "memory": self._memory_time,
            "shape": self._shape,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Goes on where `state_dict` was taken."""
        self._warm_start = None
        if state["warm_start"] is not None:
            self._warm_start = WarmStart(**state["warm_start"])
        self._settle, self._align, self._count = state["settle"], state["align"], state["count"]
        self._trusted, self._memory_time, self._shape = state["trusted"], state["memory"], state["shape"]

    def _can_warm_start(self, options: RunOptions, k: int) -> bool:
        warm_start = self._warm_start
        if (
            warm_start is None
            or warm_start.frames is None
            or options.from_initial_state
            or not (self._trusted or self._is_cold_start_due())
        ):
            return False
        frames = warm_start.frames
        fits = all(part.shape[-1] == min(k, part.shape[-2]) for part in frames)
        return fits and all(bool(torch.isfinite(part).all()) for part in frames)

    def _is_cold_start_due(self) -> bool:
        """Whether transients are to be found again, from random frames."""
        settled = (
            self._warm_start is not None
            and self._warm_start.distance is not None
            and self._warm_start.distance <= SETTLED_RATIO
        )
        outgrown = settled and _FORGOTTEN * self._memory_time > _OUTGROWN * max(self._settle, 1)
        return _is_power_of_three(self._count) or outgrown

    def _warm_started(self, run: Estimated, options: RunOptions) -> tuple[Spectrum, WarmStart]:
        """From the frames of the last run."""
        warm_start = self._warm_start
        assert warm_start is not None
        same = replace(options, settle=self._settle, align=self._align)
        frames: Any = warm_start.frames
        start = warm_start._replace(frames=_refreshed(frames, options.seed + 1))
        return run(same, check=False, warm_start=start)


def _shape(asked: Problem) -> object:
    """What must be the same for frames, and for numbers of steps, to fit: plain values."""
    inputs = None if isinstance(asked, Captured) else asked.inputs
    if isinstance(inputs, PackedSequence):
        return (tuple(inputs.data.shape), tuple(inputs.batch_sizes.tolist()))
    return tuple(tuple(leaf.shape) for leaf in tree_flatten(inputs)[0] if hasattr(leaf, "shape"))


def _is_power_of_three(count: int) -> bool:
    """0 counts as one."""
    while count > 1 and count % 3 == 0:
        count //= 3
    return count in (0, 1)


def _refreshed(frames: Frames, seed: int) -> Frames:
    """Orthonormal frames, an equal part of which is random."""

    def mixed(part: torch.Tensor, block: int) -> torch.Tensor:
        batch, size, columns = part.shape
        return orthonormalise(part + random_frame(size, columns, batch=batch, seed=seed, block=block, like=part))[0]

    return tuple(mixed(part, block) for block, part in enumerate(frames))
