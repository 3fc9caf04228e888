"""The syntax trees of the package, and what names in them mean: `structure.py` counts on them."""

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import NamedTuple, TypeGuard

Function = ast.FunctionDef | ast.AsyncFunctionDef
PACKAGE = "lyapunov"
WIDTH = 90
"""Characters of code that are shown of a place."""


class Place(NamedTuple):
    """A line of a file, and what was counted there."""

    file: str
    line: int
    what: str

    def __str__(self) -> str:
        return f"{self.file}:{self.line}: {self.what}"


@dataclass(frozen=True, eq=False)
class Source:
    """One file: its path within the package, its dotted name, its text and its tree."""

    file: str
    module: str
    text: str
    tree: ast.Module

    def place(self, node: ast.AST, what: str) -> Place:
        """Where a node is."""
        return Place(self.file, getattr(node, "lineno", 1), what)

    @cached_property
    def nodes(self) -> list[ast.AST]:
        """All nodes of the tree."""
        return list(ast.walk(self.tree))

    @cached_property
    def parents(self) -> dict[ast.AST, ast.AST]:
        """The parent of each node."""
        return {child: node for node in self.nodes for child in ast.iter_child_nodes(node)}

    def ancestors(self, node: ast.AST) -> Iterator[ast.AST]:
        """From the parent of a node up to the module."""
        while node in self.parents:
            node = self.parents[node]
            yield node

    def statement(self, node: ast.AST) -> ast.stmt:
        """The innermost statement that a node is, or is in."""
        return next(one for one in (node, *self.ancestors(node)) if isinstance(one, ast.stmt))

    def shown(self, node: ast.AST) -> str:
        """The first line of the statement around a node, shortened."""
        return shortened(ast.unparse(self.statement(node)).splitlines()[0])

    @cached_property
    def bare_strings(self) -> set[ast.expr]:
        """Strings that are statements: docstrings, and those under an attribute or a constant."""
        statements = [node for node in self.nodes if isinstance(node, ast.Expr)]
        return {node.value for node in statements if isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)}

    @cached_property
    def annotations(self) -> set[ast.AST]:
        """All nodes within annotations."""
        found: list[ast.AST | None] = []
        for node in self.nodes:
            if isinstance(node, ast.arg | ast.AnnAssign):
                found.append(node.annotation)
            elif isinstance(node, Function):
                found.append(node.returns)
        return {inner for one in found if one is not None for inner in ast.walk(one)}

    @cached_property
    def tests(self) -> set[ast.AST]:
        """What decides: comparisons, questions for a type or an attribute, and the patterns of `match`."""
        asking = ("isinstance", "issubclass", "hasattr")
        calls = [node for node in self.nodes if isinstance(node, ast.Call) and last_name(node.func) in asking]
        return {*calls, *(node for node in self.nodes if isinstance(node, ast.Compare | ast.pattern))}

    @cached_property
    def defined(self) -> dict[str, ast.stmt]:
        """What the module defines at its top level, by name."""
        found: dict[str, ast.stmt] = {}
        for node in self.tree.body:
            if isinstance(node, ast.ClassDef | Function):
                found[node.name] = node
            elif isinstance(node, ast.Assign | ast.AnnAssign):
                targets = node.targets if isinstance(node, ast.Assign) else [node.target]
                found |= {target.id: node for target in targets if isinstance(target, ast.Name)}
        return found


class Definition(NamedTuple):
    """A name at the top level of a module, and the statement that defines it."""

    source: Source
    name: str
    node: ast.stmt

    def place(self, what: str = "") -> Place:
        """Where it is defined."""
        return self.source.place(self.node, what or self.name)


