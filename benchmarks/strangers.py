"""Published packages, tried as a stranger would: what one hands over, in how many lines, and what a dense reference says.

    make strangers                                          # an environment of their own, all of them, and the table
    .strangers/bin/python benchmarks/strangers.py --only silero_vad,ncps
    .strangers/bin/python benchmarks/strangers.py --table   # the page again from benchmarks/strangers.json

Each file of `benchmarks/published/` is one package: `prepared()` makes its model and inputs, `handed_over(...)` is what a user
writes (its lines are counted), `reference(...)` is the same recurrence for `_dense.py`, and `refused(...)`, where there is one,
is what a user tries first. Every package runs in a process of its own. Exits with 1 where one fails.
"""

import argparse
import ast
import importlib
import importlib.metadata
import json
import math
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent.parent
PUBLISHED, RECORD, PAGE = ROOT / "benchmarks/published", ROOT / "benchmarks/strangers.json", ROOT / "docs/strangers.md"
AGREES = 1e-8
"""Nats per step between the exponents of the two, from the same frames, in float64."""
LONGEST = 900
"""Seconds for one package."""
Entry = dict[str, Any]


def names() -> list[str]:
    """The files of packages, in alphabetical order."""
    return sorted(path.stem for path in PUBLISHED.glob("*.py") if not path.stem.startswith("_"))


def lines(name: str, function: str = "handed_over") -> int:
    """Lines of code in the body of a function of a package's file."""
    tree = ast.parse((PUBLISHED / f"{name}.py").read_text())
    found = next(node for node in tree.body if isinstance(node, ast.FunctionDef) and node.name == function)
    body = found.body[1:] if ast.get_docstring(found) else found.body
    inside = {line for node in body for line in range(node.lineno, (node.end_lineno or node.lineno) + 1)}
    return len(inside)


def tried(name: str) -> Entry:
    """One package: the spectrum as a user gets it, and the same from given frames against the dense reference."""
    import torch

    from _dense import exponents, growth
    from lyapunov.tangent import random_frame

    torch.set_num_threads(1)
    torch.manual_seed(0)
    case = importlib.import_module(f"published.{name}")
    made = case.prepared()
    refusal = _refusal(case, made)
    given = {"k": case.K, "progress": False}
    shown = case.handed_over(*made, **given)
    settle = int(shown.settings.settle)
    checked = case.handed_over(*made, settle=settle, align=0, **given)
    parts = case.reference(*made)
    frames = partial(random_frame, seed=0, like=torch.empty(0, dtype=torch.float64))
    grown = [
        growth(part, frames(part.size, min(case.K, part.size), batch=len(part.state), block=block).numpy(), settle)
        for block, part in enumerate(parts)
    ]
    same, aligned = exponents(grown, 0, case.K), exponents(grown, int(shown.settings.align), case.K)
    return {
        "package": case.PACKAGE,
        "version": importlib.metadata.version(case.PACKAGE),
        "what": case.WHAT,
        "how": case.HOW,
        "lines": lines(name),
        "refusal": refusal,
        "remedy": getattr(case, "REMEDY", ""),
        "size": int(shown.settings.size),
        "k": len(same),
        "exponent": shown.exponents[0].item(),
        "error": shown.standard_errors[0].item(),
        "verdict": ", ".join(shown.verdict.kinds) or "converged",
        "reference": aligned[0],
        "difference": difference(checked.exponents.tolist(), same),
    }


def _refusal(case: Any, made: tuple[Any, ...]) -> str:
    """The sentence with which the first attempt is refused; empty where there is none."""
    from lyapunov import LyapunovError

    if not hasattr(case, "refused"):
        return ""
    try:
        case.refused(*made)
    except LyapunovError as error:
        return str(error)
    raise SystemExit(f"{case.PACKAGE} is no longer refused: make what it tries first what is handed over.")


def difference(ours: list[float], dense: list[float]) -> float:
    """The largest difference of exponents; infinite where their numbers differ, or only one of a pair is -inf."""
    if len(ours) != len(dense):
        return math.inf
    return max(0.0 if a == b else abs(a - b) for a, b in zip(ours, dense, strict=True))


def run(wanted: Iterable[str], found: dict[str, Entry], save: Callable[[dict[str, Entry]], None]) -> list[str]:
    """Each package in a process of its own; the names of those that failed."""
    failed = []
    for name in wanted:
        started = time.monotonic()
        command = [sys.executable, __file__, "--one", name]
        try:
            done = subprocess.run(command, capture_output=True, text=True, timeout=LONGEST, env=_environment())
            code, output, complaint = done.returncode, done.stdout, done.stderr
        except subprocess.TimeoutExpired:
            code, output, complaint = 1, "", f"took more than {LONGEST} s"
        entry = json.loads(output.splitlines()[-1]) if code == 0 else None
        if entry is None or not agrees(entry):
            failed.append(name)
        if entry is None:
            print(f"{name}: {complaint[-2000:]}", flush=True)
            continue
        found[name] = entry
        save(found)
        print(f"{name}: {entry['difference']:.1e}, {time.monotonic() - started:.0f} s", flush=True)
    return failed


