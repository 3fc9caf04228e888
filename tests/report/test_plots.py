"""Figures: axes in, axes out, and files that hold a picture."""

import inspect
import math

import pytest
import torch
from matplotlib import pyplot
from matplotlib.figure import Figure
from torch import nn

import lyapunov
from cases import drawn, seeded
from lyapunov.report import plots, series
from lyapunov.training import History, Reading, Run
from runs import made

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


def test_spectra_by_step_are_labelled(result) -> None:
    unsure = "" if result.verdict.converged else ", not converged"
    axes = plots.spectra_by_step({3: result, 0: result}, Figure().subplots())
    labels = [text.get_text() for text in axes.get_legend().get_texts()]
    assert [label for label in labels if "step" in label] == [f"step {at}{unsure}" for at in (0, 3)]


@pytest.mark.parametrize("suffix", ["png", "svg", "pdf"])
def test_figures_are_files(result, suffix: str, tmp_path) -> None:
    plots.save_spectrum_figure(result, tmp_path / f"a.{suffix}")
    run = kept(tmp_path / "run", {0: result, 10: result})
    plots.save_demo_figure(run, tmp_path / f"b.{suffix}")
    files = [tmp_path / f"a.{suffix}", tmp_path / f"b.{suffix}", *plots.save_report_figures([run], tmp_path / "all", suffix)]
    assert all(file.stat().st_size > 4000 for file in files)
    names = {file.stem for file in files[2:]}
    twice = {file.stem for file in plots.save_report_figures([run, run], tmp_path / "twice", suffix)}
    assert {"map-run", "map-run-2", "spectra-run-2"} <= twice
    assert names == {"largest", "mean", "losses", "map-run", "spectra-run"}


def kept(directory, spectra: dict[int, lyapunov.Spectrum]) -> Run:
    """A run with these spectra, an epoch each."""
    history = History(directory)
    history.append({"kind": "run", "name": "a run"})
    for epoch, (step, found) in enumerate(spectra.items()):
        low, high = found.interval()[0].tolist()
        numbers = {"exponents": tuple(found.exponents.tolist()), "standard_errors": tuple(found.standard_errors.tolist())}
        file = history.save_spectrum(found, step)
        losses = {"train": 3.0 - epoch, "held_out": 3.5 - epoch}
        reading = Reading(step, epoch, losses, **numbers, max_interval=(low, high), mean=found.mean, file=file)
        history.append(reading.record())
    return Run.load(directory)


def test_a_figure_of_nothing_but_leading_exponents_is_drawn_too(tmp_path) -> None:
    few = lyapunov.spectrum(LSTM, INPUTS, k=2, dt=0.1)
    plots.save_demo_figure(kept(tmp_path / "run", {0: few}), tmp_path / "c.png")
    assert "unit of time" in plots.spectrum(few, Figure().subplots()).get_ylabel()


def test_lines_of_a_run_are_its_numbers(result, tmp_path) -> None:
    run = kept(tmp_path / "run", {0: result, 10: result})
    axes = plots.largest_exponents([run, run], Figure().subplots())
    assert axes.lines[0].get_xdata().tolist() == [0, 10]
    assert axes.lines[0].get_ydata().tolist() == [result.max] * 2
    low, high = axes.collections[0].get_paths()[0].vertices[:, 1].min(), axes.collections[0].get_paths()[0].vertices[:, 1].max()
    assert (low, high) == pytest.approx(result.interval()[0].tolist())
    assert plots.mean_exponents([run], Figure().subplots()).lines[0].get_ydata().tolist() == [result.mean] * 2
    steps = plots.spectra_by_step({0: [-1.0, -2.0], 5: [-0.5, -math.inf], 9: [-0.1, -0.2]}, Figure().subplots(), lines=2).lines
    assert [line.get_label() for line in steps[:2]] == ["step 0", "step 9"]
    assert steps[1].get_ydata().tolist() == [-0.1, -0.2]
    cells = plots.spectrum_map({0: [-1.0, -2.0], 10: [-0.5, -math.inf], 40: [-0.1, -0.2]}, Figure().subplots()).collections[0]
    assert cells.get_coordinates()[0, :, 0].tolist() == [0, 5, 25, 40]
    assert cells.get_array()[0].tolist() == [-1.0, -0.5, -0.1]
    marked = plots.spectrum_map({0: [-1.0], 10: [-0.5]}, Figure().subplots(), converged={0: True, 10: False})
    assert marked.lines[-1].get_xdata().tolist() == [10]
    measured = plots.distances([made(tmp_path / "made", layers=1)], Figure().subplots(), measure="mean").lines[0]
    expected = series.distances(series.leading(Run.load(tmp_path / "made"))).mean_difference
    assert tuple(measured.get_ydata().tolist()) == expected
    lines = plots.losses([run], Figure().subplots()).lines
    assert [line.get_ydata().tolist() for line in lines] == [[3.0, 2.0], [3.5, 2.5]]


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


