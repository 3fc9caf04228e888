"""What a checkpoint holds in front of its recurrent core: an embedding, nothing, or something that only the model can compute.

A file has names and shapes and no order. So an embedding is used where, by shapes, nothing else of the file can lie between it
and the core; where something can, the answer is not a guess but how to capture the model.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import takewhile

from torch import Tensor

_EMBEDDING = re.compile(r"emb|wte|look_?up|lut|tok|word_?vec|char_?vec|vocab", re.IGNORECASE)
_BEHIND = re.compile(r"^((lm_)?heads?\d*|(fc_|linear_)?out(put)?s?(_layer)?|readout|decoder|classifier|(to_)?logits?|h2o)$")
"""What is called like this reads the core's output."""
_START = re.compile(r"[hc]_?0\w*|init\w*|\w*(hidden|state)")
"""A parameter of its own that is called like this is a learned initial state."""

_MOMENTS = r"(max_)?exp_avg(_sq)?(_row|_col)?|exp_inf|momentum_buffer|square_avg|grad_avg|acc_delta|step"
_OPTIMIZER = re.compile(rf"(^|\.)(\w*optim\w*\.(.+\.)?(state\..+|{_MOMENTS})|\w*state\.\d+\.({_MOMENTS}))$", re.IGNORECASE)
"""What an optimizer keeps of each parameter, where a file has it flat."""


@dataclass(frozen=True)
class Map:
    """A tensor, or another core, as something that can stand in front: which widths it can take and give."""

    name: str
    shape: tuple[int, ...]
    widths: tuple[tuple[int, int], ...]

    def __str__(self) -> str:
        return f"{self.name} {self.shape}"


@dataclass(frozen=True)
class Front:
    """The embedding in front of a core, and what may lie between as well (None: no embedding was found)."""

    name: str | None
    weight: Tensor | None
    between: tuple[Map, ...]
    maps: tuple[Map, ...]


def front_of(core: str, size: int, others: Mapping[str, Tensor], cores: Sequence[Map]) -> Front:
    """What may feed a `core` of `size` inputs, of the tensors that are of no core and of the other cores."""
    own = core.split(".")
    ahead = {name: value for name, value in others.items() if not _behind(name, own) and not _OPTIMIZER.search(name)}
    named = {name: value for name, value in ahead.items() if _is_table(name, value, others) and _called_embedding(name)}
    fitting = _nearest([name for name, value in named.items() if value.shape[1] == size], own, named)
    chosen = fitting[0] if len(fitting) == 1 else None
    maps = [
        *cores,
        *(one for name, value in ahead.items() if name != chosen and (one := _map(name, value, others)) is not None),
    ]
    if chosen is None:
        unclear = [Map(name, tuple(value.shape), ()) for name, value in named.items() if len(fitting) != 1]
        unclear += [
            Map(name, tuple(value.shape), ())
            for name, value in ahead.items()
            if name not in named and _is_table(name, value, others) and value.shape[1] == size
        ]
        return Front(None, None, (*unclear, *path(size, size, maps)), tuple(maps))
    added = [Map(name, tuple(value.shape), ()) for name, value in ahead.items() if name != chosen and _adds(name, value, size)]
    return Front(chosen, ahead[chosen], (*added, *path(size, size, maps)), tuple(maps))


def path(start: int, goal: int, maps: Sequence[Map]) -> tuple[Map, ...]:
    """The shortest way from one width to another through some of the maps, none twice in a row; empty where there is none."""
    ways: list[tuple[int, tuple[Map, ...]]] = [(start, ())]
    seen: set[tuple[int, str]] = set()
    for width, way in ways:  # grows while it is gone through
        for one in maps:
            for taken, given in one.widths:
                if taken != width or (way and way[-1] is one) or (given, one.name) in seen:
                    continue
                if given == goal:
                    return (*way, one)
                seen.add((given, one.name))
                ways.append((given, (*way, one)))
    return ()


def _behind(name: str, core: Sequence[str]) -> bool:
    """Whether the part of a name that is not the core's says that it comes after the core."""
    parts = name.split(".")
    shared = len(list(takewhile(lambda pair: pair[0] == pair[1], zip(parts, core, strict=False))))
    return any(_BEHIND.match(part.lower()) for part in parts[shared:])


def _called_embedding(name: str) -> bool:
    parts = name.removesuffix(".weight").split(".")
    return bool(_EMBEDDING.search(parts[-1])) or parts[-1] == "encoder" or any(_EMBEDDING.search(part) for part in parts[-2:])


def _is_table(name: str, value: Tensor, others: Mapping[str, Tensor]) -> bool:
    """A matrix without a bias: what an embedding is."""
    return value.dim() == 2 and value.is_floating_point() and f"{name.removesuffix('weight')}bias" not in others


def _nearest(names: list[str], core: Sequence[str], tables: Mapping[str, Tensor]) -> list[str]:
    """Of several, those whose name shares most with the core's; tables of the same numbers count once."""

    def shared(name: str) -> int:
        return len(list(takewhile(lambda pair: pair[0] == pair[1], zip(name.split("."), core, strict=False))))

    most = max(map(shared, names), default=0)
    found: list[str] = []
    for name in (name for name in names if shared(name) == most):
        if not any(
            tables[name].shape == tables[other].shape and bool((tables[name] == tables[other]).all()) for other in found
        ):
            found.append(name)
    return found


def _adds(name: str, value: Tensor, size: int) -> bool:
    """Whether it can be added to what an embedding gives: positions, as a table or as they are."""
    return value.dim() >= 2 and value.shape[-1] == size and "pos" in ".".join(name.lower().split(".")[-2:])


def _map(name: str, value: Tensor, others: Mapping[str, Tensor]) -> Map | None:
    place, _, leaf = name.rpartition(".")
    weight = others.get(f"{place}.weight" if place else "weight")
    if not value.is_floating_point() or value.dim() == 0 or _START.fullmatch(leaf.lower()):
        return None
    if leaf != "weight" and weight is not None and value.dim() == 1:  # a bias, a running mean: the weight stands for all
        return None
    one, two = (value.shape[0], value.shape[0]) if value.dim() == 1 else (value.shape[1], value.shape[0])
    widths = {(one, two)}
    if value.dim() != 2 or _is_table(name, value, others):  # also from the left, and transposed convolutions
        widths.add((two, one))
    if leaf != "weight" and value.dim() > 1:  # a parameter of its own can be added as well
        widths.add((value.shape[-1], value.shape[-1]))
    return Map(name, tuple(value.shape), tuple(sorted(widths)))
