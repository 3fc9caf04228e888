"""The tree is the architecture: no import goes upward or sideways, none goes round in a circle, and no file grows too large."""

import ast
import re
import subprocess
import sys
from itertools import pairwise
from pathlib import Path

import pytest

from lyapunov.intake.kinds import KINDS

ROOT = Path(__file__).parent.parent / "src" / "lyapunov"
LEVELS = {
    "systems": 1,
    "intake": 2,
    "tangent": 2,
    "estimate": 3,
    "analysis": 4,
    "training": 4,
    "report": 5,
    "tuning": 5,
    "integrations": 6,
    "tasks": 7,
    "cli": 8,
}
"""Folders by number; files at the root (errors, _checks, ...) are 0."""
KIND_FILES = sorted({kind.system.__module__.rpartition(".")[2] for kind in KINDS})
"""Closed forms of the kinds in the registry, which may reach into them: a new one is named there alone."""
ORDER = {
    "systems": (
        "_gates",
        "faults",
        "arguments",
        "attention",
        "casting",
        "trace",
        "system",
        "closed",
        "contract",
        *KIND_FILES,
        "step",
        "compiled",
        "loop",
        "known_case",
        "flows",
        "extended",
        "stack",
        "feed",
        "closed_loop",
        "diagonal",
        "language",
        "known",
    ),
    "systems/language": ("caches", "huggingface"),
    "intake": (
        "kinds",
        "inputs",
        "file_kinds",
        "files",
        "vocabulary",
        "in_front",
        "checkpoint",
        "encoding",
        "problem",
        "layers",
        "rebuilt",
        "foreign",
        "steps",
        "loops",
        "languages",
        "continuity",
        "closed_loops",
        "capturing",
        "recognize",
    ),
    "intake/foreign": ("keras_layers", "scripted", "native"),
    "intake/capturing": (
        "preserving",
        "operators",
        "watch",
        "subclasses",
        "calls",
        "cells",
        "directions",
        "turns",
        "core",
        "captured",
        "capture",
    ),
    "tangent": (
        "divergence",
        "input_sequences",
        "point",
        "workers",
        "rollout_options",
        "frames",
        "criteria",
        "loop",
    ),
    "tangent/frames": ("orthonormal", "volume_accumulator", "leading"),
    "tangent/criteria": (
        "rounding",
        "stationarity",
        "frame_agreement",
        "rank",
        "collapsed_directions",
        "burn_in",
        "second_frames",
    ),
    "tangent/loop": (
        "propagation",
        "interval",
        "time_bins",
        "growth",
        "volume_samples",
        "aligning",
        "counting",
        "rollout_diagonal",
        "chunks",
        "segments",
        "rollout",
    ),
    "estimate": (
        "standard_errors",
        "timescales",
        "budget",
        "statistics",
        "run_options",
        "settings",
        "finding",
        "transient_findings",
        "verdict",
        "quantities",
        "_table",
        "attribution",
        "difference",
        "result",
        "plan",
        "estimator",
    ),
    "analysis": (
        "trajectory",
        "verdicts",
        "lag_decay",
        "whole_model",
        "gradients",
        "memory",
        "directions",
        "training",
        "closed_loops",
    ),
    "analysis/gradients": ("readout", "gradient_exponents", "gradient_decay", "input_reach", "jacobians"),
    "analysis/memory": ("paired_runs", "memory", "remembrance"),
    "analysis/directions": ("ginelli", "covariant", "local"),
    "analysis/training": ("adjoint", "exponent_sum", "flossing", "initialization"),
    "analysis/closed_loops": ("comparison", "predictability", "loop_spectra", "forecasts"),
    "training": (
        "schedules",
        "reading",
        "alarms",
        "history",
        "clock",
        "losses",
        "distributed",
        "warm_start",
        "probe",
        "monitor",
    ),
    "report": ("series", "summary", "figures", "drawing", "lag_plots", "run_plots", "plots", "page", "terminal"),
    "tasks": (
        "data_files",
        "descent",
        "task",
        "text",
        "prediction",
        "adding",
        "motion",
        "network",
        "characters",
        "demo",
        "objectives",
    ),
    "tuning": ("interrupts", "engines", "forecast", "rule", "search_spec", "study", "trials", "worker", "search"),
    "integrations": ("loggers", "lightning", "transformers", "optuna"),
    "cli": ("__init__", "demo", "spectrum", "report", "watch", "data", "tune"),
}
"""Files (and folders) of a folder: each may build on those before it."""
FILES = sorted(ROOT.rglob("*.py"))
MAX_LINES, MEAN_LINES, MAX_BODY, USUAL_BODY = 400, 150, 60, 20


