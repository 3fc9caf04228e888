"""A real Lightning training, under both names of the package, is watched, logged, stopped and continued."""

import importlib
import subprocess
import sys

import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

import lyapunov
from cases import drawn
from lyapunov.integrations import lightning_callback

pytestmark = [
    pytest.mark.filterwarnings("ignore::UserWarning:lightning"),
    pytest.mark.filterwarnings("ignore::UserWarning:pytorch_lightning"),
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::FutureWarning"),
]
PACKAGES = ["lightning.pytorch", "pytorch_lightning"]
PROBE = drawn(4, 30, 3, seed=1).float()
LONG = drawn(10, 300, 3, seed=1).float()
"""Along which a reading is converged: no other one stops a training."""


def module_of(package):
    class Net(package.LightningModule):
        def __init__(self) -> None:
            super().__init__()
            self.rnn, self.out, self.dropout = nn.GRU(3, 8, batch_first=True), nn.Linear(8, 1), nn.Dropout(0.3)

        def forward(self, x):
            return self.out(self.dropout(self.rnn(x)[0][:, -1]))

        def training_step(self, batch, _):
            x, y = batch
            return nn.functional.mse_loss(self(x), y)

        def validation_step(self, batch, _):
            x, y = batch
            self.log("val_loss", nn.functional.mse_loss(self(x), y))

        def configure_optimizers(self):
            return torch.optim.Adam(self.parameters(), lr=1e-2)

    return Net()


def trainer_of(package, place, callbacks, **kwargs):
    return package.Trainer(
        accelerator="cpu",
        enable_progress_bar=False,
        enable_model_summary=False,
        default_root_dir=str(place),
        logger=package.loggers.CSVLogger(str(place / "logs")),
        log_every_n_steps=1,
        num_sanity_val_steps=1,
        callbacks=callbacks,
        **kwargs,
    )


def loader():
    x = drawn(48, 12, 3, seed=2).float()
    return DataLoader(TensorDataset(x, x.sum((1, 2)).unsqueeze(-1)), batch_size=8)


@pytest.fixture(params=PACKAGES)
def package(request):
    with torch.random.fork_rng():
        torch.manual_seed(0)
        yield importlib.import_module(request.param)


def fit(package, place, callback, net=None, **kwargs):
    net = net or module_of(package)
    trainer = trainer_of(package, place, [callback(net)] if callback else [], **kwargs)
    trainer.fit(net, loader(), loader(), ckpt_path=kwargs.pop("ckpt_path", None))
    return net, trainer


def test_it_is_watched_logged_and_not_disturbed(package, tmp_path) -> None:
    monitors = []

    def callback(net):
        monitors.append(lyapunov.Monitor(net, PROBE, every=4, k=2, directory=tmp_path / "run"))
        return lightning_callback(monitors[0])

    with torch.random.fork_rng():
        torch.manual_seed(1)
        plain, _ = fit(package, tmp_path / "a", None, max_epochs=2)
    with torch.random.fork_rng():
        torch.manual_seed(1)
        watched, trainer = fit(package, tmp_path / "b", callback, max_epochs=2)
    assert all(torch.equal(one, two) for one, two in zip(plain.parameters(), watched.parameters(), strict=True))
    run = lyapunov.Run.load(tmp_path / "run")
    assert [reading.step for reading in run.readings] == [0, 4, 8, 12]
    assert [reading.epoch for reading in run.readings] == [0, 0, 1, 1]
    assert set(run.readings[1].losses) == {"train"}
    assert set(run.readings[-1].losses) == {"train", "val_loss"}
    logged = (tmp_path / "b" / "logs").rglob("metrics.csv")
    header, *lines = next(logged).read_text().splitlines()
    column = header.split(",").index("lyapunov/max")
    found = [float(line.split(",")[column]) for line in lines if line.split(",")[column]]
    assert found == pytest.approx([reading.max for reading in run.readings])
    assert trainer.global_step == 12


def test_an_alarm_stops_it(package, tmp_path) -> None:
    thresholds = lyapunov.AlarmThresholds(contracting=10.0, stop_on=["contracting"])

    def callback(net):
        return lightning_callback(
            lyapunov.Monitor(net.rnn, LONG, every=5, k=1, directory=tmp_path / "run", thresholds=thresholds)
        )

    trainer = fit(package, tmp_path, callback, max_epochs=3)[1]
    assert trainer.global_step == 1


def test_a_checkpoint_brings_its_monitor_along(package, tmp_path) -> None:
    monitors = []

    def callback(net):
        monitors.append(lyapunov.Monitor(net.rnn, PROBE, every=4, k=2, directory=tmp_path / "run"))
        return lightning_callback(monitors[-1])

    _, trainer = fit(package, tmp_path, callback, max_epochs=1)
    trainer.save_checkpoint(tmp_path / "half.ckpt")
    net = module_of(package)
    again = trainer_of(package, tmp_path, [callback(net)], max_epochs=2)
    again.fit(net, loader(), loader(), ckpt_path=tmp_path / "half.ckpt")
    assert [reading.step for reading in lyapunov.Run.load(tmp_path / "run").readings] == [0, 4, 6, 8, 12]
    assert monitors[1].readings[-1].drift is not None


def test_the_package_that_is_imported_is_the_one_built_on() -> None:
    code = (
        "import sys, pytorch_lightning, lyapunov\n"
        "from lyapunov.integrations import lightning_callback\n"
        "import torch\n"
        "callback = lightning_callback(lyapunov.Monitor(torch.nn.RNN(2, 2), torch.zeros(5, 2, 2)))\n"
        "print(isinstance(callback, pytorch_lightning.Callback), 'lightning.pytorch' in sys.modules)\n"
    )
    done = subprocess.run([sys.executable, "-W", "ignore", "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["True", "False"]
