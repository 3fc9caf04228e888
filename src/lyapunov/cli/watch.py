"""The command `lyapunov watch`, which shows the readings of a run that is still going on."""

import time
from itertools import takewhile
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter
from cyclopts.validators import Number

from lyapunov.cli import Loading

if TYPE_CHECKING:
    from lyapunov.training import Reading, Run


def watch(
    run: Path,
    /,
    *,
    once: Annotated[bool, Parameter(negative=())] = False,
    every: Annotated[float, Parameter(validator=Number(gt=0))] = 1.0,
) -> None:
    """Show the readings of a running training; Ctrl-C stops watching, not training.

    Parameters
    ----------
    run
        The folder that a lyapunov.Monitor or the demo writes its history to; it may not be there yet.
    once
        Show what there is, and end.
    every
        Seconds between two checks of the folder.
    """
    try:
        with Loading():
            from lyapunov.report import ReadingTable
            from lyapunov.training import Run

        found = Run.load(run) if once else _waited_for(run, every)
        system = found.about.get("system", "")
        title, losses = f"{found.name}{f': {system}' if system else ''}", _losses(found)
        with ReadingTable(title, losses=losses, unit=found.unit) as table:
            for reading in found.readings:
                table.add(reading)
            while not once:
                table.status(f"watching {run}, every {every:g} s   (Ctrl-C ends the watching)")
                time.sleep(every)
                before, found = found, Run.load(run)
                for reading in _new(before, found):
                    table.add(reading)
    except KeyboardInterrupt:
        return


def _waited_for(run: Path, every: float) -> "Run":
    """The run, once there is one."""
    from lyapunov.training import NAME, Run

    if not (run / NAME).exists() and run.name != NAME:
        print(f"Waiting for {run / NAME}   (Ctrl-C ends the waiting)")
        while not (run / NAME).exists():
            time.sleep(every)
    return Run.load(run)


def _losses(run: "Run") -> list[str]:
    """Those there are already: with a column of their own from the start, the heads are printed once."""
    return list(dict.fromkeys(name for reading in run.readings for name in reading.losses))


def _new(before: "Run", now: "Run") -> "tuple[Reading, ...]":
    """Readings from the first one on that was not there before, or was made again."""
    pairs = zip(before.readings, now.readings, strict=False)
    same = takewhile(lambda pair: (pair[0].step, pair[0].seconds) == (pair[1].step, pair[1].seconds), pairs)
    return now.readings[len(list(same)) :]
