"""How long measuring takes, as a fraction of all time."""

import time


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
