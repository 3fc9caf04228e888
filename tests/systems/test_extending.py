"""docs/extending.md: a new kind of layer is three files, and passes what every system must pass."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent.parent
DIFF = re.search(r"```diff\n(.*?)```", (ROOT / "docs" / "extending.md").read_text(), re.DOTALL)[1]
EXAMPLE = (ROOT / "examples" / "new_cell.py").read_text().split("# The demonstration")[0].strip()


def test_the_patch_touches_three_files_and_adds_the_cell_of_the_example() -> None:
    assert re.findall(r"^\+\+\+ b/(.*)$", DIFF, re.MULTILINE) == [
        "src/lyapunov/systems/ugrnn.py",
        "src/lyapunov/intake/kinds.py",
        "tests/cases.py",
    ]
    added = [line[1:] for line in DIFF.split("--- a/")[0].splitlines() if line.startswith("+") and not line.startswith("+++")]
    assert "\n".join(added) == EXAMPLE


def test_the_patched_library_knows_the_cell(tmp_path: Path) -> None:
    for folder in ("src", "tests", "examples"):
        shutil.copytree(ROOT / folder, tmp_path / folder, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    (tmp_path / "new.diff").write_text(DIFF)
    subprocess.run(["git", "apply", "new.diff"], cwd=tmp_path, check=True, env={**os.environ, "GIT_CEILING_DIRECTORIES": "/"})
    asked = ["-q", "-k", "UGRNNCell", "-o", "addopts=", "-p", "no:cacheprovider"]
    command = [sys.executable, "-m", "pytest", *asked, "tests/conformance.py"]
    done = subprocess.run(
        command, cwd=tmp_path, env={**os.environ, "PYTHONPATH": str(tmp_path / "src")}, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout[-3000:]
    assert int(re.search(r"(\d+) passed", done.stdout)[1]) > 10
