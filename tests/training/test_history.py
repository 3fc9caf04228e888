"""A run's history survives a kill at any moment."""

import math

import lyapunov
from lyapunov.systems import known
from lyapunov.training import History, read_history


def test_records_are_appended_and_read_back(tmp_path) -> None:
    history = History(tmp_path / "run")
    history.append({"epoch": 0, "loss": 1.5})
    History(tmp_path / "run").append({"epoch": 1, "memory": math.inf})
    assert read_history(history.file) == [{"epoch": 0, "loss": 1.5}, {"epoch": 1, "memory": "inf"}]


def test_a_line_cut_short_is_passed_over(tmp_path) -> None:
    history = History(tmp_path)
    history.append({"epoch": 0})
    with history.file.open("a") as file:
        file.write('{"epoch": 1, "lo')
    assert read_history(history.file) == [{"epoch": 0}]


def test_records_after_a_torn_line_are_kept_apart_from_it(tmp_path) -> None:
    history = History(tmp_path)
    history.append({"epoch": 0})
    with history.file.open("a") as file:
        file.write('{"epoch": 1, "lo')
    History(tmp_path).append({"epoch": 1})
    assert read_history(history.file) == [{"epoch": 0}, {"epoch": 1}]


def test_spectra_are_found_by_step(tmp_path) -> None:
    case, history = known.henon(), History(tmp_path)
    for step, seed in ((0, 0), (12, 1)):
        history.save_spectrum(lyapunov.spectrum(case.system, steps=20, seed=seed), step)
    (tmp_path / "spectra" / "000013.safetensors.partial").write_text("a kill during writing leaves this")
    assert list(history.spectra()) == [0, 12]
    assert history.spectra()[12].settings.seed == 1