def imported(path: Path) -> set[str]:
    """Modules of this package that a file imports at run time, as dotted names."""
    found: set[str] = set()
    tree = ast.parse(path.read_text())
    checking = [node for node in ast.walk(tree) if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test)]
    skipped = {id(inner) for node in checking for part in node.body for inner in ast.walk(part)}
    for node in ast.walk(tree):
        if id(node) in skipped:
            continue
        if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "lyapunov":
            module = str(node.module)
            found |= {module if alias.name in public_names(module) else whole(f"{module}.{alias.name}") for alias in node.names}
        elif isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names if alias.name.split(".")[0] == "lyapunov"}
    return found


def whole(dotted: str) -> str:
    """The module a dotted name is, or is in."""
    place = ROOT.parent / Path(*dotted.split("."))
    return dotted if place.is_dir() or place.with_suffix(".py").exists() else dotted.rpartition(".")[0]


def public_names(module: str) -> set[str]:
    """What a folder's interface brings up from its leaves."""
    interface = ROOT.parent / Path(*module.split(".")) / "__init__.py"
    if not interface.exists():
        return set()
    imports = [node for node in ast.parse(interface.read_text()).body if isinstance(node, ast.ImportFrom)]
    return {alias.name for node in imports if node.module != module for alias in node.names}


def level(parts: tuple[str, ...]) -> int:
    return LEVELS.get(parts[0], 0) if parts else 0


def violations(path: Path, modules: set[str]) -> list[str]:
    own = path.relative_to(ROOT).with_suffix("").parts
    if own in (("__init__",), ("__main__",)):  # what the package shows, and the way into it
        return []
    return [wrong for module in modules if (wrong := violation(own, tuple(module.split(".")[1:])))]


def violation(own: tuple[str, ...], other: tuple[str, ...]) -> str:
    shared = next((at for at, (a, b) in enumerate(zip(own, other, strict=False)) if a != b), min(len(own), len(other)))
    names = f"{'/'.join(own)} imports {'/'.join(other)}"
    if not other:
        return f"{names}the package's root"
    if not shared:
        return f"{names}: upward or sideways" if level(other) >= level(own) and level(other) > 0 else ""
    if own[shared] == "__init__":
        return ""
    order = ORDER["/".join(own[:shared])]
    target = other[shared] if len(other) > shared else "__init__"
    allowed = target in order and order.index(target) < order.index(own[shared])
    return "" if allowed else f"{names}: sideways inside its folder"


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_imports_go_down(path: Path) -> None:
    assert violations(path, imported(path)) == []


def test_the_test_would_see_a_wrong_import() -> None:
    assert violations(ROOT / "tangent" / "loop" / "rollout.py", {"lyapunov.intake"})
    assert violations(ROOT / "tangent" / "loop" / "rollout.py", {"lyapunov.estimate.result"})
    assert violations(ROOT / "systems" / "rnn.py", {"lyapunov.systems.stack"})
    assert violations(ROOT / "systems" / "rnn.py", {"lyapunov"})
    assert violations(ROOT / "intake" / "foreign" / "native.py", {"lyapunov.intake.capturing"})
    assert violations(ROOT / "intake" / "foreign" / "scripted.py", {"lyapunov.intake.foreign.native"})
    assert not violations(ROOT / "intake" / "capturing" / "calls.py", {"lyapunov.intake.layers", "lyapunov.systems"})
    assert not violations(ROOT / "systems" / "stack.py", {"lyapunov.systems.rnn", "lyapunov._shapes"})


