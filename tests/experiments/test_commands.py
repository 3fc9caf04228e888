"""Commands of the experiments leave what is under version control alone, and refuse in a sentence."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from experiments.figures import regimes

from experiments import commands

ROOT = Path(__file__).parents[2]
COMMANDS = sorted(
    file.relative_to(ROOT / "experiments").with_suffix("").as_posix().replace("/", ".")
    for file in (ROOT / "experiments").rglob("*.py")
    if 'if __name__ == "__main__":' in file.read_text() and not {"cells", "force"} & set(file.relative_to(ROOT).parts)
)


def called(place: Path, module: str, *asked: str, **more: str) -> subprocess.CompletedProcess:
    environment = {**os.environ, "PYTHONPATH": f"{ROOT / 'src'}:{ROOT}", "OMP_NUM_THREADS": "1", **more}
    command = [sys.executable, "-m", f"experiments.{module}", *asked]
    return subprocess.run(command, cwd=place, capture_output=True, text=True, env=environment, timeout=300)


def tracked() -> dict[str, bytes]:
    files = [file for file in (ROOT / "experiments").rglob("*") if file.is_file() and "__pycache__" not in file.parts]
    return {str(file): file.read_bytes() for file in files}


def test_a_figure_is_left_in_a_folder_of_runs(tmp_path: Path) -> None:
    before = tracked()
    done = called(tmp_path, "figures.one_spectrum", "--preset", "tiny")
    assert done.returncode == 0, done.stderr
    assert tracked() == before
    left = sorted(file.relative_to(tmp_path).as_posix() for file in tmp_path.rglob("*") if file.is_file())
    assert left == [f"runs/experiments/results/fig2-tiny.{suffix}" for suffix in ("csv", "png", "svg")]
    assert "--record does" in done.stdout


@pytest.mark.parametrize(
    ("module", "asked", "expected"),
    [
        ("figures.against_loss", ("--preset", "tiny"), "Expected results of a sweep, got none"),
        ("sweeps", ("adding", "--preset", "tiny", "--workers", "0"), "Expected `workers` to be a whole number at least 1"),
        ("claims.published_grid", (), "LYAPUNOV_DATA_DIR"),
    ],
)
def test_commands_refuse_in_a_sentence(module: str, asked: tuple[str, ...], expected: str, tmp_path: Path) -> None:
    done = called(tmp_path, module, *asked, LYAPUNOV_DATA_DIR="")
    assert done.returncode == 2
    assert expected in done.stderr
    assert done.stderr.startswith("experiments: Expected")
    assert len(done.stderr.splitlines()) == 1
    assert done.stdout == ""


def test_every_command_can_be_told_to_record() -> None:
    assert {"figures.regimes", "sweeps.__main__", "claims.findings", "sweeps.expected", "claims.published_grid"} <= set(
        COMMANDS
    )
    for name in COMMANDS:
        source = (ROOT / "experiments" / f"{name.replace('.', '/')}.py").read_text()
        assert "run(" in source or "command(" in source, name
        if re.search(r"write_text|gather\(|command\(", source):
            assert "command(" in source or "arguments(" in source, name


def test_own_results_stand_in_for_recorded_ones(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    recorded = tmp_path / "recorded"
    for place, name in ((commands.SCRATCH, "a.csv"), (commands.SCRATCH, "b.csv"), (recorded, "b.csv")):
        place.mkdir(parents=True, exist_ok=True)
        (place / name).touch()
    assert commands.results_in("a.csv", recorded) == commands.SCRATCH / "a.csv"
    assert commands.results_in("b.csv", recorded) == recorded / "b.csv"
    assert commands.results_in("c.csv", recorded) == recorded / "c.csv"


def test_a_command_that_goes_on_from_its_results_works_on_a_copy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    recorded = tmp_path / "recorded"
    recorded.mkdir()
    for name in ("a-small.csv", "a-small.safetensors", "b-small.csv"):
        (recorded / name).write_text(name)
    place = commands.scratch_of("a-small", recorded)
    assert sorted(file.name for file in place.iterdir()) == ["a-small.csv", "a-small.safetensors"]
    (place / "a-small.csv").write_text("further")
    commands.scratch_of("a-small", recorded)
    assert ((place / "a-small.csv").read_text(), (recorded / "a-small.csv").read_text()) == ("further", "a-small.csv")


def test_the_marginal_network_of_the_first_figure_is_marginal_at_size_tiny() -> None:
    words = regimes.make("tiny").ours
    found = {
        name: (float(value), float(error)) for name, value, error in re.findall(r"(\w+): exponent (\S+) ± ([\d.]+)", words)
    }
    assert found["stable"][0] < -0.2
    assert abs(found["marginal"][0]) < 0.03
    assert found["chaotic"][0] > 0.1
    assert all(abs(found[name][0]) > 5 * found[name][1] for name in ("stable", "chaotic"))
