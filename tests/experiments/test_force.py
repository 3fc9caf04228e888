"""Full-FORCE, FORCE and back-propagation against naive versions of themselves, and the sweep over them after a kill."""

import csv
import math
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from experiments.force import claims, figure, sweep
from experiments.force.measure import error, spectrum, trained
from experiments.force.network import LEAK, LeakyTanh, Network, drawn
from experiments.force.presets import LONGER, RULES, plan
from experiments.force.rules import Descent, LeastSquares, back_propagation, descended, force, full_force
from experiments.force.tasks import DelayedResponse, Sines, batch, steps, trials
from safetensors.torch import load_file
from scipy.stats import ttest_rel

import lyapunov
from lyapunov import InvalidInput

ROOT = Path(__file__).parents[2]
SOURCE = np.random.default_rng(4)
TASKS = (Sines(period=100), DelayedResponse(delay=(5, 20), pause=(10, 20), response=10))
SMALL = {task.name: drawn(6, task.inputs, task.outputs, 1.5, 3) for task in TASKS}


def regression(rates: list[np.ndarray], targets: list[np.ndarray]) -> np.ndarray:
    """What recursive least squares comes to: ridge regression with the unit matrix, from all that was seen."""
    seen, wanted = np.array(rates), np.array(targets)
    return np.linalg.solve(np.eye(seen.shape[1]) + seen.T @ seen, seen.T @ wanted).T


def test_recursive_least_squares_is_ridge_regression() -> None:
    squares, weights = LeastSquares(5), np.zeros((2, 5))
    rates, targets = list(SOURCE.normal(size=(30, 5))), list(SOURCE.normal(size=(30, 2)))
    for rate, target in zip(rates, targets, strict=True):
        weights -= np.outer(weights @ rate - target, squares.gain(rate))
    assert weights == pytest.approx(regression(rates, targets), abs=1e-12)


@pytest.mark.parametrize("task", TASKS, ids=lambda task: task.name)
def test_force_is_the_naive_one(task) -> None:
    """Solved anew from all that was seen; the output really fed back."""
    start, feedback = SMALL[task.name]
    source = np.random.default_rng([9, 1])
    state, rates, targets, readout = source.standard_normal(6), [], [], np.zeros((task.outputs, 6))
    for at, (x, target) in zip(range(60), steps(task, source), strict=False):
        output = readout @ np.tanh(state) if at else np.zeros(task.outputs)
        state = 0.9 * state + 0.1 * (start.recurrent @ np.tanh(state) + start.input @ x + feedback @ output)
        if at % 2 == 0:
            rates.append(np.tanh(state))
            targets.append(target)
            readout = regression(rates, targets)
    network, last = force(start, feedback, task, 60, 9)
    assert last == pytest.approx(state, abs=1e-10)
    assert network.readout == pytest.approx(readout, abs=1e-10)
    assert network.recurrent == pytest.approx(start.recurrent + feedback @ readout, abs=1e-10)


@pytest.mark.parametrize("task", TASKS, ids=lambda task: task.name)
@pytest.mark.parametrize("from_start", [False, True])
def test_full_force_is_the_naive_one(task, from_start: bool) -> None:
    """Two networks side by side; weights solved anew from all that was seen."""
    start, feedback = SMALL[task.name]
    source = np.random.default_rng([9, 1])
    aim = state = source.standard_normal(6)
    begun = start.recurrent if from_start else np.zeros((6, 6))
    weights, readout, rates, wanted, targets = begun, np.zeros((task.outputs, 6)), [], [], []
    for at, (x, target) in zip(range(70), steps(task, source), strict=False):
        received = start.recurrent @ np.tanh(aim) + feedback @ target
        own = weights @ np.tanh(state) if at >= 10 else received
        aim = 0.9 * aim + 0.1 * (received + start.input @ x)
        state = 0.9 * state + 0.1 * (own + start.input @ x)
        if at >= 10 and at % 2 == 0:
            rates.append(np.tanh(state))
            wanted.append(start.recurrent @ np.tanh(aim) + feedback @ target - begun @ np.tanh(state))
            targets.append(target)
            weights, readout = begun + regression(rates, wanted), regression(rates, targets)
    given = {"initial": start.recurrent} if from_start else {}
    network, last = full_force(start, feedback, task, 60, 9, settle=10, **given)
    assert last == pytest.approx(state, abs=1e-9)
    assert network.recurrent == pytest.approx(weights, abs=1e-9)
    assert network.readout == pytest.approx(readout, abs=1e-9)