def test_every_room_is_known() -> None:
    folders = {path.parent.relative_to(ROOT).as_posix() for path in FILES if path.parent != ROOT}
    assert folders == set(ORDER)
    assert {folder for folder in folders if "/" not in folder} == set(LEVELS)
    for folder in folders:
        files = {path.stem for path in (ROOT / folder).glob("*.py")} | {
            path.parent.name for path in (ROOT / folder).glob("*/*.py")
        }
        assert files - {"__init__"} == set(ORDER[folder]) - {"__init__"}


def test_leaves_of_a_folder_are_reached_through_its_interface_from_outside() -> None:
    public_files = {
        ("systems", "known"),
        ("training", "schedules"),
        ("report", "plots"),
        ("analysis", "training", "initialization"),
    }
    for path in FILES:
        own = path.relative_to(ROOT).parts
        for module in imported(path):
            other = tuple(module.split(".")[1:])
            if len(other) > 1 and other[0] in LEVELS and other[0] != own[0]:
                kind = own == ("intake", "kinds.py") and other[0] == "systems" and other[1] in KIND_FILES
                assert kind or other in public_files, f"{'/'.join(own)} reaches into {module}"
            if len(other) > 2 and "/".join(other[:2]) in ORDER and other not in public_files:
                assert own[:2] == other[:2], f"{'/'.join(own)} reaches into {module}"


def test_files_and_bodies_are_small() -> None:
    lengths = {path: len(path.read_text().splitlines()) for path in FILES}
    assert max(lengths.values()) <= MAX_LINES
    assert sum(lengths.values()) / len(lengths) <= MEAN_LINES
    bodies = [size for path in FILES for size in body_sizes(path)]
    assert max(bodies) <= MAX_BODY
    assert sum(size <= USUAL_BODY for size in bodies) >= 0.9 * len(bodies)


def body_sizes(path: Path) -> list[int]:
    sizes = []
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.FunctionDef):
            body = node.body[1:] if ast.get_docstring(node) and len(node.body) > 1 else node.body
            sizes.append(body[-1].end_lineno - body[0].lineno + 1)
    return sizes


def test_the_private_containers_of_pytorch_are_imported_in_one_file() -> None:
    users = [path.relative_to(ROOT).as_posix() for path in FILES if "torch.utils._pytree import" in path.read_text()]
    assert users == ["_trees.py"]


def test_every_file_says_what_it_is_for() -> None:
    for path in FILES:
        assert ast.get_docstring(ast.parse(path.read_text())), path


def test_importing_the_package_brings_nothing_heavy_beyond_torch() -> None:
    code = "import sys, torch; a = set(sys.modules); import lyapunov; print({m.split('.')[0] for m in set(sys.modules) - a})"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    heavy = {"matplotlib", "plotly", "pandas", "scipy", "optuna", "cyclopts", "sympy", "transformers", "lightning", "keras"}
    names = set(ast.literal_eval(out))
    assert "lyapunov" in names
    assert not names & heavy, names & heavy


def test_the_files_that_contributors_are_sent_to_are_there() -> None:
    _, _, where = (ROOT.parent.parent / "CONTRIBUTING.md").read_text().partition("## Where is it?")
    named = re.findall(r"`(\w+/[\w/]+\.py)`", where)
    assert len(named) > 10
    assert [name for name in named if not (ROOT / name).is_file()] == []


def test_pairs_of_levels_are_numbered_without_a_gap() -> None:
    numbers = sorted(set(LEVELS.values()))
    assert all(b - a == 1 for a, b in pairwise(numbers))
