"""Counts of names: where kinds of layers, ways to orthonormalise and derived quantities are listed, and words of our own."""

import ast
import re
from collections import Counter
from collections.abc import Iterator

from counts.dialect import DIALECT
from counts.found import Found, all_of, files_of
from counts.tree import Function, House, Place, Source, identifiers, last_name, methods, shortened, strings

Named = list[tuple[str, ast.AST]]
_KIND = re.compile(r"(?<!min_)(?<![a-z])(?:simple)?(rnn|gru|lstm)(?:cell)?s?(?!(?:cell)?s?[a-z])", re.IGNORECASE)
_METHODS = {"householder", "cholesky", "echelon", "lu", "eliminated", "elimination"}
"""Ways to factor a frame, before and after."""
_QUANTITIES = {"kaplan_yorke_dimension", "entropy_rate"}
"""Derived quantities whose names mean nothing else, wherever they are written."""
_IN_STRINGS = {"max", "min", "mean", "variance", "sum", "memory_time", "memory_times", "lyapunov_time", "lyapunov_times"}
"""Those whose names also mean other things: they count as strings only."""
_TABLES = ast.Dict | ast.List | ast.Tuple | ast.Set | ast.BinOp


def kinds_in(text: str) -> set[str]:
    """The kinds of layers (rnn, gru, lstm) that an identifier or a string names, as layers or as cells."""
    return {found.lower() for found in _KIND.findall(text)}


def kind_tables(house: House) -> Found:
    """Tables that list kinds of layers, and chains of tests for one kind after the other.

    A table is a dictionary, tuple, list, set, union or `Literal` that names two of the kinds RNN, GRU and LSTM, as layer, cell
    or system, wherever it stands; or statements of one module or class that each enter one of them. A chain is a function
    whose tests (`isinstance`, `==`, `in`, `match`) name two of them. Sentences, imports and `__all__` are no tables.
    """
    places = []
    for source in house.sources:
        tables = [node for node in source.nodes if _is_table(source, node)]
        outermost = [node for node in tables if not set(tables) & set(source.ancestors(node))]
        places += [source.place(node, f"table: {source.shown(node)}") for node in outermost]
        places += [
            source.place(node, f"chain: {getattr(node, 'name', '')}") for node in source.nodes if _is_chain(source, node)
        ]
        places += _filed(source)
    return all_of(sorted(places))


def _words(node: ast.AST) -> Iterator[str]:
    """Names and single words of a piece of code."""
    for inner in ast.walk(node):
        if isinstance(inner, ast.Constant) and isinstance(inner.value, str) and " " not in inner.value:
            yield inner.value
        yield last_name(inner)


def _kinds(node: ast.AST) -> set[str]:
    return {kind for word in _words(node) for kind in kinds_in(word)}


def _is_table(source: Source, node: ast.AST) -> bool:
    literal = isinstance(node, ast.Subscript) and last_name(node.value) == "Literal"
    if not (literal or isinstance(node, _TABLES)) or (not literal and node in source.annotations):
        return False
    around = (node, *source.ancestors(node))
    listed = any(isinstance(one, ast.Assign) and last_name(one.targets[0]) == "__all__" for one in around)
    return not listed and not source.tests & set(around) and len(_kinds(node)) > 1


def _is_chain(source: Source, node: ast.AST) -> bool:
    if not isinstance(node, Function) or any(isinstance(one, Function) for one in source.ancestors(node)):
        return False
    return len({kind for inner in ast.walk(node) if inner in source.tests for kind in _kinds(inner)}) > 1


def _filed(source: Source) -> Iterator[Place]:
    """Statements such as `TABLE[nn.GRU] = ...`, `register(nn.GRU, ...)` or `GRU = ...`, of two kinds in one module or class."""
    for node in source.nodes:
        body = node.body if isinstance(node, ast.Module | ast.ClassDef) else []
        filing = [one for one in body if isinstance(one, ast.Assign | ast.AnnAssign | ast.Expr) and len(_kinds(one)) == 1]
        if len({kind for one in filing for kind in _kinds(one)}) > 1:
            yield source.place(filing[0], f"table: statements from {source.shown(filing[0])}")