def test_gradients_are_those_of_autograd() -> None:
    task = TASKS[1]
    start, _ = SMALL[task.name]
    network = Network(start.recurrent, start.input, SOURCE.normal(size=(2, 6)))
    state = SOURCE.normal(size=(3, 6))
    inputs, targets = batch(task, 3, 25, 1)
    last, loss, gradients = descended(network, state, inputs, targets)
    weights = [torch.tensor(part, requires_grad=True) for part in (network.recurrent, network.readout)]
    moved, outputs, incoming = torch.as_tensor(state), [], torch.as_tensor(network.input)
    for x in torch.as_tensor(inputs).unbind(1):
        moved = moved + LEAK * (torch.tanh(moved) @ weights[0].mT + x @ incoming.mT - moved)
        outputs.append(torch.tanh(moved) @ weights[1].mT)
    expected = (torch.stack(outputs, 1) - torch.as_tensor(targets)).square().mean()
    expected.backward()
    assert loss == pytest.approx(expected.item())
    assert last == pytest.approx(moved.detach().numpy())
    for gradient, weight in zip(gradients, weights, strict=True):
        assert gradient == pytest.approx(weight.grad.numpy(), abs=1e-12)


def test_back_propagation_lowers_the_loss() -> None:
    task = TASKS[0]
    start, _ = drawn(16, 1, 1, 1.5, 0)
    settings = Descent(updates=40, window=100, batch=4, learning_rate=1e-2)
    network, state = back_propagation(start, task, settings, 0)
    assert error(network, state, task, 5) < 0.5 < error(start, state, task, 5) == 1.0


def test_an_output_that_is_fed_back_is_part_of_the_recurrent_weights() -> None:
    start, feedback = SMALL["delay"]
    readout, inputs = SOURCE.normal(size=(2, 6)), SOURCE.normal(size=(1, 20, 2))
    closed = Network(start.recurrent + feedback @ readout, start.input, readout)
    state, found = SOURCE.normal(size=6), []
    last, outputs = closed.run(state[None], inputs)
    for x in inputs[0]:
        output = readout @ np.tanh(state)
        state = state + LEAK * (start.recurrent @ np.tanh(state) + start.input @ x + feedback @ output - state)
        found.append(readout @ np.tanh(state))
    assert last[0] == pytest.approx(state)
    assert outputs[0] == pytest.approx(np.array(found))


def test_noise_is_added_after_every_step() -> None:
    start, _ = SMALL["sines"]
    state, noise = SOURCE.normal(size=(2, 6)), SOURCE.normal(size=(2, 3, 6))
    last, _ = start.run(state, np.zeros((2, 3, 1)), noise)
    for at in range(3):
        state = 0.9 * state + 0.1 * np.tanh(state) @ start.recurrent.T + noise[:, at]
    assert last == pytest.approx(state)


def network_of(size: int, gain: float = 1.5, seed: int = 1) -> Network:
    return drawn(size, 2, 1, gain, seed)[0]


def test_the_closed_form_is_forward_mode_of_a_users_step() -> None:
    network, settings = network_of(8), {"settle": 20, "align": 20, "progress": False}
    recurrent, incoming = torch.as_tensor(network.recurrent), torch.as_tensor(network.input)
    inputs, state = torch.as_tensor(SOURCE.normal(size=(2, 120, 2))), torch.as_tensor(SOURCE.normal(size=(2, 8)))

    def step(x: torch.Tensor, s: torch.Tensor) -> torch.Tensor:
        return x + LEAK * (torch.tanh(x) @ recurrent.mT + s @ incoming.mT - x)

    closed = lyapunov.spectrum(LeakyTanh(network), inputs, state=state, **settings)
    user = lyapunov.spectrum(step, inputs, state=state, **settings)
    assert closed.exponents.numpy() == pytest.approx(user.exponents.numpy(), abs=1e-9)


