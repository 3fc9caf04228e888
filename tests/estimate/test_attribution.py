"""Whose each exponent is."""

import math

import pytest
import torch
from torch import nn

import lyapunov
from cases import drawn, seeded

INPUTS = drawn(4, 60, 3, seed=60)
STACK = seeded(nn.GRU, 3, 6, num_layers=3, batch_first=True)


def test_every_exponent_is_in_one_row() -> None:
    result = lyapunov.spectrum(STACK, INPUTS, settle=5, align=10)
    rows = result.by_layer()
    assert [row.layer for row in rows] == [0, 1, 2]
    assert sum(row.count for row in rows) == len(result.exponents) == 18
    for row in rows:
        mine = result.exponents[result.layer == row.layer]
        assert row.largest == float(mine.max())
        assert row.mean == pytest.approx(float(mine.mean()))
        low, high = result.interval()[result.layer == row.layer][0].tolist()
        known = (-1 / row.largest, -1 / low, -1 / high) if high < 0 else (math.nan,) * 3
        assert row.timescale[1:] == pytest.approx(known, nan_ok=True)
        assert row.memory == pytest.approx(known[0], nan_ok=True)
        assert row.standard_error > 0
        assert row.mean_standard_error > 0
    assert sum(row.mean * row.count for row in rows) == pytest.approx(float(result.exponents.sum()))


def test_the_bottom_layer_alone_has_its_own_row() -> None:
    rows = lyapunov.spectrum(STACK, INPUTS, settle=5, align=10, qr_every=1).by_layer()
    bottom = seeded(nn.GRU, 3, 6, batch_first=True)
    with torch.no_grad():
        for name, weight in bottom.named_parameters():
            weight.copy_(getattr(STACK, name))
    alone = lyapunov.spectrum(bottom, INPUTS, settle=5, align=10, qr_every=1)
    assert rows[0].largest == pytest.approx(alone.max, abs=1e-12)
    assert rows[0].mean == pytest.approx(float(alone.exponents.mean()), abs=1e-12)


def test_it_prints_as_a_table_in_terminals_and_notebooks() -> None:
    rows = lyapunov.spectrum(STACK, INPUTS, k=4, settle=5, align=10).by_layer()
    lines = str(rows).splitlines()
    assert len(lines) == len(rows) + 1
    assert lines[0].split()[:2] == ["layer", "exponents"]
    assert rows._repr_html_().count("<tr>") == len(rows) + 1


def test_lost_directions_are_counted_and_left_out_of_the_mean() -> None:
    lstm = seeded(nn.LSTM, 3, 4, batch_first=True)
    with torch.no_grad():
        lstm.weight_hh_l0.zero_()  # only the cells remember
    (row,) = lyapunov.spectrum(lstm, INPUTS, settle=5, align=10).by_layer()
    assert (row.count, row.lost) == (8, 4)
    assert torch.isfinite(torch.tensor(row.mean))


def test_a_figure_has_a_line_for_every_layer() -> None:
    from matplotlib.figure import Figure

    result = lyapunov.spectrum(STACK, INPUTS, settle=5, align=10)
    axes = lyapunov.plots.by_layer(result, Figure().subplots())
    labels = [text.get_text() for text in axes.get_legend().get_texts()]
    assert [label.split(":")[0] for label in labels] == ["layer 0", "layer 1", "layer 2"]
    assert axes.lines[1].get_ydata().tolist() == result.exponents[result.layer == 1].tolist()


def test_rates_are_per_unit_of_time() -> None:
    (row, *_), (scaled, *_) = (lyapunov.spectrum(STACK, INPUTS, settle=5, align=10, dt=dt).by_layer() for dt in (1.0, 0.1))
    assert scaled.largest == pytest.approx(10 * row.largest)
    assert scaled.mean_standard_error == pytest.approx(10 * row.mean_standard_error)
    assert scaled.memory == pytest.approx(row.memory / 10)
