"""The demo: a character LSTM learns, and after every epoch its spectrum is taken on held-out text."""

import dataclasses
from collections.abc import Callable, Iterator
from pathlib import Path

from lyapunov.errors import InvalidInput
from lyapunov.estimate import RunOptions
from lyapunov.intake import one_hot_sequences
from lyapunov.tasks.characters import Trainer, Training, new_model
from lyapunov.tasks.text import Corpus
from lyapunov.training import LOCK, NAME, Monitor, Reading, free_places, locked

LEADING = 8
"""Exponents taken at every epoch (the mean of all comes with them, from ln |det J|)."""
FULL_EPOCHS = (0,)
"""Epochs, besides the last, whose whole spectrum is taken."""
SEQUENCES, SETTLE, ALIGN, COUNT = 10, 2200, 600, 500
"""In the end the network remembers some 220 characters, and forgets its first state in ten times as many."""
SHORTEST = 200
"""Characters of each sequence, where the text has too few for all these; what to discard is then found in the data."""


def start_directory(directory: Path | None) -> Path:
    """A folder for a new run: `directory`, which must hold nothing yet; None: runs/demo, or runs/demo-2, -3, ... beside it."""
    if directory is None:
        directory = next(place for place in free_places(Path("runs/demo")) if not place.exists() or not _contents(place))
    elif (directory / NAME).exists():
        raise InvalidInput(
            f"Expected a new or empty folder for the run, got {directory}, which holds a run already. "
            "Choose another --directory."
        )
    elif directory.is_dir() and _contents(directory):
        raise InvalidInput(
            f"Expected a new or empty folder for the run, got {directory} with other files in it. Choose another --directory."
        )
    directory.mkdir(parents=True, exist_ok=True)
    return directory


def _contents(directory: Path) -> list[str]:
    return [place.name for place in directory.iterdir() if place.name != LOCK]


def require_enough(data: Corpus) -> None:
    """Held-out text for the probe's sequences, without overlap."""
    wanted = SEQUENCES * SHORTEST
    if len(data.valid) < wanted:
        raise InvalidInput(
            f"Expected a text of at least {10 * wanted} symbols (a tenth is held out, for {SEQUENCES} sequences of "
            f"{wanted // SEQUENCES}), got {len(data.train) + len(data.valid) + len(data.test)} in {data.name}. "
            "Use a longer one."
        )


def run_demo(data: Corpus, training: Training, directory: Path, *, say: Callable[[str], None]) -> Iterator[Reading]:
    """Trains, reads, and keeps each epoch's checkpoint, spectrum and record before its reading is handed out.

    `say` is told in words what is being done, at every training step and before every spectrum.
    """
    lock = locked(directory)  # from now on, and not from the first reading: nobody else starts here meanwhile
    (directory / "held_out.txt").write_text("".join(data.vocabulary[at] for at in data.valid.tolist()), encoding="utf-8")
    model = new_model(data, training)
    trainer = Trainer(model, data, training)
    steps = min(SETTLE + ALIGN + COUNT, len(data.valid) // SEQUENCES)
    probe = one_hot_sequences(data.valid, size=len(data.vocabulary), sequences=SEQUENCES, steps=steps)
    settle, align = (SETTLE, ALIGN) if steps == SETTLE + ALIGN + COUNT else (None, None)
    monitor = Monitor(
        model.lstm,
        probe,
        k=LEADING,
        options=RunOptions(settle, align, seed=training.seed),
        directory=directory,
        name=f"LSTM with {training.hidden} units, {data.name}",
        about={"corpus": data.name, **dataclasses.asdict(training)},
    )
    for epoch in range(training.epochs + 1):
        progress = f"epoch {epoch} of {training.epochs}"
        train_loss = _train(trainer, lambda text, at=progress: say(f"{at}: {text}")) if epoch else None
        held_out = trainer.held_out_loss()
        model.save(directory / "checkpoint.safetensors", data.vocabulary)
        whole = epoch in FULL_EPOCHS or epoch == training.epochs
        say(f"{progress}: {'the whole spectrum' if whole else 'leading exponents'} on held-out text")
        yield monitor.read(epoch * trainer.steps_per_epoch, epoch=epoch, whole=whole, train=train_loss, held_out=held_out)
    del lock


def _train(trainer: Trainer, say: Callable[[str], None]) -> float:
    """One epoch; its mean loss."""
    losses = []
    for done, total, loss in trainer.steps():
        losses.append(loss)
        say(f"step {done} of {total}, loss {loss:.3f}   (Ctrl-C keeps what there is)")
    return sum(losses) / len(losses)
