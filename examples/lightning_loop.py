"""Watch a network that PyTorch Lightning trains: one callback, and the numbers are in its loggers and in a report.

python examples/lightning_loop.py [--epochs 5] [--directory runs/lightning]      then: lyapunov report runs/lightning
"""

import argparse

import lightning.pytorch as pl
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

import lyapunov
from lyapunov.integrations import lightning_callback

STEPS = 30


class Adder(pl.LightningModule):
    """The sum of two marked numbers in a sequence: the adding problem, small."""

    def __init__(self) -> None:
        super().__init__()
        self.lstm = nn.LSTM(2, 32, batch_first=True)
        self.readout = nn.Linear(32, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.readout(self.lstm(x)[0][:, -1]).squeeze(-1)

    def training_step(self, batch: list[torch.Tensor], _: int) -> torch.Tensor:
        return nn.functional.mse_loss(self(batch[0]), batch[1])

    def validation_step(self, batch: list[torch.Tensor], _: int) -> None:
        self.log("val_loss", nn.functional.mse_loss(self(batch[0]), batch[1]))

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.Adam(self.parameters(), lr=1e-2)


def problem(count: int) -> TensorDataset:
    """Numbers beside marks of two of them, and the sum of those."""
    numbers, marks = torch.rand(count, STEPS), torch.zeros(count, STEPS)
    first, second = torch.randint(STEPS // 2, (count, 1)), torch.randint(STEPS // 2, STEPS, (count, 1))
    marks = marks.scatter(1, first, 1.0).scatter(1, second, 1.0)
    return TensorDataset(torch.stack([numbers, marks], dim=-1), (numbers * marks).sum(1))


def main(epochs: int, directory: str) -> None:
    """Trains with a callback."""
    pl.seed_everything(0, verbose=False)
    model, held_out = Adder(), problem(64)
    monitor = lyapunov.Monitor(model.lstm, held_out.tensors[0][:10], every=10, lag=STEPS // 2, directory=directory)
    trainer = pl.Trainer(
        max_epochs=epochs, accelerator="cpu", logger=False, enable_checkpointing=False, callbacks=[lightning_callback(monitor)]
    )
    trainer.fit(model, DataLoader(problem(640), batch_size=32), DataLoader(held_out, batch_size=64))
    print(monitor)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--epochs", type=int, default=5)
    parser.add_argument("--directory", default="runs/lightning")
    arguments = parser.parse_args()
    main(arguments.epochs, arguments.directory)
