"""The trained networks of the coverage benchmark: trained once by the project's own code, kept in runs/coverage."""

import hashlib
import os
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from lyapunov.tasks import CharacterLSTM, Corpus, Trainer, Training, corpus, demo_corpus, new_model, python_reference

CACHE = Path(os.environ.get("LYAPUNOV_COVERAGE_CACHE", Path(__file__).parent.parent / "runs" / "coverage"))
PYTHON, WAR = "Python's reference", "War and Peace"
SMALL, DEMO = "LSTM-24", "demo's LSTM"
"""Names of the systems; those of the small ones end in their text."""


@dataclass(frozen=True)
class Trained:
    """An LSTM, the text it is run on, and how many symbols that is written in."""

    module: nn.LSTM
    symbols: Tensor
    size: int

    @property
    def digest(self) -> str:
        """Of weights and text."""
        found = hashlib.sha256(self.symbols.numpy().tobytes())
        for weight in self.module.parameters():
            found.update(weight.detach().numpy().tobytes())
        return found.hexdigest()[:16]


def text(name: str) -> Corpus:
    """By its name. War and Peace needs LYAPUNOV_DATA_DIR."""
    if name == WAR:
        data = demo_corpus()
        if data.name != WAR:
            raise FileNotFoundError(
                "Expected War and Peace, found no LYAPUNOV_DATA_DIR. Set it to the folder that holds the data."
            )
        return data
    return corpus("the Python language reference", python_reference(), limit=465_000)


def available(name: str) -> bool:
    """Whether the text is here."""
    return name != WAR or bool(os.environ.get("LYAPUNOV_DATA_DIR"))


@lru_cache
def small(name: str) -> Trained:
    """24 units after three epochs, on the text it was trained on."""
    data = text(name)
    model = _model(data, Training(hidden=24, epochs=3), f"lstm-24-{'war' if name == WAR else 'python'}")
    return Trained(model.lstm, data.train, len(data.vocabulary))


@lru_cache
def demo() -> Trained:
    """The demo's: 128 units after 24 epochs of Python's reference, on its held-out text."""
    data = text(PYTHON)
    return Trained(_model(data, Training(), "demo").lstm, data.valid, len(data.vocabulary))


def _model(data: Corpus, training: Training, name: str) -> CharacterLSTM:
    """From the cache, or trained and put there."""
    path, model = CACHE / f"{name}.safetensors", new_model(data, training)
    if path.exists():
        model.load_state_dict(load_file(path))
        return model.requires_grad_(False)
    trainer = Trainer(model, data, training)
    for epoch in range(training.epochs):
        loss = sum(loss for _, _, loss in trainer.steps()) / trainer.steps_per_epoch
        print(f"training {name}: epoch {epoch + 1} of {training.epochs}, loss {loss:.3f}", flush=True)
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_suffix(".partial")
    save_file({key: value.detach().contiguous() for key, value in model.state_dict().items()}, partial)
    partial.replace(path)
    return model.requires_grad_(False)


def digest(system: str) -> str:
    """Of the network of this system and its text; nothing for one that is not trained."""
    if system == DEMO:
        return demo().digest
    kind, _, name = system.partition(", ")
    return small(name).digest if kind == SMALL else ""
