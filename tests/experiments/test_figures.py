"""Every figure at its smallest size: made without an error, with rows and words, and left where it belongs."""

import importlib
import os
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from experiments.figures import outputs, over_epochs
from experiments.sweeps import table, training
from experiments.sweeps.presets import TASKS

from lyapunov import InvalidInput
from lyapunov.tasks import DATA_DIR

with_data = pytest.mark.skipif(DATA_DIR not in os.environ, reason=f"the experiments' data is not there ({DATA_DIR})")


@pytest.fixture(scope="module")
def results(tmp_path_factory) -> Path:
    """Tiny sweeps of all tasks."""
    folder = tmp_path_factory.mktemp("results")
    for task in TASKS:
        training.run_sweep(task, "tiny", workers=1, runs=folder / "runs", results=folder)
    return folder


@pytest.mark.parametrize("name", ["figures.regimes", "figures.one_spectrum", "figures.qr_intervals", "claims.questions"])
def test_figures_of_networks_that_are_not_trained(name: str) -> None:
    found = importlib.import_module(f"experiments.{name}").make("tiny")
    assert len(found.rows) > 4
    assert found.ours
    assert found.figure.axes


@with_data
@pytest.mark.parametrize("name", ["figures.cost", "figures.published_estimator"])
def test_figures_that_train_for_themselves(name: str) -> None:
    found = importlib.import_module(f"experiments.{name}").make("tiny")
    assert len(found.rows) >= 8
    assert found.ours


@with_data
@pytest.mark.parametrize("name", ["figures.against_loss", "figures.statistics"])
def test_figures_of_sweeps(name: str, results: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(table, "RESULTS", results)
    found = importlib.import_module(f"experiments.{name}").make("tiny")
    assert {row["task"] for row in found.rows} >= {"text", "motion"}
    assert all(0 < row["loss"] < 10 and row["epoch"] in (1, 2) for row in found.rows)


@pytest.mark.parametrize("name", ["figures.against_loss", "figures.statistics"])
def test_figures_of_sweeps_say_what_to_run_first(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(table, "RESULTS", tmp_path)
    with pytest.raises(InvalidInput, match=r"python -m experiments\.sweeps"):
        importlib.import_module(f"experiments.{name}").make("tiny")


@with_data
def test_figure_3_runs_its_networks_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(table, "RESULTS", tmp_path)
    monkeypatch.setattr(over_epochs, "run_sweep", partial(training.run_sweep, runs=tmp_path / "runs", results=tmp_path))
    found = over_epochs.make("tiny")
    assert len(found.rows) == 2 * 2 * 3  # p, states, epochs
    last = [row for row in found.rows if row["epoch"] == 2]
    assert all(row["d1"] == row["d2"] == 0.0 for row in last)
    assert all(row["d2"] == 1.0 for row in found.rows if row["epoch"] == 0)


def test_distances_are_mean_and_reduced_mean_square() -> None:
    """An exponent that is lost once is left out throughout."""
    exponents = np.array([[1.0, -2.0, -5.0], [0.5, -1.0, -np.inf], [0.0, -1.0, -4.0]])
    first, second = over_epochs.distances(exponents)
    assert first == [0.0, 0.25, 0.0]
    assert second == [1.0, 0.125, 0.0]


def test_settled_is_from_when_on_a_value_stays_near_its_last() -> None:
    assert over_epochs.settled([5.0, 1.05, 2.0, 1.05, 1.0]) == 3
    assert over_epochs.settled([-1.0, -1.0]) == 0
    assert over_epochs.settled([2.0, 3.0, 1.0]) == 2


def test_a_figure_leaves_data_pictures_and_its_line(tmp_path: Path) -> None:
    figure, axes = outputs.panels(1)
    axes[0].plot([1, 2])
    outcome = outputs.Outcome([{"a": 1 / 3, "b": "x"}, {"a": 2.0, "c": 1}], figure, "ours", "theirs")
    csv, png, svg = outputs.leave("fig", "tiny", outcome, tmp_path, tmp_path)
    assert csv.read_text() == "a,b,c\n0.333333,x,\n2,,1\n"
    assert png.read_bytes().startswith(b"\x89PNG")
    assert "<svg" in svg.read_text()
    page = tmp_path / "README.md"
    page.write_text(f"before\n{outputs.START}{outputs.HEAD}{outputs.END}\nafter\n")
    for title, rest in (("Fig. 2", "two"), ("Fig. 1", "one"), ("Fig. 2", "two again")):
        outputs.add_line(title, rest, page)
    assert page.read_text() == (
        f"before\n{outputs.START}{outputs.HEAD}| Fig. 1 | one |\n| Fig. 2 | two again |\n{outputs.END}\nafter\n"
    )
