"""Records what many small runs find, to the last bit, and says later what has changed: for work that is to change nothing.

    export OMP_NUM_THREADS=1
    python tests/snapshot.py write FILE                       # before: about two minutes
    python tests/snapshot.py compare FILE                     # after: what differs, and by how much
    python tests/snapshot.py compare FILE --only GRU          # runs whose name contains this; may be given several times
    python tests/snapshot.py compare FILE --renamed align=aim # a word that is another one now, in texts and tables

Exponents, errors, verdicts, settings, tables and figures must be the same on the same machine with the same packages; FILE is
for one machine and is not kept. The runs are in `snapshot_runs.py`, `snapshot_spectra.py` and `snapshot_models.py`, and what
they call in `snapshot_calls.py` and `snapshot_shown.py`, which alone know the library's names (but for the arguments of systems
that are built from parameters, in `snapshot_spectra.py`). The exit status of `compare` is 1 where something differs, and 2
where there is nothing to compare.
"""

import argparse
import contextlib
import dataclasses
import json
import logging
import math
import platform
import re
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any, NoReturn

import torch
from torch import Tensor

import lyapunov
from snapshot_runs import RUNS

Record = dict[str, str]
"""What a run found: a text for each quantity, in which every number is there to its last bit."""
_NUMBERS = re.compile(r"(\w+ \[[\d, ]*\]): (.*)")
_AROUND, _LONGEST, _SHOWN = 30, 200, 12
"""Letters shown on each side of a difference, and of what is new; quantities shown of one run."""


def main() -> int:
    """The exit status."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("task", choices=("write", "compare"))
    parser.add_argument("file", type=Path)
    parser.add_argument("--only", action="append", metavar="PART", help="runs whose name contains this")
    parser.add_argument("--renamed", action="append", default=[], metavar="OLD=NEW", help="words that are others now, in texts")
    options = parser.parse_args()
    chosen = {name: run for name, run in RUNS.items() if not options.only or any(part in name for part in options.only)}
    if not chosen:
        groups = dict.fromkeys(name.partition("/")[0] for name in RUNS)
        _stop(f"Expected a part of a run's name with --only, got {options.only}. Names begin with {', '.join(groups)}.")
    if torch.get_num_threads() != 1:
        _stop(f"Expected one thread, got {torch.get_num_threads()}: several add up in another order. Set OMP_NUM_THREADS=1.")
    file = options.file.resolve()
    print(f"lyapunov in {Path(lyapunov.__file__).parent}")
    if options.task == "write":
        _require_folder(file)
        records = dict(_made(chosen, lambda name, record: ""))
        file.write_text(json.dumps({"made with": _packages(), "runs": records}, indent=1) + "\n")
        print(f"{len(records)} runs, {sum(map(len, records.values()))} quantities in {file}")
        return 0
    before = _read(file, options.renamed)
    return 1 if _differ(chosen, before, options.only or []) else 0


def _differ(chosen: Mapping[str, Callable[[], Any]], before: Mapping[str, Record], only: Sequence[str]) -> bool:
    """Runs again, and says what is not as it was."""

    def against(name: str, record: Record) -> list[str]:
        return differences(before[name], record) if name in before else ["there was no such run"]

    def said(name: str, record: Record) -> str:
        found = against(name, record)
        more = [f"and {len(found) - _SHOWN} more"] if len(found) > _SHOWN else []
        return "same" if not found else "DIFFERS" + "".join(f"\n      {line}" for line in [*found[:_SHOWN], *more])

    changed = [name for name, record in _made(chosen, said, stops=False) if against(name, record)]
    gone = [name for name in before if name not in RUNS and (not only or any(part in name for part in only))]
    for name in gone:
        print(f"{name}: there is no such run any more")
    print(
        f"{len(chosen) - len(changed)} of {len(chosen)} runs are the same" + "".join(f"\nDIFFERS: {name}" for name in changed)
    )
    return bool(changed or gone)


def _made(
    chosen: Mapping[str, Callable[[], Any]], said: Callable[[str, Record], str], *, stops: bool = True
) -> Iterator[tuple[str, Record]]:
    """Each run's record, with a line of progress; all in a folder of their own, and silent."""
    logging.disable(logging.CRITICAL)
    began = time.monotonic()
    with tempfile.TemporaryDirectory() as folder, contextlib.chdir(folder):
        for at, (name, run) in enumerate(chosen.items(), start=1):
            begun = time.monotonic()
            record = _record_of(run, stops=stops)
            told = said(name, record)
            print(f"{at}/{len(chosen)}  {time.monotonic() - begun:5.2f} s  {name}{': ' if told else ''}{told}", flush=True)
            yield name, record
    print(f"{time.monotonic() - began:.0f} s in all")


