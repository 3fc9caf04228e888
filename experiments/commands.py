"""What every command of the experiments shares: where it writes, and how it refuses."""

import argparse
import shutil
import sys
from collections.abc import Callable
from pathlib import Path

from experiments.rows import Row, write
from lyapunov.errors import LyapunovError

RECORDED = Path(__file__).parent / "results"
"""What the pages quote; under version control."""
SCRATCH = Path("runs") / "experiments" / "results"
"""Where a command writes unless it is told to record."""
INTERRUPTED = 130


def arguments(document: str | None) -> argparse.ArgumentParser:
    """A parser that knows --record."""
    parser = argparse.ArgumentParser(description=document, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--record", action="store_true", help="write into experiments/ what the pages quote (else: into runs/)")
    return parser


def results_in(name: str, recorded: Path = RECORDED) -> Path:
    """A results file: the recorded one, else that of an own run, else where the recorded one would be."""
    found = [file for file in (recorded / name, SCRATCH / name) if file.exists()]
    return found[0] if found else recorded / name


def scratch_of(stem: str, recorded: Path = RECORDED) -> Path:
    """SCRATCH, with copies of what is recorded under a name: a command that goes on from its results goes on from those."""
    SCRATCH.mkdir(parents=True, exist_ok=True)
    for file in recorded.glob(f"{stem}.*"):
        if not (SCRATCH / file.name).exists():
            shutil.copyfile(file, SCRATCH / file.name)
    return SCRATCH


def run(main: Callable[[], None]) -> None:
    """The entry point of a command: what goes wrong is one sentence and a non-zero exit."""
    try:
        main()
    except LyapunovError as error:
        _refuse(str(error), 2)
    except OSError as error:
        _refuse(f"Expected to read and write files, got: {error}. Check the path, the disk, and `lyapunov data fetch`.", 2)
    except KeyboardInterrupt:
        _refuse("stopped; the same command goes on.", INTERRUPTED)


def write_table(document: str | None, name: str, made: Callable[[], list[Row]], line: Callable[[Row], str]) -> None:
    """The entry point of a command that makes one table: writes its rows, and prints a line of each."""
    file = (RECORDED if arguments(document).parse_args().record else SCRATCH) / name

    def main() -> None:
        rows = made()
        write(file, rows)
        for row in rows:
            print(line(row))

    run(main)
    print(file, file=sys.stderr)


def _refuse(words: str, code: int) -> None:
    print(f"experiments: {words}", file=sys.stderr)
    sys.exit(code)
