"""A search: workers kept at work until enough trials have ended, and what came of them. The brain is Optuna's."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from lyapunov import _checks
from lyapunov.errors import InvalidInput
from lyapunov.tuning.engines import Engine, Worker, connect, start
from lyapunov.tuning.interrupts import between_checks
from lyapunov.tuning.search_spec import SearchSpec, objective
from lyapunov.tuning.study import opened
from lyapunov.tuning.trials import FAILURE, IN_A_ROW, PRUNED, TRACEBACK, abandon, counted, gone, here, last_failures
from lyapunov.tuning.worker import work

if TYPE_CHECKING:
    from optuna import Study

POLL = 0.3
"""Seconds between two checks of the workers."""
RESTARTS = 10
"""Workers that may be lost in a search before it stops."""


@dataclass(frozen=True)
class SearchStatus:
    """How far a search has come: trials that have ended (and how), those that run, and the best one so far."""

    finished: int
    running: int
    pruned: int
    failed: int
    best: float | None
    best_number: int | None


def search(
    spec: SearchSpec, *, workers: int = 1, engine: Engine = "processes", say: Callable[[SearchStatus], None] = lambda _: None
) -> "Study":
    """Runs a search to its end, or on from where it was; the Optuna study.

    Trials that were running when an earlier search of this machine was killed are tried again first, as are those of a worker
    that is killed now. `say` is told now and then how far it has come. Ctrl-C ends the workers politely and queues their trials
    again: the same call goes on. Other machines join with the same storage and study.

    A trial whose function raises, or returns NaN, does not count: another one is tried.

    Raises InvalidInput where the function cannot be had, or where IN_A_ROW trials fail one after the other.
    """
    _checks.whole_number(workers, "workers", least=1)
    _checks.whole_number(spec.trials, "trials", least=1)
    objective(spec)
    connect(engine)
    study = opened(spec)
    abandon(spec, study, gone, "its search was ended")
    before = max((trial.number for trial in study.get_trials(deepcopy=False) if trial.state.is_finished()), default=-1)
    with between_checks() as require_going_on:
        pool = _WorkerPool(spec, study, engine)
        try:
            pool.begin(workers)
            while not pool.done():
                say(status(study))
                _require_success(study, spec, before)
                time.sleep(POLL)
                require_going_on()
        except BaseException:
            pool.stop()
            raise
    say(status(study))
    return study


class _WorkerPool:
    """The workers of this process: those that are lost are replaced, and their trials repeated."""

    def __init__(self, spec: SearchSpec, study: "Study", engine: Engine) -> None:
        self._spec, self._study, self._engine, self._lost = spec, study, engine, 0
        self._workers: dict[int, Worker] = {}

    def begin(self, size: int) -> None:
        """So many of them."""
        for slot in range(size):
            self._workers[slot] = self._started(slot)

    def done(self) -> bool:
        """Whether all have ended and enough trials, too."""
        for slot, worker in list(self._workers.items()):
            if worker.running():
                continue
            if worker.failed():
                self._replace(slot)
            else:
                del self._workers[slot]
        if not self._workers and counted(self._study) < self._spec.trials:  # queued again after the last one had looked
            self._workers[0] = self._started(0)
        return not self._workers

    def stop(self) -> None:
        """Politely; what was running is queued again."""
        for worker in self._workers.values():
            worker.ask_to_end()
        for worker in self._workers.values():
            worker.stop()
        names = {here(slot) for slot in self._workers}
        abandon(self._spec, self._study, lambda name: name in names, "the search was stopped", counts=False)

    def _replace(self, slot: int) -> None:
        self._lost += 1
        abandon(self._spec, self._study, lambda name: name == here(slot), "its worker was lost")
        if self._lost > RESTARTS:
            self._workers.pop(slot)
            raise InvalidInput(
                f"Expected workers that go on, got {self._lost} that were killed or could not start. Check the memory, and "
                f"try {self._spec.function} by itself; completed trials are kept."
            )
        self._workers[slot] = self._started(slot)

    def _started(self, slot: int) -> Worker:
        return start(partial(work, self._spec, here(slot)), self._engine)


def status(study: "Study") -> SearchStatus:
    """Of all workers, on whatever machine."""
    states = [trial.state.name for trial in study.get_trials(deepcopy=False)]
    running = states.count("RUNNING")
    best = study.best_trial if "COMPLETE" in states else None
    return SearchStatus(
        finished=counted(study) - running,
        running=running,
        pruned=states.count("PRUNED"),
        failed=states.count("FAIL"),
        best=None if best is None else best.value,
        best_number=None if best is None else best.number,
    )


def rows(study: "Study") -> list[dict[str, object]]:
    """A row per trial, with its values, how it ended and how long it took."""
    found, pruned = [], study.user_attrs
    for trial in study.get_trials(deepcopy=False):
        took = trial.duration.total_seconds() if trial.duration is not None else None
        why = trial.user_attrs.get(FAILURE) or pruned.get(f"{PRUNED}{trial.number}") or ""
        shown = {"trial": trial.number, "state": trial.state.name.lower(), "value": trial.value, "steps": trial.last_step}
        shown |= {"seconds": took}
        drawn = {f"params_{name}" if name in (*shown, "why") else name: value for name, value in trial.params.items()}
        found.append({**shown, **drawn, "why": why})
    return found


def _require_success(study: "Study", spec: SearchSpec, after: int) -> None:
    """So many failures in a row, of trials above a number: the function does not work."""
    failures = last_failures(study, after)
    if len(failures) < IN_A_ROW:
        return
    number, said = failures[-1].number, str(failures[-1].user_attrs[FAILURE])
    folder = spec.run_folder(number)
    whole = folder / TRACEBACK if folder is not None else None
    shown = f"\n\n{whole.read_text(encoding='utf-8').rstrip()}" if whole is not None and whole.exists() else ""
    good = [trial.number for trial in study.get_trials(deepcopy=False) if trial.state.name in ("COMPLETE", "PRUNED")]
    how = "in a row" if max(good, default=-1) > after else "and nothing else"
    raise InvalidInput(
        f"Expected trials that end with a value, got {len(failures)} failures {how}, the last one: {said} "
        f"Correct the function and run the same command again; failures do not count as trials.{shown}"
    )
