"""When a reading is due."""

from itertools import pairwise

import pytest

import lyapunov
from lyapunov.training.schedules import Epochs, Logarithmic, Moment, Steps, as_schedule


def due_at(schedule, moments) -> list[int]:
    """The steps at which readings are made, the first one always."""
    last, found = moments[0], [moments[0].step]
    for now in moments[1:]:
        if schedule.due(now, last):
            last = now
            found.append(now.step)
    return found


def test_steps_are_multiples_or_what_comes_after_one() -> None:
    assert due_at(Steps(10), [Moment(step) for step in range(35)]) == [0, 10, 20, 30]
    assert due_at(as_schedule(10), [Moment(step) for step in (0, 7, 14, 21, 28)]) == [0, 14, 21]
    assert due_at(Steps(10), [Moment(step) for step in range(3, 25)]) == [3, 10, 20]


def test_epochs_begin_when_their_number_comes() -> None:
    moments = [Moment(step, step // 4) for step in range(24)]
    assert due_at(Epochs(), moments) == [0, 4, 8, 12, 16, 20]
    assert due_at(Epochs(2), moments) == [0, 8, 16]
    with pytest.raises(lyapunov.InvalidInput, match=r"Expected `epoch`.*observe\(step, epoch=epoch\)"):
        Epochs().due(Moment(1), Moment(0))


def test_logarithmic_steps_lie_ever_farther_apart() -> None:
    found = due_at(Logarithmic(per_decade=5), [Moment(step) for step in range(10_001)])
    assert found[:5] == [0, 1, 2, 4, 7]
    ratios = [later / earlier for earlier, later in pairwise(found[6:])]
    assert all(1.58 < ratio < 1.7 for ratio in ratios)
    assert len(found) < 25


@pytest.mark.parametrize("wrong", [0, -1, True])
def test_what_is_no_schedule_is_refused(wrong) -> None:
    with pytest.raises(lyapunov.InvalidInput, match="`every` to be a whole number"):
        as_schedule(wrong)
