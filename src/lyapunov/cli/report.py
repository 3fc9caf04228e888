"""The command `lyapunov report`, which writes runs as one self-contained page."""

from pathlib import Path
from typing import Annotated, Literal

from cyclopts import Parameter

from lyapunov.cli import Loading


def report(
    *runs: Path,
    output: Annotated[Path, Parameter(name=["--output", "-o"])] = Path("report.html"),
    figures: Path | None = None,
    form: Annotated[Literal["png", "svg", "pdf"], Parameter(name="--format")] = "png",
) -> None:
    """Write one page about one or several runs: figures, tables and words, in a file that needs no network.

    Parameters
    ----------
    runs
        Folders that a lyapunov.Monitor or the demo has written its history to.
    output
        The page.
    figures
        Also draw each figure to a file in this folder (needs matplotlib).
    form
        Of those files.
    """
    with Loading():
        from lyapunov import _checks
        from lyapunov.report import plots, write_report
        from lyapunov.training import Run

    _checks.require_nonempty(runs, "the folder of a run", "lyapunov report runs/demo")
    _checks.writable(output, "output", (".html", ".htm"))
    read = [Run.load(run) for run in runs]
    write_report(read, output)
    print(f"{output}: {sum(len(run.readings) for run in read)} readings of {len(read)} run{'s' * (len(read) > 1)}")
    if figures is not None:
        files = plots.save_report_figures(read, figures, form)
        print(f"In {figures}: {', '.join(file.name for file in files)}")
