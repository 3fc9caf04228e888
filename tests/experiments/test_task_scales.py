"""The second question on untrained networks: time scales and the statistic on data whose answer is known."""

import math
from collections import Counter

import numpy as np
import pytest
import torch
from experiments.commands import RECORDED
from experiments.records import known
from experiments.task_scales.answer import by_task, distances, paragraphs, sign_against_scale, statistic
from experiments.task_scales.measure import NAME, row_of
from experiments.task_scales.networks import STARTS, Start, learner
from experiments.task_scales.tasks import TASKS, Delayed, probe_inputs, time_scale


def rows_of(loss_of) -> list[dict[str, str]]:
    exponents = -np.geomspace(0.01, 2, 9)
    return [
        {"task": f"task {scale}", "time_scale": str(scale), "exponent": str(value), "loss": str(loss_of(value, scale))}
        for scale in (3.0, 10.0, 30.0)
        for value in exponents
    ]


def test_a_rule_that_holds_at_every_task_is_found() -> None:
    found = by_task(rows_of(lambda value, scale: abs(math.log(-1 / value) - math.log(scale))))
    assert min(one.distance for one in found) > 0.99
    assert statistic(found).low > 0.9


def test_larger_is_better_is_not_taken_for_the_rule() -> None:
    found = by_task(rows_of(lambda value, scale: -value))
    assert [one.exponent for one in found] == [-1, -1, -1]
    assert statistic(found).low < 0.5


def test_memory_is_capped_and_chaos_with_it() -> None:
    found = distances(np.array([-1 / 8, 0.3, -1e-9]), 8.0)
    np.testing.assert_allclose(found, [0, math.log(10), math.log(10)], atol=1e-12)


def test_the_target_is_what_was_shown_a_lag_ago() -> None:
    symbols, targets = next(Delayed(5).batches(0, 0))
    assert torch.equal(targets[:, 5:], symbols[:, :-5])
    bits, differ = next(Delayed(5, 2, parity=True).batches(0, 0))
    assert torch.equal(differ[:, 6:], bits[:, 1:-5] ^ bits[:, :-6])


def test_there_are_32_networks_and_each_start_is_what_it_says() -> None:
    assert len(TASKS) == 11
    assert Counter(start.kind for start in STARTS) == {"LSTM": 12, "GRU": 12, "RNN": 8}
    task = Delayed(3)
    block = learner(task, Start("GRU", "orthogonal", 1, 0)).network.core.weight_hh_l0[:32].detach()
    torch.testing.assert_close(block @ block.mT, torch.eye(32))
    plain, scaled = (learner(task, Start("RNN", start, by, 0)).network.core for start, by in (("default", 1), ("scaled", 3)))
    torch.testing.assert_close(scaled.weight_hh_l0, 3 * plain.weight_hh_l0)
    lstm = learner(task, Start("LSTM", "chrono", 50, 0)).network.core
    times = lstm.bias_ih_l0[32:64].detach().exp()
    assert float(times.min()) >= 1
    assert float(times.max()) <= 49
    torch.testing.assert_close(lstm.bias_ih_l0[:32], -lstm.bias_ih_l0[32:64])


def test_the_lag_is_the_time_scale() -> None:
    assert time_scale("copy-8", TASKS["copy-8"]()) == 8


@pytest.mark.parametrize("name", [name for name in TASKS if name.partition("-")[0] in ("adding", "copy", "parity")])
def test_a_network_has_a_row(name: str) -> None:
    task = TASKS[name]()
    assert probe_inputs(task).shape[:2] == (10, 200)
    row = row_of(name, task, Start("GRU", "default", 1, 0), updates=2)
    assert -1 < row["exponent"] < 0
    assert math.isfinite(row["loss"])


def test_every_network_that_was_measured_is_one_of_the_frozen_ones() -> None:
    rows = known(RECORDED / NAME)
    if not rows:
        pytest.skip("nothing was recorded yet")
    assert Counter(row["task"] for row in rows) == dict.fromkeys(TASKS, len(STARTS))
    names = {(start.kind, start.start, f"{start.by:g}", str(start.seed)) for start in STARTS}
    assert {(row["kind"], row["start"], row["by"], row["seed"]) for row in rows} == names
    assert "mark" in "\n".join(paragraphs())


def test_what_the_page_says_of_time_scales_holds() -> None:
    rows = known(RECORDED / NAME)
    found = {one.name: one for one in by_task(rows)}
    assert statistic(list(found.values())).low < 0 < statistic(list(found.values())).value
    assert all(found[name].distance > 0.4 for name in ("copy-8", "copy-16", "parity-8"))
    motion = [one for name, one in found.items() if name.startswith("motion")]
    assert all(one.distance < -0.2 for one in motion)
    assert all(one.exponent > 0.2 for one in (*motion, found["text"]))
    assert found["copy-16"].exponent < -0.3
    assert abs(sign_against_scale(list(found.values()))) < 0.3
    assert 0.4 < sum(row["converged"] == "False" for row in rows) / len(rows) < 0.6
