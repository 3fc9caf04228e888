"""What a run counted."""

from dataclasses import dataclass

import torch
from torch import Tensor

from lyapunov._shapes import Frames, State
from lyapunov.tangent.criteria import ALIGNED_DIFFERENCE, Window


@dataclass(frozen=True)
class Growth:
    """What a run counted, in QR order: all tensors on the CPU, float64.

    `log_growth` (bins, batch, columns): sums of ln diag R; `steps` (bins, batch): the steps behind them; `noise` (columns,):
    rounding relative to what remained of the column, root mean square over intervals and sequences, 1 at the precision
    floor; `block` (columns,): which independent block a column belongs to; `lost_since` (batch, columns): the step by
    which a sequence had lost it, -1 where it had not; `window`: the steps whose product showed the last loss; `log_volume`
    (bins, batch, blocks): sums of ln |det J| over `volume_steps` (bins, batch) of the counted steps, or None; `residual`
    (batch, blocks): how far the growth of square frames is from ln |det J|, over the `residual_steps` (batch,) of the
    intervals at all of whose steps it was taken; `drift`: see `StateMeans.means`. `settle`, `align`, `count`, `qr_every`:
    what was done; `distance`: see `BurnIn`; `parted`: see `remaining_distance`, where it was asked; `disagreement` of two
    random frames when alignment ended, beside what is `tolerated`; `lacked`: see `Alignment.lacked`; `sensitivity`: see
    `Sensitivity.rates`; `sizes`: see `StateMeans.log_sizes`; `state`, `frames`: what the run ended with, where it went through
    time in one piece.
    """

    log_growth: Tensor
    steps: Tensor
    noise: Tensor
    block: Tensor
    lost_since: Tensor
    window: Window | None
    log_volume: Tensor | None
    volume_steps: Tensor | None
    residual: Tensor
    residual_steps: Tensor
    drift: Tensor | None
    settle: int
    align: int
    count: int
    qr_every: int
    distance: float | None
    disagreement: float | None
    tolerated: float = ALIGNED_DIFFERENCE
    state: State = None
    frames: Frames | None = None
    lacked: tuple[Tensor, Tensor] | None = None
    sensitivity: Tensor | None = None
    parted: Tensor | None = None
    sizes: Tensor | None = None

    @property
    def lost_at(self) -> Tensor:
        """(columns,): the step by which some sequence had lost it, -1 where none had."""
        return earliest(self.lost_since)


def earliest(steps: Tensor) -> Tensor:
    """Over sequences, (batch, columns) to (columns,), of steps that are -1 where there is none."""
    never = torch.iinfo(steps.dtype).max
    first = torch.where(steps < 0, never, steps).amin(0)
    return torch.where(first == never, -1, first)
