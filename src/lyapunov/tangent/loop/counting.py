"""The steps that are counted: growth, volumes and the state's whereabouts in bins of time, and second frames that go along."""

from torch import Tensor

from lyapunov._shapes import Frames, Vectors
from lyapunov.tangent.criteria import LAST_PART, Alignment, CollapsedColumns, Rounding, Sensitivity, StateMeans, leading
from lyapunov.tangent.input_sequences import InputSequences
from lyapunov.tangent.loop.aligning import Aligned
from lyapunov.tangent.loop.growth import Growth
from lyapunov.tangent.loop.time_bins import TimeBins
from lyapunov.tangent.loop.volume_samples import VolumeSamples
from lyapunov.tangent.point import Columns, Point
from lyapunov.tangent.workers import Workers


class Counting:
    """What is noted of each interval that is counted, after what was done `before`, up to step `stop`.

    `shadow`: random frames that go along with the counted ones.
    """

    def __init__(
        self,
        inputs: InputSequences,
        columns: Columns,
        before: Aligned,
        stop: int,
        volumes: VolumeSamples,
        shadow: Frames | None,
    ) -> None:
        self._inputs, self._columns, self._before, self._stop, self.volumes = inputs, columns, before, stop, volumes
        self._bins, self._state_means = TimeBins(before.start), StateMeans(before.start, stop)
        self._alignment = None if shadow is None else Alignment(shadow, columns.sizes, age=before.align)
        self._sensitivity: Sensitivity | None = None

    def follow(
        self,
        t: int,
        taken: int,
        frames: Frames,
        second: Frames | None,
        growth: Tensor | None,
        running: Tensor,
        workers: Workers,
    ) -> Frames | None:
        """What second frames go along from step t on: random ones; after them, for a while, the frames' own, perturbed.

        `taken`: steps of the interval that ends there. `growth`: of the frames, where it was read. `running` (batch,): whether
        a sequence made the interval.
        """
        watched = self._sensitivity or self._alignment
        if second is not None and watched is not None:
            second = watched.follow(second, taken, growth, running, workers)
        start = self._before.start
        late = t - start >= LAST_PART * (self._stop - start)
        if self._alignment is not None and self._sensitivity is None and growth is not None and (second is None or late):
            second = leading(frames)
            self._sensitivity = Sensitivity(second, self._columns.sizes)
        return second

    def note(self, t: int, vectors: Vectors, growth: Tensor | None) -> None:
        """The state's coordinates after step t, and the growth up to there, where it was read."""
        self._state_means.add(t, vectors)
        if growth is not None:
            volume, sampled = self.volumes.read()
            self._bins.add(t, growth, volume, sampled)

    @property
    def counted(self) -> int:
        """Steps whose growth was read."""
        return int(self._bins.edges()[-1]) - self._before.start

    def growth(self, rounding: Rounding, collapsed: CollapsedColumns, qr_every: int, end: Point) -> Growth:
        """What was counted, up to this `end`."""
        volume, before = self._bins.volume(), self._before
        return Growth(
            log_growth=self._bins.growth(),
            steps=self._bins.steps(self._inputs),
            noise=rounding.mean(),
            block=self._columns.block,
            lost_since=collapsed.since,
            window=collapsed.window,
            log_volume=None if volume is None else volume[0],
            volume_steps=None if volume is None else volume[1].double(),
            residual=self.volumes.residual,
            residual_steps=self.volumes.residual_steps.double(),
            drift=self._state_means.means,
            settle=before.settle,
            align=before.align,
            count=self.counted,
            qr_every=qr_every,
            distance=before.distance,
            disagreement=before.disagreement,
            tolerated=before.tolerated,
            state=end.state,
            frames=end.frames,
            lacked=None if self._alignment is None else self._alignment.lacked(),
            sensitivity=None if self._sensitivity is None else self._sensitivity.rates(),
            sizes=self._state_means.log_sizes,
        )
