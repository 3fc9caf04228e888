"""How frames lie in memory, column by column as LAPACK has it, and which are large. Nothing else needs to know the layout.

A frame (batch, n, k) whose columns are contiguous goes into a QR or a product without being copied first. So two frames are
joined through their transposes, and the result is a transpose again.
"""

from collections.abc import Iterable

import torch
from torch import Tensor

from lyapunov._shapes import Frame

WIDE, LARGE = 64, 2**14
"""Columns and entries of a frame from which on its sequences are worked on one by one, each by a thread of its own."""


def is_large(frame: Frame) -> bool:
    """Whether a sequence's frame is enough work for a thread of its own."""
    return frame.shape[-1] >= WIDE and frame.shape[-1] * frame.shape[-2] >= LARGE


def join_rows(parts: Iterable[Tensor]) -> Tensor:
    """Frames of as many columns, one above the other: what several layers make of the same changes. (batch, all their n, k)."""
    return torch.cat([part.mT for part in parts], dim=-1).mT


def join_columns(parts: Iterable[Tensor]) -> Tensor:
    """Frames of as many rows, side by side, as a copy of their own. (batch, n, all their k)."""
    return torch.cat([part.mT for part in parts], dim=-2).mT
