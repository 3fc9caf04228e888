"""Cells of any recipe against dense references; statistics on data whose answer is known; predictions that came first."""

import json
import math
import random
import shutil
import subprocess
from datetime import datetime
from hashlib import sha256
from pathlib import Path

import numpy as np
import pytest
import torch
from experiments.cells import opponents, readouts, search
from experiments.cells.chapter import marks
from experiments.cells.compiled import CompiledNetwork
from experiments.cells.confirmation import SIGNALS, confirmed, trained
from experiments.cells.grammar import fresh
from experiments.cells.layer import CellLayer
from experiments.cells.measure import fresh_cells
from experiments.cells.network import CellNetwork, layers_of, system_of
from experiments.cells.readouts import CHANGED, _directions, _outputs, dimension_numbers, reach
from experiments.cells.recipes import Recipe
from experiments.cells.regression import cross_validated, fitted, folds, ranks
from experiments.cells.search import outcome
from experiments.cells.training import MEASURED_AT, Copy, work
from experiments.cells.use import Found, Pool, alone_count, budget_of, cost_of, found_by, halved
from experiments.cells.variants import variants
from experiments.commands import RECORDED
from experiments.records import append, known, shared
from scipy.stats import spearmanr

import lyapunov
from lyapunov.systems.system import jacobians

TWENTY = [one.recipe for one in fresh_cells()[:20]]
WIDTH = 6
needs_compiler = pytest.mark.skipif(shutil.which("cc") is None, reason="no C compiler")


def networks(recipe: Recipe, *seeds: int, width: int = WIDTH) -> list[CellNetwork]:
    return [CellNetwork(recipe, width, 9, 9, seed=seed) for seed in seeds]


def somewhere(layers: list[CellLayer], batch: int) -> tuple[tuple[torch.Tensor, ...], ...]:
    source = torch.Generator().manual_seed(1)
    return tuple(
        tuple(
            torch.randn(batch, layer.output_size, generator=source, dtype=torch.float64) / 2 for _ in range(layer.recipe.states)
        )
        for layer in layers
    )


@pytest.mark.parametrize("at", range(20))
def test_jacobians_of_a_recipe_are_those_of_reverse_mode(at: int) -> None:
    system = system_of(networks(TWENTY[at], 0))
    state, x = (
        somewhere(list(system.layers), 1),
        torch.randn(1, WIDTH, dtype=torch.float64, generator=torch.Generator().manual_seed(2)),
    )
    _, found = jacobians(system, state, x)
    for depth, layer in enumerate(system.layers):
        own, driven = state[depth], x if depth == 0 else system.step(state, x)[depth - 1][0]
        dense = torch.func.jacrev(
            lambda v, layer=layer, driven=driven: layer.vectors(layer.step(layer.with_vectors((), (v,)), driven))[0][0]
        )(*layer.vectors(own))[:, 0]
        torch.testing.assert_close(found[depth][0], dense)
        eye = torch.eye(len(dense), dtype=torch.float64)[None]
        tangent = layer.linearize(own, driven)[1]
        torch.testing.assert_close(tangent.pull_back(eye)[0], dense.mT)
        to_input = torch.func.jacrev(lambda given, layer=layer, own=own: layer.vectors(layer.step(own, given))[0][0])(driven)[
            :, 0
        ]
        torch.testing.assert_close(tangent.pull_to_input(eye)[0], to_input.mT)


@pytest.mark.parametrize("at", range(0, 20, 4))
def test_exponents_of_a_recipe_are_those_of_the_dense_product(at: int) -> None:
    layer = layers_of(networks(TWENTY[at], 0))[0]
    inputs = torch.randn(1, 60, WIDTH, dtype=torch.float64, generator=torch.Generator().manual_seed(3))
    spectrum = lyapunov.spectrum(layer, inputs, k=2, settle=0, align=20, progress=False)
    state, frame, total = layer.initial_state(1, inputs), spectrum_frame(layer), torch.zeros(2, dtype=torch.float64)
    for step, x in enumerate(inputs.unbind(1)):
        new = layer.step(state, x)
        dense = torch.func.jacrev(lambda v, x=x: layer.vectors(layer.step(layer.with_vectors((), (v,)), x))[0][0])(
            *layer.vectors(state)
        )[:, 0]
        frame, upper = torch.linalg.qr(dense @ frame)
        total += upper.diagonal().abs().log() * (step >= 20)
        state = new
    torch.testing.assert_close(spectrum.exponents, (total / 40).sort(descending=True).values, atol=0.02, rtol=0.02)