def _record_of(run: Callable[[], Any], *, stops: bool) -> Record:
    """What a run found and warned of. `stops`: an error that a run does not expect ends everything, else it is its record."""
    torch.manual_seed(0)
    with warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always")
        try:
            found = run()
        except Exception as error:
            if stops:
                raise
            found = {"raised": f"{type(error).__name__}: {error}"}
    own = [str(one.message) for one in warned if one.category.__module__.startswith("lyapunov")]
    return recorded({**found, "warnings": "\n".join(own)})


def recorded(value: Any, name: str = "") -> Record:
    """A value as texts by its name, the names of its parts behind it; parts without a name are numbered."""
    if isinstance(value, Mapping):
        return _joined({f"{name}: {key}" if name else str(key): part for key, part in value.items()})
    if isinstance(value, Tensor):
        flat = torch.view_as_real(value.detach()) if value.is_complex() else value.detach()
        return {name: _numbers(str(flat.dtype).removeprefix("torch."), flat.shape, flat.flatten().tolist())}
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        value = [getattr(value, field.name) for field in dataclasses.fields(value)]
    if isinstance(value, list | tuple):
        if value and all(type(part) is float for part in value):
            return {name: _numbers("float", (len(value),), value)}
        return _joined({f"{name} {at}": part for at, part in enumerate(value)}) | {f"{name}, parts": str(len(value))}
    if type(value) is float:
        return {name: _numbers("float", (), [value])}
    if not isinstance(value, str | int | None):
        raise TypeError(f"Expected something that can be recorded as {name!r}, got {type(value).__name__}.")
    return {name: str(value)}


def _joined(parts: Mapping[str, Any]) -> Record:
    return {name: text for part, value in parts.items() for name, text in recorded(value, part).items()}


def _numbers(kind: str, shape: Sequence[int], values: Sequence[float]) -> str:
    return f"{kind} {list(shape)}: {' '.join(float(value).hex() for value in values)}"


def differences(before: Record, after: Record) -> list[str]:
    """A line for each quantity that is not as it was."""
    found = [f"{name}: was not there, is {text[:_LONGEST]!r}" for name, text in after.items() if name not in before]
    found += [f"{name}: {_difference(text, after[name])}" for name, text in before.items() if after.get(name, text) != text]
    gone = [name for name in before if name not in after]
    return found + ([f"not there any more: {', '.join(gone[:_SHOWN])}{', ...' * (len(gone) > _SHOWN)}"] if gone else [])


def _difference(before: str, after: str) -> str:
    """By how much."""
    one, other = _NUMBERS.fullmatch(before), _NUMBERS.fullmatch(after)
    if one and other and one[1] == other[1]:
        pairs = list(zip(*(map(float.fromhex, match[2].split()) for match in (one, other)), strict=True))
        apart = [_distance(*pair) for pair in pairs]
        largest = max(range(len(apart)), key=apart.__getitem__)
        count = sum(distance > 0 for distance in apart)
        was, now = pairs[largest]
        return f"{count} of {len(pairs)} numbers, most by {apart[largest]:.3g} at {largest}: {was!r} -> {now!r}"
    if one and other:
        return f"{one[1]} -> {other[1]}"
    start = next((at for at, pair in enumerate(zip(before, after, strict=False)) if len(set(pair)) > 1), -1)
    start = min(len(before), len(after)) if start < 0 else start
    shown = [text[max(0, start - _AROUND) : start + _AROUND] for text in (before, after)]
    return f"{shown[0]!r} -> {shown[1]!r}"


def _distance(one: float, other: float) -> float:
    """Infinite where only one is a number; the smallest there is for zeros of unlike sign."""
    if one.hex() == other.hex():
        return 0.0
    return max(abs(one - other), math.ulp(0.0)) if math.isfinite(one) and math.isfinite(other) else math.inf


def _read(file: Path, renamed: Sequence[str]) -> dict[str, Record]:
    """The records of a file, with words in texts that have become others."""
    try:
        written = json.loads(file.read_text())
        runs, packages = written["runs"], written["made with"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        _stop(f"Expected a file that `write` has made, got {file}: {error!r}.")
    if packages != _packages():
        print(f"Made with {packages}, now {_packages()}: last bits may differ for that.")
    for pair in renamed:
        old, _, new = pair.partition("=")
        if not old or not new:
            _stop(f"Expected --renamed OLD=NEW, got {pair!r}.")
        word = re.compile(rf"\b{re.escape(old)}\b")
        runs = {name: {part: word.sub(new, text) for part, text in record.items()} for name, record in runs.items()}
    return runs


def _packages() -> dict[str, str]:
    """What numbers depend on beside the code."""
    names = ("torch", "numpy", "matplotlib", "plotly")
    computer = {"machine": platform.machine(), "processor": torch.backends.cpu.get_cpu_capability()}
    return {"Python": platform.python_version(), **computer, **{name: version(name) for name in names}}


def _require_folder(file: Path) -> None:
    if not file.parent.is_dir():
        _stop(f"Expected a file in a folder that is there, got {file}.")


def _stop(message: str) -> NoReturn:
    print(message, file=sys.stderr)
    raise SystemExit(2)


if __name__ == "__main__":
    sys.exit(main())
