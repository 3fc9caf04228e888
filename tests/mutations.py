"""Breaks the code of the error budget, one mistake at a time, and asks whether the tests that should notice do.

    python tests/mutations.py                  # all breaks: about eight minutes
    python tests/mutations.py --list           # their names, and the tests that must fail
    python tests/mutations.py --only "no turn" # those whose name contains this; may be given several times

Each break of `breaks.py` replaces a text that occurs exactly once in one file of a copy of `src`. Its tests pass on the whole
copy, which is asked first, and one of them must fail on the broken one. The exit status is 1 where a break survives, and 2
where the list no longer fits the code.
"""

import argparse
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

from breaks import BREAKS, Break

ROOT = Path(__file__).parent.parent
PASSED, FAILED = 0, 1
"""Exit statuses of pytest; all others say that it could not run the tests."""


def main() -> int:
    """The exit status."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", action="append", metavar="NAME", help="breaks whose name contains this")
    parser.add_argument("--list", action="store_true", help="names and tests only")
    options = parser.parse_args()
    chosen = [one for one in BREAKS if not options.only or any(part in one.name for part in options.only)]
    if not chosen:
        _stop(f"Expected a part of a break's name with --only, got {options.only}. See --list.")
    if options.list:
        print("\n".join(f"{one.name}\n    {one.file}: {', '.join(one.tests)}" for one in chosen))
        return 0
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder) / "src"
        shutil.copytree(ROOT / "src", source)
        _require_whole(source, chosen)
        survived = [one.name for at, one in enumerate(chosen, start=1) if not _is_caught(source, one, f"{at}/{len(chosen)}")]
    print(f"{len(chosen) - len(survived)} of {len(chosen)} breaks caught" + "".join(f"\nSURVIVED: {name}" for name in survived))
    return 1 if survived else 0


def _require_whole(source: Path, chosen: Sequence[Break]) -> None:
    """The copy is what is tested, every text is there once, and the tests pass: else they would catch anything."""
    for one in chosen:
        times = (source / "lyapunov" / one.file).read_text().count(one.right)
        if times != 1:
            _stop(f"Expected the text of {one.name!r} once in {one.file}, got it {times} times: {one.right!r}.")
    asked = [sys.executable, "-c", "import lyapunov; print(lyapunov.__file__)"]
    imported = subprocess.run(asked, env=_environment(source), capture_output=True, text=True, check=True).stdout
    if not Path(imported.strip()).resolve().is_relative_to(source.resolve()):
        _stop(f"Expected lyapunov to be imported from {source}, got {imported.strip()}.")
    status, output = _tested(source, list(dict.fromkeys(test for one in chosen for test in one.tests)))
    if status != PASSED:
        _stop(f"Expected the tests to pass before anything is broken, got:\n{output}")


def _is_caught(source: Path, one: Break, progress: str) -> bool:
    """Broken, tested, and put back."""
    path, begun = source / "lyapunov" / one.file, time.monotonic()
    whole = path.read_text()
    path.write_text(whole.replace(one.right, one.wrong))
    status, output = _tested(source, one.tests)
    path.write_text(whole)
    if status not in (PASSED, FAILED):
        _stop(f"Expected pytest to run the tests of {one.name!r}, got exit status {status}:\n{output}")
    failed = re.search(r"^FAILED tests/(.*?)( - |$)", output, flags=re.MULTILINE)
    said = f"caught by {failed.group(1)}" if failed else "caught" if status == FAILED else "SURVIVED"
    print(f"{progress}  {time.monotonic() - begun:4.0f} s  {one.name}: {said}", flush=True)
    return status == FAILED


def _tested(source: Path, tests: Sequence[str]) -> tuple[int, str]:
    """Exit status and output of pytest, in one process, without the slow checks of every annotation."""
    options = ["-x", "-q", "-o", "addopts=--strict-markers", "-p", "no:cacheprovider"]
    command = [sys.executable, "-m", "pytest", *options, *(f"tests/{test}" for test in tests)]
    found = subprocess.run(command, cwd=ROOT, env=_environment(source), capture_output=True, text=True, check=False)
    return found.returncode, found.stdout + found.stderr


def _environment(source: Path) -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": str(source)}


def _stop(message: str) -> NoReturn:
    print(message, file=sys.stderr)
    raise SystemExit(2)


if __name__ == "__main__":
    sys.exit(main())
