"""The examples run as they are, and leave a run that can be reported."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import torch

import lyapunov
from lyapunov.report import write_report

EXAMPLES = Path(__file__).parent.parent / "examples"
sys.path.insert(0, str(EXAMPLES))
import closed_loop  # noqa: E402

LOOPS = {
    "plain_loop": (["--steps", "120"], ("train", "held_out")),
    "lightning_loop": (["--epochs", "2"], ("train", "val_loss")),
    "transformers_loop": (["--steps", "80"], ("loss", "eval_loss")),
}


def test_every_loop_is_run_here() -> None:
    assert {path.stem for path in EXAMPLES.glob("*_loop.py")} - {"closed_loop"} == set(LOOPS)


def test_a_loop_is_tuned_with_and_without_spectra(tmp_path) -> None:
    """In under 40 lines; and by the command, from its folder."""
    script = EXAMPLES / "tuned.py"
    assert len(script.read_text().splitlines()) < 40
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    for arguments in ([], ["--spectra"]):
        command = [sys.executable, "-W", "ignore", str(script), *arguments]
        done = subprocess.run(command, capture_output=True, text=True, env=environment, cwd=tmp_path, timeout=300, check=True)
        assert float(re.search(r"best loss (\S+) with", done.stdout)[1]) < 0.1
    command = [sys.executable, "-W", "ignore", "-c", "from lyapunov.cli import main; main()", "tune", "tuned:objective"]
    command += ["--trials", "3", "--workers", "2", "--output", str(tmp_path), "--spectra"]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, cwd=EXAMPLES, timeout=300, check=True)
    assert "trials.csv: 3 trials" in done.stdout.replace("\n", "")


@pytest.mark.parametrize("name", LOOPS)
def test_a_loop_is_watched_to_its_end(name: str, tmp_path) -> None:
    arguments, losses = LOOPS[name]
    command = [sys.executable, "-W", "ignore", str(EXAMPLES / f"{name}.py"), *arguments, "--directory", str(tmp_path / "run")]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, capture_output=True, text=True, env=environment, cwd=tmp_path, timeout=300)
    assert done.returncode == 0, done.stderr
    run = lyapunov.Run.load(tmp_path / "run")
    assert len(run.readings) >= 3
    assert run.readings[0].step == 0
    assert set(run.readings[-1].losses) == set(losses)
    reported = [reading.losses[losses[0]] for reading in run.readings if losses[0] in reading.losses]
    assert reported[-1] < reported[0]
    write_report([run], tmp_path / "report.html")
    assert f"largest exponent {run.readings[-1].max:.4f}" in done.stdout


def test_a_looped_transformer_is_trained_in_four_ways_each_of_them_once(tmp_path) -> None:
    command = [sys.executable, "-W", "ignore", str(EXAMPLES / "looped_transformer.py"), "--seconds", "0.3", "--seeds", "1"]
    command += ["--workers", "1", "--directory", str(tmp_path)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    first, again = (
        subprocess.run(command, capture_output=True, text=True, env=environment, timeout=300, check=True).stdout
        for _ in range(2)
    )
    assert "0 of 4 trainings are there" in first
    assert "4 of 4 trainings are there" in again
    table = (tmp_path / "looped.md").read_text()
    assert "| | plain | random loops | one vector | exponents |" in table
    assert table in first
    assert table in again


class Truth(torch.nn.Module):
    """The true map in the example's coordinates, pulled towards the data as its network is."""

    def forward(self, z: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
        z = z + 0.1 * (x - z)
        step = lyapunov.known.lorenz(dt=closed_loop.DT).system.step
        return (step(z * closed_loop.SCALE + closed_loop.CENTER, None) - closed_loop.CENTER) / closed_loop.SCALE


def test_the_closed_loop_example_finds_the_true_map_true() -> None:
    """Where it forgets its start, as the forced network does, and where it goes from there."""
    warm_up, later = closed_loop.lorenz(8, 100, seed=7), closed_loop.lorenz(8, 400, seed=8)
    loop = lyapunov.closed_loop(Truth(), lambda z: z)
    made = lyapunov.predict(loop, warm_up, state=warm_up[:, 0], steps=400)
    distance, error = closed_loop.distance_with_error(later, made)
    floor, floor_error = closed_loop.distance_with_error(later, closed_loop.lorenz(8, 400, seed=9))
    assert abs(distance - floor) < 4 * (error**2 + floor_error**2) ** 0.5


def test_the_closed_loop_example_learns() -> None:
    with torch.random.fork_rng():
        few, more = closed_loop.train(0, 3), closed_loop.train(0, 60)
    data = closed_loop.lorenz(4, 50, seed=1).float()
    now, ahead = data[:, :-1].flatten(0, 1), data[:, 1:].flatten(0, 1)
    with torch.no_grad():
        errors = [float((network(now, now) - ahead).norm()) for network in (few, more)]
    assert errors[1] < 0.8 * errors[0]


def test_the_distance_of_measures_is_nothing_for_the_same_and_large_for_others() -> None:
    path = closed_loop.lorenz(4, 300, seed=1)
    assert closed_loop.distance(path, path) == 0.0
    assert closed_loop.distance(path, -path) > 1.0
