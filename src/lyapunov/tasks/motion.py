"""The next frame of human motion: basketball, soccer, walking and jumping, from CMU's motion capture."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from lyapunov.tasks.data_files import data_file, registry
from lyapunov.tasks.task import Batch, Task, stream_of

THRESHOLD, KEPT = 1e-4, 20
"""Coordinates that move less are dropped, the first so many of the others kept."""


class NextFrame(Task):
    """Windows of motion, each from a state of zero; the target is the next frame, the loss the mean squared error.

    The split is by recording: the four `test` ones are held out. Frame 0 of every file is an added T-pose and dropped. Means
    and standard deviations are the training recordings'. A run takes so many `batches` of random windows as an epoch. Of 120
    frames a second one in `every` is taken.
    """

    name, unit = "motion capture", "mean squared error"

    def __init__(self, *, batch: int, steps: int, batches: int, probe: tuple[int, int], every: int = 2) -> None:
        self._batch, self._steps, self._batches, self._probe = batch, steps, batches, probe
        train, test = (_recordings(part, every) for part in ("train", "test"))
        frames = torch.cat(train)
        spread = frames.std(0)
        kept = torch.nonzero(spread >= THRESHOLD).flatten()[:KEPT]
        mean, scale = frames.mean(0)[kept], spread[kept]
        self._train, self._test = ([(one[:, kept] - mean) / scale for one in part] for part in (train, test))
        self.input_size = self.output_size = len(kept)

    def batches(self, seed: int, epoch: int) -> Iterator[Batch]:
        """Random windows, every place as likely as any other."""
        generator = stream_of(seed, epoch)
        windows = _windows(self._train, self._steps, every=1)
        for _ in range(self._batches):
            yield _pairs(windows[torch.randint(len(windows), (self._batch,), generator=generator)])

    def held_out(self) -> Iterator[Batch]:
        """Windows of the held-out recordings, one beginning at every tenth frame."""
        yield _pairs(_windows(self._test, self._steps, every=10))

    def probe(self) -> Batch:
        """Long windows of the held-out recordings, spread over them."""
        count, steps = self._probe
        windows = _windows(self._test, steps, every=1)
        return _pairs(windows[torch.linspace(0, len(windows) - 1, count).long()])

    def losses(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """(batch, time): mean over coordinates."""
        return (outputs - targets).square().mean(-1)


def _recordings(part: str, every: int) -> list[Tensor]:
    """(frames, 117) of every file."""
    names = sorted(name for name in registry() if name.startswith(f"cmu_mocap/{part}/"))
    return [_frames(data_file(name), every) for name in names]


def _frames(path: Path, every: int) -> Tensor:
    return torch.from_numpy(np.loadtxt(path, delimiter=",", dtype=np.float64))[1::every].float()


def _windows(recordings: list[Tensor], steps: int, *, every: int) -> Tensor:
    """(windows, steps + 1, coordinates), none across recordings."""
    return torch.cat([one.unfold(0, steps + 1, every).mT for one in recordings if len(one) > steps])


def _pairs(windows: Tensor) -> Batch:
    return windows[:, :-1], windows[:, 1:]
