"""One reading after another of a network that changes a little in between: what was found once need not be found again."""

import math
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch.nn.utils.rnn import PackedSequence
from torch.utils._pytree import tree_flatten, tree_map

from lyapunov._shapes import Frames, blocks
from lyapunov.estimate import Ending, Spectrum, Wishes, estimated, memory_time
from lyapunov.intake import Request
from lyapunov.tangent import TOGETHER, orthonormalise, random_frame
from lyapunov.training.reading import distance

_FORGOTTEN = -math.log(TOGETHER)
"""Memory times in which a difference of states shrinks to TOGETHER of what it was."""
_OUTGROWN = 1.5
"""Times as long as the settling that was found: then it is looked for again."""


@dataclass(frozen=True)
class Look:
    """A spectrum; the share of saturated units; and how far a carried run was from it, where both were made."""

    spectrum: Spectrum
    saturated: float | None
    carried_apart: float | None


class Continued:
    """Spectra of one system on the same inputs, again and again.

    The frames that a run ends with lie close to where the next one's belong: an equal part of random directions is mixed in
    (alone they would be too pure: a direction that has meanwhile become a leading one would grow out of rounding only), and
    they are aligned for as many steps as random ones. So a reading from them is no worse than one from random frames, and the
    error that its own second frame shows holds for it. The steps that are counted stay the same. After 1, 3, 9, 27, ... looks,
    and when the memory has outgrown the settling, transients are found anew from random frames, and the carried run is made
    beside it: where they
    disagree by more than random frames do, and than twice what they may, the next look is from random frames again.
    """

    def __init__(self) -> None:
        self._ending: Ending | None = None
        self._settle = self._align = 0
        self._count = 0
        self._trusted = True
        self._memory = 0.0
        self._shape: Any = None
        self._looked = False

    def look(self, target: Any, request: Request, wishes: Wishes) -> Look:
        """The next spectrum. `wishes`: as the user has them; `k` None for all exponents: a look beside the others."""
        check = not self._looked
        self._looked = True
        if wishes.k is None:
            spectrum, ending = estimated(target, request, wishes, check=check)
            return Look(spectrum, ending.saturated, None)
        shape = _shape(request.inputs)
        if shape != self._shape:
            self._ending, self._shape = None, shape
        carried = self._carried(target, request, wishes) if self._can_be_carried(wishes) else None
        if carried is not None and not self._is_fresh():
            found, apart = carried, None
        else:
            after = None if self._ending is None else self._ending._replace(frames=None)
            found = estimated(target, request, wishes, check=check, after=after)
            self._settle, self._align = found[0].settings.settle, found[0].settings.align
            apart = None if carried is None else distance(found[0].exponents.tolist(), carried[0].exponents.tolist())
            self._trusted = apart is None or not apart > max(2 * found[1].tolerated, found[1].disagreement or 0.0)
        self._count += 1
        spectrum, self._ending = found
        self._memory = memory_time(spectrum.max)
        return Look(spectrum, self._ending.saturated, apart)

    def forget(self) -> None:
        """Starts anew with the next look: the inputs are others, or the last run failed."""
        self._ending = None

    def state_dict(self) -> dict[str, Any]:
        """Plain numbers and tensors on the CPU."""
        ending = self._ending
        frames = None if ending is None else tree_map(lambda part: part.cpu(), ending.frames)
        return {
            "ending": None if ending is None else {**ending._asdict(), "frames": frames},
            "settle": self._settle,
            "align": self._align,
            "count": self._count,
            "trusted": self._trusted,
            "memory": self._memory,
            "shape": self._shape,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Goes on where `state_dict` was taken."""
        self._ending = None
        if state["ending"] is not None:
            self._ending = Ending(**state["ending"])
        self._settle, self._align, self._count = state["settle"], state["align"], state["count"]
        self._trusted, self._memory, self._shape = state["trusted"], state["memory"], state["shape"]

    def _can_be_carried(self, wishes: Wishes) -> bool:
        ending = self._ending
        if ending is None or ending.frames is None or wishes.from_reset or not (self._trusted or self._is_fresh()):
            return False
        frames = blocks(ending.frames)
        fits = all(part.shape[-1] == min(wishes.k or 0, part.shape[-2]) for part in frames)
        return fits and all(bool(torch.isfinite(part).all()) for part in frames)

    def _is_fresh(self) -> bool:
        """Whether transients are to be found anew."""
        settled = self._ending is not None and self._ending.apart is not None and self._ending.apart <= TOGETHER
        outgrown = settled and _FORGOTTEN * self._memory > _OUTGROWN * max(self._settle, 1)
        return _is_power_of_three(self._count) or outgrown

    def _carried(self, target: Any, request: Request, wishes: Wishes) -> tuple[Spectrum, Ending]:
        """From the frames of the last run."""
        ending = self._ending
        assert ending is not None
        same = replace(wishes, settle=self._settle, align=self._align)
        frames: Any = ending.frames
        after = ending._replace(frames=_refreshed(frames, wishes.seed + 1))
        return estimated(target, request, same, check=False, after=after)


def _shape(inputs: Any) -> Any:
    """What must be the same for frames, and for numbers of steps, to fit: plain values."""
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

    if isinstance(frames, tuple):
        return tuple(mixed(part, block) for block, part in enumerate(frames))
    return mixed(frames, 0)
