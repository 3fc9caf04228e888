"""A real Trainer of transformers is watched, logged, stopped and continued."""

import json

import pytest
import torch
from torch import nn
from torch.utils.data import Dataset

import lyapunov
from cases import drawn

transformers = pytest.importorskip("transformers")
pytest.importorskip("accelerate")
from lyapunov.integrations import transformers_callback  # noqa: E402

pytestmark = [pytest.mark.filterwarnings("ignore::UserWarning"), pytest.mark.filterwarnings("ignore::FutureWarning")]
PROBE = drawn(4, 30, 3, seed=1).float()


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.rnn, self.out, self.dropout = nn.LSTM(3, 8, batch_first=True), nn.Linear(8, 1), nn.Dropout(0.3)

    def forward(self, x, labels=None):
        found = self.out(self.dropout(self.rnn(x)[0][:, -1]))
        return {"loss": None if labels is None else nn.functional.mse_loss(found, labels), "logits": found}


class Data(Dataset):
    def __init__(self) -> None:
        self.x = drawn(48, 12, 3, seed=2).float()

    def __len__(self) -> int:
        return len(self.x)

    def __getitem__(self, at):
        return {"x": self.x[at], "labels": self.x[at].sum().reshape(1)}


def trainer_of(place, net, callbacks, **kwargs):
    settings = {"max_steps": 12, "logging_steps": 3, "save_steps": 6, "eval_steps": 6, "eval_strategy": "steps", **kwargs}
    arguments = transformers.TrainingArguments(
        output_dir=str(place),
        per_device_train_batch_size=8,
        use_cpu=True,
        report_to=[],
        disable_tqdm=True,
        seed=3,
        **settings,
    )
    return transformers.Trainer(net, arguments, train_dataset=Data(), eval_dataset=Data(), callbacks=callbacks)


def built() -> Net:
    torch.manual_seed(0)
    return Net()


def monitor(net, place, **kwargs) -> lyapunov.Monitor:
    return lyapunov.Monitor(net.rnn, PROBE, directory=place / "run", **{"every": 4, "k": 2, **kwargs})


@pytest.fixture(autouse=True)
def seeded():
    with torch.random.fork_rng():
        yield


def test_it_is_watched_logged_and_not_disturbed(tmp_path) -> None:
    plain, watched = built(), None
    trainer_of(tmp_path / "a", plain, []).train()
    watched = built()
    watching = monitor(watched, tmp_path)
    trainer = trainer_of(tmp_path / "b", watched, [transformers_callback(watching)])
    trainer.train()
    assert all(torch.equal(one, two) for one, two in zip(plain.parameters(), watched.parameters(), strict=True))
    run = lyapunov.Run.load(tmp_path / "run")
    assert [reading.step for reading in run.readings] == [0, 4, 8, 12]
    assert set(run.readings[-1].losses) == {"loss", "eval_loss"}
    logs = [log for log in trainer.state.log_history if "loss" in log]
    assert [log["step"] for log in logs] == [3, 6, 9, 12]
    assert logs[1]["lyapunov/max"] == run.readings[1].max
    assert logs[2]["lyapunov/max"] == run.readings[2].max
    assert [log["lyapunov/converged"] for log in logs[1:3]] == [float(one.converged) for one in run.readings[1:3]]
    assert [log["lyapunov/verdict"] for log in logs[1:3]] == [one.verdict for one in run.readings[1:3]]


def test_an_alarm_stops_it(tmp_path) -> None:
    net = built()
    thresholds = lyapunov.AlarmThresholds(contracting=10.0, stop_on="contracting")
    long = drawn(10, 300, 3, seed=1).float()
    watching = lyapunov.Monitor(net.rnn, long, every=4, k=1, directory=tmp_path / "run", thresholds=thresholds)
    trainer = trainer_of(tmp_path, net, [transformers_callback(watching)])
    trainer.train()
    assert trainer.state.global_step == 1


def test_a_checkpoint_brings_its_monitor_along(tmp_path) -> None:
    net = built()
    trainer_of(tmp_path, net, [transformers_callback(monitor(net, tmp_path))], max_steps=6).train()
    assert (tmp_path / "checkpoint-6" / "lyapunov.pt").is_file()
    net = built()
    watching = monitor(net, tmp_path)
    trainer_of(tmp_path, net, [transformers_callback(watching)]).train(resume_from_checkpoint=str(tmp_path / "checkpoint-6"))
    run = lyapunov.Run.load(tmp_path / "run")
    assert [reading.step for reading in run.readings] == [0, 4, 6, 8, 12]
    assert all(reading.drift is not None for reading in run.readings[1:])
    starts = [json.loads(line)["kind"] for line in (tmp_path / "run" / "history.jsonl").read_text().splitlines()].count("run")
    assert starts == 2
