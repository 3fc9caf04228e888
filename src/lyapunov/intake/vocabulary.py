"""The symbols of a text in the order in which a network numbers them: said by the user, by the checkpoint, or by nobody."""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from lyapunov.errors import InvalidInput
from lyapunov.intake.files import read_text

ORDERS = ("sorted", "first-appearance")
"""What can be made of the text itself."""
_NAMES = re.compile(
    r"vocab|alphabet|chars?(acters)?$|symbols|stoi|itos|(char|token|word|sym(bol)?|ix|idx|id|int)s?_?(2|to)_?\w+"
)
"""Names under which checkpoints keep a vocabulary."""
_IN_A_ROW = re.compile(r"vocab(ulary)?|alphabet|char(acter)?s|symbols")
"""Names under which a string is all symbols in a row; under others (vocab_type, vocab_path) it says something else."""
_ESCAPES = {r"\n": "\n", r"\t": "\t", r"\r": "\r", r"\\": "\\", r"\s": " "}
_SHOWN = 3
"""Symbols at either end of the order that are printed."""


@dataclass(frozen=True)
class Vocabulary:
    """Symbols by their number, and who says so."""

    symbols: tuple[str, ...]
    source: str

    def __str__(self) -> str:
        shown = [repr(symbol) for symbol in self.symbols]
        if len(shown) > 2 * _SHOWN + 1:
            shown = [*shown[:_SHOWN], "...", *shown[-_SHOWN:]]
        return f"{len(self.symbols)} symbols, {self.source}: {' '.join(shown)}"


def chosen(asked: str | None, text: str, size: int, noted: Vocabulary | None) -> Vocabulary:
    """The vocabulary for a text: the one that was `asked` for, else what the checkpoint has `noted`, else sorted."""
    if asked is None and noted is not None:
        return noted
    if asked in (None, "sorted"):
        return Vocabulary(tuple(sorted(set(text))), "in sorted order")
    if asked == "first-appearance":
        return Vocabulary(tuple(dict.fromkeys(text)), "in the order of first appearance in this text")
    return from_file(str(asked), size)


def from_file(path: str, size: int) -> Vocabulary:
    """JSON (a list, {symbol: number} or {number: symbol}); or text: a symbol per line, or all of them in a row.

    Of what text can mean, the one reading that has `size` different symbols is taken. Raises InvalidInput for none or several.
    """
    if not Path(path).is_file():
        raise InvalidInput(
            f"Expected --vocabulary as {' or '.join(ORDERS)} or a file, got {path}, which is none of these. Name one of them."
        )
    content, source = read_text(path), f"in the order of {Path(path).name}"
    try:
        found = ordered(json.loads(content)) if content.lstrip()[:1] in ("[", "{") else None
    except (json.JSONDecodeError, TypeError):
        found = None
    if found is not None:
        return Vocabulary(found, source)
    fitting = list(dict.fromkeys(each for each in _readings(content) if len(each) == size == len(set(each))))
    if len(fitting) == 1:
        return Vocabulary(fitting[0], source)
    counts = ", ".join(dict.fromkeys(f"{len(each)} ({len(set(each))} different)" for each in _readings(content)))
    raise InvalidInput(
        f"Expected {size} different symbols in {Path(path).name}, as JSON, one per line or all in a row, got {counts}. Write "
        "them as a JSON list: json.dump(symbols, file)."
    )


def in_checkpoint(entries: Mapping[str, object]) -> Vocabulary | None:
    """What a checkpoint says under one of the usual names; None where it says nothing.

    Raises InvalidInput where it says two things.
    """
    found = {name: symbols for name, value in entries.items() if (symbols := _kept(name, value)) is not None}
    if len(set(found.values())) > 1:
        raise InvalidInput(
            f"Expected one vocabulary in the checkpoint, got {len(found)} that differ: {', '.join(found)}. Say which: "
            "--vocabulary FILE."
        )
    name = next(iter(found), None)
    return None if name is None else Vocabulary(found[name], f"in the order of the checkpoint's {name}")


def _kept(name: str, value: object) -> tuple[str, ...] | None:
    """Symbols that an entry has, if it is called like a vocabulary."""
    leaf = name.rpartition(".")[2].lower()
    if not _NAMES.search(leaf) or (isinstance(value, str) and not _IN_A_ROW.fullmatch(leaf)):
        return None
    return ordered(value)


def ordered(value: object) -> tuple[str, ...] | None:
    """Symbols by number, of a list, a string, {symbol: number} or {number: symbol}; None where it is no such thing."""
    if isinstance(value, Mapping):
        pairs = [(symbol, at) if isinstance(at, int) else (at, symbol) for symbol, at in value.items()]
        if not all(isinstance(symbol, str) and str(at).isdecimal() for symbol, at in pairs):
            return None
        by_number = {int(at): symbol for symbol, at in pairs}
        if sorted(by_number) != list(range(len(pairs))):
            return None
        value = [by_number[at] for at in range(len(pairs))]
    if not isinstance(value, Sequence) or not value or not all(isinstance(symbol, str) for symbol in value):
        return None
    return tuple(value) if len(set(value)) == len(value) else None


def _readings(content: str) -> Iterator[tuple[str, ...]]:
    """What a text file of symbols can mean."""
    lines = content.removesuffix("\n").split("\n")
    yield tuple(_ESCAPES.get(line, line) for line in lines)
    yield tuple(content)
    yield tuple(content.removesuffix("\n"))


def require_characters(vocabulary: Vocabulary, text: str) -> None:
    """Text is split into characters: a vocabulary of words or pieces of words does not fit it."""
    known = set(vocabulary.symbols)
    unknown = next((symbol for symbol in text if symbol not in known), None)
    longer = [symbol for symbol in vocabulary.symbols if len(symbol) > 1]
    if unknown is not None and len(longer) > len(vocabulary.symbols) / 2:
        raise InvalidInput(
            f"Expected a vocabulary of single characters, into which a text is split, got {', '.join(map(repr, longer[:3]))}, "
            "... Encode the text with the tokenizer it belongs to, and pass the numbers as integers: "
            "numpy.save('tokens.npy', tokens)."
        )
