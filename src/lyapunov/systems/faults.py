"""What a user's function raises, or does to what it is given, as one sentence with the remedy."""

from collections.abc import Generator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor

from lyapunov._trees import keystr, tree_flatten, tree_flatten_with_path, tree_map
from lyapunov.errors import BadSystem, LyapunovError

_RAISED = (RuntimeError, TypeError, ValueError, IndexError, AttributeError)
"""What PyTorch raises: `NotImplementedError` is a `RuntimeError`."""
_DIFFERENTIABLE = (
    "Write the step with differentiable torch operations, without in-place changes of the state; an autograd.Function needs "
    "setup_context, jvp, and vmap or generate_vmap_rule, or plain operations in its place."
)
_KINDS: tuple[tuple[tuple[str, ...], str, str], ...] = (
    (
        ("setup_context",),
        "a step that forward-mode differentiation can follow",
        "Write what that autograd.Function computes with torch operations. For a spike with a surrogate gradient: s = "
        "torch.sigmoid(25 * v); s + ((v > 0).to(v) - s).detach(), with check=False, as that slope is not the true one.",
    ),
    (
        ("scaled_dot_product", "flash_attn", "flex_attention", "meta conversion"),
        "attention that forward-mode differentiation can follow",
        "Call torch.nn.functional.scaled_dot_product_attention and leave the kernel open (no sdpa_kernel(...) within the step, "
        "no flex_attention): in a run it is written out in products and a softmax.",
    ),
    (
        ("data-dependent control flow",),
        "a step without branches on values of the state",
        "Choose by torch.where(condition, a, b) instead of `if`, and run loops a fixed number of times.",
    ),
    (
        ("output shape", "dynamic shape", "masked_select", "boolean ind"),
        "a step whose tensors have fixed sizes",
        "Choose by torch.where(condition, a, b) instead of boolean masks and nonzero().",
    ),
    (
        ("random",),
        "a deterministic step",
        "Switch off dropout and noise (module.eval()), or pass the noise as inputs.",
    ),
    (
        ("inplace", "in-place", "in place"),
        "a step that changes nothing in place",
        "Use new tensors: s * 0.5 instead of s.mul_(0.5), torch.where or torch.cat instead of writing into one.",
    ),
    (
        (".item()", "numpy", "data pointer", "have storage", "tolist", "Python scalar"),
        "a step that keeps to tensors",
        "Leave out .item(), float() of a tensor, .tolist() and NumPy: they lose the derivative.",
    ),
    (
        ("vmap", "jvp", "forward AD", "functorch", "autograd", "derivative", "backward", "requires grad", "require grad"),
        "a step that forward-mode differentiation can follow",
        _DIFFERENTIABLE,
    ),
)


@contextmanager
def explained(state: object) -> Generator[None, None, None]:
    """What a user's step from `state` raises inside becomes a `BadSystem`, whose cause is the error itself."""
    try:
        yield
    except (LyapunovError, torch.OutOfMemoryError):
        raise
    except _RAISED as error:
        raise BadSystem(_explanation(error, state)) from error


def in_new_containers(value: object) -> Any:
    """The same tensors in containers of their own: what refills a list or a dictionary reaches nobody else's."""
    return value if value is None or isinstance(value, Tensor) else tree_map(lambda leaf: leaf, value)


def tensors_of(value: object) -> list[Tensor]:
    """The tensors of a pytree."""
    if isinstance(value, Tensor):
        return [value]
    return [leaf for leaf in tree_flatten(value)[0] if isinstance(leaf, Tensor)]


def versions_of(tensors: list[Tensor]) -> list[int]:
    """How often each was changed in place; -1 where that is not counted."""
    return [-1 if tensor.is_inference() else tensor._version for tensor in tensors]


def changed_in_place(args: tuple[object, ...], versions: list[int]) -> BadSystem:
    """The error of a step that does not leave its arguments alone: the first one whose version is another one now."""
    leaves = [(path, leaf) for path, leaf in tree_flatten_with_path(args)[0] if isinstance(leaf, Tensor)]
    changed = (path for (path, leaf), before in zip(leaves, versions, strict=True) if versions_of([leaf]) != [before])
    path: Any = next(changed, None)
    what = "them" if path is None else f"{('state', 'x', 'carried')[path[0].idx]}{keystr(path[1:])}"
    return BadSystem(
        f"Expected a step that leaves its state and input as they are, got one that changes {what} in place. Use new tensors: "
        "s * 0.5 instead of s.mul_(0.5); or pass a clone to code that is not yours."
    )


def same_form(old: object, new: object, *, grows: bool = False) -> None:
    """A state has the structure, shapes and dtypes of the one before; where it `grows`, of other lengths."""
    form, (after, new_form) = tree_flatten(old)[1], tree_flatten(new)
    if form != new_form or not all(isinstance(leaf, Tensor) for leaf in after):
        raise BadSystem(
            f"Expected the step to return a state of the structure it was given, {_described(old)}, got {_described(new)}. "
            "Return the new state alone, in the same order; outputs and logits do not belong to it."
        )
    for (path, one), other in zip(tree_flatten_with_path(old)[0], after, strict=True):
        if (one.shape != other.shape and not grows) or one.dtype != other.dtype:
            remedy = "Return the state in the shape and dtype it came in."
            if one.shape == other.shape:
                remedy = f"Return it in the dtype it came in: new.to(old.dtype), not {_named(other.dtype)} by name."
            raise BadSystem(
                f"Expected the step to return a state of shape {tuple(one.shape)} and {one.dtype}, got "
                f"{tuple(other.shape)} and {other.dtype}{f' at state{keystr(path)}' if path else ''}. {remedy}"
            )


def _named(dtype: torch.dtype) -> str:
    return {torch.float32: ".float()", torch.float64: ".double()"}.get(dtype, str(dtype))


def _described(state: object) -> str:
    return str(tree_map(lambda leaf: tuple(leaf.shape) if isinstance(leaf, Tensor) else type(leaf).__name__, state))


def _line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0].rstrip(" .")


def _explanation(error: Exception, state: object) -> str:
    line, kind = _line(error), type(error).__name__
    for fragments, expected, remedy in _KINDS:
        if any(fragment in str(error) for fragment in fragments):
            return f"Expected {expected}, got {kind}: {line}. {remedy}"
    if "argument" in line and kind == "TypeError":
        return f"Expected a step(state, x), or step(state, x, carried) with `carried`, got {kind}: {line}. Give it those."
    dtype = next((leaf.dtype for leaf in tensors_of(state)), None)
    advice = (
        "Its arguments are (state, x), in that order, batch first; where a cell takes them the other way round: "
        "lambda state, x: cell(x, state)."
    )
    if "dtype" in line or "Double" in line or "Float" in line:
        advice = (
            "If its own weights have another dtype, pass the module itself (or its method) so that they are cast, cast tensors "
            "in its closure, or choose dtype=... to match."
        )
    return f"Expected step(state, x) to run on a {dtype} state, got {kind}: {line}. {advice}"
