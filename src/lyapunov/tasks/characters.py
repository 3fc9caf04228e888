"""A character model and how it is trained."""

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.nn import functional

from lyapunov._atomic import write_atomically
from lyapunov.tasks.descent import descent
from lyapunov.tasks.text import Corpus

State = tuple[Tensor, Tensor]
CLIP = 5.0
"""The norm at which gradients are clipped."""


class CharacterLSTM(nn.Module):
    """One-hot symbols -> LSTM -> linear readout."""

    def __init__(self, symbols: int, hidden: int) -> None:
        super().__init__()
        self.symbols = symbols
        self.lstm = nn.LSTM(symbols, hidden, batch_first=True)
        self.readout = nn.Linear(hidden, symbols)

    def forward(self, symbols: Tensor, state: State | None = None) -> tuple[Tensor, State]:
        """Logits (batch, time, symbols) and the state after the last step."""
        hidden, state = self.lstm(functional.one_hot(symbols, self.symbols).to(self.readout.weight.dtype), state)
        return self.readout(hidden), state

    def save(self, path: Path, vocabulary: list[str]) -> None:
        """The weights and the vocabulary in one safetensors file, whole or not at all."""
        tensors = {name: value.detach().contiguous() for name, value in self.state_dict().items()}
        about = {"vocabulary": json.dumps(vocabulary)}
        write_atomically(path, lambda partial: save_file(tensors, partial, metadata=about))


@dataclass(frozen=True)
class Training:
    """How a character model is trained."""

    hidden: int = 128
    epochs: int = 24
    batch: int = 32
    window: int = 64
    learning_rate: float = 8e-3
    decay: float = 0.9
    seed: int = 0


def new_model(data: Corpus, training: Training) -> CharacterLSTM:
    """A model with seeded weights; the global random state is as it was."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(training.seed)
        return CharacterLSTM(len(data.vocabulary), training.hidden)


def windows(symbols: Tensor, *, batch: int, length: int) -> Iterator[tuple[Tensor, Tensor]]:
    """The text as `batch` parallel streams, window after window: inputs and the symbols that follow them."""
    per_stream = (len(symbols) - 1) // batch
    inputs = symbols[: batch * per_stream].view(batch, per_stream)
    targets = symbols[1 : batch * per_stream + 1].view(batch, per_stream)
    for start in range(0, per_stream - length + 1, length):
        yield inputs[:, start : start + length], targets[:, start : start + length]


class Trainer:
    """Adam with a learning rate that decays by the epoch; the state is handed from window to window."""

    def __init__(self, model: CharacterLSTM, data: Corpus, training: Training) -> None:
        self.model, self.data, self.training = model, data, training
        self.optimizer = torch.optim.Adam(model.parameters(), lr=training.learning_rate)
        self.schedule = torch.optim.lr_scheduler.ExponentialLR(self.optimizer, training.decay)

    @property
    def steps_per_epoch(self) -> int:
        """Windows of the training text."""
        per_stream = (len(self.data.train) - 1) // self.training.batch
        return per_stream // self.training.window

    def steps(self) -> Iterator[tuple[int, int, float]]:
        """One epoch: after each step, how many are done, of how many, and the step's loss (nats per character)."""
        pairs = list(windows(self.data.train, batch=self.training.batch, length=self.training.window))
        self.model.train()
        found = descent(self.model, self.optimizer, self._losses(pairs), CLIP)
        yield from ((done, len(pairs), loss) for done, loss in enumerate(found, start=1))
        self.schedule.step()

    def _losses(self, pairs: Iterable[tuple[Tensor, Tensor]]) -> Iterator[Tensor]:
        """Of each window, with the state that the one before left."""
        state: State | None = None
        for inputs, targets in pairs:
            logits, new = self.model(inputs, state)
            state = (new[0].detach(), new[1].detach())
            yield functional.cross_entropy(logits.flatten(0, 1), targets.flatten())

    @torch.no_grad()
    def held_out_loss(self) -> float:
        """Nats per character on the validation text, in evaluation mode."""
        self.model.eval()
        losses, state = [], None
        for inputs, targets in windows(self.data.valid, batch=16, length=self.training.window):
            logits, state = self.model(inputs, state)
            losses.append(float(functional.cross_entropy(logits.flatten(0, 1), targets.flatten())))
        return sum(losses) / len(losses)
