"""Training on several processes: one of them measures."""

import torch
from torch import distributed


def _runs_in_several() -> bool:
    return distributed.is_available() and distributed.is_initialized() and distributed.get_world_size() > 1


def is_leader() -> bool:
    """Whether this is the process that measures: rank zero, or the only one."""
    return not _runs_in_several() or distributed.get_rank() == 0


def agreed(flag: bool) -> bool:
    """The leader's flag, on every rank: all must call this."""
    if not _runs_in_several():
        return flag
    device = torch.device("cuda" if distributed.get_backend() == "nccl" else "cpu")
    reported = torch.tensor([flag], dtype=torch.uint8, device=device)
    distributed.broadcast(reported, src=0)
    return bool(reported.item())
