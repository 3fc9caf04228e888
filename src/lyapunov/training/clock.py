"""When to measure: by a schedule, as far as the time that measuring takes allows."""

import time

from lyapunov import _checks
from lyapunov.training.reading import Reading
from lyapunov.training.schedules import Logarithmic, Moment, Schedule, as_schedule


class Clock:
    """Seconds spent measuring, and in all, over every process of a run."""

    def __init__(self) -> None:
        self.spent = 0.0
        self._before = 0.0
        self._began = self._started = self._stopped = time.perf_counter()

    def start(self) -> float:
        """A measurement begins; the seconds since the last one ended."""
        self._started = time.perf_counter()
        return self._started - self._stopped

    def stop(self) -> None:
        """End the measurement that `start` began, and add its seconds to those spent."""
        self.spent += self.seconds
        self._stopped = time.perf_counter()

    @property
    def seconds(self) -> float:
        """Seconds since the measurement began."""
        return time.perf_counter() - self._started

    @property
    def fraction(self) -> float:
        """The fraction of all time, over every process of the run, that measuring has taken."""
        return self.spent / max(self._elapsed, 1e-9)

    def fraction_after(self, seconds: float) -> float:
        """What the fraction would be after a measurement of so many seconds."""
        return (self.spent + seconds) / max(self._elapsed + seconds, 1e-9)

    def state_dict(self) -> dict[str, float]:
        """For a later process."""
        return {"spent": self.spent, "elapsed": self._elapsed}

    def load_state_dict(self, state: dict[str, float]) -> None:
        """Goes on from an earlier one."""
        self.spent, self._before = state["spent"], state["elapsed"]
        self._began = time.perf_counter()

    @property
    def _elapsed(self) -> float:
        return self._before + time.perf_counter() - self._began


class Pace:
    """A schedule, by which nothing is due where measuring would take more than `at_most` of all time."""

    def __init__(self, every: int | Schedule | None, at_most: float | None) -> None:
        self.schedule = Logarithmic() if every is None else as_schedule(every)
        self.clock = Clock()
        self._at_most = None if at_most is None else _checks.positive(at_most, "at_most")

    def is_due(self, now: Moment, last: Reading | None) -> bool:
        """Whether to measure now; the first time, in any case."""
        if last is None:
            return True
        if not self.schedule.due(now, Moment(last.step, last.epoch)):
            return False
        return self._at_most is None or self.clock.fraction_after(last.seconds) <= self._at_most
