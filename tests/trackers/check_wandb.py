"""The file that Weights & Biases writes offline has every reading."""

import json
import struct
from collections.abc import Iterator

import pytest

from lyapunov.integrations import wandb as sink_of
from trackers.watched import reported

pytestmark = [pytest.mark.filterwarnings("ignore::DeprecationWarning"), pytest.mark.filterwarnings("ignore::ResourceWarning")]


def test_an_offline_run_is_read_back(tmp_path, monkeypatch) -> None:
    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.setenv("WANDB_SILENT", "true")
    monkeypatch.setenv("WANDB_DIR", str(tmp_path))
    import wandb

    run = wandb.init(project="lyapunov", dir=str(tmp_path))
    run.log({"mine": 1.0})  # the user's own logs have their own count
    expected = reported(tmp_path / "run", sink_of(run))
    run.finish()
    wandb.teardown()  # offline, finish may return before the file is written; this waits for the process that writes it
    (file,) = tmp_path.rglob("*.wandb")
    axes = {record.metric.name or record.metric.glob_name: record.metric.step_metric for record in records(file, "metric")}
    assert axes == {"lyapunov/step": "", "lyapunov/*": "lyapunov/step"}
    logged = [row for row in rows(file) if "lyapunov/step" in row]
    for name, pairs in expected.items():
        assert [(row["lyapunov/step"], row[name]) for row in logged if name in row] == pairs


def rows(file) -> list[dict]:
    """What was logged, by name."""
    return [
        {item.key or "/".join(item.nested_key): json.loads(item.value_json) for item in record.history.item}
        for record in records(file, "history")
    ]


def records(file, kind: str) -> list:
    """The records of one kind in an offline file. (The Python reader that W&B had is gone: its own is in Go.)"""
    from wandb.proto import wandb_internal_pb2

    parsed = [wandb_internal_pb2.Record.FromString(data) for data in chunks(file.read_bytes())]
    return [record for record in parsed if record.WhichOneof("record_type") == kind]


BLOCK, FILE_HEADER, HEADER = 32768, 7, 7
FULL, FIRST, LAST = 1, 2, 4


def chunks(content: bytes) -> Iterator[bytes]:
    """The records of LevelDB's log format: blocks of fragments, each with checksum (4 bytes), length (2) and type (1)."""
    assert content[:4] == b":W&B"
    at, parts = FILE_HEADER, b""
    while at + HEADER <= len(content):
        if BLOCK - at % BLOCK < HEADER:
            at += BLOCK - at % BLOCK
            continue
        length, kind = struct.unpack_from("<HB", content, at + 4)
        data = content[at + HEADER : at + HEADER + length]
        parts = data if kind in (FULL, FIRST) else parts + data
        at += HEADER + length
        if kind in (FULL, LAST):
            yield parts
