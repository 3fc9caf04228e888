"""The statistics of the claims on numbers whose relations are known, and the page as the command writes it."""

import os
import re

import numpy as np
import pytest
from experiments.claims import findings, signals
from experiments.figures import over_epochs
from experiments.rows import read
from experiments.sweeps.table import READOUTS, RESULTS, Table, results_of
from scipy.stats import rankdata, spearmanr

from experiments import association as a
from lyapunov.tasks import DATA_DIR

SOURCE = np.random.default_rng(3)
RATE = SOURCE.normal(size=200)
LOSS = RATE + 0.5 * SOURCE.normal(size=200)
FOLLOWER = RATE + 0.1 * SOURCE.normal(size=200)
"""Follows the rate alone, and so the loss through it."""
HIDDEN = SOURCE.normal(size=200)
FINAL = LOSS + HIDDEN
POINTS = np.arange(200, dtype=np.float64)


def test_rank_correlation_is_of_ranks() -> None:
    assert a.correlation(np.exp(RATE), RATE, POINTS).value == pytest.approx(1.0)
    assert a.correlation(-(RATE**3), RATE, POINTS).value == pytest.approx(-1.0)
    assert a.correlation(RATE.round(), LOSS.round(), POINTS).value == pytest.approx(spearmanr(RATE.round(), LOSS.round())[0])
    assert np.isnan(a.correlation(np.ones(5), np.arange(5.0), np.arange(5.0)).value)


def test_partial_correlation_is_that_of_the_residuals_of_ranks() -> None:
    known = np.column_stack([np.ones(200), rankdata(RATE), rankdata(HIDDEN)])
    left = [ranks - known @ np.linalg.lstsq(known, ranks, rcond=None)[0] for ranks in (rankdata(FOLLOWER), rankdata(FINAL))]
    found = a.correlation(FOLLOWER, FINAL, POINTS, [RATE, HIDDEN])
    assert found.value == pytest.approx(np.corrcoef(*left)[0, 1])
    assert np.isnan(a.correlation(RATE, LOSS, POINTS, [RATE]).value)


def test_what_follows_the_rate_alone_has_nothing_left_given_the_rate() -> None:
    assert a.correlation(FOLLOWER, LOSS, POINTS).low > 0.7
    assert not a.correlation(FOLLOWER, LOSS, POINTS, [RATE]).is_clear
    assert a.correlation(RATE, LOSS, POINTS, [FOLLOWER]).low > 0.0