def spectrum_frame(layer: CellLayer) -> torch.Tensor:
    return torch.linalg.qr(torch.randn(*layer.block_sizes, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(4)))[
        0
    ]


def test_networks_side_by_side_are_the_networks_one_by_one() -> None:
    for recipe in TWENTY[:2]:
        together = layers_of(networks(recipe, 0, 1, 2))[0]
        inputs = torch.randn(3, 50, WIDTH, dtype=torch.float64, generator=torch.Generator().manual_seed(5))
        both = lyapunov.spectrum(together, inputs, k=1, settle=0, align=20, progress=False)
        for at in range(3):
            alone = lyapunov.spectrum(
                layers_of(networks(recipe, at))[0], inputs[at : at + 1], k=1, settle=0, align=20, progress=False
            )
            torch.testing.assert_close(both.per_sequence[at], alone.exponents, atol=0.02, rtol=0.02)  # other first frames


def test_a_network_and_its_system_take_the_same_steps() -> None:
    for recipe in TWENTY[:4]:
        network = networks(recipe, 0)[0]
        symbols = torch.arange(9)[None]
        outputs, _ = network(symbols)
        seen, _ = _outputs(layers_of([network]), network.embedding.detach()[symbols])
        torch.testing.assert_close(seen[-1] @ network.readout.detach().mT + network.bias.detach(), outputs.detach())


def test_reach_is_that_of_reverse_mode() -> None:
    for recipe in TWENTY[:2]:
        built = networks(recipe, 0, 1)
        layers = layers_of(built)
        inputs = torch.randn(2, CHANGED + 40, WIDTH, dtype=torch.float64, generator=torch.Generator().manual_seed(6)) / 10
        _, states = _outputs(layers, inputs)
        found = reach(layers, inputs, states, (0, 1))
        for at, network in enumerate(built):
            alone = layers_of([network])

            before, after = inputs[at : at + 1, :CHANGED], inputs[at : at + 1, CHANGED + 1 :]

            def top(changed: torch.Tensor, alone=alone, before=before, after=after) -> torch.Tensor:
                return _outputs(alone, torch.cat([before, changed[None, None], after], dim=1))[0][-1][0, CHANGED:]

            dense = torch.func.jacrev(top)(inputs[at, CHANGED])
            for lag in (0, 1, 5, 30):
                moved = (dense[lag] @ _directions(at, WIDTH)).norm() / 2
                expected = math.log(moved) if moved > 0 else -math.inf
                assert found[at, lag] == pytest.approx(expected, rel=1e-6)


def test_the_same_graph_has_the_same_structure_whatever_its_names() -> None:
    source = random.Random(0)
    for recipe in TWENTY:
        written = recipe.written()
        names = [name for name in written if name.startswith("node")]
        others = dict(zip(names, source.sample([f"other_{at}" for at in range(len(names))], len(names)), strict=True))
        if recipe.states > 2:
            others |= {"h_new_1": "h_new_2", "h_new_2": "h_new_1", "h_prev_1": "h_prev_2", "h_prev_2": "h_prev_1"}
        renamed = {
            others.get(name, name): {"op": node["op"], "input": [others.get(one, one) for one in node["input"]]}
            for name, node in source.sample(list(written.items()), len(written))
        }
        assert Recipe.of(renamed).structure == recipe.structure
    assert len({recipe.structure for recipe in TWENTY}) == 20