def test_exponents_are_those_of_a_dense_product() -> None:
    """Whole Jacobians, one orthonormalisation per step, from another frame that has been aligned for long."""
    network = network_of(5, 3.0, 25)  # no two exponents are close
    inputs, state = SOURCE.normal(size=(1, 3000, 2)), SOURCE.normal(size=(1, 5))
    system, options = LeakyTanh(network), {"settle": 0, "align": 2000, "dt": LEAK, "progress": False}
    found = lyapunov.spectrum(system, torch.as_tensor(inputs), state=torch.as_tensor(state), **options)
    frame, growth, x = np.linalg.qr(SOURCE.normal(size=(5, 5)))[0], np.zeros(5), state[0]
    for at, s in enumerate(inputs[0]):
        jacobian = 0.9 * np.eye(5) + 0.1 * network.recurrent * (1 - np.tanh(x) ** 2)
        x = 0.9 * x + 0.1 * (network.recurrent @ np.tanh(x) + network.input @ s)
        frame, upper = np.linalg.qr(jacobian @ frame)
        growth += np.log(np.abs(np.diag(upper))) if at >= 2000 else 0.0
    assert found.exponents.numpy() == pytest.approx(np.sort(growth / 1000 / LEAK)[::-1], abs=1e-6)


def test_without_recurrent_weights_every_exponent_is_that_of_the_leak() -> None:
    start = network_of(7)
    network = Network(np.zeros((7, 7)), start.input, start.readout)
    found = spectrum(network, np.ones(7), DelayedResponse(), plan("tiny"))
    assert found.exponents.numpy() == pytest.approx(np.full(7, math.log(1 - LEAK) / LEAK))
    assert found.variance == pytest.approx(0.0, abs=1e-12)


def test_targets_are_what_the_tasks_say() -> None:
    inputs, targets = trials(DelayedResponse(), 20, 0)
    cues, responses = (
        np.flatnonzero(np.diff(inputs[:, 0]) * inputs[1:, 0] > 0),
        np.flatnonzero(np.diff(np.abs(targets[:, 1])) < 0),
    )
    assert len(cues) + 1 == len(responses) == 20
    assert np.all(np.sign(targets[:, 0]) * targets[:, 1] >= 0)
    assert len(set(np.sign(targets[responses, 1]))) == 2
    assert np.abs(targets[:, 0]).max() == pytest.approx(1.0, abs=1e-2)
    pulses, sines = trials(Sines(), 3, 0)
    assert sines[:200] == pytest.approx(sines[200:400])
    assert pulses.sum() == 3 * 50
    assert trials(Sines(), 3, 0, longer=True)[0].sum() == 3 * 50
    assert len(trials(Sines(), 3, 0, longer=True)[0]) == 1200


def test_rules_begin_at_the_same_random_weights() -> None:
    """And a seed gives the same network again, another seed another one."""
    chosen, task = plan("tiny"), Sines()
    start, feedback = drawn(16, 1, 1, 1.5, 1)
    assert trained("untrained", task, chosen, 1)[0].recurrent == pytest.approx(start.recurrent)
    network, _ = trained("force", task, chosen, 1)
    assert network.recurrent - start.recurrent == pytest.approx(feedback @ network.readout)
    assert trained("force", task, chosen, 1)[0].readout == pytest.approx(network.readout)
    assert np.abs(trained("force", task, chosen, 0)[0].readout - network.readout).max() > 1e-3


def test_paired_intervals_are_those_of_the_t_test() -> None:
    one, other = SOURCE.normal(size=10), SOURCE.normal(size=10)
    found, expected = claims.paired(one - other), ttest_rel(one, other).confidence_interval(0.95)
    assert (found.low, found.high) == pytest.approx((expected.low, expected.high))


