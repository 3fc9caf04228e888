"""Small mistakes in Python code, each a syntax tree with one node changed: what `mutants.py` draws from."""

import ast
import copy
import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

COMPARED: Mapping[type[ast.cmpop], type[ast.cmpop]] = {
    ast.Lt: ast.LtE,
    ast.LtE: ast.Lt,
    ast.Gt: ast.GtE,
    ast.GtE: ast.Gt,
    ast.Eq: ast.NotEq,
    ast.NotEq: ast.Eq,
    ast.Is: ast.IsNot,
    ast.IsNot: ast.Is,
    ast.In: ast.NotIn,
    ast.NotIn: ast.In,
}
COMPUTED: Mapping[type[ast.operator], type[ast.operator]] = {
    ast.Add: ast.Sub,
    ast.Sub: ast.Add,
    ast.Mult: ast.Div,
    ast.Div: ast.Mult,
    ast.FloorDiv: ast.Mult,
    ast.Mod: ast.Mult,
    ast.Pow: ast.Mult,
    ast.BitAnd: ast.BitOr,
    ast.BitOr: ast.BitAnd,
}
CALLED = {
    **{"min": "max", "amin": "amax", "minimum": "maximum", "any": "all", "floor": "ceil", "cummax": "cummin"},
    **{"max": "min", "amax": "amin", "maximum": "minimum", "all": "any", "ceil": "floor", "mean": "sum", "sum": "mean"},
}
"""A function, and the one that it is taken for."""


LONGEST = 80
"""Letters of code that are shown."""


@dataclass(frozen=True)
class Mutant:
    """One mistake: the file below the package, the function, the line, and the code before and after.

    lines: from the first to the last line of its statement. within: the code around it, where that is longer.
    """

    file: str
    function: str
    line: int
    was: str
    now: str
    within: str
    lines: range
    occurrence: int
    whole: ast.Module
    node: ast.AST
    other: ast.AST

    @property
    def key(self) -> str:
        """Names the mistake as long as its function stays as it is, wherever that moves to in the file."""
        told = f"{self.file} {self.function} {self.was} -> {self.now} {self.occurrence}"
        return hashlib.sha256(told.encode()).hexdigest()[:16]

    @property
    def tree(self) -> ast.Module:
        """The module with the mistake."""
        return _with(self.whole, self.node, self.other)


def mutants(path: Path, root: Path) -> Iterator[Mutant]:
    """All mistakes that can be made in a file, in the order of its code."""
    tree = ast.parse(path.read_text())
    parents = {child: node for node in ast.walk(tree) for child in ast.iter_child_nodes(node)}
    met: dict[tuple[str, str, str], int] = {}
    for node in ast.walk(tree):
        if not isinstance(node, ast.expr | ast.stmt) or _is_left_alone(node, parents):
            continue
        for other in _mistakes(node):
            was, now = _short(node), _short(other)
            function = _function(node, parents)
            count = met[function, was, now] = met.get((function, was, now), -1) + 1
            file, within, lines = path.relative_to(root).as_posix(), _within(node, parents), _lines(node, parents)
            yield Mutant(file, function, node.lineno, was, now, within, lines, count, tree, node, other)


def _mistakes(node: ast.AST) -> Iterator[ast.AST]:
    """What could stand in the place of a node."""
    match node:
        case ast.Compare(ops=[operator]):
            yield _changed(node, ops=[COMPARED[type(operator)]()])
        case ast.BinOp(op=ast.MatMult()):
            yield _changed(node, left=node.right, right=node.left)
        case ast.BinOp(op=operator) if type(operator) in COMPUTED and not _is_text(node):
            yield _changed(node, op=COMPUTED[type(operator)]())
        case ast.BoolOp(op=operator):
            yield _changed(node, op=ast.And() if isinstance(operator, ast.Or) else ast.Or())
        case ast.UnaryOp(op=ast.Not() | ast.USub()):
            yield node.operand
        case ast.If() | ast.IfExp():
            yield _changed(node, test=ast.UnaryOp(ast.Not(), node.test))
        case ast.Constant(value=bool(value)):
            yield _changed(node, value=not value)
        case ast.Constant(value=int(value)):
            yield _changed(node, value=value + 1)
        case ast.Constant(value=float(value)):
            yield _changed(node, value=2 * value or 1.0)
        case ast.Call(func=ast.Name(id=name) as called) if name in CALLED:
            yield _changed(node, func=_changed(called, id=CALLED[name]))
        case ast.Call(func=ast.Attribute(attr=name) as called) if name in CALLED:
            yield _changed(node, func=_changed(called, attr=CALLED[name]))
        case ast.Expr(value=ast.Call()) | ast.AugAssign():
            yield ast.Pass()


