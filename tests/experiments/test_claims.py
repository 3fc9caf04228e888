"""The statistics of the claims on numbers whose relations are known, and the page as the command writes it."""

import numpy as np
import pytest

from experiments import association as a
from experiments import claims

SOURCE = np.random.default_rng(3)
RATE = SOURCE.normal(size=200)
LOSS = RATE + 0.5 * SOURCE.normal(size=200)
FOLLOWER = RATE + 0.1 * SOURCE.normal(size=200)
"""Follows the rate alone, and so the loss through it."""
HIDDEN = SOURCE.normal(size=200)
FINAL = LOSS + HIDDEN
POINTS = np.arange(200, dtype=np.float64)


def test_rank_correlation_is_of_ranks() -> None:
    assert a.spearman(np.exp(RATE), RATE) == pytest.approx(1.0)
    assert a.spearman(-(RATE**3), RATE) == pytest.approx(-1.0)
    assert np.isnan(a.spearman(np.ones(5), np.arange(5.0)))


def test_what_follows_the_rate_alone_has_nothing_left_given_the_rate() -> None:
    assert a.spearman(FOLLOWER, LOSS) > 0.7
    assert abs(a.partial(FOLLOWER, LOSS, [RATE])) < 0.2
    assert a.partial(RATE, LOSS, [FOLLOWER]) > 0.1


def test_intervals_hold_the_value_and_keep_groups_together() -> None:
    alone = a.bootstrapped(lambda at: a.spearman(RATE[at], LOSS[at]), POINTS)
    assert alone.low < alone.value < alone.high
    assert alone.is_clear
    again, copies = np.repeat(RATE[:50], 4), np.repeat(LOSS[:50], 4)
    together = a.bootstrapped(lambda at: a.spearman(again[at], copies[at]), np.repeat(np.arange(50.0), 4))
    apart = a.bootstrapped(lambda at: a.spearman(again[at], copies[at]), POINTS)
    assert together.high - together.low > 1.5 * (apart.high - apart.low)


def test_a_signal_adds_what_the_early_loss_does_not_have() -> None:
    assert a.gain([LOSS], [HIDDEN], FINAL, POINTS).low > 0.1
    nothing = a.gain([LOSS], [SOURCE.normal(size=200)], FINAL, POINTS)
    assert nothing.low < 0.02


def test_regret_is_how_much_worse_the_best_of_the_kept_is() -> None:
    final = np.array([3.0, 1.0, 2.0, 5.0])
    assert a.regret(final, final, 1) == 0.0
    assert a.regret(-final, final, 2) == 2.0
    assert a.random_regret(final, 4) == 0.0
    assert a.random_regret(final, 1) == pytest.approx(final.mean() - 1.0, abs=0.15)


def test_the_page_has_what_the_command_writes(tmp_path) -> None:
    """From the committed results, whatever sweeps there are."""
    page = tmp_path / "findings.md"
    page.write_text(claims.PAGE.read_text())
    claims.write(page, list(claims.tables()))
    assert page.read_text() == claims.PAGE.read_text()
