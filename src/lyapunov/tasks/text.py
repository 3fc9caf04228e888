"""Real text to learn from: what CPython ships, or War and Peace where LYAPUNOV_DATA_DIR has it."""

import os
from dataclasses import dataclass
from pathlib import Path

from torch import Tensor

from lyapunov.errors import InvalidInput
from lyapunov.intake import encode, read_text
from lyapunov.tasks.data_files import DATA_DIR

WAR_AND_PEACE = "war_and_peace/input.txt"


@dataclass(frozen=True)
class Corpus:
    """A text as symbols, split in order: 80 % to train on, 10 % held out for validation, 10 % for tests."""

    name: str
    vocabulary: list[str]
    train: Tensor
    valid: Tensor
    test: Tensor


def corpus(name: str, text: str, *, limit: int | None = None) -> Corpus:
    """A corpus with the vocabulary of the whole text; `limit` keeps its first symbols only."""
    if len(text) < 1000:
        raise InvalidInput(f"Expected a text of at least 1000 symbols, got {len(text)} in {name}. Use a longer one.")
    vocabulary = sorted(set(text))
    symbols = encode(text[:limit], vocabulary)
    first, second = int(0.8 * len(symbols)), int(0.9 * len(symbols))
    return Corpus(name, vocabulary, symbols[:first], symbols[first:second], symbols[second:])


def python_reference() -> str:
    """The reference text of the interpreter's own `help()`, about half a million characters."""
    from pydoc_data.topics import topics

    return "\n".join(topics[name] for name in sorted(topics))


def demo_corpus(*, limit: int = 465_000) -> Corpus:
    """War and Peace (its first part) if LYAPUNOV_DATA_DIR is set, else Python's reference."""
    directory = os.environ.get(DATA_DIR)
    if directory:
        return corpus("War and Peace", read_text(Path(directory) / WAR_AND_PEACE), limit=limit)
    return corpus("the Python language reference", python_reference(), limit=limit)
