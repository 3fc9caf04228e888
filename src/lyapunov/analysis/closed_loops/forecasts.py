"""What a closed loop predicts, and for how long that stays near what really came."""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from lyapunov import _checks
from lyapunov._shown import Shown
from lyapunov.errors import InvalidInput
from lyapunov.estimate import checked_level
from lyapunov.intake import ClosedLoop, Problem, loop_of, problem, recognize
from lyapunov.systems import Feed

PREDICTED = 0.4
"""Normalised error from which on a prediction no longer counts as valid."""


def predict(
    loop: ClosedLoop | Problem,
    inputs: object = None,
    *,
    steps: int | None = None,
    state: object = None,
    dtype: torch.dtype = torch.float64,
) -> Tensor:
    """What the loop predicts: the outputs of its readout over `steps` free steps, after a warm-up along `inputs`.

    The first prediction is for the step after the last input.

    Args:
        loop: what `closed_loop` returned, or a captured one; or a problem of it.
        inputs: (batch, time, features): what the core is warmed up along, as `spectrum` takes it. None: from `state` alone.
        steps: how many predictions; None: the problem's.
        state: where the core starts; as `spectrum` takes it.
        dtype: of the computation.

    Returns:
        (batch, steps, features).

    Raises:
        InvalidInput: where there are neither inputs nor a state; Unsupported as for `closed_loop`.

    Example:
        >>> loop = lyapunov.closed_loop(torch.nn.GRUCell(3, 16), torch.nn.Linear(16, 3))
        >>> future = lyapunov.predict(loop, torch.randn(4, 50, 3), steps=100)
        >>> future.shape
        torch.Size([4, 100, 3])
    """
    asked = problem(loop, inputs, state=state)
    closed = loop_of(asked)
    count = _checks.whole_number(asked.steps if steps is None else steps, "steps", least=1)
    with torch.inference_mode(False), torch.no_grad():
        cast = recognize(asked.replaced(steps=max(count, 2)), dtype)
        system, found, at = cast.system, [], cast.state
        readout = Feed(closed.readout, None, dtype=dtype, device=system.device)
        with system.running(), readout.running():
            for _ in range(count):
                found.append(readout(system.output(at)))
                at = system.step(at, None)
    return torch.stack(found, dim=1)


@dataclass(frozen=True, eq=False)
class ValidPredictionTime(Shown):
    """How long predictions stay near the truth: the median over starts, and its interval. It prints as a sentence.

    Attributes:
        median, low, high: in Lyapunov times; without `lyapunov_time` in the unit of `dt`.
        times: (starts,), each start's own.
        ended: (starts,), True where the prediction left the truth within the series, False where it was still valid at its end:
            such a time is a lower bound.
        level: the probability that the interval holds the median.
        threshold: the normalized error at which a prediction stops being valid.
        unit: the unit of the times.

    Example:
        >>> true = torch.randn(20, 50, 3)
        >>> lyapunov.valid_prediction_time(true + 0.01, true, dt=0.1, lyapunov_time=1.25).unit
        'Lyapunov times'
    """

    median: float
    low: float
    high: float
    times: Tensor
    ended: Tensor
    level: float
    threshold: float
    unit: str

    def __str__(self) -> str:
        count, open_ended = len(self.times), int((~self.ended).sum())
        tail = f"; {open_ended} still valid at the end" if open_ended else ""
        return (
            f"valid prediction time {self.median:.2f} {self.unit} ({self.level:.0%}: {self.low:.2f} to {self.high:.2f}), "
            f"median over {count} starts, normalised error below {self.threshold:g}{tail}"
        )


def valid_prediction_time(
    predicted: Tensor,
    true: Tensor,
    *,
    dt: float = 1.0,
    lyapunov_time: float | None = None,
    threshold: float = PREDICTED,
    level: float = 0.95,
) -> ValidPredictionTime:
    """The time until the normalised error of a prediction first exceeds a threshold, in Lyapunov times, over many starts.

    e_t = |predicted_t - true_t| / sqrt(mean over starts and time of |true - mean true|^2)

    Args:
        predicted: (starts, time, features), as `predict` returns it.
        true: what really came, of the same shape.
        dt: the time of one step.
        lyapunov_time: of the true system, in the unit of `dt`; None: times are not divided by it.
        threshold: of the normalised error.
        level: of the interval of the median, which comes from the ranks of the times and needs six starts at 95 %.

    Returns:
        The median over starts with its interval, and each start's own time.

    Raises:
        InvalidInput: where the shapes differ, or the true series does not move.

    Example:
        >>> true = torch.randn(20, 50, 3)
        >>> found = lyapunov.valid_prediction_time(true + 0.01, true, dt=0.1, lyapunov_time=1.25)
        >>> found.median, bool(found.ended.any())
        (4.0, False)

    References:
        Pathak et al. 2018 (the normalised error, threshold 0.4).
    """
    predicted, true = _checks.tensor(predicted, "predicted").double(), _checks.tensor(true, "true").double()
    _checks.shape(true, ("starts", "time", "features"), "true")
    _checks.shape(predicted, tuple(true.shape), "predicted", "It must have the shape of `true`.")
    size = (true - true.mean((0, 1))).square().sum(-1).mean().sqrt()
    if not float(size) > 0:
        raise InvalidInput("Expected a `true` series that moves, got a constant one. Pass what the loop was to predict.")
    wrong = ~((predicted - true).norm(dim=-1) / size <= _checks.positive(threshold, "threshold"))  # NaN is wrong, too
    ended = wrong.any(1)
    steps = torch.where(ended, wrong.double().argmax(1), true.shape[1]).double()
    times = (
        steps
        * _checks.positive(dt, "dt")
        / (1.0 if lyapunov_time is None else _checks.positive(lyapunov_time, "lyapunov_time"))
    )
    low, high = _median_interval(times, checked_level(level))
    unit = "units of time" if lyapunov_time is None else "Lyapunov times"
    return ValidPredictionTime(float(times.median()), low, high, times, ended, level, threshold, unit)


def _median_interval(times: Tensor, level: float) -> tuple[float, float]:
    """Between two ranks that hold the median with at least this probability, whatever the distribution; NaN for few times."""
    count, ordered = len(times), times.sort().values
    below, rank = 0.5**count, 0
    while below <= (1 - level) / 2 and rank < count // 2:
        rank += 1
        below += math.comb(count, rank) * 0.5**count
    return (float(ordered[rank - 1]), float(ordered[count - rank])) if rank else (math.nan, math.nan)