def agrees(entry: Entry) -> bool:
    """Whether a package's exponents are those of the reference."""
    return entry["difference"] <= AGREES


def _environment() -> dict[str, str]:
    return {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONWARNINGS": "ignore", "HF_HUB_OFFLINE": "1"}


def page(found: dict[str, Entry]) -> str:
    """docs/strangers.md."""
    entries = [found[name] for name in sorted(found, key=lambda name: found[name]["package"].lower())]
    rows = "\n".join(_row(name, found[name]) for name in sorted(found, key=lambda name: found[name]["package"].lower()))
    refused = [entry for entry in entries if entry["refusal"]]
    direct, good = len(entries) - len(refused), sum(map(agrees, entries))
    refusals = "\n\n".join(
        f"**{entry['package']}**: {entry['what']}.\n\n> {' '.join(entry['refusal'].split())}\n\n{entry['remedy']}"
        for entry in refused
    )
    return f"""# Does it work with the package I use?

{len(entries)} packages were installed as published, and their recurrent models were passed to this library.
{good} of {len(entries)} agree with a dense reference to 10⁻⁸ nats per step. {direct} are accepted as they are, by
`lyapunov.capture` or as a step. {len(refused)} are refused at first, and accepted in another form
([below](#what-was-refused-at-first)).

`make strangers` repeats this in an environment of its own, in about {minutes(found)} minutes on one core.

- **Lines**: of code that you write, as in `handed_over` in the package's file. That file has the model and the inputs, too.
- **Largest exponent**: what you get with default settings, with its standard error and verdict, in nats per step.
- **Dense**: the largest exponent of the reference over the same steps. It takes the Jacobian of each step in float64 by reverse
  mode, and NumPy's QR. Its steps are the formula written again from the weights, or the package's own code.
- **Difference**: the largest difference of all computed exponents if both start from the same random frame.
- Inputs are short, because the reference is slow. So many verdicts are *too short*. Do not trust the error bars of these; the
  difference holds.
- Weights are those in the wheel if it has any, else the package's own initialisation.

| package | what | passed as | lines | state | largest exponent | dense | verdict | difference |
|---|---|---|---|---|---|---|---|---|
{rows}

## What was refused at first?

For each package: what was tried, what the library said, and what worked. The message does not always name the way that worked.

{refusals or "None."}
"""


def minutes(found: dict[str, Entry]) -> int:
    """How long all of it took."""
    return max(1, round(sum(entry.get("seconds", 0.0) for entry in found.values()) / 60))


def _row(name: str, entry: Entry) -> str:
    number = f"{entry['exponent']:.4f} ± {entry['error']:.4f}"
    link = f"[{entry['package']}](../benchmarks/published/{name}.py) {entry['version']}"
    how = f"{entry['how']}{' (refused first)' if entry['refusal'] else ''}"
    shown = entry["what"], how, str(entry["lines"]), f"{entry['k']} of {entry['size']}", number, f"{entry['reference']:.4f}"
    return f"| {link} | {' | '.join(shown)} | {entry['verdict']} | {entry['difference']:.0e} |"


def main() -> None:
    """Try what is asked for, and write the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", default="", help="names of files in benchmarks/published, with commas between")
    parser.add_argument("--table", action="store_true", help="only write the page again")
    parser.add_argument("--one", default="", help=argparse.SUPPRESS)
    asked = parser.parse_args()
    # Behind the packages: this folder's coverage.py is not the package of that name, which some of them import.
    sys.path.append(sys.path.pop(0))
    if asked.one:
        started = time.monotonic()
        print(json.dumps({**tried(asked.one), "seconds": round(time.monotonic() - started, 1)}))
        return
    found = json.loads(RECORD.read_text()) if RECORD.exists() else {}
    found = {name: entry for name, entry in found.items() if name in names()}
    wanted = [] if asked.table else [name for name in names() if not asked.only or name in asked.only.split(",")]
    failed = run(wanted, found, lambda entries: _write(RECORD, json.dumps(entries, indent=1, sort_keys=True) + "\n"))
    _write(PAGE, page(found))
    if failed:
        raise SystemExit(f"Not in agreement: {', '.join(failed)}.")


def _write(path: Path, text: str) -> None:
    path.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
