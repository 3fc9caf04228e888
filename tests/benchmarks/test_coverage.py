"""The instrument that judges error bars is itself held against data of which the answer is known."""

import dataclasses
import math
import sys
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.stats import t as student
from torch.func import jacrev, vmap

sys.path.append(str(Path(__file__).parents[2] / "benchmarks"))  # at the end: its coverage.py is not the package of that name

import _coverage_maps as maps
import _coverage_rows as kept
import _coverage_statistics as statistics
import _coverage_systems as systems
import _reference as reference
from _coverage_cells import MOST, cells

CHEAP = {cell.build: cell for cell in cells() if cell.build not in (systems.small_lstm, systems.demo_lstm)}


def student_rows(replicates, shrunk=1.0, shift=0.0, samples=10, truth=-0.3, seed=0):
    """Rows as a right library writes them: means of normal samples with Student's intervals; errors and bias can be spoiled."""
    draws = truth + shift + np.random.default_rng(seed).standard_normal((replicates, samples)) * 0.1
    errors = shrunk * draws.std(1, ddof=1) / samples**0.5
    widths = [sign * student.ppf((1 + level) / 2, samples - 1) for level in (0.95, 0.999) for sign in (-1, 1)]
    row = {"cell": "a", "seconds": 0.1, "converged": True, "kinds": [], "size": 1, "mean": None, "ranks": [0]}
    return [
        {**row, "seed": at, "exponents": [[mean, error, *(mean + width * error for width in widths)]]}
        for at, (mean, error) in enumerate(zip(draws.mean(1), errors, strict=True))
    ]


def judged(rows, value=-0.3, error=0.0):
    return statistics.line("system", "cell", rows, lambda seed, rank: (value, error))


def test_right_intervals_pass():
    line = judged(student_rows(2000))
    (found,) = line.judged
    assert abs(found.held / found.count - 0.95) < 4 * math.sqrt(0.95 * 0.05 / found.count)
    assert abs(found.ratio - 1) < 0.05
    assert found.width == pytest.approx(2 * 0.1 / 10**0.5 * student.ppf(0.975, 9), rel=0.05)
    assert not line.failures(300)
    assert not statistics.improbable(found.beyond, found.count)
    assert not statistics.summaries([line])[0].fails


def test_intervals_of_half_the_width_fail():
    line = judged(student_rows(200, shrunk=0.5))
    assert line.failures(300) == ["largest"]
    assert statistics.summaries([line])[0].fails
    assert "**fails**" in statistics.table([line])
    assert "Systems below 93 %: 1 of 1" in statistics.verdicts([line])


def test_values_far_from_the_truth_are_counted_beyond():
    (found,) = judged(student_rows(200, shift=0.5)).judged
    assert found.beyond == 200
    assert found.held == 0
    assert found.bias == pytest.approx(0.5, abs=0.02)


def test_values_off_by_less_than_a_thousandth_are_not_counted_beyond():
    rows = student_rows(200, shift=0.5e-3)
    for row in rows:
        row["exponents"] = [[-0.3 + 0.5e-3, 1e-9, *[-0.3 + 0.5e-3] * 4]]
    (found,) = judged(rows).judged
    assert (found.beyond, found.held) == (0, 0)


def test_allowed_misses_are_those_of_the_proof():
    level = statistics.LEVEL / 300
    assert statistics.most_misses(200, level) == 30  # 31 of 200 fail
    assert not statistics.improbable(21, 10_000)
    assert statistics.improbable(22, 10_000)


def test_a_truth_less_sharp_than_a_fifth_of_the_errors_judges_nothing():
    rows = student_rows(200, shrunk=0.5)
    assert judged(rows, error=0.1 / 10**0.5 / 6).judged[0].known
    line = judged(rows, error=0.1 / 10**0.5 / 4)
    assert not line.judged[0].known
    assert not line.failures(300)
    assert statistics.summaries([line])[0].unknown == 1
    assert "unknown" in statistics.table([line])
    assert not judged(rows, value=math.nan, error=math.nan).judged[0].known


def test_what_is_not_converged_is_not_held_against_a_cell():
    wrong = [{**row, "converged": False, "kinds": ["too short"]} for row in student_rows(100, shift=1.0, seed=1)]
    right = student_rows(100)
    line = judged([*right, *wrong])
    assert (line.replicates, line.converged) == (200, 100)
    assert line.judged == judged(right).judged
    none = judged(wrong)
    assert not none.judged
    assert "none of 100 (too short 100)" in statistics.table([none])


def test_the_truth_of_each_rank_is_its_own():
    rows = student_rows(50)
    for row in rows:
        shifted = (np.array(row["exponents"][0]) - [1, 0, 1, 1, 1, 1]).tolist()
        row.update(ranks=[0, 7], exponents=[row["exponents"][0], shifted], size=8)
    line = statistics.line("system", "cell", rows, lambda seed, rank: (-0.3 if rank == 0 else -1.3, 0.0))
    assert [found.quantity for found in line.judged] == ["largest", "last"]
    assert line.judged[0].held == line.judged[1].held > 40


def test_wider_intervals_than_before_are_named():
    before, after = judged(student_rows(200)), judged(student_rows(200, shrunk=2.0))
    assert "2.00; above 1.3 in 1 of 1" in statistics.widths([after], [before])
    assert "above 1.3 in 0 of 1" in statistics.widths([before], [before])


