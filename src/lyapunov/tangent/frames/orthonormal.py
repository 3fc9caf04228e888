"""Q R with diag R > 0, in the ways that suit small and large frames on CPU and GPU; and the random frame a run starts from."""

import math
from abc import ABC, abstractmethod
from typing import NamedTuple

import torch
from torch import Tensor

from lyapunov._frames import is_large, join_columns
from lyapunov._shapes import Frame, PerColumn
from lyapunov.tangent.workers import Workers

_ORTHOGONAL = 1e3
"""How far from orthonormal two rounds of Cholesky may leave a frame, in units of rounding."""
_SAFE = 2.0
"""How far, as a logarithm, a condition number that is going to be squared stays from where it breaks down."""


class Factored(NamedTuple):
    """A frame Z = V U: V spans with its first j columns what Z spans with its own, U is upper triangular.

    `frame`: V. `log_diagonal`: ln |diag U|. `log_lengths`: of the columns of Z. `log_heights`: ln |diag R| of Z = Q R, where it
    was measured; None where it is `log_diagonal` itself, V being orthonormal, or where it was not.
    """

    frame: Frame
    log_diagonal: PerColumn
    log_lengths: PerColumn
    log_heights: PerColumn | None = None


class Orthonormalisation(ABC):
    """A way to factor frames: what it costs, the range of growth that it bears, and whether its diagonal is exact."""

    exact = True
    """Whether the diagonal has the heights of the columns above the earlier ones, so that measuring them is free."""

    @abstractmethod
    def factor(self, frame: Frame, workers: Workers, *, measured: bool = True) -> Factored:
        """Z = V U. `measured`: whether the exact heights of the columns above the earlier ones are wanted."""

    def log_range(self, log_unit: float) -> float:  # noqa: ARG002
        """The largest log of a frame's condition that the factorization bears; `log_unit`: ln of the unit roundoff."""
        return math.inf

    def range_uncertainty(self, rows: int) -> float:  # noqa: ARG002
        """ln of how much lower than its diagonal says a column of so many rows may stand, where it was not measured."""
        return 0.0


class Householder(Orthonormalisation):
    """Reflections: for narrow and small frames."""

    def factor(self, frame: Frame, workers: Workers, *, measured: bool = True) -> Factored:  # noqa: ARG002
        """Large frames sequence by sequence, each by a thread of its own."""
        lengths = log_lengths(frame)
        if is_large(frame) and frame.device.type == "cpu":
            parts = workers.map(lambda one: orthonormalise(one.unsqueeze(0)), frame)
            return Factored(torch.cat([part[0].mT for part in parts]).mT, torch.cat([part[1] for part in parts]), lengths)
        return Factored(*orthonormalise(frame), lengths)


class Cholesky(Orthonormalisation):
    """Two rounds of R^T R = Z^T Z: products, which GPUs prefer. It squares the frame's condition, and breaks down earlier."""

    def factor(self, frame: Frame, workers: Workers, *, measured: bool = True) -> Factored:  # noqa: ARG002
        """Factor the frames of all sequences in one batch of products; `workers` are not needed."""
        return Factored(*cholesky(frame), log_lengths(frame))

    def log_range(self, log_unit: float) -> float:
        """The square of the condition stays clear of 1 / u."""
        return -log_unit / 2 - _SAFE


class LU(Orthonormalisation):
    """Elimination with row pivoting, for large frames: a fifth of the cost, columns that are not orthonormal but span the same.

    Volumes telescope (see `VolumeAccumulator`), so heights are wanted only where growth is read.
    """

    exact = False

    def factor(self, frame: Frame, workers: Workers, *, measured: bool = True) -> Factored:
        """Sequence by sequence, each by a thread of its own."""
        columns = torch.empty_like(frame.mT, memory_format=torch.contiguous_format)
        parts = workers.map(lambda one: _eliminated(*one, measured=measured), zip(frame, columns, strict=True))
        diagonals, lengths, heights = zip(*parts, strict=True)
        return Factored(columns.mT, torch.stack(diagonals), torch.stack(lengths), torch.stack(heights) if measured else None)

    def range_uncertainty(self, rows: int) -> float:
        """The row pivot of a column is 1."""
        return 0.5 * math.log(rows)


HOUSEHOLDER, CHOLESKY, ELIMINATION = Householder(), Cholesky(), LU()
ROBUST: Orthonormalisation = HOUSEHOLDER
"""The way that leaves orthonormal columns whatever the condition of a frame, on any device."""


def suited_to(frame: Frame, *, orthonormal: bool = False) -> Orthonormalisation:
    """Householder reflections for narrow and small frames, elimination for large ones, Cholesky factors on a GPU.

    `orthonormal`: columns must be, so that elimination is none.
    """
    if frame.device.type != "cpu":
        return CHOLESKY
    return ELIMINATION if is_large(frame) and not orthonormal else HOUSEHOLDER


