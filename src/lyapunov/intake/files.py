"""Input files as tensors: .npy, .npz, .safetensors, or text as one-hot symbols."""

from collections.abc import Sequence
from pathlib import Path
from zipfile import BadZipFile

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from lyapunov.errors import InvalidInput
from lyapunov.intake.file_kinds import foreign_kind

_USUAL = ("inputs", "input", "x", "X", "tokens", "data", "arr_0")
"""Names of the inputs among the arrays of a file, the likeliest first."""


def require_file(path: str | Path, what: str) -> Path:
    """The path, checked: there is such a file."""
    path = Path(path)
    if not path.is_file():
        raise InvalidInput(f"Expected {what} at {path}, got no such file. Check the path.")
    return path


def read_inputs(
    path: str | Path, *, size: int, vocabulary: Sequence[str] | None = None, sequences: int = 10, steps: int = 300
) -> Tensor:
    """Inputs (batch, time, size) from a file; arrays are taken whole, text is cut into `sequences` x `steps`.

    Text needs a vocabulary of `size` symbols: the given one, or, left None, the symbols of the text itself in sorted order.
    """
    path = require_file(path, "an inputs file")
    if is_text(path):
        return _text(path, size, vocabulary, sequences, steps)
    values = read_array(path)
    return values.unsqueeze(0) if values.dim() == 2 else values


def is_text(path: Path) -> bool:
    """Whether a file of inputs is a text, by its name."""
    return path.suffix == ".txt"


def read_array(path: Path) -> Tensor:
    """The array of a file, as it was saved; raises InvalidInput where it holds none, or more than one that could be meant."""
    readers = {".npy": _array, ".npz": _archive, ".safetensors": _tensor}
    if path.suffix not in readers:
        kind = foreign_kind(path)
        got = path.name if kind is None else f"{path.name}, {kind.name}"
        raise InvalidInput(
            f"Expected inputs as .npz, .npy, .safetensors or .txt, got {got}. Save the array itself, with numpy.save, say."
        )
    return readers[path.suffix](path)


def one_hot_sequences(symbols: Tensor, *, size: int, sequences: int, steps: int, dtype: torch.dtype = torch.float32) -> Tensor:
    """`sequences` windows of `steps` symbols, spread over the text without overlap, one-hot: (sequences, steps, size)."""
    return torch.nn.functional.one_hot(windows(symbols, sequences, steps), size).to(dtype)


def windows(symbols: Tensor, sequences: int, steps: int) -> Tensor:
    """(sequences, steps): pieces of a text, spread over it without overlap."""
    if len(symbols) < sequences * steps:  # windows that overlap would make the error between them too small
        raise InvalidInput(
            f"Expected text of at least {sequences * steps} symbols for {sequences} sequences of {steps} steps, got "
            f"{len(symbols)}. Ask for fewer sequences or steps."
        )
    starts = torch.arange(sequences) * (len(symbols) - steps) // max(sequences - 1, 1)  # in integers, exact for any length
    return symbols[starts.unsqueeze(-1) + torch.arange(steps)]


def encode(text: str, vocabulary: Sequence[str]) -> Tensor:
    """Symbols as positions in the vocabulary."""
    place = {symbol: at for at, symbol in enumerate(vocabulary)}
    unknown = next((symbol for symbol in text if symbol not in place), None)
    if unknown is not None:
        raise InvalidInput(
            f"Expected text in the vocabulary of {len(vocabulary)} symbols, got {unknown!r} at position {text.index(unknown)}. "
            "Remove it, or use a text of the kind the network was trained on."
        )
    return torch.tensor([place[symbol] for symbol in text], dtype=torch.long)


def read_text(path: str | Path) -> str:
    """A UTF-8 text file."""
    try:
        return require_file(path, "a text").read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise InvalidInput(f"Expected UTF-8 text in {path}, got bytes that are not ({error}). Convert the file.") from error


def _text(path: Path, size: int, vocabulary: Sequence[str] | None, sequences: int, steps: int) -> Tensor:
    text = read_text(path)
    chosen = sorted(set(text)) if vocabulary is None else vocabulary
    if len(chosen) != size:
        raise InvalidInput(
            f"Expected a text of {size} different symbols, the network's input size, got {len(chosen)} in {path.name}. Pass "
            "the whole text it was trained on, or encoded inputs as .npy."
        )
    return one_hot_sequences(encode(text, chosen), size=size, sequences=sequences, steps=steps)


def _array(path: Path) -> Tensor:
    try:
        return torch.from_numpy(np.load(path, allow_pickle=False))
    except (ValueError, OSError, TypeError, EOFError) as error:
        raise InvalidInput(f"Expected an array of numbers in {path}, got: {error}. Save it with numpy.save.") from error


def _archive(path: Path) -> Tensor:
    """Of numpy.savez: nothing is unpickled."""
    try:
        with np.load(path, allow_pickle=False) as file:
            return torch.from_numpy(file[_only(file.files, path)])
    except InvalidInput:
        raise
    except (ValueError, OSError, TypeError, EOFError, AttributeError, BadZipFile) as error:
        raise InvalidInput(f"Expected arrays of numbers in {path}, got: {error}. Save them with numpy.savez.") from error


def _tensor(path: Path) -> Tensor:
    try:
        tensors = load_file(path)
    except (SafetensorError, OSError) as error:
        raise InvalidInput(f"Expected a safetensors file at {path}, got: {error}. Save it with safetensors.") from error
    return tensors[_only(list(tensors), path)]


def _only(names: Sequence[str], path: Path) -> str:
    """The name of the inputs: the only one, or one of the usual ones."""
    usual = next((name for name in _USUAL if name in names), None)
    if usual is None and len(names) != 1:
        raise InvalidInput(
            f"Expected one array, or one called `inputs`, in {path.name}, got {', '.join(sorted(names)) or 'none'}. Rename it."
        )
    return names[0] if usual is None else usual
