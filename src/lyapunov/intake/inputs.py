"""Inputs as users have them (time axis, batch axis, packing, lengths) as sequences that a run can step through."""

import hashlib
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn.utils.rnn import PackedSequence, pad_packed_sequence

from lyapunov import _checks
from lyapunov._shapes import Input
from lyapunov._trees import tree_flatten, tree_map
from lyapunov.errors import InvalidInput
from lyapunov.systems import cast_tensor

_WINDOW = 16
"""Steps of input that make a stretch: text and other symbols repeat shorter ones without being copies."""
_AT_ONCE = 1024
"""Steps hashed together."""


@dataclass(frozen=True)
class PaddedSequences:
    """Padded input sequences: `values` is a pytree of tensors (time, batch, ...), or None for an autonomous system."""

    values: Any
    batch: int
    steps: int
    lengths: Tensor | None = None

    def at(self, t: int) -> Input:
        """The input of step t, batch first."""
        if isinstance(self.values, Tensor):  # most often; going through a pytree costs as much as a small step
            return self.values[t]
        return None if self.values is None else tree_map(lambda leaf: leaf[t], self.values)


def padded_sequences(values: object, lengths: object) -> PaddedSequences:
    """Checked sequences from a pytree of tensors (time, batch, ...) of equal time and batch."""
    leaves = tree_flatten(values)[0]
    if not leaves or any(leaf.dim() < 2 for leaf in leaves):
        raise InvalidInput("Expected `inputs` with a time and a batch axis, got fewer axes. Pass (batch, time, ...).")
    steps, batch = leaves[0].shape[:2]
    if any(leaf.shape[:2] != (steps, batch) for leaf in leaves):
        shapes = ", ".join(str((leaf.shape[1], leaf.shape[0], *leaf.shape[2:])) for leaf in leaves)
        raise InvalidInput(
            f"Expected all `inputs` with the same batch and time, got {shapes} (batch, time, ...). Cut them to the same."
        )
    if batch < 1 or steps < 2:
        raise InvalidInput(
            f"Expected `inputs` of at least 1 sequence and 2 steps, got {batch} of {steps}. Pass longer sequences: "
            "an exponent is a rate over time."
        )
    return PaddedSequences(values, batch, steps, _checked_lengths(lengths, batch, steps))


def autonomous(steps: int | None, batch: int) -> PaddedSequences:
    """No inputs: so many steps."""
    if steps is None:
        raise InvalidInput("Expected `inputs`, or `steps` for an autonomous system, got neither. Pass steps=1000, say.")
    return PaddedSequences(None, batch, _checks.whole_number(steps, "steps", least=2))


def with_tensors(value: object) -> Any:
    """NumPy arrays as tensors; the rest as it is."""
    if isinstance(value, PackedSequence):
        return value
    return tree_map(lambda leaf: torch.as_tensor(leaf) if isinstance(leaf, np.ndarray) else leaf, value)


def unpack(inputs: object, lengths: object, *, batch_first: bool) -> tuple[Any, Any]:
    """A PackedSequence as a padded tensor with its lengths; anything else as it is."""
    if not isinstance(inputs, PackedSequence):
        return inputs, lengths
    if lengths is not None:
        raise InvalidInput("Expected `lengths` only with padded inputs, got them with a PackedSequence. Leave them out.")
    return pad_packed_sequence(inputs, batch_first=batch_first)


def without_padding(values: object, lengths: Tensor) -> Any:
    """Zeros in place of whatever stands behind the end of each sequence of (time, batch, ...)."""

    def one(leaf: Tensor) -> Tensor:
        inside = torch.arange(leaf.shape[0]).unsqueeze(-1) < lengths
        inside = inside.to(leaf.device).view(*leaf.shape[:2], *[1] * (leaf.dim() - 2))
        return torch.where(inside, leaf, torch.zeros((), dtype=leaf.dtype, device=leaf.device))

    return tree_map(one, values)


