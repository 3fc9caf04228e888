"""A bar appears after two seconds, or not at all."""

import pytest

import lyapunov._progress as progress
from lyapunov._progress import progress_bar


@pytest.mark.parametrize("enabled", [True, False, None])
def test_nothing_is_shown_before_the_delay_or_when_off(enabled, capsys) -> None:
    with progress_bar("Working", 3, enabled=enabled) as advance:
        advance(1)
    assert capsys.readouterr().err == ""


def test_a_long_run_shows_a_bar_on_standard_error(monkeypatch, capsys) -> None:
    monkeypatch.setattr(progress, "DELAY", 0.0)
    monkeypatch.setenv("FORCE_COLOR", "1")
    with progress_bar("Working", 3, enabled=True) as advance:
        advance(-1)
        advance(1)
        advance(2)
    captured = capsys.readouterr()
    assert captured.out == ""
    assert "Working" in captured.err


def test_a_very_long_run_says_so_beforehand_and_what_would_be_faster(monkeypatch, capsys) -> None:
    monkeypatch.setattr(progress, "DELAY", 0.0)
    clock = iter([0.0, 3.0, 6.0])
    monkeypatch.setattr(progress.time, "monotonic", lambda: next(clock, 9.0))
    with progress_bar("All 1024 exponents", 100, enabled=True, faster="Fewer are faster.") as advance:
        advance(0)
        advance(1)
    assert "All 1024 exponents: about 5 min. Fewer are faster." in capsys.readouterr().err