def _gradients():
    torch_loss = nn.functional.mse_loss
    model = seeded(nn.LSTM, 4, 6, batch_first=True)
    targets = drawn(3, 60, 6, seed=3)
    measured = lyapunov.gradient_decay(
        model, lambda m, x: torch_loss(m(x)[0], targets, reduction="none").sum(-1), INPUTS, lags=20, starts=10
    )
    return measured, lyapunov.gradient_exponents(model, INPUTS, lags=(5, 10, 20), starts=5)


def test_gradients_are_drawn_from_lag_zero_on() -> None:
    measured, predicted = _gradients()
    axes = plots.gradient_decay(Figure().subplots(), measured=measured, predicted=predicted, exponents={"full": -0.3})
    curve, seen, line = axes.lines
    assert curve.get_ydata().tolist() == pytest.approx((measured.mean - measured.mean[0]).tolist())
    expected = [0.0, *(float(rate) * lag for rate, lag in zip(predicted.exponents[:, 0], (5, 10, 20), strict=True))]
    assert seen.get_ydata().tolist() == pytest.approx(expected)
    assert list(line.get_ydata()) == pytest.approx([0.0, -6.0])
    assert [text.get_text() for text in axes.get_legend().get_texts()][-1] == "full: -0.3"
    assert len(plots.gradient_decay(Figure().subplots(), predicted=predicted).lines) == 1


def test_participation_is_a_map_with_its_parts_named() -> None:
    found = lyapunov.covariant_vectors(seeded(nn.LSTM, 4, 3, num_layers=2, batch_first=True), drawn(2, 300, 4, seed=5), k=3)
    axes = plots.participation(found, Figure().subplots())
    assert [label.get_text() for label in axes.get_yticklabels()] == [
        "layer 0 h",
        "layer 0 c",
        "layer 1 h",
        "layer 1 c",
    ]
    assert axes.collections[0].get_array().flatten().tolist() == pytest.approx(found.participation.flatten().tolist())


def test_growth_stands_under_the_text_that_drives_it() -> None:
    local = lyapunov.local_exponents(seeded(nn.RNN, 4, 6, batch_first=True), INPUTS, settle=2, align=3)
    text = "ab\n " * 15
    axes = plots.under_text(local, text, Figure().subplots(), lines=2, width=20)
    letters = [one.get_text() for one in axes.texts]
    assert len(letters) == len(axes.patches) == 40
    assert letters[:4] == ["b", "↵", "·", "a"]
    values = local.growth[0, 5:45, 0]
    reds = torch.tensor([patch.get_facecolor()[0] - patch.get_facecolor()[2] for patch in axes.patches])
    clear = values.abs() > 0.2 * values.abs().max()
    assert bool((reds[clear] > 0).eq(values[clear] > 0).all())
    local.growth[0, 7] = -torch.inf  # erases everything: the darkest there is, and the scale is that of the others
    again = plots.under_text(local, text, Figure().subplots(), lines=2, width=20)
    assert "e+" not in again.get_xlabel()
    with pytest.raises(lyapunov.InvalidInput, match="One character, or one name, per step"):
        plots.under_text(local, "short", Figure().subplots())
    for given, words in (({"start": 60}, "`start`"), ({"lines": 0}, "`lines`"), ({"sequence": 3}, "`sequence`")):
        with pytest.raises(lyapunov.InvalidInput, match=words):
            plots.under_text(local, text, Figure().subplots(), **given)


