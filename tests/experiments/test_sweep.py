"""Sweeps at their smallest: the numbers that are expected, and the same ones after a kill."""

import csv
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from experiments.sweeps import training as sweeps
from experiments.sweeps.presets import PRESETS, TASKS, sweep
from safetensors.torch import load_file

from lyapunov import InvalidInput
from lyapunov.tasks import DATA_DIR

ROOT = Path(__file__).parents[2]
EXPECTED = json.loads((ROOT / "experiments" / "sweeps" / "expected.json").read_text())
REPRODUCED = 1.01e-5
"""Relative: the last of the six digits that are kept. Trained in float64, numbers differ by far less between processors."""
pytestmark = pytest.mark.skipif(DATA_DIR not in os.environ, reason=f"the experiments' data is not there ({DATA_DIR})")


def rows_of(file: Path) -> list[dict[str, str]]:
    with file.open(newline="") as lines:
        return list(csv.DictReader(lines))


def without_seconds(rows: list[dict[str, str]]) -> list[dict[str, str]]:
    return [{name: value for name, value in row.items() if not name.endswith("seconds")} for row in rows]


@pytest.mark.parametrize("task", TASKS)
def test_tiny_sweeps_give_the_expected_numbers(task: str, tmp_path: Path) -> None:
    file = sweeps.run_sweep(task, "tiny", workers=1, runs=tmp_path / "runs", results=tmp_path)
    found = rows_of(file)
    assert [(row["network"], row["epoch"]) for row in found] == [(str(n), str(e)) for n in range(2) for e in range(3)]
    for row, expected in zip(found, EXPECTED[task], strict=True):
        for name, value in expected.items():
            assert float(row[name]) == pytest.approx(value, rel=REPRODUCED), name
    spectra = load_file(file.with_suffix(".safetensors"))
    hidden = int(found[0]["hidden"])
    assert spectra["001/02/full"].shape == (2 * hidden,)
    assert spectra["000/01/hidden"].shape == (hidden,)
    assert json.loads(file.with_suffix(".json").read_text())["command"] == f"python -m experiments.sweeps {task} --preset tiny"


def test_a_sweep_that_was_killed_goes_on_to_the_same_numbers(tmp_path: Path) -> None:
    """With -9, whatever it was doing, twice."""
    code = "import sys; from pathlib import Path; from experiments.sweeps.training import run_sweep;"
    code += "run_sweep('text', 'tiny', workers=1, runs=Path(sys.argv[1]) / 'runs', results=Path(sys.argv[1]))"
    for seconds in (4.0, 5.0):
        started = subprocess.Popen(
            [sys.executable, "-c", code, str(tmp_path / "killed")], cwd=ROOT, start_new_session=True, stderr=subprocess.DEVNULL
        )
        time.sleep(seconds)
        os.killpg(started.pid, signal.SIGKILL)
        started.wait()
    killed = sweeps.run_sweep("text", "tiny", workers=1, runs=tmp_path / "killed" / "runs", results=tmp_path / "killed")
    whole = sweeps.run_sweep("text", "tiny", workers=1, runs=tmp_path / "whole" / "runs", results=tmp_path / "whole")
    assert without_seconds(rows_of(killed)) == without_seconds(rows_of(whole))


def test_results_are_enough_to_go_on_from(tmp_path: Path) -> None:
    """On another machine, without the runs: nothing is run again; results of other networks are refused."""
    file = sweeps.run_sweep("adding", "tiny", workers=1, runs=tmp_path / "runs", results=tmp_path)
    before, spectra = file.read_text(), file.with_suffix(".safetensors").read_bytes()
    assert sweeps.run_sweep("adding", "tiny", workers=1, runs=tmp_path / "elsewhere", results=tmp_path) == file
    assert file.read_text() == before
    assert file.with_suffix(".safetensors").read_bytes() == spectra
    assert not (tmp_path / "elsewhere").exists()
    file.write_text(before.replace(",8,", ",9,"))
    with pytest.raises(InvalidInput, match="Move the file away"):
        sweeps.run_sweep("adding", "tiny", workers=1, runs=tmp_path / "elsewhere", results=tmp_path)


@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize("preset", PRESETS)
def test_sweeps_have_several_seeds_at_chosen_points(task: str, preset) -> None:
    chosen = sweep(task, preset)
    assert len(set(chosen.recipes)) == len(chosen.recipes)
    assert chosen.epochs in chosen.whole
    if preset != "tiny":
        assert len(chosen.recipes) >= 48
        points = [(recipe.learning_rate, recipe.spread, recipe.dropout) for recipe in chosen.recipes]
        assert max(points.count(point) for point in points) == 4
