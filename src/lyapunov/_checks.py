"""What is asked of arguments. One check, one function, one form of message: expected, received, what to do."""

from collections.abc import Sequence
from dataclasses import is_dataclass
from itertools import pairwise
from numbers import Integral, Real
from pathlib import Path

import torch
from torch import Tensor

from lyapunov._trees import keystr, tree_flatten, tree_flatten_with_path
from lyapunov.errors import InvalidInput


def tensor(value: object, name: str) -> Tensor:
    """Return `value` where it is a tensor; raise InvalidInput, with how to convert it, where it is not."""
    if isinstance(value, Tensor):
        return value
    remedy = "Convert it with torch.as_tensor(...)."
    if is_dataclass(value) or hasattr(value, "__dict__"):
        remedy = "Pass the tensors in it as a tuple or a dictionary, and put them into the object within the step."
    raise InvalidInput(f"Expected `{name}` to be a tensor, got {type(value).__name__}. {remedy}")


def shape(value: Tensor, expected: tuple[int | str, ...], name: str, remedy: str = "") -> None:
    """Sizes where `expected` has numbers; names (any size) where it has words."""
    fits = value.dim() == len(expected) and all(
        isinstance(want, str) or want == have for want, have in zip(expected, value.shape, strict=True)
    )
    if not fits:
        wanted = ", ".join(str(size) for size in expected)
        remedy = remedy or "Check the order and the sizes of its axes."
        raise InvalidInput(f"Expected `{name}` of shape ({wanted}), got {tuple(value.shape)}. {remedy}")


def floating(value: Tensor, name: str) -> None:
    """Require real floating-point numbers; integer symbols must be converted or one-hot encoded first."""
    if not value.is_floating_point():
        raise InvalidInput(
            f"Expected floating-point `{name}`, got {value.dtype}. Convert with .float(), or one-hot encode integer symbols: "
            "torch.nn.functional.one_hot(symbols, size).float()."
        )


def continuous(value: Tensor, name: str) -> None:
    """Real or complex floating numbers: something with a derivative."""
    if not (value.is_floating_point() or value.is_complex()):
        raise InvalidInput(
            f"Expected floating-point `{name}` (real or complex), got {value.dtype}. Convert with .float(), or pass what has "
            "no derivative (counters, masks) as `carried`."
        )


def finite(value: Tensor, name: str) -> None:
    """No NaN and no infinity; the first place is named."""
    if is_finite(value):
        return
    place = torch.nonzero(~torch.isfinite(value.detach()))[0].tolist()
    found = value.detach()[tuple(place)].item()
    index = ", ".join(str(at) for at in place)
    raise InvalidInput(
        f"Expected finite `{name}`, got {found} at {name}[{index}]. "
        "Remove or replace it: one such value makes every exponent NaN."
    )


def finite_tree(value: object, name: str) -> None:
    """`finite` for every tensor of a pytree, each named by its path."""
    for path, leaf in tree_flatten_with_path(value)[0]:
        if isinstance(leaf, Tensor):
            finite(leaf, name + keystr(path))


def same_device(value: object, device: torch.device, name: str) -> None:
    """Every tensor of a pytree on the module's device."""
    for leaf in tree_flatten(value)[0]:
        if isinstance(leaf, Tensor) and leaf.device != device:
            raise InvalidInput(
                f"Expected `{name}` on {device}, where the module is, got {leaf.device}. "
                f"Move one of them: {name}.to('{device}')."
            )


def whole_number(value: object, name: str, *, least: int, most: int | None = None, why: str = "") -> int:
    """An integer within bounds."""
    number = int(value) if isinstance(value, Integral) and not isinstance(value, bool) else least - 1
    if least <= number and (most is None or number <= most):
        return number
    span = f"at least {least}" if most is None else f"from {least} to {most}"
    raise InvalidInput(f"Expected `{name}` to be a whole number {span}{why}, got {value!r}. Choose one in that range.")


def positive(value: object, name: str) -> float:
    """A finite number above zero."""
    if isinstance(value, Real) and not isinstance(value, bool) and 0 < float(value) < float("inf"):
        return float(value)
    raise InvalidInput(f"Expected `{name}` to be a finite number above zero, got {value!r}. Pass for example {name}=1.0.")


def finite_number(value: object, name: str) -> float:
    """A finite number of any sign."""
    if isinstance(value, Real) and not isinstance(value, bool) and abs(float(value)) < float("inf"):
        return float(value)
    raise InvalidInput(f"Expected `{name}` to be a finite number, got {value!r}. Pass for example {name}=0.0.")


def fraction(value: object, name: str) -> float:
    """A number from 0 to 1."""
    if isinstance(value, Real) and not isinstance(value, bool) and 0 <= float(value) <= 1:
        return float(value)
    raise InvalidInput(f"Expected `{name}` to be a number from 0 to 1, got {value!r}. Pass for example {name}=0.5.")


def writable(path: Path, name: str, suffixes: tuple[str, ...]) -> None:
    """A file that can be written: its folder is there, and its ending is one of some."""
    if path.suffix not in suffixes:
        raise InvalidInput(f"Expected `{name}` to end in {' or '.join(suffixes)}, got {path}. Give the file such a name.")
    if not path.parent.is_dir():
        raise InvalidInput(f"Expected `{name}` in a folder that exists, got {path}. Make the folder {path.parent} first.")


def ascending(values: Sequence[int], name: str) -> tuple[int, ...]:
    """Numbers each larger than the one before."""
    if all(one < two for one, two in pairwise(values)):
        return tuple(values)
    raise InvalidInput(
        f"Expected `{name}` in ascending order, each once, got {list(values)}. Sort them: {sorted(set(values))}."
    )


def length(value: Sequence[object], expected: int, name: str, what: str) -> None:
    """As many entries as there must be."""
    if len(value) != expected:
        raise InvalidInput(f"Expected `{name}` of length {expected}, got {len(value)}. {what}.")


def require_nonempty(values: tuple[object, ...], what: str, example: str) -> None:
    """At least one of something."""
    if not values:
        raise InvalidInput(f"Expected {what}, got none. Pass one or more: {example}.")


def one_of(value: object, choices: tuple[object, ...], name: str) -> None:
    """One of some named choices."""
    if not any(value is choice or (isinstance(value, type(choice)) and value == choice) for choice in choices):
        raise InvalidInput(
            f"Expected `{name}` to be one of {', '.join(map(repr, choices))}, got {value!r}. Choose one of them."
        )


def flag(value: object, name: str) -> bool:
    """True or False: every string is true, also "False"."""
    if isinstance(value, bool):
        return value
    raise InvalidInput(f"Expected `{name}` to be True or False, got {value!r}. Pass one of the two.")


def is_finite(value: Tensor) -> bool:
    """Whether every entry is; a sum tells it of most tensors without memory of their size."""
    return bool(torch.isfinite(value.sum())) or bool(torch.isfinite(value).all())
