"""The command `lyapunov tune`, which searches hyperparameters with losses and spectra."""

import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from cyclopts import Parameter
from cyclopts.validators import Number

from lyapunov.cli import Loading

if TYPE_CHECKING:
    from optuna.pruners import BasePruner

    from lyapunov.training import Run
    from lyapunov.tuning import SearchSpec, SearchStatus, SpectrumRule

Engine = Literal["processes", "ray"]
Pruner = Literal["median", "halving", "none"]
BEST = 10
"""Trials that are shown."""


def tune(
    function: str,
    /,
    *,
    trials: int = 50,
    workers: int | None = None,
    storage: str | None = None,
    study: str | None = None,
    pruner: Pruner = "median",
    spectra: Annotated[bool, Parameter(negative=())] = False,
    unpruned_fraction: Annotated[float, Parameter(validator=Number(gte=0, lte=1))] = 0.1,
    lag: float | None = None,
    maximize: Annotated[bool, Parameter(negative=())] = False,
    seed: int | None = None,
    engine: Engine = "processes",
    output: Annotated[Path, Parameter(name=["--output", "-o"])] = Path("runs/tune"),
) -> None:
    """Search the hyperparameters of your own training function, on one machine or many.

    The function takes one Optuna trial and returns the value to minimise: `def objective(trial): ... return loss`. With
    lyapunov.integrations.optuna_report(trial, step, loss, reading) it reports losses and spectra. Ctrl-C ends the search,
    and the same command continues it.

    Parameters
    ----------
    function
        module:name, as you would import it, also from the current folder. lyapunov.tasks.objectives:adding is one.
    trials
        How many trials to complete or prune; those whose function fails do not count.
    workers
        Processes here, or Ray tasks; each with one thread. Default: one per core.
    storage
        A journal file (default: in the output folder), or postgresql://user@host/database for many machines.
    study
        The name of the search in the storage (default: the function's).
    pruner
        Which trials are pruned.
    spectra
        Use reported spectra as well, once they have predicted more than losses.
    unpruned_fraction
        Fraction of trials that are not pruned, whatever is predicted: slow starters among them.
    lag
        How many steps back the task needs the network to learn: trials that cannot are pruned early.
    maximize
        The function returns a value to maximise.
    seed
        Of the sampler.
    engine
        processes, or ray: a cluster that `ray start --head` began here or that RAY_ADDRESS names.
    output
        Folder of the journal, of trials.csv, and of report.html, if trials wrote their runs there.
    """
    with Loading():
        from lyapunov import _checks
        from lyapunov._rows import write_rows
        from lyapunov.tuning import SearchSpec, SpectrumRule, rows, search

    output.mkdir(parents=True, exist_ok=True)
    spec = SearchSpec(
        function=function,
        storage=_place(storage, output),
        study=study or function,
        trials=_checks.whole_number(trials, "trials", least=1),
        pruner=partial(_pruner, pruner, SpectrumRule(lag=lag, spectra=spectra, unpruned_fraction=unpruned_fraction)),
        maximize=maximize,
        seed=seed,
        output=str(output.absolute()),
    )
    try:
        with _Bar(spec) as bar:
            found = rows(search(spec, workers=_cores() if workers is None else workers, engine=engine, say=bar.show))
    except KeyboardInterrupt:
        print("Stopped; unfinished trials will be tried again. Run the same command to continue.", file=sys.stderr)
        raise
    write_rows(found, output / "trials.csv")
    _show(found, maximize=maximize)
    print(f"{output / 'trials.csv'}: {len(found)} trials")
    failed = [row for row in found if row["state"] == "fail" and row["why"]]
    if failed:
        print(f"{len(failed)} failed and did not count, the last one, trial {failed[-1]['trial']}: {failed[-1]['why']}")
    _report(list(_runs(found, spec, maximize=maximize)), output)


def _report(runs: "list[Run]", output: Path) -> None:
    """One page about the runs that trials have left, if there are some."""
    from lyapunov.errors import Unsupported
    from lyapunov.report import write_report

    if runs:
        try:
            write_report(runs, output / "report.html")
            print(f"{output / 'report.html'}: the runs of the best {len(runs)}")
        except Unsupported as missing:
            print(f"No report of their runs: {missing}")


def _place(storage: str | None, output: Path) -> str:
    """Of the study, for processes in whatever folder."""
    place = storage or str(output / "journal.log")
    return place if "://" in place else str(Path(place).absolute())


def _cores() -> int:
    """Those that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _runs(found: Sequence[Mapping[str, object]], spec: "SearchSpec", *, maximize: bool) -> "Iterator[Run]":
    """Of the best trials, those that have left readings."""
    from lyapunov.training import NAME, Run

    for row in _ranked(found, maximize=maximize)[:BEST]:
        trial = row["trial"]
        folder = spec.run_folder(trial) if isinstance(trial, int) else None
        if folder is not None and (folder / NAME).exists() and (run := Run.load(folder)).readings:
            yield run


def _ranked(found: Sequence[Mapping[str, object]], *, maximize: bool) -> list[Mapping[str, object]]:
    """Completed trials, the best first."""
    complete = [(value, row) for row in found if row["state"] == "complete" and isinstance(value := row["value"], float)]
    return [row for _, row in sorted(complete, key=lambda pair: pair[0], reverse=maximize)]


def _pruner(name: Pruner, rule: "SpectrumRule") -> "BasePruner":
    """In the process that needs it."""
    from lyapunov._optional import import_optional
    from lyapunov.integrations import spectrum_pruner

    pruners = import_optional("optuna", "tune").pruners
    kinds = {"median": None, "halving": pruners.SuccessiveHalvingPruner(), "none": pruners.NopPruner()}
    return spectrum_pruner(kinds[name], rule)


class _Bar:
    """How far the search has come."""

    def __init__(self, spec: "SearchSpec") -> None:
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

        text = TextColumn("{task.description}")
        self._progress = Progress(text, BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(), console=Console(stderr=True))
        self._task = self._progress.add_task(spec.study, total=spec.trials)

    def __enter__(self) -> "_Bar":
        self._progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._progress.stop()

    def show(self, now: "SearchStatus") -> None:
        """Update the progress line: the best value so far, and how many trials run, were pruned or failed."""
        best = "no value yet" if now.best is None else f"best {now.best:.5g} (trial {now.best_number})"
        about = f"{best}, {now.running} running, {now.pruned} pruned, {now.failed} failed"
        self._progress.update(self._task, completed=now.finished, description=about)


def _show(found: Sequence[Mapping[str, object]], *, maximize: bool) -> None:
    from rich.console import Console
    from rich.table import Table

    ranked = _ranked(found, maximize=maximize)
    names = [name for name in ranked[0] if name not in ("state", "why")] if ranked else []
    table = Table(title=f"The best of {len(ranked)} completed trials")
    for name in names:
        table.add_column(name.replace("_", " "), justify="right")
    for row in ranked[:BEST]:
        table.add_row(*(f"{value:.4g}" if isinstance(value := row.get(name, ""), float) else str(value) for name in names))
    Console().print(table)
