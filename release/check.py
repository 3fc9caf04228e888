"""Try what `make dist` built as a user would: the wheel alone, in fresh environments, away from the source tree.

    python release/check.py dist                    the contents of the archives, and every environment
    python release/check.py dist --only core,lowest

Each environment is made, used and removed: the core alone; each extra; the lowest and the highest versions that are allowed.
PyTorch is the exact one of constraints.txt everywhere: others are for .github/workflows/tests.yml, which has room for them.
"""

import argparse
import re
import subprocess
import sys
import tarfile
import tempfile
import tomllib
import venv
import zipfile
from pathlib import Path

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
LARGEST_WHEEL = 500_000
TRIALS = {
    "plot": "import lyapunov, torch; lyapunov.plots.spectrum(lyapunov.spectrum(torch.nn.RNN(2, 4), torch.randn(20, 3, 2)))",
    "pandas": "import lyapunov, torch; lyapunov.spectrum(torch.nn.RNN(2, 4), torch.randn(20, 3, 2)).to_pandas()",
    "transformers": "import transformers, lyapunov; lyapunov.spectrum",
    "tasks": "import pooch, lyapunov.tasks",
    "tune": "import optuna, lyapunov; lyapunov.integrations.spectrum_pruner(optuna.pruners.NopPruner())",
    "postgres": "import psycopg, lyapunov.tuning",
    "ray": "import ray, lyapunov.tuning",
    "interop": "import os; os.environ['KERAS_BACKEND'] = 'torch'; import keras, lightning, lyapunov; lyapunov.spectrum",
}
"""What an extra is for, in a line. The extras of developers (docs, test, dev, bench, release) are used by make itself."""
AT_BOUNDS = ("plot", "pandas", "tasks", "tune")
"""The extras that are taken along to the lowest and highest versions."""
CHECKPOINT = """
import numpy, torch
torch.manual_seed(0)
torch.save(torch.nn.GRU(3, 8, batch_first=True).state_dict(), "checkpoint.pt")
numpy.save("inputs.npy", numpy.random.default_rng(0).normal(size=(4, 200, 3)))
"""


def main() -> int:
    """Check the archives, then every environment; 1 where something is wrong."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("dist", type=Path)
    parser.add_argument("--only", default="", help="environments, with commas between")
    asked = parser.parse_args()
    (wheel,), (source,) = asked.dist.glob("*.whl"), asked.dist.glob("*.tar.gz")
    faults = [*archive_faults(wheel, source)]
    for name, (extras, versions) in environments().items():
        if not asked.only or name in asked.only.split(","):
            fault = tried(wheel.resolve(), extras, versions, TRIALS.get(name))
            print(f"{name:14} {fault or 'works'}", flush=True)
            faults += [f"{name}: {fault}"] if fault else []
    print("\n".join(faults) or f"{wheel.name} ({wheel.stat().st_size // 1000} kB) and {source.name} are fit to be published.")
    return 1 if faults else 0


def archive_faults(wheel: Path, source: Path) -> list[str]:
    """What is wrong with the contents of the archives."""
    names = zipfile.ZipFile(wheel).namelist()
    own = f"lyapunov-{PROJECT['version']}.dist-info/"
    faults = [f"{wheel.name} holds {name}" for name in names if not name.startswith(("lyapunov/", own))]
    if "lyapunov/py.typed" not in names:
        faults.append(f"{wheel.name} lacks py.typed")
    if wheel.stat().st_size > LARGEST_WHEEL:
        faults.append(f"{wheel.name} has {wheel.stat().st_size} bytes, above {LARGEST_WHEEL}")
    with tarfile.open(source) as archive:
        files = {name.partition("/")[2] for name in archive.getnames()}
    wanted = {"README.md", "LICENSE", "CHANGELOG.md", "CITATION.cff", "pyproject.toml", "src/lyapunov/__init__.py"}
    return faults + [f"{source.name} lacks {name}" for name in sorted(wanted - files)]


def environments() -> dict[str, tuple[tuple[str, ...], list[str]]]:
    """Extras and version constraints of each environment, by its name."""
    exact = [line for line in (ROOT / "constraints.txt").read_text().splitlines() if "==" in line]
    torch = next(line for line in exact if line.startswith("torch=="))
    kinds = {"core": ((), exact), **{extra: ((extra,), exact) for extra in TRIALS}}
    return kinds | {"lowest": (AT_BOUNDS, [*lowest(), torch]), "highest": (AT_BOUNDS, [torch])}


def lowest() -> list[str]:
    """The lowest versions that pyproject.toml allows, of everything but PyTorch."""
    asked = [*PROJECT["dependencies"], *(line for extra in AT_BOUNDS for line in PROJECT["optional-dependencies"][extra])]
    bounds = [re.match(r"([\w-]+)(?:\[\w+\])?>=([\d.]+)", line) for line in asked]
    missing = [line for line, bound in zip(asked, bounds, strict=True) if bound is None]
    if missing:
        raise SystemExit(f"Expected a lowest version of every dependency, got none of {', '.join(missing)}.")
    return [f"{bound[1]}=={bound[2]}" for bound in bounds if bound and bound[1] != "torch"]


def tried(wheel: Path, extras: tuple[str, ...], versions: list[str], trial: str | None) -> str:
    """What went wrong in a fresh environment with the wheel, or nothing."""
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        (folder / "constraints.txt").write_text("\n".join(versions))
        venv.create(folder / "env", with_pip=True)
        python, work = folder / "env" / "bin" / "python", folder / "work"
        work.mkdir()
        asked = f"{wheel}[{','.join(extras)}]" if extras else str(wheel)
        install = [python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "-c", folder / "constraints.txt"]
        lyapunov = [python.with_name("lyapunov")]
        steps = [
            ("install", [*install, asked]),
            ("consistent dependencies", [python, "-m", "pip", "check"]),
            ("version", [*lyapunov, "--version"]),
            ("README", [python, "-I", "-c", readme()]),
            ("checkpoint", [python, "-I", "-c", CHECKPOINT]),
            ("lyapunov spectrum", [*lyapunov, "spectrum", "checkpoint.pt", "--inputs", "inputs.npy", "--k", "2"]),
            *([("the extra", [python, "-I", "-c", trial])] if trial else []),
        ]
        for name, command in steps:
            done = subprocess.run(list(map(str, command)), cwd=work, capture_output=True, text=True, check=False)
            if done.returncode:
                return f"{name} failed: {(done.stderr or done.stdout).strip()[-600:]}"
            if name == "version" and PROJECT["version"] not in done.stdout:
                return f"lyapunov --version says {done.stdout.strip()!r}"
    return ""


def readme() -> str:
    """The code of the README."""
    return "\n".join(re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL))


if __name__ == "__main__":
    sys.exit(main())
