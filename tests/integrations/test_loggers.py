"""Sinks say to a tracker what they are told, and nothing else. (Each tracker itself: tests/trackers.)"""

import ast
import sys
import types
from pathlib import Path
from types import SimpleNamespace

import pytest
from torch import nn

import lyapunov
from cases import drawn, seeded
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


TEXTS = {"lyapunov/verdict": "too short: about 40 would do."}


def test_trackers_that_take_words_are_told_the_verdict(monkeypatch) -> None:
    package, calls = types.ModuleType("mlflow"), Recorder()
    package.log_metrics, package.MlflowClient = calls.log_metrics, lambda: calls
    monkeypatch.setitem(sys.modules, "mlflow", package)
    writer, run = Recorder(), Recorder()
    sinks = (integrations.tensorboard(writer), integrations.mlflow("abc"), integrations.trackio(run), integrations.wandb(run))
    for sink in sinks:
        assert sink.takes_texts
        sink(7, NUMBERS, TEXTS)
    assert ("add_text", ("lyapunov/verdict", TEXTS["lyapunov/verdict"], 7), {}) in writer.calls
    assert calls.calls[-1] == ("set_tag", ("abc", "lyapunov/verdict", TEXTS["lyapunov/verdict"]), {})
    logged = [args[0] for name, args, _ in run.calls if name == "log"]
    assert logged == [{**NUMBERS, **TEXTS}, {**NUMBERS, **TEXTS, "lyapunov/step": 7}]


def test_a_monitor_tells_words_to_those_who_take_them(tmp_path) -> None:
    run, plain = Recorder(), []
    sinks = [integrations.trackio(run), lambda *reported: plain.append(reported)]
    module, probe = seeded(nn.GRU, 3, 4, batch_first=True), drawn(4, 20, 3, seed=1)
    reading = lyapunov.Monitor(module, probe, k=2, directory=tmp_path, sinks=sinks).observe(0)
    (reported,) = [args[0] for _, args, _ in run.calls]
    assert reported["lyapunov/verdict"] == reading.verdict
    assert reported["lyapunov/converged"] == float(reading.converged)
    assert plain == [(0, reading.numbers())]


def test_adapters_are_small() -> None:
    for name in ("lightning", "transformers"):
        source = Path(integrations.__file__).with_name(f"{name}.py").read_text()
        body = next(node for node in ast.parse(source).body if isinstance(node, ast.FunctionDef))
        assert ast.get_docstring(body)
        assert body.end_lineno - body.body[1].lineno < 40, name
