"""The trial of published packages: its reference is right, a wrong model is seen, and the table is that of the record."""

import json
import math
import sys
from importlib import import_module
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import torch
from torch import nn

import lyapunov

sys.path.append(str(Path(__file__).parents[2] / "benchmarks"))  # at the end: its coverage.py is not the package of that name

import _dense as dense
import strangers

RECORD = json.loads(strangers.RECORD.read_text())


@pytest.fixture(autouse=True)
def _drawn_apart():
    with torch.random.fork_rng():
        torch.manual_seed(0)
        yield


@pytest.fixture
def package(monkeypatch):
    """A package that is always installed: a GRU of PyTorch."""
    case = ModuleType("published.always_there")
    case.PACKAGE, case.WHAT, case.HOW, case.K = "torch", "`nn.GRU`", "the layer", 3
    case.prepared = lambda: (nn.GRU(2, 6, num_layers=2, batch_first=True), torch.randn(2, 60, 2))
    case.handed_over = lambda gru, x, **settings: lyapunov.spectrum(gru, x, **settings)
    case.reference = dense.stacked
    monkeypatch.setitem(sys.modules, case.__name__, case)
    monkeypatch.setattr(strangers, "lines", lambda _: 1)
    return case


def test_the_reference_has_the_exponents_of_a_linear_map() -> None:
    rates = torch.tensor([-0.2, -0.9, -1.4], dtype=torch.float64)
    turn = torch.linalg.qr(torch.randn(3, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(1)))[0]
    matrix = turn @ torch.diag(rates.exp()) @ turn.mT
    part = dense.Dense(lambda s, x: matrix @ s + x, torch.zeros(1, 3), [torch.ones(200, 3, dtype=torch.float64)])
    found = dense.exponents([dense.growth(part, np.eye(3)[None], 10)], 100, 3)
    assert found == pytest.approx(rates.tolist(), abs=1e-9)


@pytest.mark.parametrize("kind", [nn.LSTM, nn.GRU])
def test_the_reference_of_a_layer_goes_where_the_layer_goes(kind) -> None:
    module, inputs = kind(3, 5, num_layers=2, batch_first=True).double(), torch.randn(2, 20, 3, dtype=torch.float64)
    ends = module(inputs)[1]
    for layer, part in enumerate(dense.stacked(module, inputs)):
        for row in range(2):
            own = torch.cat([end[layer, row] for end in (ends if isinstance(ends, tuple) else (ends,))])
            torch.testing.assert_close(dense.run(part.step, part.state[row].double(), part.inputs[row])[-1], own)


def test_a_package_that_is_handed_over_rightly_agrees(package) -> None:
    entry = strangers.tried("always_there")
    assert strangers.agrees(entry)
    assert (entry["k"], entry["size"], entry["refusal"]) == (3, 12, "")
    assert abs(entry["exponent"] - entry["reference"]) < 5 * entry["error"]


def test_a_package_whose_step_is_another_does_not_agree(package) -> None:
    package.handed_over = lambda gru, x, **settings: lyapunov.spectrum(gru, 2 * x, **settings)
    assert not strangers.agrees(strangers.tried("always_there"))


def test_what_is_refused_first_is_kept_and_what_is_not_stops_the_trial(package) -> None:
    package.refused = lambda gru, x: lyapunov.spectrum(gru, x[..., :1])
    assert strangers.tried("always_there")["refusal"].startswith("Expected")
    package.refused = lambda gru, x: lyapunov.spectrum(gru, x, k=1)
    with pytest.raises(SystemExit, match="no longer refused"):
        strangers.tried("always_there")


def test_a_difference_counts_missing_exponents_and_directions_that_collapse() -> None:
    assert strangers.difference([-1.0, -math.inf], [-1.5, -math.inf]) == 0.5
    assert strangers.difference([-1.0], [-1.0, -2.0]) == math.inf
    assert strangers.difference([-math.inf], [-1.0]) == math.inf


def test_the_page_is_that_of_the_record_and_the_record_that_of_the_files() -> None:
    assert strangers.page(RECORD) == strangers.PAGE.read_text()
    assert sorted(RECORD) == strangers.names()
    pins = strangers.PAGE.parents[1] / "benchmarks/strangers.txt"
    for name, entry in RECORD.items():
        case = import_module(f"published.{name}")
        assert f"{entry['package']}=={entry['version']}" in pins.read_text().splitlines()
        assert (entry["package"], entry["lines"]) == (case.PACKAGE, strangers.lines(name))
        assert bool(entry["refusal"]) == bool(entry["remedy"]) == hasattr(case, "refused")


def test_every_package_agrees_and_there_are_at_least_twenty() -> None:
    agreeing = [entry for entry in RECORD.values() if strangers.agrees(entry)]
    assert len(agreeing) == len(RECORD) >= 20