def test_the_order_of_a_blend_and_shared_weights_are_part_of_the_structure() -> None:
    gru = variants()["gru"].written()
    turned = {**gru, "h_new_0": {"op": "blend", "input": ["forget_act", "candidate_act", "h_prev_0"]}}
    assert Recipe.of(turned).structure != Recipe.of(gru).structure
    linear = {"op": "linear", "input": ["x", "h_prev_0"]}
    shared = {"a": linear, "b": {"op": "activation_tanh", "input": ["a"]}, "c": {"op": "activation_sigm", "input": ["a"]}}
    apart = {
        "a": linear,
        "d": linear,
        "b": {"op": "activation_tanh", "input": ["a"]},
        "c": {"op": "activation_sigm", "input": ["d"]},
    }
    product = {"h_new_0": {"op": "elementwise_prod", "input": ["b", "c"]}}
    assert Recipe.of({**shared, **product}).structure != Recipe.of({**apart, **product}).structure


def test_a_recipe_with_a_cycle_is_refused() -> None:
    with pytest.raises(lyapunov.InvalidInput, match="graph without cycles"):
        Recipe.of({"h_new_0": {"op": "activation_tanh", "input": ["a"]}, "a": {"op": "linear", "input": ["h_new_0", "x"]}})


def test_fresh_cells_are_new_and_have_the_sizes_of_those_they_are_like() -> None:
    like = [recipe for recipe in TWENTY if len(recipe.nodes) <= 6]
    drawn = fresh(like, 10, seed=1)
    assert [one.structure for one in drawn] == [one.structure for one in fresh(like, 10, seed=1)]
    assert not {one.structure for one in drawn} & {one.structure for one in like}
    assert {(one.states, len(one.nodes)) for one in drawn} <= {(one.states, len(one.nodes)) for one in like}
    for recipe in drawn:
        reads = {node.name: node.inputs for node in recipe.nodes}
        assert {"x", *(f"h_prev_{at}" for at in range(recipe.states))} <= {name for own in reads.values() for name in own}
        assert not any(name.startswith("h_prev") for at in range(recipe.states) for name in reads[f"h_new_{at}"])


@needs_compiler
@pytest.mark.parametrize("continuous", [False, True])
def test_the_compiled_trainer_has_the_gradients_of_pytorch(continuous: bool) -> None:
    source = np.random.default_rng(0)
    for recipe in [*TWENTY[:6], *variants().values()]:
        network = CellNetwork(recipe, 16, 3 if continuous else 11, 2 if continuous else 11, seed=1, continuous=continuous)
        compiled = CompiledNetwork(network, squares=continuous)
        if continuous:
            inputs, targets = source.normal(size=(7, 5, 3)).astype("f"), source.normal(size=(7, 5, 2)).astype("f")
            targets[:3] = np.nan
            outputs, _ = network(torch.tensor(inputs).transpose(0, 1))
            loss = (outputs - torch.tensor(targets).transpose(0, 1))[:, 3:].square().mean()
        else:
            inputs, targets = source.integers(11, size=(7, 5)), source.integers(11, size=(7, 5))
            targets[:2] = -1
            outputs, _ = network(torch.tensor(inputs).mT)
            loss = torch.nn.functional.cross_entropy(outputs[:, 2:].flatten(0, 1), torch.tensor(targets).mT[:, 2:].flatten())
        loss.backward()
        order = [
            network.embedding,
            *(one for cell in network.cells for one in cell.parameters()),
            network.readout,
            network.bias,
        ]
        expected = torch.cat([(torch.zeros_like(one) if one.grad is None else one.grad).flatten() for one in order]).numpy()
        assert compiled.loss(inputs, targets, compiled.states(5), learn=True) == pytest.approx(float(loss.detach()), rel=1e-5)
        np.testing.assert_allclose(compiled.gradient, expected, atol=2e-6 * np.abs(expected).max())


@needs_compiler
def test_the_compiled_trainer_steps_as_adam_does_and_carries_the_state() -> None:
    network = CellNetwork(TWENTY[1], 16, 8, 8, seed=1)
    compiled, states, carried = CompiledNetwork(network), None, None
    optimizer = torch.optim.Adam(network.parameters(), lr=0.01)
    carried = compiled.states(4)
    windows = Copy()._drawn(np.random.default_rng(0), 4, 6, 3)
    for inputs, targets in windows:
        outputs, new = network(torch.tensor(inputs).mT.long(), states)
        states = [tuple(one.detach() for one in own) for own in new]
        loss = torch.nn.functional.cross_entropy(
            outputs.flatten(0, 1), torch.tensor(targets).mT.flatten().long(), ignore_index=-1
        )
        optimizer.zero_grad()
        if torch.isfinite(loss):
            loss.backward()
            torch.nn.utils.clip_grad_norm_(network.parameters(), 0.05)
            optimizer.step()
            assert compiled.loss(inputs, targets, carried, learn=True) == pytest.approx(float(loss.detach()), rel=1e-4)
            compiled.update(0.01, 0.05)
        else:
            compiled.loss(inputs, targets, carried)