@pytest.mark.parametrize(
    ("name", "low", "high", "word"),
    [
        ("mean", -0.09, 0.09, "same"),
        ("mean", 0.01, 0.09, "same"),
        ("mean", 0.01, 0.2, "different"),
        ("mean", -0.2, 0.01, "open"),
        ("variance", -2.0, -0.7, "much lower"),
        ("variance", -2.0, -0.6, "lower"),
        ("variance", -2.0, 0.1, "open"),
        ("variance", 0.1, 2.0, "higher"),
    ],
)
def test_words_are_earned_by_intervals(name: str, low: float, high: float, word: str) -> None:
    assert claims.verdict(name, claims.Estimate((low + high) / 2, low, high)) == word


def test_generalization_is_seen_within_rules_only() -> None:
    """A rule that is better throughout and has less variance is no evidence."""

    def table(slope: float) -> claims.Table:
        rows = {}
        for at, rule in enumerate(RULES[:4]):
            for seed in range(10):
                variance = at + SOURCE.uniform()
                rows[rule, seed] = {"variance": f"{variance}", "noise_error": f"{at + slope * (variance - at)}"}
                rows[rule, seed]["noise_error"] = f"{at + slope * (variance - at) + 0.01 * SOURCE.uniform()}"
        return claims.Table("sines", rows)

    assert claims.generalization(table(1.0), "noise_error").low > 0.5
    assert not claims.generalization(table(0.0), "noise_error").is_clear


@pytest.fixture(scope="module")
def tiny(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("force")
    sweep.run("tiny", folder)
    return folder


def rows_of(folder: Path) -> list[dict[str, str]]:
    with (folder / "force-tiny.csv").open(newline="") as lines:
        return [{name: value for name, value in row.items() if not name.endswith("seconds")} for row in csv.DictReader(lines)]


def test_a_tiny_sweep_has_a_row_and_a_spectrum_per_network(tiny: Path) -> None:
    rows, spectra = rows_of(tiny), load_file(tiny / "force-tiny.safetensors")
    assert {(row["task"], row["rule"], row["seed"]) for row in rows} == {
        (task, rule, seed) for task in ("sines", "delay") for rule in RULES for seed in ("0", "1")
    } | {(task, rule + LONGER, "0") for task in ("sines", "delay") for rule in claims.TRAINED}
    for row in rows:
        exponents = spectra[f"{row['task']}/{row['rule']}/{row['seed']}"].double()
        assert float(row["largest"]) == pytest.approx(exponents.max().item(), rel=1e-5)
        assert float(row["mean"]) == pytest.approx(exponents.mean().item(), rel=1e-5)
        assert float(row["variance"]) == pytest.approx(exponents.var(correction=0).item(), rel=1e-4)
        assert "lyapunov" in row["made_with"]
    errors = {(row["task"], row["rule"], row["seed"]): float(row["error"]) for row in rows}
    assert errors["sines", "untrained", "0"] == 1.0


def test_the_figure_and_the_tables_are_made_from_what_is_there(tiny: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = figure.make("tiny", tiny)
    assert len(found.rows) == 26
    assert len(found.figure.axes) == 4
    assert "variance" in found.ours
    monkeypatch.setattr(claims, "tables", lambda preset, results=tiny, tables=claims.tables: tables(preset, results))
    text = "\n".join(claims.paragraphs("tiny"))
    assert text.count("| Full-FORCE against |") == 2
    assert "full-force from W0 (2 seeds)" in text
    assert text.count("| seed 0 over more steps |") == 2


def test_rows_of_other_settings_are_refused(tiny: Path, tmp_path: Path) -> None:
    text = (tiny / "force-tiny.csv").read_text()
    (tmp_path / "force-tiny.csv").write_text(text.replace("length=800", "length=801"))
    with pytest.raises(InvalidInput, match="Move the file away"):
        sweep.run("tiny", tmp_path)


def test_a_sweep_that_was_killed_goes_on_to_the_same_rows(tiny: Path, tmp_path: Path) -> None:
    """With -9, once it has some rows."""
    code = "import sys; from pathlib import Path; from experiments.force.sweep import run; run('tiny', Path(sys.argv[1]))"
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT / "src"), str(ROOT)])}
    started = subprocess.Popen([sys.executable, "-c", code, str(tmp_path)], cwd=ROOT, env=environment)
    file = tmp_path / "force-tiny.csv"
    end = time.monotonic() + 120
    while time.monotonic() < end and not (file.exists() and len(file.read_text().splitlines()) > 4):
        time.sleep(0.01)
    os.kill(started.pid, signal.SIGKILL)
    started.wait()
    assert 4 <= len(rows_of(tmp_path)) < 26
    sweep.run("tiny", tmp_path)
    assert rows_of(tmp_path) == rows_of(tiny)
    kept, whole = (load_file(folder / "force-tiny.safetensors") for folder in (tmp_path, tiny))
    assert all(torch.equal(kept[name], whole[name]) for name in whole)


