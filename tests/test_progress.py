"""A bar appears after two seconds, or not at all."""

import lyapunov._progress as progress
from lyapunov._progress import progress_bar


def test_nothing_is_shown_before_the_delay_or_when_off(capsys) -> None:
    for enabled in (True, False, None):
        with progress_bar("Working", 3, enabled=enabled) as advance:
            advance(1)
    assert capsys.readouterr().err == ""


def test_a_long_run_shows_a_bar(monkeypatch, capsys) -> None:
    monkeypatch.setattr(progress, "DELAY", 0.0)
    with progress_bar("Working", 3, enabled=True) as advance:
        advance(1)
        advance(2)
    assert capsys.readouterr().out == ""
