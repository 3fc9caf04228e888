"""When a reading is due: every so many steps or epochs, or at steps that lie ever farther apart."""

import math
from dataclasses import dataclass
from typing import NamedTuple, Protocol, runtime_checkable

from lyapunov import _checks
from lyapunov.errors import InvalidInput

__all__ = ["Epochs", "Logarithmic", "Moment", "Schedule", "Steps"]


class Moment(NamedTuple):
    """A point of a training.

    Attributes:
        step: the step.
        epoch: the epoch, where it is reported.

    Example:
        >>> lyapunov.schedules.Steps(10).due(lyapunov.schedules.Moment(20), lyapunov.schedules.Moment(10))
        True
    """

    step: int
    epoch: int | None = None


@runtime_checkable
class Schedule(Protocol):
    """When a monitor measures: whether a reading is due now. The first one always is.

    Example:
        >>> isinstance(lyapunov.schedules.Steps(100), lyapunov.schedules.Schedule)
        True
    """

    def due(self, now: Moment, last: Moment) -> bool:
        """Whether to measure now; a monitor asks at every step that it observes.

        Args:
            now: the present point of the training.
            last: that of the latest reading.

        Returns:
            True or False.
        """
        ...


@dataclass(frozen=True)
class Steps:
    """At every multiple of a number of steps, or at the first step reported after one.

    Attributes:
        number: how many steps.

    Example:
        >>> lyapunov.schedules.Steps(100).number
        100
    """

    number: int

    def __post_init__(self) -> None:
        _checks.whole_number(self.number, "every", least=1)

    def due(self, now: Moment, last: Moment) -> bool:
        """Whether a multiple lies between.

        Args:
            now, last: the present point of the training, and that of the latest reading.
        """
        return now.step // self.number > last.step // self.number


@dataclass(frozen=True)
class Epochs:
    """At the first step reported of every epoch that is a multiple of a number, or comes after one.

    Attributes:
        number: how many epochs.

    Example:
        >>> Moment = lyapunov.schedules.Moment
        >>> lyapunov.schedules.Epochs().due(Moment(500, epoch=1), Moment(400, epoch=0))
        True
    """

    number: int = 1

    def __post_init__(self) -> None:
        _checks.whole_number(self.number, "every", least=1)

    def due(self, now: Moment, last: Moment) -> bool:
        """Whether a multiple lies between.

        Args:
            now, last: the present point of the training, and that of the latest reading.
        """
        if now.epoch is None:
            raise InvalidInput("Expected `epoch` with a schedule of epochs, got none. Pass it: observe(step, epoch=epoch).")
        return last.epoch is None or now.epoch // self.number > last.epoch // self.number


@dataclass(frozen=True)
class Logarithmic:
    """At steps 0, 1, 2, ... at first, then a number of times in each power of ten: much changes early, little late.

    Attributes:
        per_decade: how many times in each power of ten.

    Example:
        >>> Moment = lyapunov.schedules.Moment
        >>> lyapunov.schedules.Logarithmic().due(Moment(1001), Moment(1000))
        False
    """

    per_decade: int = 10

    def __post_init__(self) -> None:
        _checks.whole_number(self.per_decade, "per_decade", least=1)

    def due(self, now: Moment, last: Moment) -> bool:
        """Whether the step has grown by the factor that the schedule asks for.

        Args:
            now, last: the present point of the training, and that of the latest reading.
        """
        return now.step >= max(last.step + 1, math.ceil(last.step * 10 ** (1 / self.per_decade)))


def as_schedule(every: "int | Schedule") -> Schedule:
    """A number means steps."""
    if isinstance(every, Schedule):
        return every
    return Steps(_checks.whole_number(every, "every", least=1))