class House:
    """All files of the package, from its folder."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.sources = [_read(root, path) for path in sorted(root.rglob("*.py"))]
        self._modules = {source.module: source for source in self.sources}
        self._imports = {source: dict(self._imported(source)) for source in self.sources}

    @cached_property
    def definitions(self) -> list[Definition]:
        """All functions and classes at the top level of a module."""
        found = [Definition(source, name, node) for source in self.sources for name, node in source.defined.items()]
        return [one for one in found if isinstance(one.node, ast.ClassDef | Function)]

    @cached_property
    def classes(self) -> list[Definition]:
        """All classes at the top level of a module."""
        return [one for one in self.definitions if isinstance(one.node, ast.ClassDef)]

    def bases(self, one: Definition) -> list[Definition]:
        """The bases of a class that are in the package."""
        found = [self.meaning(one.source, base) for base in getattr(one.node, "bases", ())]
        return [base for base in found if base is not None and isinstance(base.node, ast.ClassDef)]

    def lineage(self, one: Definition) -> list[Definition]:
        """The bases of a class and theirs."""
        return [each for base in self.bases(one) for each in (base, *self.lineage(base))]

    def heirs(self, one: Definition) -> list[Definition]:
        """The classes that have a class as a base."""
        return self._heirs.get(one, [])

    @cached_property
    def _heirs(self) -> dict[Definition, list[Definition]]:
        found: dict[Definition, list[Definition]] = {}
        for one in self.classes:
            for base in self.bases(one):
                found.setdefault(base, []).append(one)
        return found

    def named(self, module: str, name: str) -> Definition | None:
        """What a name of a module means, wherever it was imported from; None where that is not in the package."""
        source = self._modules.get(module)
        if source is None:
            return None
        if name in source.defined:
            return Definition(source, name, source.defined[name])
        origin = self._imports[source].get(name)
        return None if origin is None or not origin[1] else self.named(*origin)

    def meaning(self, source: Source, node: ast.AST) -> Definition | None:
        """What a name, or an attribute of a module, refers to."""
        if isinstance(node, ast.Name):
            return self.named(source.module, node.id)
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
            module = self._imports[source].get(node.value.id)
            if module is not None:
                whole = f"{module[0]}.{module[1]}" if module[1] else module[0]
                return self.named(whole, node.attr)
        return None

    def imports(self, source: Source) -> list[tuple[Source, ast.stmt]]:
        """The files that a file imports, wherever in it (functions and `if TYPE_CHECKING` included)."""
        found: list[tuple[Source | None, ast.stmt]] = []
        for node in source.nodes:
            if isinstance(node, ast.ImportFrom):
                module = _absolute(source, node)
                for alias in node.names:
                    inner = self._is_module(source, module, alias.name)
                    found.append((self._modules.get(f"{module}.{alias.name}" if inner else module), node))
            elif isinstance(node, ast.Import):
                found += [(self._modules.get(alias.name), node) for alias in node.names]
        return [(other, node) for other, node in found if other is not None and other is not source]

    def _imported(self, source: Source) -> Iterator[tuple[str, tuple[str, str]]]:
        """Names in a file, each with its module and its name there ("" for a module itself)."""
        for node in source.nodes:
            if isinstance(node, ast.ImportFrom):
                module = _absolute(source, node)
                for alias in node.names:
                    inner = self._is_module(source, module, alias.name)
                    yield alias.asname or alias.name, (f"{module}.{alias.name}", "") if inner else (module, alias.name)
            elif isinstance(node, ast.Import):
                for alias in node.names:
                    yield alias.asname or alias.name, (alias.name, "")

    def _is_module(self, source: Source, module: str, name: str) -> bool:
        """Whether `from module import name` brings a module, not something of the same name that the package has from it."""
        package = self._modules.get(module)
        if f"{module}.{name}" not in self._modules or package is None:
            return False
        brought = {alias.asname or alias.name for node in package.tree.body if _is_import(node) for alias in node.names}
        return package is source or name not in brought | set(package.defined)


def _is_import(node: ast.stmt) -> TypeGuard[ast.ImportFrom]:
    return isinstance(node, ast.ImportFrom)


def _read(root: Path, path: Path) -> Source:
    text, file = path.read_text(), path.relative_to(root)
    parts = [PACKAGE, *file.with_suffix("").parts]
    module = ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
    return Source(file.as_posix(), module, text, ast.parse(text))


def _absolute(source: Source, node: ast.ImportFrom) -> str:
    """The module that `from ... import` names."""
    if not node.level:
        return node.module or ""
    package = source.module if source.file.endswith("__init__.py") else source.module.rpartition(".")[0]
    parts = package.split(".")
    return ".".join([*parts[: len(parts) - node.level + 1], *([node.module] if node.module else [])])


def shortened(text: str) -> str:
    """On one line of no more than WIDTH characters."""
    line = " ".join(text.split())
    return line if len(line) <= WIDTH else f"{line[: WIDTH - 3]}..."


def in_systems(source: Source) -> bool:
    """Whether a file is in the folder of what is stepped."""
    return source.file.startswith("systems/")


def named_in(house: House, source: Source, node: ast.AST) -> Iterator[Definition]:
    """Classes of the package that a piece of code names, in strings of annotations, too."""
    for inner in ast.walk(node):
        one = house.meaning(source, inner)
        if one is None and inner in source.annotations and isinstance(inner, ast.Constant) and isinstance(inner.value, str):
            one = house.named(source.module, inner.value)
        if one is not None and isinstance(one.node, ast.ClassDef):
            yield one


def last_name(node: ast.AST | None) -> str:
    """`c` for `a.b.c`; "" for what is no name."""
    return node.attr if isinstance(node, ast.Attribute) else node.id if isinstance(node, ast.Name) else ""


def decorators(node: ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef) -> dict[str, ast.expr]:
    """The decorators of a class or function, by the last part of their names."""
    return {last_name(one.func if isinstance(one, ast.Call) else one): one for one in node.decorator_list}


def methods(node: ast.stmt) -> list[ast.FunctionDef | ast.AsyncFunctionDef]:
    """The methods of a class."""
    return [one for one in node.body if isinstance(one, Function)] if isinstance(node, ast.ClassDef) else []


def _base_names(node: ast.ClassDef) -> set[str]:
    return {last_name(base.value if isinstance(base, ast.Subscript) else base) for base in node.bases}


def is_record(node: ast.stmt) -> bool:
    """Whether a class only keeps values: a dataclass, a named tuple, a typed dictionary, or one without methods of its own."""
    if not isinstance(node, ast.ClassDef):
        return False
    if "dataclass" in decorators(node) or {"NamedTuple", "TypedDict"} & _base_names(node):
        return True
    return bool(fields(node)) and not behaviour(node)


def is_frozen(node: ast.stmt) -> bool:
    """Whether a class is a record whose fields never change."""
    if not isinstance(node, ast.ClassDef):
        return False
    made = decorators(node).get("dataclass")
    options = made.keywords if isinstance(made, ast.Call) else []
    return "NamedTuple" in _base_names(node) or any(one.arg == "frozen" and ast.unparse(one.value) == "True" for one in options)


def behaviour(node: ast.stmt) -> list[str]:
    """Methods that do something: neither properties nor of Python's own names."""
    passive = {"property", "cached_property"}
    return [one.name for one in methods(node) if not one.name.startswith("__") and not passive & set(decorators(one))]