def _changed(node: ast.AST, **fields: object) -> ast.AST:
    other = copy.copy(node)
    for name, value in fields.items():
        setattr(other, name, value)
    return other


def _is_text(node: ast.BinOp) -> bool:
    """Whether strings or types are joined: that raises an error, which no test is needed for."""
    parts = (node.left, node.right)
    return any(
        isinstance(part, ast.JoinedStr) or (isinstance(part, ast.Constant) and isinstance(part.value, str | None))
        for part in parts
    )


def _is_left_alone(node: ast.AST, parents: Mapping[ast.AST, ast.AST]) -> bool:
    """Texts, annotations, decorators, imports and what is raised: mistakes there change no number."""
    while node in parents:
        above = parents[node]
        if isinstance(above, ast.JoinedStr | ast.Raise | ast.Import | ast.ImportFrom):
            return True
        if isinstance(above, ast.arg | ast.AnnAssign) and node is above.annotation:
            return True
        if isinstance(above, ast.FunctionDef) and (node is above.returns or node in above.decorator_list):
            return True
        if isinstance(above, ast.ClassDef) and node in (*above.decorator_list, *above.bases):
            return True
        if isinstance(above, ast.If) and ast.unparse(above.test) == "TYPE_CHECKING":
            return True
        node = above
    return False


def _function(node: ast.AST, parents: Mapping[ast.AST, ast.AST]) -> str:
    """The function or class around a node, with those around it; empty at the top of the file."""
    names = []
    while node in parents:
        node = parents[node]
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            names.append(node.name)
    return ".".join(reversed(names))


def _within(node: ast.AST, parents: Mapping[ast.AST, ast.AST]) -> str:
    """As much of the code around a node as fits into a line; empty where nothing does."""
    found = ""
    while (node := parents[node]) in parents and len(told := ast.unparse(node)) <= LONGEST and "\n" not in told:
        found = told.strip()
    return found


def _lines(node: ast.AST, parents: Mapping[ast.AST, ast.AST]) -> range:
    """The lines of the statement around a node; of a compound one its head."""
    while not isinstance(node, ast.stmt):
        node = parents[node]
    body = getattr(node, "body", None)
    last = body[0].lineno - 1 if isinstance(body, list) and body else node.end_lineno or node.lineno
    return range(node.lineno, max(node.lineno, last) + 1)


def _with(tree: ast.Module, node: ast.AST, other: ast.AST) -> ast.Module:
    """A module in which another node stands in the place of one; the rest is shared with it."""

    def rebuilt(here: ast.AST) -> ast.AST:
        if here is node:
            return ast.copy_location(other, node)
        fields = {}
        for name, value in ast.iter_fields(here):
            parts = value if isinstance(value, list) else [value]
            renewed = [rebuilt(part) if isinstance(part, ast.AST) and holds(part) else part for part in parts]
            fields[name] = renewed if isinstance(value, list) else renewed[0]
        return _changed(here, **fields)

    inside = {id(one) for one in _path(tree, node)}

    def holds(part: ast.AST) -> bool:
        return id(part) in inside

    return ast.fix_missing_locations(rebuilt(tree))


def _path(tree: ast.AST, node: ast.AST) -> list[ast.AST]:
    """From the top of a tree down to one of its nodes; empty where it is not in there."""
    if tree is node:
        return [tree]
    for child in ast.iter_child_nodes(tree):
        if found := _path(child, node):
            return [tree, *found]
    return []


def _short(node: ast.AST) -> str:
    """The code of a node on one line; of a statement with a body its head."""
    told = ast.unparse(node).splitlines()[0]
    return told if len(told) <= LONGEST else told[: LONGEST - 3] + "..."