def kind_files(house: House) -> Found:
    """Files that know the kinds of layers: that name two of them in code or messages, or test for one."""
    places = []
    for source in house.sources:
        named = [(text, node) for text, node in _named(source) if kinds_in(text)]
        tested = [(text, node) for text, node in named if source.tests & {node, *source.ancestors(node)}]
        several = len({kind for text, _ in named for kind in kinds_in(text)}) > 1
        places += [source.place(node, shortened(text)) for text, node in (named if several else tested)]
    return files_of(_by_line(places))


def method_files(house: House) -> Found:
    """Files that name a way to factor frames, or the type that lists them."""
    listing = [
        (source, name)
        for source in house.sources
        for name, node in source.defined.items()
        if isinstance(node, ast.Assign | ast.AnnAssign) and {"householder", "cholesky"} <= set(_words(node))
    ]
    places = []
    for source in house.sources:
        for text, node in _named(source):
            meant = house.meaning(source, node)
            is_list = meant is not None and (meant.source, meant.name) in listing
            if is_list or set(re.split(r"_|(?<=[a-z])(?=[A-Z])", text.lower())) & _METHODS:
                places.append(source.place(node, shortened(text)))
    return files_of(_by_line(places))


def quantity_files(house: House) -> Found:
    """Files that list derived quantities.

    They name the Kaplan-Yorke dimension or the entropy rate, or two of the others as strings ("max", "mean", ...).
    """
    places = []
    for source in house.sources:
        sure = [(text, node) for text, node in _named(source) if text.lstrip("_") in _QUANTITIES]
        others = [(text, node) for text, node in strings(source) if text in _IN_STRINGS]
        several = len({text for text, _ in others}) > 1
        places += [source.place(node, text) for text, node in [*sure, *(others if several or sure else [])]]
    return files_of(_by_line(places))


def same_names(house: House) -> Found:
    """Public classes and types that share their name with one of another file, and files that share theirs.

    Files of `cli/` are named after the commands and do not count.
    """
    where: dict[str, list[Place]] = {}
    for source in house.sources:
        file = source.file.rpartition("/")[2]
        if file != "__init__.py" and not source.file.startswith("cli/"):
            where.setdefault(file, []).append(source.place(source.tree, file))
        for name, node in source.defined.items():
            is_type = isinstance(node, ast.Assign | ast.AnnAssign) and name[:1].isupper() and not name.isupper()
            if isinstance(node, ast.ClassDef) or is_type:
                where.setdefault(name, []).append(source.place(node, name))
    shared = {name: places for name, places in sorted(where.items()) if len(places) > 1 and not name.startswith("_")}
    return Found(len(shared), [place for places in shared.values() for place in places], (", ".join(shared),))


def dialect(house: House) -> Found:
    """Words of the glossary's left columns that still occur in the code.

    The list says how often each does, and what is to stand in its place. Strings and docstrings are not searched, and calls of
    a dictionary's `values()` do not count.
    """
    where: dict[str, list[Place]] = {}
    for source in house.sources:
        for name, node in _occurring(source):
            where.setdefault(name, []).append(source.place(node, name))
    left = {word: where[word] for word in DIALECT if word in where}
    notes = [f"{len(places):4}  {word} -> {DIALECT[word]}" for word, places in left.items()]
    return Found(len(left), [place for places in left.values() for place in places], tuple(notes))


def _occurring(source: Source) -> Iterator[tuple[str, ast.AST]]:
    """What is in a file, in the forms that DIALECT is written in."""
    yield source.file.rpartition("/")[2], source.tree
    for name, node in identifiers(source):
        called = source.parents.get(node)
        of_dictionary = name == "values" and isinstance(called, ast.Call) and called.func is node and not called.args
        if not of_dictionary:
            yield name.lstrip("_"), node
        if source.file == "__init__.py":
            yield f"lyapunov.{name}", node
        if isinstance(node, Function):
            yield f"{name.lstrip('_')}()", node
        if isinstance(node, ast.ClassDef):
            yield from ((f"{name}.{method.name}", method) for method in methods(node))


def _named(source: Source) -> Named:
    """Identifiers and strings; docstrings are neither."""
    return [*identifiers(source), *strings(source)]


def _by_line(places: list[Place]) -> list[Place]:
    """In order, what is on one line together."""
    lines: dict[tuple[str, int], Counter[str]] = {}
    for place in places:
        lines.setdefault((place.file, place.line), Counter())[place.what] += 1
    return [Place(file, line, ", ".join(words)) for (file, line), words in sorted(lines.items())]
