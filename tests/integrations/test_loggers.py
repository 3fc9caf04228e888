"""Sinks say to a tracker what they are told, and nothing else. (Each tracker itself: tests/trackers.)"""

import ast
import sys
import types
from pathlib import Path
from types import SimpleNamespace

import pytest

import lyapunov
from lyapunov import integrations

NUMBERS = {"lyapunov/max": -0.5, "lyapunov/memory": 2.0}


class Recorder:
    """Notes every call of every method."""

    def __init__(self) -> None:
        self.calls = []

    def __getattr__(self, name):
        return lambda *args, **kwargs: self.calls.append((name, args, kwargs))


def test_tensorboard_is_told_each_number_and_flushed() -> None:
    writer = Recorder()
    integrations.tensorboard(writer)(7, NUMBERS)
    assert writer.calls == [
        ("add_scalar", ("lyapunov/max", -0.5, 7), {}),
        ("add_scalar", ("lyapunov/memory", 2.0, 7), {}),
        ("flush", (), {}),
    ]


def test_wandb_has_a_step_axis_of_our_own() -> None:
    run = Recorder()
    sink = integrations.wandb(run)
    sink(7, NUMBERS)
    assert run.calls == [
        ("define_metric", ("lyapunov/step",), {}),
        ("define_metric", ("lyapunov/*",), {"step_metric": "lyapunov/step"}),
        ("log", ({**NUMBERS, "lyapunov/step": 7},), {}),
    ]


def test_mlflow_logs_to_the_run_that_was_chosen(monkeypatch) -> None:
    package, calls = types.ModuleType("mlflow"), Recorder()
    package.active_run = lambda: None
    package.log_metrics = calls.log_metrics
    monkeypatch.setitem(sys.modules, "mlflow", package)
    with pytest.raises(lyapunov.InvalidInput, match=r"active MLflow run.*mlflow.start_run\(\)"):
        integrations.mlflow()
    integrations.mlflow("abc")(7, NUMBERS)
    package.active_run = lambda: SimpleNamespace(info=SimpleNamespace(run_id="now"))
    sink = integrations.mlflow()
    package.active_run = lambda: None
    sink(8, NUMBERS)
    assert [(args, kwargs) for _, args, kwargs in calls.calls] == [
        ((NUMBERS,), {"step": 7, "run_id": "abc"}),
        ((NUMBERS,), {"step": 8, "run_id": "now"}),
    ]


def test_trackio_logs_with_the_step() -> None:
    run = Recorder()
    integrations.trackio(run)(7, NUMBERS)
    assert run.calls == [("log", (NUMBERS,), {"step": 7})]


def test_adapters_are_small() -> None:
    for name in ("lightning", "transformers"):
        source = Path(integrations.__file__).with_name(f"{name}.py").read_text()
        body = next(node for node in ast.parse(source).body if isinstance(node, ast.FunctionDef))
        assert body.end_lineno - body.lineno < 45
