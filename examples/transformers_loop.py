"""Watch a network that the Trainer of transformers trains: one callback, and the numbers are in its logs and in a report.

python examples/transformers_loop.py [--steps 120] [--directory runs/trainer]      then: lyapunov report runs/trainer
"""

import argparse
from pathlib import Path

import torch
from torch import nn
from torch.utils.data import Dataset
from transformers import Trainer, TrainingArguments, set_seed

import lyapunov
from lyapunov.integrations import transformers_callback

STEPS = 24


class Parity(Dataset):
    """Bits, and at each step whether an odd number of them has been seen."""

    def __init__(self, count: int, seed: int) -> None:
        generator = torch.Generator().manual_seed(seed)
        self.bits = torch.randint(2, (count, STEPS), generator=generator)

    def __len__(self) -> int:
        return len(self.bits)

    def __getitem__(self, at: int) -> dict[str, torch.Tensor]:
        return {"bits": self.bits[at], "labels": self.bits[at].cumsum(0) % 2}


class Tracker(nn.Module):
    """Any module that returns its loss; a PreTrainedModel with a core inside is watched the same way."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding, self.gru, self.readout = nn.Embedding(2, 8), nn.GRU(8, 32, batch_first=True), nn.Linear(32, 2)

    def forward(self, bits: torch.Tensor, labels: torch.Tensor | None = None) -> dict[str, torch.Tensor]:
        logits = self.readout(self.gru(self.embedding(bits))[0])
        found = {"logits": logits}
        if labels is not None:
            found["loss"] = nn.functional.cross_entropy(logits.flatten(0, 1), labels.flatten())
        return found


def main(steps: int, directory: str) -> None:
    """Trains with a callback."""
    set_seed(0)
    model, held_out = Tracker(), Parity(32, seed=1)
    monitor = lyapunov.Monitor(model, {"bits": held_out.bits[:10]}, every=20, lag=STEPS, directory=directory)
    arguments = TrainingArguments(
        output_dir=str(Path(directory) / "trainer"),
        max_steps=steps,
        per_device_train_batch_size=32,
        learning_rate=1e-2,
        logging_steps=20,
        eval_strategy="steps",
        eval_steps=40,
        save_steps=60,
        report_to=[],
        use_cpu=True,
        disable_tqdm=True,
    )
    callbacks = [transformers_callback(monitor)]
    Trainer(model, arguments, train_dataset=Parity(2048, seed=0), eval_dataset=held_out, callbacks=callbacks).train()
    print(monitor)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=120)
    parser.add_argument("--directory", default="runs/trainer")
    arguments = parser.parse_args()
    main(arguments.steps, arguments.directory)
