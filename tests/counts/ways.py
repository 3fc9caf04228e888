"""Counts that follow references from file to file: setting containers and import cycles."""

import ast
from collections.abc import Iterable, Iterator, Mapping
from typing import TypeVar

from counts.found import Found, all_of
from counts.tree import Definition, Function, House, Place, Source, fields, in_systems, is_record, last_name, named_in

Node = TypeVar("Node")
Key = tuple[str, str]
"""Module and name of a definition."""
SETTINGS = ("k", "state", "carried", "steps", "lengths", "linearization", "coupled", "settle", "align", "count", "from_reset")
SETTINGS = (*SETTINGS, "from_initial_state", "qr_every", "chunks", "method", "dt", "dtype", "seed")
"""What a caller sets, under the names of before and after."""
SEVERAL = 3
"""So many settings make a class a container of settings."""
PROPAGATING = {"push", "trace", "linearize"}
"""A function that calls one of these methods of a system is, or is in, a loop over time."""


def containers(house: House) -> Found:
    """Classes that carry settings from a public function to the loop over time.

    On the way are the functions and classes that a public name of the package reaches by references and that reach the loop.
    A class counts where one of these takes it as a parameter or constructs it, and where SEVERAL of its fields are settings:
    named in SETTINGS, ending in such a name, or holding a record that has some. A dictionary counts where it is passed on and
    has SEVERAL settings as keys. Results do not count: what public functions return, and what `rollout` does.
    """
    definitions = {key(one): one for one in house.definitions}
    forwards = {name: set(_references(house, one)) & set(definitions) for name, one in definitions.items()}
    backwards = {name: {start for start, ends in forwards.items() if name in ends} for name in definitions}
    public = {key(one) for name in _public_names(house) if (one := house.named("lyapunov", name))} & set(definitions)
    loops = [name for name, one in definitions.items() if not in_systems(one.source) and _propagates(one.node)]
    way = [definitions[name] for name in sorted(reached(public, forwards) & reached(loops, backwards))]
    if not any(one.name == "spectrum" for one in way):
        raise LookupError("Expected a way from lyapunov.spectrum to a call of push, trace or linearize, got none.")
    returning = [one for name, one in definitions.items() if name in public or one.name.lstrip("_").startswith("rollout")]
    results = {key(one) for each in returning for one in _returned(house, each)}
    taken = {key(one): one for each in way for one in _taken(house, each)}
    carriers = [one for name, one in sorted(taken.items()) if name not in results and (is_record(one.node) or one not in way)]
    held = [(one, _settings(house, one, results)) for one in carriers]
    places = [one.place(f"{one.name}: {', '.join(names)}") for one, names in held if len(names) >= SEVERAL]
    return all_of(places + [place for each in way for place in _dictionaries(each)])


def key(one: Definition) -> Key:
    """A definition's module and name."""
    return one.source.module, one.name


def reached(starts: Iterable[Node], edges: Mapping[Node, set[Node]]) -> set[Node]:
    """All nodes that can be reached from some, these included."""
    found: set[Node] = set()
    todo = list(starts)
    while todo:
        now = todo.pop()
        if now not in found:
            found.add(now)
            todo += edges.get(now, set())
    return found


def _references(house: House, one: Definition) -> Iterator[Key]:
    """What the code of a definition refers to, annotations aside."""
    for node in ast.walk(one.node):
        if node not in one.source.annotations and (other := house.meaning(one.source, node)) and other != one:
            yield key(other)


def _public_names(house: House) -> list[str]:
    """`__all__` of the package."""
    top = house.named("lyapunov", "__all__")
    if top is None or not isinstance(top.node, ast.Assign):
        raise LookupError("Expected the package to list its public names in __all__, got no such list.")
    return [str(name) for name in ast.literal_eval(top.node.value)]


def _propagates(node: ast.stmt) -> bool:
    calls = [inner.func for inner in ast.walk(node) if isinstance(inner, ast.Call)]
    return any(isinstance(function, ast.Attribute) and function.attr in PROPAGATING for function in calls)


def _returned(house: House, one: Definition) -> Iterator[Definition]:
    """Classes in the return annotation of a function."""
    if isinstance(one.node, Function) and one.node.returns is not None:
        yield from named_in(house, one.source, one.node.returns)


def _taken(house: House, one: Definition) -> Iterator[Definition]:
    """Classes that a definition takes as parameters or constructs."""
    for node in ast.walk(one.node):
        if isinstance(node, ast.arg) and node.annotation is not None:
            yield from named_in(house, one.source, node.annotation)
        elif isinstance(node, ast.Call):
            yield from named_in(house, one.source, node.func)


def _is_setting(name: str) -> bool:
    return any(name == setting or name.endswith(f"_{setting}") for setting in SETTINGS)


def _settings(house: House, one: Definition, passed_over: set[Key]) -> list[str]:
    """The fields of a class that are settings, or hold a record with settings that is no result."""
    seen, found = passed_over | {key(one)}, []
    for name, annotation in fields(one.node).items():
        inner = [] if annotation is None else list(named_in(house, one.source, annotation))
        nested = [each for each in inner if key(each) not in seen and is_record(each.node)]
        if _is_setting(name) or any(_settings(house, each, seen) for each in nested):
            found.append(name)
    return found


def _dictionaries(one: Definition) -> Iterator[Place]:
    """Settings in a dictionary or namespace that is passed to a call or returned by a function (methods return records)."""
    for node in ast.walk(one.node):
        names: list[str] = []
        if isinstance(node, ast.Dict):
            names = [str(name.value) for name in node.keys if isinstance(name, ast.Constant)]
        elif isinstance(node, ast.Call) and last_name(node.func) in ("dict", "SimpleNamespace"):
            names = [option.arg for option in node.keywords if option.arg]
        parent = one.source.parents.get(node)
        returned = isinstance(parent, ast.Return) and isinstance(one.node, Function)
        passed = returned or isinstance(parent, ast.Call | ast.keyword)
        if passed and sum(map(_is_setting, names)) >= SEVERAL:
            yield one.source.place(node, f"a dictionary in {one.name}: {', '.join(names)}")


def import_cycles(house: House) -> Found:
    """Groups of files that import each other, directly or through others, wherever in the file and under TYPE_CHECKING, too.

    A group is listed with the imports that bind it together, and belongs to the innermost folder that holds all of it.
    """
    edges = {source: {other for other, _ in house.imports(source)} for source in house.sources}
    after = {source: reached(others, edges) for source, others in edges.items()}
    groups = {frozenset(other for other in after[one] if one in after[other]) for one in house.sources if one in after[one]}
    places, notes = [], []
    for group in sorted(groups, key=_folder):
        files = sorted(source.file for source in group)
        notes.append(f"in {_folder(group) or '.'}: {', '.join(files)}")
        for source in sorted(group, key=lambda one: one.file):
            inside = {node.lineno: other.file for other, node in house.imports(source) if other in group}
            places += [Place(source.file, line, f"imports {other}") for line, other in sorted(inside.items())]
    return Found(len(groups), places, tuple(notes))


def _folder(group: Iterable[Source]) -> str:
    """The innermost folder that holds all files of a group."""
    parts = [source.file.split("/")[:-1] for source in group]
    shared = [level[0] for level in zip(*parts, strict=False) if len(set(level)) == 1]
    return "/".join(shared)
