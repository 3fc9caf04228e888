"""Counts of single lines and words: one block or several, `Any`, short docstrings, code."""

import ast
import io
import re
import tokenize
from collections.abc import Iterator

from counts.found import Found, all_of
from counts.tree import Definition, Function, House, Source, last_name

WORDS = 3
"""A docstring of so many words, or fewer, says nothing that the name does not."""
SHORT = 3
"""Statements of a function that does little else than making a tuple."""
_LAYOUT = {tokenize.COMMENT, tokenize.NL, tokenize.NEWLINE, tokenize.INDENT, tokenize.DEDENT, tokenize.ENDMARKER}


def blocks_calls(house: House) -> Found:
    """Uses of the function that makes a tuple of one block or several: `blocks` today.

    It is known by what it does, under whatever name: a short function that returns either `value` or `(value,)`. So is one that
    only hands on to such a function. The same written out as an expression counts, too. A note tells of other tests for
    several blocks, of the type of `tangent_size`.
    """
    makers = [one for one in house.definitions if _makes_tuple(one)]
    makers += [one for one in house.definitions if _hands_on(house, one, makers)]
    places, others = [], 0
    for source in house.sources:
        own = {inner for one in makers if one.source is source for inner in ast.walk(one.node)}
        for node in source.nodes:
            if node not in own and (_is_written_out(node) or house.meaning(source, node) in makers):
                places.append(source.place(node, source.shown(node)))
            others += node in source.tests and isinstance(node, ast.Call) and "tangent_size" in ast.unparse(node)
    return all_of(places, f"known by what they do: {', '.join(one.name for one in makers)}", f"tests of tangent_size: {others}")


def _makes_tuple(one: Definition) -> bool:
    if not isinstance(one.node, Function) or len(_statements(one.node)) > SHORT:
        return False
    returned = [inner.value for inner in ast.walk(one.node) if isinstance(inner, ast.Return)]
    values = [part for value in returned for part in ([value.body, value.orelse] if isinstance(value, ast.IfExp) else [value])]
    shown = {ast.unparse(value) for value in values if value is not None}
    return any(f"({value},)" in shown or f"[{value}]" in shown for value in {name.removeprefix("tuple") for name in shown})


def _is_written_out(node: ast.AST) -> bool:
    """Whether it is `value if isinstance(value, tuple) else (value,)`, or that the other way round."""
    if not isinstance(node, ast.IfExp) or "tuple" not in ast.unparse(node.test):
        return False
    pairs = ((node.body, node.orelse), (node.orelse, node.body))
    return any(ast.unparse(one) == f"({ast.unparse(other)},)" for one, other in pairs)


def _statements(node: ast.stmt) -> list[ast.stmt]:
    """The body of a function without its docstring."""
    return [one for one in getattr(node, "body", []) if not isinstance(one, ast.Expr)]


def _hands_on(house: House, one: Definition, makers: list[Definition]) -> bool:
    body = _statements(one.node)
    value = body[0].value if isinstance(one.node, Function) and len(body) == 1 and isinstance(body[0], ast.Return) else None
    called = isinstance(value, ast.Call) and house.meaning(one.source, value.func) in makers
    return called and all(isinstance(given, ast.Name) for given in getattr(value, "args", []))


def any_annotations(house: House) -> Found:
    """`Any` in annotations and type expressions; imports of it do not count."""
    return all_of([source.place(node, _around(source, node)) for source in house.sources for node in _anys(source)])


def any_aliases(house: House) -> Found:
    """Annotations with a name that stands for `Any` alone: where `Any` could have gone instead."""
    aliases = [
        Definition(source, name, node)
        for source in house.sources
        for name, node in source.defined.items()
        if isinstance(node, ast.Assign | ast.AnnAssign) and last_name(node.value) == "Any"
    ]
    places = [
        source.place(node, _around(source, node))
        for source in house.sources
        for node in source.nodes
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load) and house.meaning(source, node) in aliases
    ]
    return all_of(places, f"names for Any: {', '.join(one.name for one in aliases) or 'none'}")


def _anys(source: Source) -> Iterator[ast.AST]:
    for node in source.nodes:
        if last_name(node) == "Any":
            yield node
        elif node in source.annotations and isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield from (node for _ in re.findall(r"\bAny\b", node.value))


def _around(source: Source, node: ast.AST) -> str:
    """The parameter, function or statement that an annotation belongs to."""
    for one in source.ancestors(node):
        if isinstance(one, ast.arg | Function | ast.AnnAssign):
            return one.arg if isinstance(one, ast.arg) else one.name if isinstance(one, Function) else ast.unparse(one.target)
    return source.shown(node)


def short_docstrings(house: House) -> Found:
    """Docstrings of modules, classes and functions of WORDS words or fewer."""
    documented = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
    found = [(source, node) for source in house.sources for node in source.nodes if isinstance(node, documented)]
    said = [(source, node, ast.get_docstring(node) or "") for source, node in found]
    short = [(source, node, text) for source, node, text in said if text and len(text.split()) <= WORDS]
    return all_of([source.place(node, f"{getattr(node, 'name', source.module)}: {text}") for source, node, text in short])


def code_lines(house: House) -> Found:
    """Lines with code, and as a note its tokens: lines can be made fewer by writing more into each."""
    lines, tokens, places = 0, 0, []
    for source in house.sources:
        spans = [(node.lineno, node.end_lineno or node.lineno) for node in source.bare_strings]
        documented = {line for first, last in spans for line in range(first, last + 1)}
        read = tokenize.generate_tokens(io.StringIO(source.text).readline)
        code = [token for token in read if token.type not in _LAYOUT and token.start[0] not in documented]
        own = len({line for token in code for line in range(token.start[0], token.end[0] + 1)})
        lines, tokens = lines + own, tokens + len(code)
        places.append(source.place(source.tree, f"{own} lines"))
    return Found(lines, places, (f"tokens: {tokens}",))
