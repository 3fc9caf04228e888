"""The result: its file form, its tables, its history, what it refuses to say."""

import dataclasses
import importlib
import json
import math
import sys

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

import lyapunov
from cases import drawn, seeded
from lyapunov.estimate import Finding
from lyapunov.systems import known

LSTM = seeded(nn.LSTM, 4, 8, batch_first=True, scale=1.0)
INPUTS = drawn(3, 120, 4, seed=90)
bins = importlib.import_module("lyapunov.tangent.loop.time_bins")


@pytest.fixture(scope="module")
def spectrum() -> lyapunov.Spectrum:
    return lyapunov.spectrum(LSTM, INPUTS, settle=30, align=30, qr_every=1)


@pytest.fixture(scope="module")
def lost() -> lyapunov.Spectrum:
    module = seeded(nn.LSTM, 4, 8, batch_first=True)
    with torch.no_grad():
        module.weight_hh_l0.zero_()
    return lyapunov.spectrum(module, INPUTS, linearization="hidden", k=3)


@pytest.mark.parametrize("which", ["spectrum", "lost"])
def test_a_saved_spectrum_is_the_same_spectrum(which: str, request, tmp_path) -> None:
    original = request.getfixturevalue(which)
    original.save(tmp_path / "s.safetensors")
    loaded = lyapunov.Spectrum.load(tmp_path / "s.safetensors")
    for field in dataclasses.fields(original):
        one, two = getattr(original, field.name), getattr(loaded, field.name)
        if isinstance(one, torch.Tensor):
            torch.testing.assert_close(one, two, rtol=0, atol=0, equal_nan=True)
        else:
            assert one == two
    assert loaded.settings == original.settings
    assert repr(loaded) == repr(original)
    assert [file.name for file in tmp_path.iterdir()] == ["s.safetensors"]


def test_times_are_those_of_the_exponents_where_their_sign_is_known() -> None:
    """The logistic map grows by ln 2; a rotation does not move at all; the LSTM's leading directions fade."""
    chaotic = lyapunov.spectrum(lambda x, _: 4 * x * (1 - x), state=drawn(50, 1, seed=1).abs() / 10, steps=200)
    low, high = chaotic.interval()[0].tolist()
    assert chaotic.lyapunov_times.tolist() == pytest.approx([1 / chaotic.max])
    assert chaotic.lyapunov_intervals[0].tolist() == pytest.approx([1 / high, 1 / low])
    assert chaotic.memory_times.tolist() == [math.inf]
    assert "Lyapunov 1." in repr(chaotic)
    single = lyapunov.spectrum(LSTM, INPUTS[:1, :20], k=1, settle=2, align=17)
    assert math.isnan(float(single.memory_times[0]))
    assert "not determined" in repr(single)


def test_a_memory_time_is_in_every_form_with_its_interval(spectrum) -> None:
    interval = spectrum.interval()
    expected = -1 / interval
    torch.testing.assert_close(spectrum.memory_intervals, expected)
    torch.testing.assert_close(spectrum.memory_times, -1 / spectrum.exponents)
    assert bool(torch.isinf(spectrum.lyapunov_times).all())
    assert f"{float(spectrum.memory_times[0]):.3g} ({float(expected[0, 0]):.3g} to {float(expected[0, 1]):.3g})" in repr(
        spectrum
    )
    reported = spectrum.to_dict()
    assert reported["memory_intervals_95"] == spectrum.memory_intervals.tolist()
    assert reported["lyapunov_times"] == ["inf"] * len(spectrum.exponents)
    table = spectrum.to_pandas()
    assert table["memory_high_95"].tolist() == expected[:, 1].tolist()


def test_what_is_no_spectrum_is_refused(tmp_path) -> None:
    save_file({"a": torch.zeros(1)}, tmp_path / "other.safetensors")
    (tmp_path / "noise.safetensors").write_text("noise")
    for name in ("other", "noise", "missing"):
        with pytest.raises(lyapunov.InvalidInput, match="saved spectrum"):
            lyapunov.Spectrum.load(tmp_path / f"{name}.safetensors")


def test_the_dictionary_is_strict_json(spectrum, lost) -> None:
    for result in (spectrum, lost):
        back = json.loads(json.dumps(result.to_dict(), allow_nan=False))
        assert [float(value) for value in back["exponents"]] == pytest.approx(result.exponents.tolist())
        assert back["unit"] == "nats per step"
        assert back["settings"]["count"] == result.settings.count
        assert back["verdict"] == str(result.verdict)
        assert len(back["intervals_95"]) == len(result.exponents)


def test_print_is_a_table_of_estimate_and_error(spectrum) -> None:
    lines = repr(spectrum).splitlines()
    assert lines[0] == "Lyapunov spectrum of LSTM (full state): 16 of 16 exponents, nats per step"
    assert "3 sequences x 60 steps counted, after 30 to settle and 30 to align; QR every 1; float64" in lines[1]
    first = next(line.split() for line in lines if line.split()[:1] == ["1"])
    assert float(first[1]) == pytest.approx(spectrum.max, abs=1e-5)
    assert float(first[2]) == pytest.approx(float(spectrum.standard_errors[0]), abs=1e-5)
    assert "..." in repr(spectrum)
    assert "\u00b1" in lines[3]


def test_notebooks_show_a_table(spectrum, lost) -> None:
    assert spectrum._repr_html_().count("<tr>") == 1 + 8 + 1 + 3
    assert "-inf" in lost._repr_html_()
    assert "nan" not in repr(lost).lower()


