"""The demo's data, model and training loop."""

from lyapunov.tasks.characters import CharacterLSTM, Trainer, Training, new_model, windows
from lyapunov.tasks.demo import require_enough, run_demo, start_directory
from lyapunov.tasks.text import DATA_DIR, Corpus, corpus, demo_corpus, python_reference

__all__ = [
    "DATA_DIR",
    "CharacterLSTM",
    "Corpus",
    "Trainer",
    "Training",
    "corpus",
    "demo_corpus",
    "new_model",
    "python_reference",
    "require_enough",
    "run_demo",
    "start_directory",
    "windows",
]