@pytest.fixture(scope="module")
def small() -> dict[str, claims.Table]:
    """The committed rows, by task."""
    return {table.task: table for table in claims.tables("small")}


def test_all_networks_of_the_page_have_been_run(small: dict[str, claims.Table]) -> None:
    assert all(table.seeds == table.controlled == list(range(10)) for table in small.values())
    assert {int(row["unreliable"]) for table in small.values() for row in table.rows.values()} == {0}


def word(table: claims.Table, other: str, name: str) -> str:
    return claims.verdict(name, claims.difference(table, other, name))


def test_what_the_page_says_holds(small: dict[str, claims.Table]) -> None:
    for table in small.values():
        assert all(np.median(table.of(rule, "error")) < claims.LEARNED for rule in claims.TRAINED)
        assert all(table.of(rule, "error").max() < claims.LEARNED for rule in ("force", "full-force"))
        for other in ("back-propagation", "force"):
            assert word(table, other, "mean") == "same"
            assert claims.difference(table, other, "mean").low > 0
        assert claims.verdict("variance", claims.difference(table, "force", "variance")) in ("lower", "much lower")
        assert claims.noise_ratio(table, "force").high < 0
    sines, delay = small["sines"], small["delay"]
    for rule in claims.TRAINED:
        assert np.median(delay.of(rule, "longer_error")) < 2 * np.median(delay.of(rule, "error")) < 2 * claims.LEARNED
        assert np.median(sines.of(rule, "longer_error")) > 0.25
    assert all(sines.of(rule, "error").max() < claims.PUBLISHED for rule in ("force", "full-force"))
    assert word(sines, "back-propagation", "largest") == "same"
    assert word(sines, "back-propagation", "variance") == "much lower"
    assert math.exp(claims.difference(sines, "back-propagation", "variance").value) == pytest.approx(0.1, abs=0.02)


def test_what_the_page_says_does_not_hold(small: dict[str, claims.Table]) -> None:
    sines, delay = small["sines"], small["delay"]
    assert all(word(table, "back-propagation", "least") == "different" for table in small.values())
    assert claims.difference(sines, "back-propagation", "least").low > 0
    assert claims.difference(delay, "back-propagation", "least").high < 0
    assert word(delay, "back-propagation", "variance") == "open"
    assert word(delay, "back-propagation", "largest") == "different"
    assert claims.difference(delay, "back-propagation", "largest").low > 0
    for table in small.values():
        assert not any(claims.generalization(table, name).is_clear for name in claims.ERRORS)
        assert claims.noise_ratio(table, "back-propagation").low > math.log(1.5)
        assert claims.difference(table, "full-force", "variance", RULES[-1], table.controlled).low > 0
        assert claims.difference(table, "back-propagation", "variance", RULES[-1], table.controlled).low > 0
    assert claims.noise_ratio(sines, RULES[-1]).high < math.log(0.5)
    assert not claims.noise_ratio(delay, RULES[-1]).is_clear


def test_verdicts_are_what_the_page_says_of_them(small: dict[str, claims.Table]) -> None:
    """Four times as many steps do not move what decides: within three standard errors of the difference."""
    for table in small.values():
        assert all("too-short" in row["verdict"] for (rule, _), row in table.rows.items() if not rule.endswith(LONGER))
        for rule in claims.TRAINED:
            short, long = table.rows[rule, 0], table.rows[rule + LONGER, 0]
            assert all(abs(claims.apart(short, long, name)) < 3 for name in ("largest", "variance"))