def cast(value: object, dtype: torch.dtype, device: torch.device) -> Any:
    """Every real or complex tensor of a pytree in the run's dtype, on its device; one of inference mode as a plain copy."""

    def one(leaf: object) -> Any:
        if not isinstance(leaf, Tensor):
            return leaf
        leaf = leaf.detach().clone() if leaf.is_inference() else leaf.detach()
        return cast_tensor(leaf, dtype, device)

    return tree_map(one, value)


def copied(value: object) -> Any:
    """A copy of every tensor, so that a step that works in place does not reach the user's."""
    return tree_map(lambda leaf: leaf.clone() if isinstance(leaf, Tensor) else leaf, value)


def digest(*values: object) -> str:
    """A short hash of pytrees of tensors: the same data, the same hash, whatever the device."""
    running = hashlib.sha256()
    for leaf in tree_flatten(values)[0]:
        running.update(repr((str(getattr(leaf, "dtype", "")), tuple(getattr(leaf, "shape", ())))).encode())
        parts = leaf.split(_AT_ONCE) if isinstance(leaf, Tensor) and leaf.dim() else (leaf,)
        for part in parts:  # a long input is never copied whole
            running.update(
                np.ascontiguousarray(part.cpu().numpy()).tobytes() if isinstance(part, Tensor) else repr(part).encode()
            )
    return running.hexdigest()[:16]


def independent(values: object, lengths: Tensor | None) -> float:
    """The fraction of sequences (time, batch, ...) that is independent: below 1 where they are copies or overlapping windows.

    Stretches of _WINDOW steps that occur in several sequences count once; what a sequence repeats by itself does not matter.
    """
    leaves = [leaf for leaf in tree_flatten(values)[0] if isinstance(leaf, Tensor) and leaf.dim() >= 2]
    if not leaves or leaves[0].shape[1] < 2:
        return 1.0
    steps, batch = leaves[0].shape[:2]
    window, rows = min(_WINDOW, steps), torch.stack([_row_hashes(leaf) for leaf in leaves])
    rows = (rows * _odd(len(leaves)).view(-1, 1, 1)).sum(0)
    stretches = (rows.unfold(0, window, 1) * _odd(window)).sum(-1)
    ends = torch.full((batch,), steps) if lengths is None else lengths
    own = [stretches[: max(int(end) - window + 1, 1), at].unique() for at, end in enumerate(ends)]
    return len(torch.cat(own).unique()) / sum(len(part) for part in own)


def _row_hashes(leaf: Tensor) -> Tensor:
    """(time, batch): the same whole number for the same entries, to the last bit."""
    leaf = torch.view_as_real(leaf) if leaf.is_complex() else leaf
    found = []
    for part in leaf.split(_AT_ONCE):
        flat = part.flatten(2).cpu() if part.dim() > 2 else part.unsqueeze(-1).cpu()
        bits = (flat.double() + 0.0).view(torch.int64) if flat.is_floating_point() else flat.long()
        mixed = (bits ^ (bits >> 29)) * _odd(1)
        found.append(((mixed ^ (mixed >> 32)) * _odd(bits.shape[-1])).sum(-1))
    return torch.cat(found)


def _odd(count: int) -> Tensor:
    """So many odd numbers without a pattern, the same ones always."""
    drawn = torch.randint(-(2**62), 2**62, (count,), generator=torch.Generator().manual_seed(0))
    return 2 * drawn + 1


def _checked_lengths(lengths: object, batch: int, steps: int) -> Tensor | None:
    if lengths is None:
        return None
    lengths = torch.as_tensor(lengths)
    if lengths.shape != (batch,) or lengths.is_floating_point():
        raise InvalidInput(
            f"Expected `lengths` as {batch} whole numbers, one per sequence, got shape {tuple(lengths.shape)} and "
            f"{lengths.dtype}. Pass the number of valid steps of each sequence."
        )
    if bool((lengths < 1).any()) or bool((lengths > steps).any()):
        at = int(torch.nonzero((lengths < 1) | (lengths > steps))[0])
        raise InvalidInput(f"Expected `lengths` from 1 to {steps}, got {int(lengths[at])} at lengths[{at}]. Correct it.")
    return lengths.cpu().long()
