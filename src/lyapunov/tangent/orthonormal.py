"""Q R with diag R > 0, and the random frame a run starts from."""

import torch
from torch import Tensor

from lyapunov._shapes import Frame, PerColumn


def orthonormalise(frame: Frame) -> tuple[Frame, PerColumn]:
    """Q and ln diag R of frame = Q R, batched, with diag R >= 0 (ln 0 = -inf for a column without a direction of its own)."""
    q, r = torch.linalg.qr(frame)
    diagonal = r.diagonal(dim1=-2, dim2=-1)
    signs = torch.where(diagonal < 0, -1.0, 1.0).to(diagonal.dtype)
    return q * signs.unsqueeze(-2), diagonal.abs().log()


def log_lengths(frame: Frame) -> PerColumn:
    """ln of the length of each column: what rounding in a column is relative to, whatever remains of it beside the others."""
    return torch.linalg.vector_norm(frame, dim=-2).log()


def random_frame(size: int, columns: int, *, batch: int, seed: int, block: int, like: Tensor) -> Frame:
    """A random orthonormal frame (batch, size, columns), the same for all sequences, every device and every dtype.

    One vector is drawn per column from a CPU generator, so the first columns do not depend on how many there are; `block`
    gives each independent block a stream of its own.
    """
    generator = torch.Generator().manual_seed((seed * 1_000_003 + block) % 2**63)
    drawn = torch.stack([torch.randn(size, dtype=torch.float64, generator=generator) for _ in range(columns)], dim=-1)
    frame, _ = orthonormalise(drawn.unsqueeze(0))
    return frame.to(like).expand(batch, -1, -1).contiguous()
