"""Spectra of chaotic systems beside published values: `python -m experiments.closed_loops.flows`.

Each with the time step and with half of it.

What is measured is a row of results/flows.csv, written after each run: the command goes on where it was stopped. Each run takes
one to ten minutes on one core. `--names lorenz rossler` measures these only.
"""

import math
import warnings
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch

import lyapunov
from experiments.commands import RECORDED, arguments, run, scratch_of
from experiments.pages import replaced
from experiments.rows import read, write
from experiments.sweeps.table import RESULTS
from lyapunov.systems import known

FILE, PAGE = RESULTS / "flows.csv", Path(__file__).parents[2] / "docs" / "closed-loops.md"


class Run(NamedTuple):
    """Sequences, and what each is run for: units of time to settle, to align and to count; how many exponents."""

    build: Callable[[bool], known.Known]
    batch: int
    settle: float
    align: float
    count: float
    k: int = 3


def _with_step(build: Callable[..., known.Known]) -> Callable[[bool], known.Known]:
    return lambda halved: build(dt=build().dt / 2) if halved else build()


RUNS = {
    "henon": Run(lambda _: known.henon(), 1000, 200, 100, 1300, 2),
    "logistic": Run(lambda _: known.logistic(), 1000, 200, 100, 1300, 1),
    "lorenz": Run(_with_step(known.lorenz), 1000, 10, 10, 50),
    "rossler": Run(_with_step(known.rossler), 600, 60, 40, 200),
    "chen": Run(_with_step(known.chen), 1000, 4, 4, 20),
    "thomas": Run(_with_step(known.thomas), 1000, 400, 100, 800),
    "halvorsen": Run(_with_step(known.halvorsen), 1000, 10, 10, 45),
    "windmi": Run(_with_step(known.windmi), 1000, 300, 60, 510),
    "lorenz96": Run(_with_step(known.lorenz96), 60, 20, 20, 60, 32),
    "kuramoto_sivashinsky": Run(_with_step(known.kuramoto_sivashinsky), 60, 200, 1000, 3000, 10),
    "mackey_glass": Run(lambda halved: known.mackey_glass(points=212 if halved else 106), 200, 800, 1000, 5000, 6),
}


def measure(name: str, halved: bool) -> dict[str, Any]:
    """One row: exponents with their errors, and the Kaplan-Yorke dimension."""
    run = RUNS[name]
    case, batch = run.build(halved), run.batch // 3 if halved else run.batch
    counted = run.count / 2 if halved else run.count
    settle, align, count = (round(part / case.dt) for part in (run.settle, run.align, counted))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", lyapunov.LyapunovWarning)
        found = lyapunov.spectrum(
            case.system,
            state=case.start(batch),
            k=run.k,
            steps=count,
            settle=settle,
            align=align,
            dt=case.dt,
            progress=False,
        )
    row: dict[str, Any] = {"name": name, "dt": case.dt, "sequences": batch, "counted": found.settings.count}
    row["kaplan_yorke"], row["kaplan_yorke_error"] = (
        found.kaplan_yorke_dimension,
        found.standard_error("kaplan_yorke_dimension"),
    )
    row["verdict"] = " ".join(found.verdict.kinds) or "converged"
    for at, (exponent, error) in enumerate(zip(found.exponents.tolist(), found.standard_errors.tolist(), strict=True), 1):
        row |= {f"exponent_{at}": exponent, f"error_{at}": error}
    return row


def table(rows: Sequence[Mapping[str, Any]]) -> str:
    """The rows as the page shows them: a line for each published exponent, both time steps side by side."""
    lines = ["| system | dt | exponent | published | measured | off | dt / 2 | off |", "|---|---|---|---|---|---|---|---|"]
    for name in RUNS:
        case = getattr(known, name)()
        own = [row for row in rows if row["name"] == name]
        for at, truth in enumerate(case.exponents.tolist(), 1):
            cells = [_beside(row, at, truth, case.precision) for row in own]
            cells += [("", "")] * (2 - len(cells))
            dt = f"{float(own[0]['dt']):g}" if at == 1 else ""
            shown = [name if at == 1 else "", dt, str(at), f"{truth:.4g}", *cells[0], *cells[1]]
            lines.append("| " + " | ".join(shown) + " |")
        dimensions = [f"{float(row['kaplan_yorke']):.4f} ± {float(row['kaplan_yorke_error']):.4f}" for row in own]
        dimensions += [""] * (2 - len(dimensions))
        lines.append(f"| | | dimension | | {dimensions[0]} | | {dimensions[1]} | |")
    return "\n".join(lines) + "\n"


def _beside(row: Mapping[str, Any], at: int, truth: float, precision: float) -> tuple[str, str]:
    value, error = float(row[f"exponent_{at}"]), float(row[f"error_{at}"])
    digits = 5 if error < 3e-4 else 4
    return f"{value:.{digits}f} ± {error:.{digits}f}", f"{(value - truth) / math.hypot(error, precision):+.1f}"


def main() -> None:
    """Whatever is not yet in the file, and the table of the page."""
    parser = arguments(__doc__)
    parser.add_argument("--names", nargs="*", default=list(RUNS), choices=list(RUNS))
    options = parser.parse_args()
    names = options.names
    torch.set_num_threads(1)
    file = (RECORDED if options.record else scratch_of("flows")) / FILE.name
    rows: list[dict[str, Any]] = list(read(file)) if file.exists() else []
    for halved in (False, True):
        for name in names:
            steps = [float(row["dt"]) for row in rows if row["name"] == name]
            dt = RUNS[name].build(halved).dt
            if any(abs(one - dt) < 1e-6 for one in steps):
                continue
            rows.append(measure(name, halved))
            write(file, rows)
            print(rows[-1], flush=True)
    if options.record:
        PAGE.write_text(replaced(PAGE.read_text(), "flows", table(rows)))
    else:
        print(table(rows))


if __name__ == "__main__":
    run(main)
