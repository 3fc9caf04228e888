"""How frames lie in memory: column by column, as LAPACK has it. What is joined here stays so; nothing else needs to know.

A frame (batch, n, k) whose columns are contiguous goes into a QR or a product without being copied first. So two frames are
joined through their transposes, and the result is a transpose again.
"""

from collections.abc import Iterable

import torch

from lyapunov._shapes import Frame


def join_rows(parts: Iterable[Frame]) -> Frame:
    """Frames of as many columns, one above the other: what several layers make of the same changes."""
    return torch.cat([part.mT for part in parts], dim=-1).mT


def join_columns(parts: Iterable[Frame]) -> Frame:
    """Frames of as many rows, side by side, as a copy of their own."""
    return torch.cat([part.mT for part in parts], dim=-2).mT