def test_the_table_says_what_cannot_be_trusted() -> None:
    with pytest.warns(lyapunov.LyapunovWarning, match="Expected exponents above the precision floor, got 8 below"):
        result = lyapunov.spectrum(LSTM, INPUTS[:1], qr_every=30)
    assert "below the precision floor" in repr(result)
    assert result.min is None
    assert result.variance is None
    assert "unreliable tail" in result.verdict.kinds


def test_one_sequence_too_short_for_blocks_has_no_error_and_says_how_long_it_would_take() -> None:
    result = lyapunov.spectrum(LSTM, INPUTS[:1, :12], settle=5, align=5)
    assert bool(result.standard_errors.isnan().any())
    assert bool(result.interval().isnan().any())
    assert "too short" in result.verdict.kinds
    assert "counted steps are too few for an error" in repr(result)


def test_running_estimates_end_at_the_exponents(spectrum) -> None:
    torch.testing.assert_close(spectrum.running_estimates()[-1], spectrum.exponents)
    assert len(spectrum.running_estimates()) == 60


def test_history_is_kept_in_a_bounded_number_of_bins(monkeypatch) -> None:
    assert bins.MAX_BINS == 1000
    monkeypatch.setattr(bins, "MAX_BINS", 50)
    case = known.gaussian_products(2)
    result = lyapunov.spectrum(case.system, case.inputs(2, 280), settle=0, align=9, qr_every=2, k=1, check=False)
    assert 25 <= len(result.history) <= 50
    assert float(result.history_steps.sum()) == 2 * 271
    torch.testing.assert_close(result.running_estimates()[-1], result.exponents)


def test_intervals_widen_with_their_level(spectrum) -> None:
    narrow, wide = spectrum.interval(0.5), spectrum.interval(0.99)
    assert bool((wide[:, 0] < narrow[:, 0]).all())
    assert bool((wide[:, 1] > narrow[:, 1]).all())
    with pytest.raises(lyapunov.InvalidInput, match="between 0 and 1"):
        spectrum.interval(95)


def test_what_a_partial_run_does_not_know_is_none() -> None:
    few = lyapunov.spectrum(seeded(nn.RNN, 4, 8, batch_first=True, nonlinearity="relu"), INPUTS, k=2, settle=30, align=30)
    assert few.mean is None
    assert few.mean_standard_error is None
    assert (few.min, few.variance, few.sum, few.volume_residual) == (None, None, None, None)
    assert few.rank is None


def test_the_mean_of_a_full_run_without_determinant_is_that_of_its_exponents() -> None:
    case = known.henon()
    result = lyapunov.spectrum(case.system, state=case.start(4), steps=100, qr_every=1)
    assert result.mean == pytest.approx(float(result.exponents.mean()))
    assert result.mean_standard_error == pytest.approx(0.0, abs=1e-12)
    assert result.mean_count == 2
    assert result.sum == pytest.approx(math.log(0.3))


def test_bits_are_nats_over_ln_2(spectrum) -> None:
    torch.testing.assert_close(spectrum.bits * math.log(2), spectrum.exponents)


def test_the_settings_say_what_was_chosen(spectrum) -> None:
    settings = spectrum.settings
    assert settings.chosen == ("k",)
    assert (settings.k, settings.settle, settings.align, settings.qr_every, settings.seed) == (16, 30, 30, 1, 0)
    found = lyapunov.spectrum(LSTM, INPUTS).settings
    assert found.chosen == ("k", "settle", "align", "qr_every")
    assert 0 < found.settle < 30
    assert 0 < found.align <= 30
    assert found.count == 120 - found.settle - found.align
    assert found.qr_every > 1
    other = lyapunov.spectrum(LSTM, INPUTS + 1e-12, k=1, settle=3, align=4, qr_every=2, seed=5).settings
    assert other.chosen == ()
    assert other.inputs != settings.inputs
    autonomous = lyapunov.spectrum(known.henon().system, steps=50).settings
    assert autonomous.settle == 100  # Henon is chaotic: a fixed number
    assert autonomous.align <= 100
    assert autonomous.count == 50


def test_a_data_frame_has_a_row_per_exponent(monkeypatch) -> None:
    result = lyapunov.spectrum(seeded(nn.GRU, 3, 5, batch_first=True), drawn(4, 60, 3, seed=1), k=3)
    table = result.to_pandas()
    assert table.index.tolist() == [1, 2, 3]
    assert table["exponent"].tolist() == result.exponents.tolist()
    assert table[["low_95", "high_95"]].to_numpy().tolist() == result.interval().tolist()
    assert table["reliable"].tolist() == result.reliable.tolist()
    monkeypatch.setitem(sys.modules, "pandas", None)
    with pytest.raises(lyapunov.Unsupported, match=r"Expected pandas.*lyapunov\[pandas\]"):
        result.to_pandas()


def test_the_verdict_is_in_every_form(spectrum) -> None:
    short = Finding("too short", "about 40 would do.")
    found = dataclasses.replace(spectrum, verdict=lyapunov.Verdict((short,)))
    reported = found.to_dict()
    assert (reported["converged"], reported["verdict"]) == (False, "too short: about 40 would do.")
    assert reported["findings"] == [{"kind": "too short", "message": "about 40 would do."}]
    table = found.to_pandas()
    assert not table["converged"].any()
    assert table.attrs["verdict"] == reported["verdict"]
    sure = dataclasses.replace(spectrum, verdict=lyapunov.Verdict())
    assert (sure.to_dict()["converged"], sure.to_dict()["findings"]) == (True, [])
    assert bool(sure.to_pandas()["converged"].all())
