"""The demo's and the experiments' data, models and training loops."""

from lyapunov.tasks.adding import Adding
from lyapunov.tasks.characters import CharacterLSTM, Trainer, Training, new_model, windows
from lyapunov.tasks.data_files import DATA_DIR, data_directory, data_file, fetch
from lyapunov.tasks.demo import require_enough, run_demo, start_directory
from lyapunov.tasks.motion import NextFrame
from lyapunov.tasks.network import Learner, Network, Recipe
from lyapunov.tasks.prediction import NextCharacter
from lyapunov.tasks.task import Task
from lyapunov.tasks.text import WAR_AND_PEACE, Corpus, corpus, demo_corpus, python_reference, read_text

__all__ = [
    "DATA_DIR",
    "WAR_AND_PEACE",
    "Adding",
    "CharacterLSTM",
    "Corpus",
    "Learner",
    "Network",
    "NextCharacter",
    "NextFrame",
    "Recipe",
    "Task",
    "Trainer",
    "Training",
    "corpus",
    "data_directory",
    "data_file",
    "demo_corpus",
    "fetch",
    "new_model",
    "python_reference",
    "read_text",
    "require_enough",
    "run_demo",
    "start_directory",
    "windows",
]