def orthonormalise(frame: Frame) -> tuple[Frame, PerColumn]:
    """Q and ln diag R of frame = Q R, batched, with diag R >= 0 (ln 0 = -inf for a column without a direction of its own)."""
    q, r = triangularise(frame)
    return q, r.diagonal(dim1=-2, dim2=-1).log()


def triangularise(frame: Frame) -> tuple[Frame, Tensor]:
    """Q and R (batch, k, k) of frame = Q R, batched, with diag R >= 0."""
    q, r = torch.linalg.qr(frame)
    signs = torch.where(r.diagonal(dim1=-2, dim2=-1) < 0, -1.0, 1.0).to(r.dtype).unsqueeze(-1)
    return (q.mT * signs).mT, r * signs


def cholesky(frame: Frame) -> tuple[Frame, PerColumn]:
    """Q and ln diag R by two rounds of R^T R = Z^T Z (CholeskyQR2): products instead of reflections, which GPUs prefer.

    Each round squares the condition of the frame, so it is trusted where the columns, brought to unit length first, end up
    orthonormal to rounding; sequences where they do not go through Householder reflections. Source: Fukaya et al. 2014.
    """
    lengths = torch.linalg.vector_norm(frame, dim=-2, keepdim=True)
    q, log_diagonal, succeeded = frame / lengths, lengths.squeeze(-2).log(), torch.ones(len(frame), dtype=torch.bool)
    succeeded = succeeded.to(frame.device)
    for _ in range(2):
        factor, info = torch.linalg.cholesky_ex(q.mT @ q)
        succeeded = succeeded & (info == 0)
        log_diagonal = log_diagonal + factor.diagonal(dim1=-2, dim2=-1).log()
        q = torch.linalg.solve_triangular(factor, q.mT, upper=False).mT
    gap = (q.mT @ q - torch.eye(q.shape[-1], dtype=q.dtype, device=q.device)).abs().amax((-2, -1))
    succeeded = succeeded & (gap <= _ORTHOGONAL * torch.finfo(q.dtype).eps) & torch.isfinite(log_diagonal).all(-1)
    failed = (~succeeded).nonzero().squeeze(-1)
    if failed.numel():
        again = orthonormalise(frame[failed])
        q, log_diagonal = q.index_copy(0, failed, again[0]), log_diagonal.index_copy(0, failed, again[1])
    return q, log_diagonal


def _eliminated(frame: Tensor, columns: Tensor, *, measured: bool) -> tuple[Tensor, Tensor, Tensor | None]:
    """One sequence's Z (n, k) = V U by elimination with row pivoting: V^T into `columns`; ln |diag U|, lengths, heights.

    V = P L has entries of at most 1 and a unit lower triangle up to the order of its rows. Its first j columns span what those
    of Z do, which is all that the growth of volumes needs; it is as well conditioned as orthonormal columns within a factor of
    about 2n, and costs a fifth of them.
    """
    lengths = torch.linalg.vector_norm(frame, dim=0).log()
    heights = torch.geqrf(frame)[0].diagonal().abs().log() if measured else None
    lower, pivots, _ = torch.linalg.lu_factor_ex(frame)
    diagonal = lower.diagonal().abs().log()
    order = torch.lu_unpack(lower, pivots, unpack_data=False)[0] @ torch.arange(len(frame), dtype=frame.dtype)
    lower = lower.tril_(-1)
    lower.diagonal().fill_(1.0)
    torch.index_select(lower.mT, 1, order.long(), out=columns)
    return diagonal, lengths, heights


def log_lengths(frame: Frame) -> PerColumn:
    """ln of the length of each column: what rounding in a column is relative to, whatever remains of it beside the others."""
    return torch.linalg.vector_norm(frame, dim=-2).log()


def random_frame(size: int, columns: int, *, batch: int, seed: int, block: int, like: Tensor) -> Frame:
    """Random orthonormal frames (batch, size, columns), one for each sequence, the same on every device and in every dtype.

    One vector is drawn per column from a CPU generator, so the first columns do not depend on how many there are, nor a
    sequence's frame on how many sequences there are; `block` gives each independent block a stream of its own. Stored column
    by column, as LAPACK has it.
    """
    drawn = torch.empty(batch, columns, size, dtype=torch.float64)
    for sequence in range(batch):
        generator = torch.Generator().manual_seed((seed * 1_000_003 + block + sequence * 9_007_199_254_740_997) % 2**63)
        for column in range(columns):
            torch.randn(size, generator=generator, out=drawn[sequence, column])
    frame, _ = orthonormalise(drawn.mT)
    return join_columns((frame.to(like),))
