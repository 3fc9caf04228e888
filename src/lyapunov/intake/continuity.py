"""Whether what is fed back depends on the state as a derivative says: not where it is sampled, or jumps between symbols."""

from collections.abc import Callable, Generator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor
from torch.func import jvp

from lyapunov import _checks
from lyapunov._trees import tree_flatten, tree_map
from lyapunov.errors import BadSystem, InvalidInput, LyapunovError, Unsupported

_POINTS, _SMALL = 8, 1e-4
"""Places at which the feedback is looked at, and the relative size of a small step there."""
_INSTEAD = (
    "To measure the core along one such sequence, pass it as inputs: lyapunov.spectrum(core, inputs). A loop with exponents "
    "feeds back something continuous: the expected embedding, softmax(logits) @ embedding.weight, for example."
)


@contextmanager
def feedback_explained(output: object) -> Generator[None, None, None]:
    """What readout and feedback raise, called with `output` or differentiated there, becomes a `BadSystem` that names it."""
    try:
        yield
    except (LyapunovError, torch.OutOfMemoryError):
        raise
    except Exception as error:  # the user's own code: it may raise anything
        line = (str(error).strip().splitlines() or [""])[0].rstrip(".")
        shape = tree_map(lambda leaf: tuple(leaf.shape) if isinstance(leaf, Tensor) else type(leaf).__name__, output)
        raise BadSystem(
            f"Expected a readout (and feedback) that takes the core's output, {shape}, and can be differentiated, got "
            f"{type(error).__name__}: {line}. "
            "Write it with PyTorch's operations (no NumPy, no buffers that are changed in place), for an input of that shape."
        ) from error


def require_continuous(feed: Callable[[Any], Any], output: object) -> None:
    """Refuses a feedback that draws random numbers, that is made of symbols, or that drops its derivative.

    output: what the core returns, batch first; the feedback is looked at there and at places around it.
    Raises Unsupported, and InvalidInput where it is one number, or not finite.
    """
    generator = torch.Generator().manual_seed(20204)
    with torch.random.fork_rng(devices=[]):
        before = torch.random.get_rng_state()
        once, again = _leaves(feed(output)), _leaves(feed(output))
        drawn = not torch.equal(before, torch.random.get_rng_state())  # two samples may be the same
        _fitting(once)
        if drawn or not all(torch.equal(one, two) for one, two in zip(once, again, strict=True)):
            raise Unsupported(
                "Expected a feedback that is a function of the core's output, got one that differs between two calls: it draws "
                f"random numbers (sampling, dropout), so the loop is not one map. {_INSTEAD}"
            )
        if not all(leaf.is_floating_point() for leaf in once):
            raise Unsupported(f"Expected a continuous feedback, got symbols ({once[0].dtype}), as argmax gives. {_INSTEAD}")
        jumps, moves = _looked_at(feed, output, once, generator)
    if jumps and not moves:
        raise Unsupported(
            "Expected a continuous feedback, got one that jumps: it changes with the output of the core, but small changes of "
            f"the output change nothing (argmax, a threshold, rounding), so its derivative is zero. {_INSTEAD}"
        )
    if jumps:
        raise Unsupported(
            "Expected a feedback with a derivative, got one that moves with the output of the core while its derivative is "
            "zero. Remove .detach(), .data, torch.no_grad or inference_mode from the path: they drop the derivative silently."
        )


def _fitting(fed: list[Tensor]) -> None:
    if any(leaf.dim() == 0 for leaf in fed):
        raise InvalidInput(
            "Expected a row of the core's next input for each sequence, got one number. Let readout and feedback work along "
            "the last axis alone."
        )
    if not all(_checks.is_finite(leaf) for leaf in fed):
        raise InvalidInput("Expected a finite feedback, got NaN or infinity. Check the weights of readout and feedback.")


def _looked_at(
    feed: Callable[[Any], Any], output: object, first: list[Tensor], generator: torch.Generator
) -> tuple[bool, bool]:
    """Whether some entry changes though its derivative is zero at all places, and whether it moves with most small steps."""
    changed = [torch.zeros_like(leaf[0], dtype=torch.bool) for leaf in first]
    flat = [torch.ones_like(leaf[0], dtype=torch.bool) for leaf in first]
    moved = [torch.zeros_like(leaf[0], dtype=torch.float64) for leaf in first]
    for _ in range(_POINTS):
        point = _moved(output, output, 1.0, generator)
        direction = _moved(tree_map(torch.zeros_like, output), output, 1.0, generator)
        here = _leaves(feed(point))
        tangents = _leaves(jvp(feed, (point,), (direction,))[1])
        near = _leaves(feed(tree_map(lambda leaf, step: leaf + _SMALL * step, point, direction)))
        for at, leaf in enumerate(here):
            changed[at] |= (leaf != first[at]).any(0)
            flat[at] &= (tangents[at] == 0).all(0)
            moved[at] += (near[at] != leaf).double().mean(0) / _POINTS
    found = [one & two for one, two in zip(changed, flat, strict=True)]
    moves = [bool((one & (part > 0.5)).any()) for one, part in zip(found, moved, strict=True)]
    return any(bool(one.any()) for one in found), any(moves)


def _moved(point: object, scale: object, size: float, generator: torch.Generator) -> Any:
    def one(leaf: Tensor, by: Tensor) -> Tensor:
        noise = torch.randn(leaf.shape, dtype=torch.float64, generator=generator).to(leaf)
        return leaf + size * (1 + by.abs()) * noise

    return tree_map(one, point, scale)


def _leaves(value: object) -> list[Tensor]:
    leaves = tree_flatten(value)[0]
    if not leaves or not all(isinstance(leaf, Tensor) for leaf in leaves):
        raise InvalidInput(
            f"Expected tensors from the readout (and the feedback), got {type(value).__name__}. Return the core's next input."
        )
    return leaves