def test_there_are_at_most_120_cells_of_at_least_14_systems_and_each_has_a_truth():
    found = cells()
    assert len({cell.name for cell in found}) == len(found) <= MOST
    assert len({kept.Rows(Path()).path(cell) for cell in found}) == len(found)
    assert len({cell.system for cell in found}) >= 14
    recipes = reference.recipes()
    for cell in found:
        for seed in range(kept.FIRST_SEED, kept.FIRST_SEED + 20):
            assert cell.truth_of(seed) in recipes
    assert reference.on_file() <= set(recipes)


@pytest.mark.parametrize("build", CHEAP, ids=lambda build: build.__name__)
def test_every_cheap_system_runs(build, shapes_unchecked):
    cell = dataclasses.replace(CHEAP[build], k=1, sequences=min(CHEAP[build].sequences, 3), settle=None, align=None)
    cell = (
        dataclasses.replace(cell, note="lengths 1000, 30, 30")
        if build is systems.unequal
        else dataclasses.replace(cell, steps=24)
    )
    row = kept.measure(cell, 1000)
    assert "message" not in row, row
    assert row["kinds"] or row["converged"]
    assert replicate(cell, 1000) == replicate(cell, 1000) != replicate(cell, 1001)


def replicate(cell, seed):
    _, inputs, arguments = cell.replicate(seed)
    return [value.tolist() for value in (inputs, *arguments.values()) if isinstance(value, torch.Tensor)]


def test_cells_of_one_system_draw_for_themselves():
    first, second = [cell for cell in cells() if cell.build is systems.gaussian][:2]
    assert replicate(first, 1000) != replicate(second, 1000)


def test_sequences_of_mixed_basins_start_in_both():
    signs = torch.stack([systems.basin_signs(seed, 3, both=True) for seed in range(400)])
    assert bool((signs.sum(1).abs() < 3).all())
    assert abs(float(signs.mean())) < 0.15
    assert {systems.fair_truth(seed) for seed in range(50)} == {
        "mixed basins", "mixed basins, upper", "mixed basins, lower"
    }  # fmt: skip


@pytest.mark.parametrize("build", [maps.double_integrator, maps.van_der_pol, maps.torus], ids=lambda build: build.__name__)
def test_the_written_jacobians_are_those_of_automatic_differentiation(build):
    system = build()
    state, x = systems.normal(1, 6, *system.block_sizes), systems.normal(2, 6, 1)
    dense = vmap(jacrev(lambda s, u: system.step(s.unsqueeze(0), u.unsqueeze(0))[0]))(state, x)
    identity = torch.eye(*system.block_sizes, dtype=torch.float64).expand(6, -1, -1)
    (pushed,) = system.push(state, x, (identity,))[1]
    torch.testing.assert_close(pushed, dense, rtol=1e-12, atol=1e-12)


def test_the_reference_finds_the_exponents_of_the_torus():
    state = systems.normal(5, 4, 4) / 2**0.5
    found = reference.under_noise(lambda s, x: maps.torus_step(s.unsqueeze(0), x)[0], state, reference.Noise(4, 1), 100, 100)
    torch.testing.assert_close(found.exponents, [0.0, 0.0, math.log(0.96), math.log(0.9)], rtol=0, atol=0.02)


def test_the_reference_steps_an_lstm_as_pytorch_does():
    module, x = systems.chrono_lstm(), systems.normal(3, 1, 20, 3)
    step, state = reference.lstm_step(module), torch.zeros(32, dtype=torch.float64)
    for at in range(20):
        state = step(state, x[0, at])
    torch.testing.assert_close(state, torch.cat([part.flatten() for part in module(x)[1]]), rtol=1e-10, atol=1e-12)


def test_a_direction_that_rounding_loses_has_no_truth(tmp_path, monkeypatch):
    monkeypatch.setattr(reference, "PATH", tmp_path / "truths.json")
    rates = torch.tensor([0.5, 0.0], dtype=torch.float64)
    lost = partial(reference.driven, lambda s, x: rates * s + 0 * x, 2, 1, chains=2, burn=1, count=3)
    monkeypatch.setattr(reference, "recipes", lambda: {"lost": lost})
    reference.make("lost")
    found = reference.truths({"lost", "unknown"})["lost"]
    assert found.exponents[0] == pytest.approx(math.log(0.5))
    assert math.isnan(found.exponents[1])
    assert math.isnan(found.mean)


def test_a_circular_text_is_counted_once_as_a_whole():
    symbols = torch.tensor([0, 1, 1, 0, 1] * 8)

    def step(state, x):
        return state * torch.exp(x @ torch.tensor([-1.0, 0.5], dtype=torch.float64))

    found = reference.along_text(step, symbols, (1, 2), chains=4, burn=6, digest="")
    assert found.exponents == pytest.approx([(-1.0 * 2 + 0.5 * 3) / 5])
    assert found.errors == pytest.approx([0.0], abs=1e-12)


def test_a_run_that_was_killed_goes_on(tmp_path):
    cell, rows = CHEAP[systems.gaussian], kept.Rows(tmp_path)
    row = {"cell": cell.name, "seed": kept.FIRST_SEED}
    rows.add(cell, row)
    with rows.path(cell).open("a") as file:
        file.write('{"cell": "Gau')
    assert rows.missing(cell, 3) == [kept.FIRST_SEED + 1, kept.FIRST_SEED + 2]
    rows.add(cell, {**row, "seed": kept.FIRST_SEED + 1})
    assert rows.of(cell) == [row, {**row, "seed": kept.FIRST_SEED + 1}]


def test_rows_of_another_version_are_refused(tmp_path):
    rows = kept.Rows(tmp_path)
    rows.claim()
    rows.claim()
    (tmp_path / "version.txt").write_text("another\n")
    with pytest.raises(SystemExit, match="--fresh"):
        rows.claim()
