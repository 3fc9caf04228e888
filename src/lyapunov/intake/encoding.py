"""A file of text, tokens or features as what a checkpoint's core receives, with one sentence that says how."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from lyapunov.errors import InvalidInput, Unsupported
from lyapunov.intake.checkpoint import Checkpoint
from lyapunov.intake.files import encode, is_text, read_array, read_text, require_file, windows
from lyapunov.intake.in_front import Map
from lyapunov.intake.in_front import path as way
from lyapunov.intake.vocabulary import Vocabulary, chosen, require_characters


@dataclass(frozen=True)
class Encoded:
    """What drives a core, (batch, time, features), and how it came from the file; empty for features as they were."""

    values: Tensor
    about: str


def core_inputs(
    path: str | Path, checkpoint: Checkpoint, *, vocabulary: str | None = None, sequences: int = 10, steps: int = 300
) -> Encoded:
    """What the core receives: symbols go through the checkpoint's embedding, or are one-hot where nothing stands in front.

    vocabulary: of a text, "sorted", "first-appearance" or a file; None: the checkpoint's own, else sorted.
    sequences, steps: how many pieces of a text, and how long each. Raises InvalidInput, and Unsupported where the file has
    something in front of the core that only the model can compute.
    """
    file = require_file(path, "an inputs file")
    if is_text(file):
        return _text(file, checkpoint, vocabulary, sequences, steps)
    if vocabulary is not None:
        raise InvalidInput(f"Expected --vocabulary with a text (.txt) only, got it with {file.name}. Leave it out.")
    values = read_array(file)
    if not values.is_floating_point():
        return _tokens(values, checkpoint, file)
    return _features(values, checkpoint, file)


def _text(file: Path, checkpoint: Checkpoint, asked: str | None, sequences: int, steps: int) -> Encoded:
    text, size = read_text(file), _symbols(checkpoint)
    symbols = chosen(asked, text, size, checkpoint.noted)
    _require_count(symbols, size, checkpoint, file)
    require_characters(symbols, text)
    numbers = windows(encode(text, symbols.symbols), sequences, steps)
    about = f"{file.name}: {symbols}"
    assumed = asked is None and checkpoint.noted is None
    unsaid = (
        " The checkpoint does not say its order: if the network was trained with another one, pass --vocabulary "
        "FILE or first-appearance, else these exponents are those of scrambled text."
    )
    return _entered(numbers, checkpoint, about, unsaid * assumed + _spare_rows(symbols, size, checkpoint))


def _symbols(checkpoint: Checkpoint) -> int:
    """How many different symbols it takes."""
    weight = checkpoint.front.weight
    return checkpoint.module.input_size if weight is None else len(weight)


def _require_count(symbols: Vocabulary, size: int, checkpoint: Checkpoint, file: Path) -> None:
    """Each symbol has a number; an embedding may have rows to spare where the order does not come from the text."""
    count, table = len(symbols.symbols), checkpoint.front.name
    of_text = symbols.source.startswith(("in sorted order", "in the order of first"))
    if count == size or (table is not None and count < size and not of_text):
        return
    found = checkpoint.front.between or way(count, checkpoint.module.input_size, checkpoint.front.maps)
    if table is None and found:
        raise _in_between(checkpoint, found)
    what = "the network's input size" if table is None else f"the rows of {table}"
    remedy = "the whole text it was trained on, or " if of_text else ""
    where = f"in {file.name}" if of_text else symbols.source
    raise InvalidInput(
        f"Expected a text of {size} different symbols, {what}, got {count} {where}. Pass {remedy}"
        "its vocabulary (--vocabulary FILE), or encoded inputs as .npy."
    )


def _spare_rows(symbols: Vocabulary, size: int, checkpoint: Checkpoint) -> str:
    """Caution where an embedding has more rows than there are symbols."""
    count = len(symbols.symbols)
    if count == size:
        return ""
    return (
        f" {checkpoint.front.name} has {size} rows for these {count} symbols: unless the network was trained with rows to "
        "spare, this is not its vocabulary, and the symbols may be numbered wrongly."
    )


def _tokens(values: Tensor, checkpoint: Checkpoint, file: Path) -> Encoded:
    if checkpoint.front.weight is None and not checkpoint.front.between:
        raise InvalidInput(
            f"Expected floating-point inputs in {file.name}, as {checkpoint.core} receives them and as the checkpoint has no "
            f"embedding, got {values.dtype}. Convert features with .astype('float32'); one-hot encode symbols: "
            f"numpy.eye({checkpoint.module.input_size})[tokens]."
        )
    if values.dtype == torch.bool or values.dim() not in (1, 2):
        raise InvalidInput(
            f"Expected tokens of shape (batch, time) or (time,) in {file.name}, got {values.dtype} of shape "
            f"{tuple(values.shape)}. Save the numbers that the embedding takes, as integers."
        )
    numbers = values.long().reshape(-1, values.shape[-1])
    return _entered(numbers, checkpoint, f"{file.name}: tokens")


def _features(values: Tensor, checkpoint: Checkpoint, file: Path) -> Encoded:
    values = values.unsqueeze(0) if values.dim() == 2 else values
    front, core = checkpoint.front, checkpoint.core
    if front.weight is None:
        return Encoded(values, "")
    if values.dim() == 3 and values.shape[-1] == len(front.weight) and _is_one_hot(values):
        return _entered(values.argmax(-1), checkpoint, f"{file.name}: one-hot symbols")
    about = f"{file.name}: taken as what {core} itself receives, behind {front.name}; tokens (integers) would go through that."
    return Encoded(values, about)


def _is_one_hot(values: Tensor) -> bool:
    return bool(((values == 0) | (values == 1)).all()) and bool((values.sum(-1) == 1).all())


def _entered(numbers: Tensor, checkpoint: Checkpoint, about: str, unsaid: str = "") -> Encoded:
    """Symbols by number, through the embedding or one-hot."""
    front, core = checkpoint.front, checkpoint.core
    if front.between:
        raise _in_between(checkpoint, front.between)
    if front.weight is None:
        values = torch.nn.functional.one_hot(numbers, checkpoint.module.input_size).to(torch.float32)
        return Encoded(values, f"{about}, one-hot into {core}.{unsaid}")
    low, high = int(numbers.min()), int(numbers.max())
    if low < 0 or high >= len(front.weight):
        raise InvalidInput(
            f"Expected tokens from 0 to {len(front.weight) - 1}, the rows of {front.name}, got {low} to {high}. Pass tokens as "
            "the network was trained on them."
        )
    shape = tuple(front.weight.shape)
    about = f"{about}, through {front.name} {shape} into {core}; scales or activations between them would not be in the file."
    return Encoded(front.weight[numbers], f"{about}{unsaid}")


def _in_between(checkpoint: Checkpoint, maps: Sequence[Map]) -> Unsupported:
    table, found = checkpoint.front.name, ", ".join(dict.fromkeys(map(str, maps)))
    behind = "nothing" if table is None else f"nothing but {table}"
    return Unsupported(
        f"Expected {behind} in front of {checkpoint.core}, for symbols to be fed to it, got a checkpoint in which {found} can "
        "stand there as well, and names and shapes do not tell how they are joined. Capture what the core receives, in your "
        f"own model:{checkpoint.recipe}"
    )
