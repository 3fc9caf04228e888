"""Chunks beside each other say what the whole sequence says."""

import pytest
import torch
from torch import nn

import lyapunov
from cases import drawn, seeded
from lyapunov.errors import InvalidInput
from lyapunov.systems import known

TRANSIENT = {"settle": 50, "align": 50}


@pytest.mark.parametrize("chunks", [2, 7, 20])
def test_chunks_agree_with_the_whole_within_half_a_standard_error(chunks: int) -> None:
    case = known.gaussian_tanh(24, 2.0, 1.0)
    inputs = case.inputs(2, 5000, seed=1)
    options = {"state": case.start(2, seed=2), "k": 6, **TRANSIENT}
    whole = lyapunov.spectrum(case.system, inputs, **options)
    pieces = lyapunov.spectrum(case.system, inputs, chunks=chunks, **options)
    apart = (pieces.exponents - whole.exponents).abs()
    assert bool((apart < 0.5 * whole.standard_errors).all()), apart / whole.standard_errors
    torch.testing.assert_close(pieces.standard_errors, whole.standard_errors, rtol=0.25, atol=0)
    assert pieces.settings.chunks == chunks
    assert 4900 - chunks < pieces.settings.count <= 4900
    assert int(pieces.history_steps.sum()) == 2 * pieces.settings.count


def test_chunks_of_a_full_lstm_are_certified_and_keep_the_mean() -> None:
    module, inputs = seeded(nn.LSTM, 3, 8, batch_first=True), drawn(2, 1200, 3, seed=6)
    whole = lyapunov.spectrum(module, inputs, **TRANSIENT)
    pieces = lyapunov.spectrum(module, inputs, chunks=5, **TRANSIENT)
    assert pieces.volume_residual is not None
    assert pieces.volume_residual < 1e-6
    assert abs(pieces.mean - whole.mean) < 1e-9  # the same steps of the same state: all 1100 divide by 5
    torch.testing.assert_close(pieces.exponents, whole.exponents, rtol=0, atol=2e-3)


def test_sequences_that_end_in_an_early_chunk_count_what_they_have() -> None:
    module, inputs = seeded(nn.GRU, 3, 6, batch_first=True), drawn(3, 900, 3, seed=8)
    options = {"lengths": [900, 430, 250], "k": 3, **TRANSIENT}
    whole = lyapunov.spectrum(module, inputs, **options)
    pieces = lyapunov.spectrum(module, inputs, chunks=4, **options)
    assert pieces.history_steps.sum(0).tolist() == whole.history_steps.sum(0).tolist() == [800, 330, 150]
    assert bool(((pieces.exponents - whole.exponents).abs() < 0.5 * whole.standard_errors).all())


def test_a_direction_lost_in_one_chunk_is_lost() -> None:
    inputs = torch.ones(1, 400, 3, dtype=torch.float64)
    inputs[:, 300] = torch.tensor([1.0, 1.0, 0.0], dtype=torch.float64)
    start = torch.ones(1, 3, dtype=torch.float64)
    found = lyapunov.spectrum(lambda s, x: s * x, inputs, state=start, chunks=4, settle=0, align=20)
    assert found.exponents[:2].abs().max() < 0.005  # the frame turns where the third is lost
    assert bool(found.exponents[2].isneginf())
    assert found.lost_at.tolist() == [-1, -1, 301]
    assert found.rank_window.start <= 300 < found.rank_window.stop


def test_an_autonomous_run_goes_in_chunks_too() -> None:
    case = known.henon()
    found = lyapunov.spectrum(case.system, steps=4000, state=case.start(1, seed=1), chunks=8, **TRANSIENT)
    assert abs(float(found.sum) - float(case.exponents.sum())) < 1e-9
    assert abs(float(found.max) - float(case.exponents[0])) < 0.02


def test_chunks_too_many_for_the_steps_are_refused() -> None:
    module, inputs = seeded(nn.RNN, 2, 3, batch_first=True), drawn(1, 100, 2, seed=9)
    with pytest.raises(InvalidInput, match=r"chunks.*at least 8 counted steps, got 20 of 4.*Pass fewer chunks"):
        lyapunov.spectrum(module, inputs, chunks=20, settle=10, align=10)
    with pytest.raises(InvalidInput, match="from_initial_state"):
        lyapunov.spectrum(module, inputs, chunks=2, from_initial_state=True)
    with pytest.raises(InvalidInput, match="`chunks`"):
        lyapunov.spectrum(module, inputs, chunks=0)


def test_where_a_state_breaks_is_named_by_the_step_of_the_whole_sequence() -> None:
    inputs = torch.ones(1, 1000, 1, dtype=torch.float64)
    inputs[0, 700] = 1e308
    start = torch.full((1, 1), 10.0, dtype=torch.float64)
    with pytest.raises(lyapunov.Diverged, match="at step 700") as caught:
        lyapunov.spectrum(lambda s, x: s * x, inputs, state=start, chunks=4, settle=0, align=20, check=False)
    assert caught.value.step == 700


def test_frames_that_break_in_a_chunk_say_so() -> None:
    start = torch.ones(1, 1, dtype=torch.float64)
    with pytest.raises(lyapunov.Diverged, match=r"in all 4 chunks.*without chunks"):
        lyapunov.spectrum(
            lambda s, x: 1e200 * (s - s.detach()) + 0 * x + 1,
            torch.ones(1, 400, 1),
            state=start,
            chunks=4,
            settle=0,
            align=20,
            qr_every=4,
            check=False,
        )