def test_the_copy_task_asks_for_the_symbol_of_some_steps_ago() -> None:
    drawn = list(Copy()._drawn(np.random.default_rng(0), 2, 12, 3))
    inputs, targets = (np.concatenate(part) for part in zip(*drawn, strict=True))
    assert (targets[10:] == inputs[:-10]).all()
    assert (targets[:10] == -1).all()


def test_regressors_find_what_is_there_and_nothing_in_noise() -> None:
    source = np.random.default_rng(0)
    features = source.normal(size=(200, 3))
    losses = features[:, 0] + features[:, 1] ** 2 + 0.1 * source.normal(size=200)
    structures = [str(at // 2) for at in range(200)]
    found = cross_validated(features, losses, structures)
    assert spearmanr(found["quadratic ridge"], losses)[0] > 0.9
    assert spearmanr(found["nearest neighbours"], losses)[0] > 0.7
    assert abs(spearmanr(cross_validated(source.normal(size=(200, 3)), losses, structures)["both"], losses)[0]) < 0.25
    assert spearmanr(fitted(features[:150], losses[:150], features[150:], structures[:150])["both"], losses[150:])[0] > 0.8


def test_isomorphic_cells_are_never_split_and_what_failed_is_worst() -> None:
    structures = [str(at % 37) for at in range(100)]
    held = folds(structures)
    assert np.sum(held, axis=0).tolist() == [1] * 100
    for mask in held:
        assert not {one for one, out in zip(structures, mask, strict=True) if out} & {
            one for one, out in zip(structures, mask, strict=True) if not out
        }
    assert ranks(np.array([2.0, np.inf, 1.0, np.inf])).tolist() == [1 / 3, 2.5 / 3, 0.0, 2.5 / 3]


FRACTIONS = (1 / 27, 1 / 9, 1 / 3, 1.0)


def test_halving_keeps_the_best_third_and_costs_what_it_trains() -> None:
    rungs = np.array([[float(at)] * 4 for at in range(27)])
    assert halved(rungs, np.arange(27)[::-1]) == 0
    assert cost_of(27, FRACTIONS) == pytest.approx(1 + 9 * 2 / 27 + 3 * 6 / 27 + 18 / 27)


def test_a_perfect_screen_saves_regret_and_one_that_costs_much_does_not() -> None:
    source = np.random.default_rng(0)
    final = source.permutation(300) / 299
    rungs = np.column_stack([final + 0.3 * source.normal(size=300), final, final, final])

    def mean(predicted: np.ndarray, screen: float) -> np.ndarray:
        pool = Pool("toy", rungs, final, predicted, np.arange(300.0), screen, FRACTIONS)
        count = alone_count(pool)
        assert count == 27 if screen == 0 else count > 50
        found = [found_by(pool, np.random.default_rng(at).permutation(300)) for at in range(40)]
        return np.mean(final[np.array(found)], axis=0)

    screened, alone, early, drawn = mean(final, 0.0)
    assert screened < alone - 0.01
    assert alone < min(early, drawn)
    screened, alone, *_ = mean(source.normal(size=300), 0.05)
    assert screened > alone + 0.005


def test_simpler_searches_spend_what_the_screen_spends() -> None:
    final = np.arange(300) / 299
    pool = Pool("toy", np.column_stack([final] * 4), final, final, np.arange(300.0), 0.0, FRACTIONS)
    assert budget_of(pool) == pytest.approx(cost_of(27, FRACTIONS))
    found = found_by(pool, np.arange(300)[::-1])
    assert found.random == 297  # three whole trainings
    assert found.early == 299 - int((budget_of(pool) - 1) * 27 + 1e-6)


def test_rows_survive_a_kill_in_the_middle_of_a_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    file = tmp_path / "rows.csv"
    append(file, [{"cell": "a", "loss": 1.5}])
    append(file, [{"cell": "b", "loss": 2.5}])
    file.write_bytes(file.read_bytes() + b"c,2")
    assert [row["cell"] for row in known(file)] == ["a", "b"]
    append(file, [{"cell": "c", "loss": math.inf}])
    assert [row["loss"] for row in known(file)] == ["1.5", "2.5", "inf"]
    with pytest.raises(lyapunov.InvalidInput, match="Expected rows with the columns"):
        append(file, [{"cell": "c", "other": 1.0}])


def test_processes_share_the_work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What one of them works on is claimed, and what has a row is done."""
    monkeypatch.chdir(tmp_path)
    file, wanted = tmp_path / "rows.csv", {(name,): name for name in "abc"}
    one = shared(file, wanted, ("cell",))
    assert next(one) == "a"
    other = shared(file, wanted, ("cell",))
    assert next(other) == "b"
    append(file, [{"cell": "b"}])
    assert next(one) == "c"
    append(file, [{"cell": "a"}, {"cell": "c"}])
    assert list(other) == list(one) == list(shared(file, wanted, ("cell",))) == []


def test_first_come_the_cells_of_the_mark_then_those_of_a_second_seed() -> None:
    cells = fresh_cells()
    order = [(one.cell, seed) for one, seed in work("text", cells)]
    assert len(order) == len(set(order)) == len(cells) + 40
    assert order[:126] == [(one.cell, 0) for one in cells[:126]]
    assert sum(not name.startswith("variant") for name, _ in order[:126]) == 120
    assert order[126:166] == [(one.cell, 1) for one in cells[:40]]


def test_a_cell_that_broke_is_worst_and_predictions_are_taken_as_they_were(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    told, came = tmp_path / "told.csv", tmp_path / "came.csv"
    cells = [f"fresh-{at:03d}" for at in range(40)] + ["variant-gru"]
    scores = {name: float(at) for at, name in enumerate(cells)}
    append(told, [{"cell": name, **dict.fromkeys(SIGNALS, scores[name])} for name in cells])
    for name in cells:
        losses = {
            f"loss_{at}": (math.inf if name == "fresh-039" and at > 30 else 1 + scores[name] + 1 / at) for at in MEASURED_AT
        }
        append(came, [{"task": "text", "cell": name, "seed": 0, **losses}])
    monkeypatch.setattr("experiments.cells.confirmation.results_in", lambda name: tmp_path / name)
    found = trained("text", 0, came, told)
    assert found.best[39] == np.inf
    assert found.best[3] == pytest.approx(4 + 1 / 1500)
    assert len(found.random.names) == 40
    assert confirmed(found.random)[0].value == pytest.approx(1.0)


@pytest.mark.parametrize(
    ("low", "given_low", "cells", "verdict"), [(0.31, 0.01, 120, True), (0.29, 0.2, 250, False), (0.5, 0.2, 119, None)]
)
def test_a_mark_is_reached_by_its_interval_and_only_with_enough_cells(
    low, given_low, cells, verdict, tmp_path, monkeypatch
) -> None:
    monkeypatch.chdir(tmp_path)
    row = {
        "task": "text",
        "cells": cells,
        "which": "random cells",
        "prediction": "both",
        "alone": 0.55,
        "low": low,
        "high": 0.7,
    }
    append(tmp_path / "cells-confirmation.csv", [{**row, "given_early": 0.3, "given_low": given_low, "given_high": 0.5}])
    found = marks(tmp_path)
    assert [mark.reached for mark in found] == [None, None, verdict, None]
    assert found[0].verdict == "not measured"


def test_what_the_page_says_of_the_benchmark_holds() -> None:
    rows = {row["set"]: row for row in known(RECORDED / opponents.NAME)}
    own, first = rows[opponents.PRIMARY], rows[opponents.FIRST]
    reproduced, held_out = marks()[:2]
    assert reproduced.reached is False
    assert float(own["both"]) < opponents.LEAST < float(own["nearest_neighbours"])
    assert float(own["quadratic_ridge"]) < 0.4
    assert float(own["bounded"]) > opponents.LEAST
    with_exponents = rows["reach and exponents (S7)"]
    known_before = (opponents.PRIMARY, "weak hold-out, R3", with_exponents["set"])
    before = [name for name in rows if "loss after" not in name and name not in known_before]
    assert len(before) >= 21
    assert all(float(rows[name]["ahead"]) > 0 for name in before)
    unclear = {name for name in before if float(rows[name]["ahead_low"]) <= 0}
    assert unclear == {opponents.GRADIENT, "largest exponents alone"}
    assert float(with_exponents["ahead_high"]) < 0
    assert abs(float(rows["largest exponents alone"]["both"]) - float(rows[opponents.PROXIES]["both"])) < 0.05
    assert float(rows["Kaplan-Yorke dimensions"]["low"]) < 0 < float(rows["Kaplan-Yorke dimensions"]["high"])
    assert float(rows["reach (R3) of 160 units"]["ahead_low"]) > 0
    assert float(own["boosted_trees"]) > max(float(own["nearest_neighbours"]), float(own["quadratic_ridge"]), 0.78)
    assert float(own["boosted_trees"]) >= float(first["boosted_trees"])
    assert float(rows["loss after epoch 1 and S7"]["ahead"]) > float(rows["loss after epoch 1 and R3"]["ahead"])
    assert float(rows[opponents.PROXIES]["ahead_low"]) < 0.05
    assert float(first["ahead"]) < 0 < float(first["ahead_high"])
    assert float(rows["loss after epoch 1 and R3"]["ahead_low"]) > 0
    assert float(rows["loss after epoch 1 and twelve proxies"]["ahead_high"]) < 0
    assert held_out.reached


def test_what_the_page_says_of_fresh_cells_holds() -> None:
    rows = [row for row in known(RECORDED / "cells-confirmation.csv") if row["task"] == "text"]
    random_cells = {row["prediction"]: row for row in rows if row["which"] == "random cells"}
    own = random_cells["both"]
    third, fourth = marks()[2:]
    assert third.reached is False
    assert int(own["cells"]) >= 120
    assert 0 < float(own["low"]) < 0.15
    assert float(own["given_low"]) < 0 < float(own["given_high"])
    assert float(own["early_low"]) > float(own["high"])
    assert int(own["broken"]) > int(own["cells"]) / 3
    assert all(float(row["low"]) < 0.3 for row in random_cells.values())
    for which in ("further random cells", "all random cells"):
        later = next(row for row in rows if row["which"] == which and row["prediction"] == "both")
        assert 0 < float(later["low"]) < 0.3
        assert float(later["given_low"]) < 0 < float(later["given_high"])
    bounded = next(row for row in rows if row["which"] == "further random cells" and row["prediction"] == "bounded ridge")
    assert float(bounded["low"]) < 0 < float(bounded["high"])
    assert float(random_cells["bounded ridge"]["alone"]) > float(own["alone"])
    (same,) = [row for row in rows if row["which"] == "two seeds"]
    assert float(same["low"]) > 0.9
    assert int(same["cells"]) == 40
    assert fourth.reached is False


def test_what_the_page_says_of_the_second_task_holds() -> None:
    rows = [row for row in known(RECORDED / "cells-confirmation.csv") if row["task"] == "copy"]
    assert all(float(row["low"]) < 0 < float(row["high"]) for row in rows)


def test_what_the_page_says_of_the_use_holds() -> None:
    rows = {row["pool"]: row for row in known(RECORDED / "cells-use.csv")}
    for name in ("benchmark", "fresh", "both"):
        assert float(rows[name]["low"]) < 0 < float(rows[name]["high"])
    assert float(rows["all fresh"]["high"]) < 0
    assert float(rows["benchmark"]["screen_cost"]) < 1e-3
    assert float(rows["fresh"]["screen_cost"]) > 0.05
    costs = {name: float(rows["all fresh"][f"tenth_{name}"]) for name in Found._fields}
    assert min(costs, key=lambda name: costs[name]) == "alone"


def test_what_the_page_says_of_the_one_search_holds() -> None:
    rows = known(RECORDED / search.NAME)
    found = outcome(rows, search.pool_of(rows))
    assert found["alone"][1] == 0
    assert 0 < found["screened"][1] < 0.1
    assert 0 < found["early"][1] < 0.1
    assert 0.4 < found["random"][1] < 0.6


def test_nothing_grows_in_most_untrained_cells() -> None:
    rows = known(RECORDED / "cells-benchmark-dimension-40.csv")
    growing = {row["cell"] for row in rows if any(float(row[f"dimension_{depth}"]) > 0 for depth in range(3))}
    assert len(growing) < len({row["cell"] for row in rows}) / 10


def test_the_committed_confirmation_is_that_of_the_committed_rows() -> None:
    row = next(row for row in known(RECORDED / "cells-confirmation.csv") if row["which"] == "random cells")
    found = trained("text", 0, RECORDED / "cells-training.csv", RECORDED / "cells-predictions.csv").first.random
    assert spearmanr(found.predicted["both"], found.best)[0] == pytest.approx(float(row["alone"]), abs=1e-4)
    assert len(found.names) == int(row["cells"])


@pytest.mark.parametrize("name", [opponents.PRIMARY, opponents.FIRST, "parameters"])
def test_the_committed_correlations_are_those_of_the_committed_readouts(name: str) -> None:
    known_cells, _ = opponents.split()
    target, features = known_cells.columns["best"], opponents.sets(known_cells)[name]
    row = next(row for row in known(RECORDED / opponents.NAME) if row["set"] == name)
    found = cross_validated(features, target, known_cells.structures)
    assert spearmanr(found["both"], target)[0] == pytest.approx(float(row["both"]), abs=2e-3)
    assert (int(row["cells"]), int(row["structures"])) == (271, 213)


def rows_of_training() -> list[dict[str, str]]:
    return known(RECORDED / "cells-training.csv")


@pytest.mark.skipif(not (RECORDED / "cells-training.csv").exists(), reason="no fresh cell has been trained")
def test_every_row_was_trained_after_the_predictions_that_stand_there() -> None:
    told = RECORDED / "cells-predictions.csv"
    assert {row["predictions"] for row in rows_of_training()} == {sha256(told.read_bytes()).hexdigest()[:16]}
    assert {row["cell"] for row in rows_of_training()} <= {row["cell"] for row in known(told)}
    assert {row["cell"] for row in known(told)} == set(json.loads((RECORDED / "cells-fresh.json").read_text()))


def git(*asked: str) -> str:
    return subprocess.run(["git", "-C", str(RECORDED), *asked], capture_output=True, text=True, check=False).stdout.strip()


@pytest.mark.skipif(not (RECORDED / "cells-training.csv").exists(), reason="no fresh cell has been trained")
def test_predictions_were_committed_before_the_first_row() -> None:
    for commit in {row["commit"] for row in rows_of_training()}:
        if not git("cat-file", "-t", commit):
            pytest.skip("the history is not there")
        assert git("rev-parse", f"{commit}:./cells-predictions.csv") == git("hash-object", "cells-predictions.csv")
        first = git("log", "--format=%cI", "-1", commit)
        assert all(
            datetime.fromisoformat(row["began"]) >= datetime.fromisoformat(first)
            for row in rows_of_training()
            if row["commit"] == commit
        )
    earliest = min(rows_of_training(), key=lambda row: row["began"])["commit"]
    assert not git("ls-tree", "--name-only", earliest, "cells-training.csv")


def test_a_layer_that_forgets_has_no_dimension_and_one_that_grows_has_its_whole() -> None:
    recipe = next(one for name, one in variants().items() if name == "rnn")
    contracting = dimension_numbers(recipe, 16, (0,))[0]
    assert [contracting[f"dimension_{depth}"] for depth in range(3)] == [0, 0, 0]
    (layer,) = layers_of(networks(recipe, 0))[:1]
    large = CellLayer(
        recipe, {name: type(own)(tuple(9 * w for w in own.weights), own.bias) for name, own in layer.weights.items()}, 0
    )
    inputs = torch.randn(1, 170, WIDTH, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    (chaotic,) = readouts.dimensions(large, inputs / 10)
    assert 0 < chaotic <= 1
