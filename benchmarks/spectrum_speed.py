"""How fast spectra are: against training, the arithmetic's floor, the plain way, and other packages. Every figure is a ratio.

    python benchmarks/spectrum_speed.py                        # everything (about an hour on two cores)
    python benchmarks/spectrum_speed.py --list                 # the rows
    python benchmarks/spectrum_speed.py --only forward,memory  # some of them
    python benchmarks/spectrum_speed.py --missing              # those without a result yet: goes on with a run that was ended
    python benchmarks/spectrum_speed.py --quick                # tiny sizes, one pair, nothing written: tests the script

Both sides of a ratio are measured in one run, in turn (A B A B ...), after one run of each that is not counted; the figure is
the median over pairs. Each row is printed and written to benchmarks/results.json and results.md as soon as it is done; rows not
run stay as they are there. Rows that lose their goal stay in.
"""

import argparse
import os
import sys
import time
from pathlib import Path
from typing import Any

import torch

from _record import Result, Table, load, merge
from _rows import ROWS, Row, Skipped, probe_memory
from _timing import alternate, beside_busy_core, conditions

OUT = Path(__file__).parent / "results.json"


def measure(entry: Row, arguments: argparse.Namespace, started: float) -> Result:
    """One row."""
    pairs = 1 if arguments.quick else entry.pairs
    fields: dict[str, Any] = {"conditions": conditions(arguments.threads)}
    try:
        case = entry.build(arguments.quick)
    except Skipped as reason:
        fields["note"] = f"skipped: {reason}"
    else:
        found = alternate(case.ours, case.other, pairs, warm_up=entry.warm_up and not arguments.quick)
        ratio, own, other = found.medians()
        ratios = found.ratios()
        fields |= {"ratio": ratio, "low": min(ratios), "high": max(ratios), "ours": own, "other": other}
        fields |= {"unit": case.unit, "pairs": pairs, "note": case.note(found)}
        if arguments.busy and case.can_be_disturbed:
            fields["busy"] = beside_busy_core(case.ours, pairs).medians()[0]
    return Result(entry.name, entry.work, entry.against, entry.goal, elapsed=time.perf_counter() - started, **fields)


def wanted(arguments: argparse.Namespace, parser: argparse.ArgumentParser) -> list[Row]:
    """The rows asked for."""
    names = list(ROWS) if arguments.only is None else arguments.only.split(",")
    unknown = [name for name in names if name not in ROWS]
    if unknown:
        parser.error(f"Expected rows out of {', '.join(ROWS)}; got {', '.join(unknown)}.")
    if arguments.missing:
        measured = {name for name, result in load(arguments.out).items() if result.ratio is not None}
        names = [name for name in names if name not in measured]
    return [ROWS[name] for name in names]


def with_environment(threads: int) -> None:
    """Start again with what NumPy's BLAS, JAX and progress bars read only at their start."""
    asked = {"OPENBLAS_NUM_THREADS": str(threads), "NPROC": str(threads), "JAX_PLATFORMS": "cpu", "TQDM_DISABLE": "1"}
    if any(os.environ.get(name) != value for name, value in asked.items()):
        os.execve(sys.executable, [sys.executable, *sys.argv], {**os.environ, **asked})


def parsed() -> tuple[argparse.Namespace, argparse.ArgumentParser]:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", metavar="NAME[,NAME]", help="these rows")
    parser.add_argument("--missing", action="store_true", help="only rows without a result yet")
    parser.add_argument("--list", action="store_true", help="name the rows and stop")
    parser.add_argument("--quick", action="store_true", help="tiny sizes, one pair, nothing written")
    parser.add_argument("--busy", action="store_true", help="also our side while another process keeps one core busy")
    parser.add_argument("--threads", type=int, default=2, help="of every package (2)")
    parser.add_argument("--out", type=Path, default=OUT, help="the JSON; the page lies beside it (benchmarks/results.json)")
    parser.add_argument("--probe-memory", nargs=2, type=int, metavar=("HIDDEN", "COUNTED"), help=argparse.SUPPRESS)
    return parser.parse_args(), parser


def main() -> None:
    """Measure, print, write."""
    arguments, parser = parsed()
    with_environment(arguments.threads)
    torch.set_num_threads(arguments.threads)
    if arguments.probe_memory:
        probe_memory(*arguments.probe_memory)
        return
    rows = wanted(arguments, parser)
    if arguments.list:
        for entry in rows:
            print(f"{entry.name:<20} {entry.goal!s:<17} {entry.work}, against {entry.against}")
        return
    started, table = time.perf_counter(), Table()
    for entry in rows:
        result = measure(entry, arguments, started)
        table.add(result)
        if not arguments.quick:
            merge(arguments.out, result, tuple(ROWS))


if __name__ == "__main__":
    sys.exit(main())