def test_what_is_not_converged_is_drawn_hollow(tmp_path) -> None:
    numbers = {"standard_errors": (0.1,), "max_interval": (-0.7, -0.3), "mean": -1.0}
    history = History(tmp_path)
    for step, verdict in enumerate(("converged", "too short: ...", "")):
        history.append(Reading(step, None, {}, exponents=(-0.5 - step,), verdict=verdict, **numbers).record())
    run = Run.load(tmp_path)
    for draw in (plots.largest_exponents, plots.mean_exponents, plots.distances):
        hollow = draw([run], Figure().subplots()).lines[1]
        assert (hollow.get_xdata().tolist(), hollow.get_markerfacecolor()) == ([1], "white")


def test_theory_is_dashed_on_the_plot_of_a_spectrum(result) -> None:
    theory = torch.tensor([0.3, 0.1, -0.2, -0.5], dtype=torch.float64)
    axes = plots.spectrum(result, Figure().subplots(), theory=theory)
    dashed = next(line for line in axes.lines if line.get_linestyle() == "--")
    assert dashed.get_ydata().tolist() == theory.tolist()
    assert dashed.get_label() == "theory: entropy rate 0.1, dimension 0.85 per unit"  # (0.3 + 0.1) / 4 and (3 + 0.2 / 0.5) / 4


def test_plots_are_all_that_dir_shows() -> None:
    assert dir(lyapunov.plots) == plots.__all__ == sorted(plots.__all__)
    for name in dir(lyapunov.plots):
        assert "ax" in inspect.signature(getattr(plots, name)).parameters
    assert callable(plots.save_spectrum_figure)


def test_plots_make_their_own_axes(result, tmp_path) -> None:
    run = kept(tmp_path / "run", {0: result, 10: result})
    drawn_axes = [
        plots.spectrum(result),
        plots.running_estimates(result),
        plots.by_layer(result),
        plots.spectra_by_step({0: result}),
        plots.compare(result, result),
        plots.largest_exponents([run]),
        plots.losses([run]),
        plots.spectrum_map(series.leading(run)),
        plots.distances([run]),
    ]
    assert len({id(axes.figure) for axes in drawn_axes}) == len(drawn_axes)
    for axes in drawn_axes:
        pyplot.close(axes.figure)


@pytest.mark.parametrize("count", [2, 3, 5, 12])
def test_indices_have_whole_ticks(count: int) -> None:
    found = lyapunov.spectrum(seeded(nn.RNN, 4, 12, batch_first=True), INPUTS, k=count)
    axes = plots.spectrum(found, Figure().subplots())
    assert all(float(tick).is_integer() for tick in axes.get_xticks())
    by_step = {0: [-0.1] * count, 1: [-0.2] * count}
    axes = plots.spectrum_map(by_step, Figure().subplots())
    assert all(float(tick).is_integer() for tick in (*axes.get_yticks(), *axes.get_xticks()))


def test_two_spectra_are_compared_with_their_difference() -> None:
    one, other = (seeded(nn.RNN, 4, 12, batch_first=True, scale=scale) for scale in (1.0, 1.2))
    options = {"k": 3, "settle": 10, "align": 10}
    a, b = (lyapunov.spectrum(module, INPUTS, **options) for module in (one, other))
    axes = plots.compare(a, b, Figure().subplots(), labels=("before", "after"))
    assert [line.get_ydata().tolist() for line in axes.lines[::2][:2]] == [a.exponents.tolist(), b.exponents.tolist()]
    difference = a - b
    shown = f"{difference[0]:+.3g} ± {float(difference.standard_errors[0]):.2g} (paired)"
    assert axes.get_title() == f"Largest exponent, before - after: {shown}"
    assert [text.get_text().split(":")[0] for text in axes.get_legend().get_texts()] == ["before", "after"]
    apart = lyapunov.spectrum(other, drawn(3, 60, 4, seed=96), **options)
    error = math.hypot(float(a.standard_errors[0]), float(apart.standard_errors[0]))
    assert plots.compare(a, apart, Figure().subplots()).get_title().endswith(f"± {error:.2g} (not paired)")
    with pytest.raises(lyapunov.InvalidInput, match=r"the same unit.*the same dt"):
        plots.compare(a, lyapunov.spectrum(other, INPUTS, dt=0.1, **options))
    with pytest.raises(lyapunov.InvalidInput, match="`labels` of length 2"):
        plots.compare(a, b, labels=("one",))
