"""Trackio's local store has every reading."""

from lyapunov.integrations import trackio as sink_of
from trackers.watched import reported


def test_a_local_run_is_read_back(tmp_path, monkeypatch) -> None:
    monkeypatch.setenv("TRACKIO_DIR", str(tmp_path / "store"))
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    import trackio
    from trackio.sqlite_storage import SQLiteStorage

    run = trackio.init(project="lyapunov", name="watched", embed=False, auto_log_gpu=False, auto_log_cpu=False)
    expected = reported(tmp_path / "run", sink_of(run))
    trackio.finish()
    rows = SQLiteStorage.get_logs("lyapunov", "watched")
    for name, pairs in expected.items():
        assert [(row["step"], row[name]) for row in rows if name in row] == pairs