def fields(node: ast.stmt) -> dict[str, ast.expr | None]:
    """Attributes of a class's instances, with their annotations: annotated in the class, or assigned to `self`."""
    found: dict[str, ast.expr | None] = {}
    for one in getattr(node, "body", []):
        if (
            isinstance(one, ast.AnnAssign)
            and isinstance(one.target, ast.Name)
            and "ClassVar" not in ast.unparse(one.annotation)
        ):
            found[one.target.id] = one.annotation
    for method in methods(node):
        annotated = [one for one in ast.walk(method) if isinstance(one, ast.AnnAssign)]
        types = {one.target.attr: one.annotation for one in annotated if isinstance(one.target, ast.Attribute)}
        for name in _assigned(method):
            found[name] = found.get(name) or types.get(name)
    return found


def own_values(node: ast.stmt) -> Iterator[tuple[str, ast.expr]]:
    """What the methods of a class assign to `self`, by attribute, tuples taken apart."""
    for method in methods(node):
        for inner in ast.walk(method):
            targets = (
                inner.targets if isinstance(inner, ast.Assign) else [inner.target] if isinstance(inner, ast.AnnAssign) else []
            )
            for target, value in (pair for one in targets for pair in _pairs(one, getattr(inner, "value", None))):
                if isinstance(target, ast.Attribute) and last_name(target.value) == self_name(method):
                    yield target.attr, value


def _pairs(target: ast.expr, value: ast.expr | None) -> Iterator[tuple[ast.expr, ast.expr]]:
    """What is assigned, and to what; nothing where there is an annotation only."""
    if isinstance(target, ast.Tuple) and isinstance(value, ast.Tuple):
        yield from zip(target.elts, value.elts, strict=False)
    elif value is not None:
        yield target, value


def self_name(method: ast.FunctionDef | ast.AsyncFunctionDef) -> str:
    """What a method calls its instance; "-" where it has none."""
    arguments = [*method.args.posonlyargs, *method.args.args]
    static = {"staticmethod", "classmethod"} & set(decorators(method))
    return arguments[0].arg if arguments and not static else "-"


def _assigned(method: ast.FunctionDef | ast.AsyncFunctionDef) -> Iterator[str]:
    """Attributes of `self` that a method sets, in whatever way."""
    own = self_name(method)
    for node in ast.walk(method):
        if isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store) and last_name(node.value) == own:
            yield node.attr
        elif isinstance(node, ast.Call) and last_name(node.func) in ("setattr", "__setattr__"):
            if len(node.args) > 1 and last_name(node.args[0]) == own and isinstance(node.args[1], ast.Constant):
                yield str(node.args[1].value)
        elif isinstance(node, ast.Call) and ast.unparse(node.func) in (f"vars({own}).update", f"{own}.__dict__.update"):
            yield from (option.arg for option in node.keywords if option.arg)


def identifiers(source: Source) -> Iterator[tuple[str, ast.AST]]:
    """Every identifier of a file, with its node: what it defines, imports, passes and reads."""
    for node in source.nodes:
        if isinstance(node, ast.Name):
            yield node.id, node
        elif isinstance(node, ast.Attribute):
            yield node.attr, node
        elif isinstance(node, ast.arg):
            yield node.arg, node
        elif isinstance(node, ast.keyword | ast.MatchAs | ast.MatchStar):
            name = node.arg if isinstance(node, ast.keyword) else node.name
            if name:
                yield name, node
        elif isinstance(node, ast.ClassDef | Function):
            yield node.name, node
        elif isinstance(node, ast.alias):
            yield from ((part, node) for part in (node.name.rpartition(".")[2], node.asname) if part)


def strings(source: Source) -> Iterator[tuple[str, ast.AST]]:
    """Every string of a file that is no docstring, parts of f-strings included, with its node."""
    for node in source.nodes:
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and node not in source.bare_strings:
            yield node.value, node