def test_resampled_correlations_are_those_of_networks_taken_several_times() -> None:
    taken = a._resamples(POINTS[:30] // 3)[7].astype(int)
    at = np.repeat(np.arange(30), taken)
    found = a._rank_correlations([RATE[:30], LOSS[:30]], taken[None].astype(float))[0, 0, 1]
    assert found == pytest.approx(spearmanr(RATE[at], LOSS[at])[0])
    assert (taken.reshape(-1, 3) == taken.reshape(-1, 3)[:, :1]).all()  # seeds of one point stay together


def test_intervals_hold_the_value_and_keep_groups_together() -> None:
    alone = a.correlation(RATE, LOSS, POINTS)
    assert alone.low < alone.value < alone.high
    again, copies = np.repeat(RATE[:50], 4), np.repeat(LOSS[:50], 4)
    together = a.correlation(again, copies, np.repeat(np.arange(50.0), 4))
    apart = a.correlation(again, copies, POINTS)
    assert together.high - together.low > 1.5 * (apart.high - apart.low)


def test_a_signal_adds_what_the_early_loss_does_not_have() -> None:
    assert a.gain([LOSS], [HIDDEN], FINAL, POINTS)[1].low > 0.1
    without, nothing = a.gain([LOSS], [SOURCE.normal(size=200)], FINAL, POINTS)
    assert without == pytest.approx(spearmanr(a.predicted([LOSS], FINAL, POINTS), FINAL)[0])
    assert nothing.low < 0.02


def test_regret_is_how_much_worse_the_best_of_the_kept_is() -> None:
    final = np.array([3.0, 1.0, 2.0, 5.0])
    assert a.regret(final, final, 1) == 0.0
    assert a.regret(-final, final, 2) == 2.0
    assert a.random_regret(final, 4) == 0.0
    assert a.random_regret(final, 1) == pytest.approx(final.mean() - 1.0, abs=0.15)


def test_a_table_predicts_the_least_loss_or_when_it_is_low(tmp_path) -> None:
    """A network whose loss is lost ends worst, and never gets there."""
    file = tmp_path / "some.csv"
    losses = {0: (1.0, 0.9, 0.5, 0.6), 1: (1.0, 0.2, 0.3, 0.25), 2: (1.0, "nan", "nan", "nan")}
    rows = [f"{net},LSTM,0.1,,0,{at},{loss},{'broken' * (net == 2)}" for net in losses for at, loss in enumerate(losses[net])]
    file.write_text("network,kind,learning_rate,spread,dropout,epoch,held_out_loss,failure\n" + "\n".join(rows) + "\n")
    table = Table.read(file, "some")
    assert table.final.tolist() == [0.5, 0.2, np.inf]
    assert table.best.tolist() == [2, 1, 1]
    assert table.until(0.55).final.tolist() == pytest.approx([1.875, 0.5625, 4.0])
    assert table.epochs == 3


def test_every_number_of_the_page_is_written_by_its_command(tmp_path) -> None:
    """From the committed results. Outside of the markers there is no number that could have been measured."""
    page = tmp_path / "findings.md"
    page.write_text(findings.PAGE.read_text())
    findings.write(page)
    assert page.read_text() == findings.PAGE.read_text()
    outside = re.sub(r"<!-- (\w+) -->.*?<!-- /\1 -->", "", page.read_text(), flags=re.DOTALL)
    assert not re.findall(r"\d+\.\d|[+-]\.?\d", outside)


@pytest.mark.skipif(DATA_DIR not in os.environ, reason=f"the published grid is not there ({DATA_DIR})")
def test_the_published_grid_is_among_what_is_written() -> None:
    assert "published" in dict(findings.blocks("tiny"))


def test_every_task_has_been_run_to_the_end() -> None:
    for task in ("text", "motion", "adding"):
        table = Table.read(results_of(task, "small"), task)
        assert len(table.final) >= 48
        assert np.isfinite(table.values["held_out_loss"][:, -1]).all()


@pytest.fixture(scope="module")
def tested() -> dict[str, findings.Tested]:
    """By task, what the statistics say; "solved": of when the adding problem is."""
    found = [findings.Tested.of(table) for table in signals.tables("small")]
    return dict(zip(("text", "motion", "adding", "solved"), found, strict=True))


def line(tested: findings.Tested, epoch: int, signal: str) -> signals.Line:
    return next(one for one in tested.lines if (one.epoch, one.signal) == (epoch, signal))


def has(tested: findings.Tested, epoch: int, signal: str) -> bool:
    return any((one.epoch, one.signal) == (epoch, signal) for one in tested.lines)


def at_best(tested: findings.Tested, signal: str) -> a.Estimate:
    """As Fig. 4 has it."""
    return a.correlation(tested.table.at_best(signal), tested.table.final, tested.table.groups)


def gains(tested: findings.Tested) -> dict[int, a.Estimate]:
    return {addition.epoch: addition.to_all[1] for addition in tested.additions}


def test_what_the_page_says_holds(tested: dict[str, findings.Tested]) -> None:
    text, motion, solved = tested["text"], tested["motion"], tested["solved"]
    assert all(line(text, epoch, "hidden_max").alone.high < 0 for epoch in (1, 2, 4, 8))
    assert all(line(text, epoch, "seen_max").alone.high < 0 for epoch in (4, 8))
    assert at_best(text, "hidden_max").high < -0.5
    assert at_best(motion, "hidden_mean").high < 0
    assert not at_best(text, "full_max").is_clear
    assert not at_best(motion, "full_mean").is_clear
    for one in tested.values():
        assert signals.chain(one.table, signals.CHAIN_AT)["exponent and reach"].low > 0.2
    assert not line(solved, 1, "held_out_loss").alone.is_clear
    assert line(solved, 1, "full_max").alone.low > 0.2
    assert line(solved, 1, "full_max").given_all.low > 0.2  # type: ignore[union-attr]
    assert all(line(motion, epoch, "hidden_max").given_all.low > 0.2 for epoch in (1, 2))  # type: ignore[union-attr]
    assert gains(motion)[1].low > 0
    lost = {(epoch, signal): value for epoch, signal, value in signals.pruning(motion.table)}
    assert lost[1, "full_max"] < lost[1, "random"] < lost[1, "held_out_loss"]
    lost = {(epoch, signal): value for epoch, signal, value in signals.pruning(text.table)}
    assert all(lost[epoch, "full_max"] >= lost[epoch, "held_out_loss"] for epoch in (1, 2, 4, 8))


def test_what_the_page_says_of_figure_3() -> None:
    rows = [row for row in read(RESULTS / "fig3-small.csv") if row["state"] == "full"]
    epochs = max(int(row["epoch"]) for row in rows)
    assert len({row["p"] for row in rows}) == 4
    assert all(float(row["d1"]) > 0 for row in rows if 1 <= int(row["epoch"]) < epochs)
    for p in {row["p"] for row in rows}:
        assert over_epochs.settled([float(row["largest"]) for row in rows if row["p"] == p]) >= epochs - 1


def test_what_the_page_says_does_not_hold(tested: dict[str, findings.Tested]) -> None:
    text, motion, adding, solved = tested.values()
    assert all(line(motion, epoch, "full_max").alone.low > 0.4 for epoch in signals.EPOCHS)
    assert line(solved, 0, "full_max").alone.high < 0
    assert line(solved, 1, "full_max").alone.low > 0
    assert line(solved, 4, "full_max").alone.high < 0
    for epoch in signals.EPOCHS:
        one = line(text, epoch, "full_max")
        assert not one.alone.is_clear
        assert not one.given_all.is_clear  # type: ignore[union-attr]
    for one in (text, adding, solved):
        assert not signals.chain(one.table, signals.CHAIN_AT)["reach and what is predicted"].is_clear
    assert signals.chain(motion.table, signals.CHAIN_AT)["reach and what is predicted"].low > 0.4
    for one in tested.values():
        for epoch in (4, 8):
            loss = abs(line(one, epoch, "held_out_loss").alone.value)
            others = [abs(line(one, epoch, name).alone.value) for name in READOUTS if has(one, epoch, name)]
            assert max(others) < loss
    assert not text.clear
    assert all(gain.low < 0.01 for gain in (*gains(text).values(), *gains(adding).values(), *gains(solved).values()))
    assert solved.clear
    means = [line(motion, epoch, name) for epoch in signals.EPOCHS for name in ("hidden_mean", "full_mean")]
    assert not any(one.alone.high < 0 for one in means)
