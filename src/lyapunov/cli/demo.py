"""The command `lyapunov demo`, which trains a character LSTM and shows its spectrum while it learns."""

import logging
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter
from cyclopts.validators import Number

from lyapunov.cli import INTERRUPTED, Loading

_Positive = Parameter(validator=Number(gte=1))


def demo(
    *,
    epochs: Annotated[int, _Positive] = 24,
    hidden: Annotated[int, _Positive] = 128,
    text: Path | None = None,
    directory: Path | None = None,
    seed: int = 0,
) -> None:
    """Train a character LSTM on real text and watch its Lyapunov spectrum move.

    After every epoch the exponents of the full state (h, c) are taken on held-out text. Ctrl-C ends the run and
    keeps what is finished. A run is never overwritten.

    Parameters
    ----------
    epochs
        Passes through the text; the default takes about five minutes on two cores.
    hidden
        Units of the LSTM.
    text
        A UTF-8 text to learn (default: War and Peace where LYAPUNOV_DATA_DIR has it, else Python's own reference).
    directory
        A new folder for history, spectra, checkpoint and figure (default: runs/demo, then runs/demo-2 and so on).
    seed
        Of the weights and of the random frames.
    """
    with Loading():
        from lyapunov.intake import read_text
        from lyapunov.report import ReadingTable
        from lyapunov.tasks import Training, corpus, demo_corpus, require_enough, run_demo, start_directory

    data = demo_corpus() if text is None else corpus(text.name, read_text(text))
    require_enough(data)
    directory = start_directory(directory)
    training = Training(hidden=hidden, epochs=epochs, seed=seed)
    finished = False
    title = f"LSTM with {hidden} units learning {data.name} ({len(data.train):,} characters); losses in nats per character"
    with ReadingTable(title, losses=("train", "held_out")) as table, _alarms_in_the_table():
        try:
            for reading in run_demo(data, training, directory, say=table.status):
                table.add(reading)
            finished = True
        except KeyboardInterrupt:
            pass
    _leave(directory)
    if not finished:
        print("Stopped by Ctrl-C; finished work is kept.", file=sys.stderr)
        sys.exit(INTERRUPTED)


@contextmanager
def _alarms_in_the_table() -> Iterator[None]:
    """Not on standard error as well, where they would tear it."""
    log = logging.getLogger("lyapunov")
    before = log.level
    log.setLevel(logging.ERROR)
    try:
        yield
    finally:
        log.setLevel(before)


def _leave(directory: Path) -> None:
    """Draws the figure of what there is, and says where everything lies."""
    from lyapunov.report import plots
    from lyapunov.training import NAME, Run

    if not (directory / NAME).exists():
        print("No epoch was finished.")
        return
    plots.save_demo_figure(Run.load(directory), directory / "figure.png")
    print(f"In {directory}: {NAME}, spectra/, checkpoint.safetensors, held_out.txt and figure.png")
    print(f"Next: lyapunov report {directory}")
    print(f"      lyapunov spectrum {directory / 'checkpoint.safetensors'} --inputs {directory / 'held_out.txt'} --k 8")
