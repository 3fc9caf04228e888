"""MLflow's client finds every reading in a store of its own (sqlite), of the active run or of one by its id."""

import pytest

import lyapunov
from lyapunov.integrations import mlflow as sink_of
from trackers.watched import reported

# MLflow's store uses what SQLAlchemy deprecates.
pytestmark = pytest.mark.filterwarnings("ignore:The ``noload`` loader strategy is deprecated")


@pytest.mark.parametrize("active", [True, False], ids=["active", "by id"])
def test_metrics_are_read_back(active: bool, tmp_path, monkeypatch) -> None:
    monkeypatch.setenv("MLFLOW_DISABLE_TELEMETRY", "true")
    import mlflow

    mlflow.set_tracking_uri(f"sqlite:///{tmp_path}/store.db")
    with pytest.raises(lyapunov.InvalidInput, match="an active MLflow run"):
        sink_of()
    run = mlflow.start_run()
    if not active:
        mlflow.end_run()
    expected = reported(tmp_path / "run", sink_of() if active else sink_of(run.info.run_id))
    mlflow.end_run()
    client = mlflow.MlflowClient()
    for name, pairs in expected.items():
        found = [(metric.step, metric.value) for metric in client.get_metric_history(run.info.run_id, name)]
        assert found == pairs
