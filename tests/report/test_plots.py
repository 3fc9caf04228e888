"""Figures: axes in, axes out, and files that hold a picture."""

import pytest
import torch
from matplotlib.figure import Figure
from torch import nn

import lyapunov
from cases import drawn, seeded
from lyapunov.report import plots

LSTM = seeded(nn.LSTM, 4, 16, batch_first=True, scale=1.0)
INPUTS = drawn(3, 60, 4, seed=95)


@pytest.fixture(scope="module")
def result() -> lyapunov.Spectrum:
    with pytest.warns(lyapunov.LyapunovWarning, match="below the precision floor"):
        return lyapunov.spectrum(LSTM, INPUTS, qr_every=8)


def test_the_line_is_the_reliable_exponents_and_the_rest_is_grey(result) -> None:
    axes = Figure().subplots()
    assert lyapunov.plots.spectrum(result, axes) is axes
    sure, unsure = axes.lines[0], axes.lines[1]
    assert sure.get_ydata().tolist() == pytest.approx(result.exponents[result.reliable].tolist())
    assert unsure.get_ydata().tolist() == pytest.approx(result.exponents[~result.reliable].tolist())
    assert unsure.get_color() == plots.UNRELIABLE
    assert "nats per step" in axes.get_ylabel()


def test_running_estimates_end_at_the_exponents(result) -> None:
    axes = plots.running_estimates(result, Figure().subplots(), lines=3)
    assert [float(line.get_ydata()[-1]) for line in axes.lines[:3]] == pytest.approx(result.exponents[[0, 16, 31]].tolist())
    assert float(axes.lines[0].get_xdata()[-1]) == result.settings.count


def test_spectra_by_epoch_are_labelled(result) -> None:
    axes = plots.spectra_by_epoch({3: result, 0: result}, Figure().subplots())
    assert [text.get_text() for text in axes.get_legend().get_texts() if "epoch" in text.get_text()] == ["epoch 0", "epoch 3"]


@pytest.mark.parametrize("suffix", ["png", "svg", "pdf"])
def test_figures_are_files(result, suffix: str, tmp_path) -> None:
    readings = [{"epoch": 0, "largest": -0.5, "largest_error": 0.1, "held_out_loss": 3.0}]
    plots.save_spectrum_figure(result, tmp_path / f"a.{suffix}")
    plots.save_demo_figure(readings, {0: result}, tmp_path / f"b.{suffix}")
    assert all((tmp_path / f"{name}.{suffix}").stat().st_size > 5000 for name in "ab")


def test_a_figure_of_nothing_but_leading_exponents_is_drawn_too(tmp_path) -> None:
    few = lyapunov.spectrum(LSTM, INPUTS, k=2, dt=0.1)
    readings = [{"epoch": 0, "largest": -0.5, "largest_error": 0.1, "held_out_loss": 3.0}]
    plots.save_demo_figure(readings, {0: few}, tmp_path / "c.png")
    assert "unit of time" in plots.spectrum(few, Figure().subplots()).get_ylabel()


def test_without_matplotlib_the_message_says_what_to_install(result, monkeypatch, tmp_path) -> None:
    monkeypatch.setitem(__import__("sys").modules, "matplotlib.figure", None)
    with pytest.raises(lyapunov.Unsupported, match=r"lyapunov\[plot\]"):
        plots.save_spectrum_figure(result, tmp_path / "d.png")


def test_lost_directions_leave_a_gap() -> None:
    module = seeded(nn.LSTM, 4, 8, batch_first=True)
    with torch.no_grad():
        module.weight_hh_l0.zero_()
    axes = plots.spectrum(lyapunov.spectrum(module, INPUTS, linearization="hidden"), Figure().subplots())
    assert len(axes.lines[0].get_ydata()) == 0
