"""Counts that look into classes: attributes, parameters, and questions for the closed form."""

import ast
from collections.abc import Iterator

from counts.found import Found, all_of
from counts.tree import (
    Definition,
    Function,
    House,
    Source,
    behaviour,
    decorators,
    fields,
    in_systems,
    is_frozen,
    is_record,
    last_name,
    methods,
    named_in,
    own_values,
    self_name,
)


def attributes(house: House) -> Found:
    """Attributes of the largest class that is no frozen record: those of its instances, with what is hidden elsewhere.

    A class has the fields that it annotates and what its methods assign to `self`. Fields of a base that no other class has are
    its own, and so are those of a record without methods that no other class or file knows. Besides, `self.bag.name = ...`,
    `replace(self.bag, name=...)` and `self.bag["name"]` count as attributes of the class that does this.
    """
    return _largest(house, [one for one in house.classes if not is_frozen(one.node)])


def record_fields(house: House) -> Found:
    """Fields of the largest frozen dataclass or named tuple, counted likewise: attributes could have moved there."""
    return _largest(house, [one for one in house.classes if is_frozen(one.node)])


def _largest(house: House, classes: list[Definition]) -> Found:
    sizes = sorted(((one, sorted(_attributes(house, one))) for one in classes), key=lambda pair: -len(pair[1]))
    one, names = sizes[0]
    top = ", ".join(f"{each.name} {len(found)} ({each.source.file})" for each, found in sizes[:5])
    return Found(len(names), [one.place(f"{one.name}.{name}") for name in names], (top,))


def _attributes(house: House, one: Definition) -> set[str]:
    """By name; those in a bag as bag.name."""
    own = fields(one.node)
    found = {*own, *(f"{name}.{inner}" for name, inner in _reached_into(one.node) if name in own)}
    for parent in house.bases(one):
        found |= _attributes(house, parent) if house.heirs(parent) == [one] else set()
    for name, bag in _kept(house, one):
        if is_record(bag.node) and not behaviour(bag.node) and _is_private(house, bag, one):
            found |= {f"{name}.{inner}" for inner in fields(bag.node)}
    return found


def _kept(house: House, one: Definition) -> Iterator[tuple[str, Definition]]:
    """Attributes of a class, each with a class whose instance is kept there."""
    for name, annotation in fields(one.node).items():
        if annotation is not None:
            yield from ((name, bag) for bag in named_in(house, one.source, annotation))
    for name, value in own_values(one.node):
        if isinstance(value, ast.Call):
            yield from ((name, bag) for bag in named_in(house, one.source, value.func))


def _is_private(house: House, bag: Definition, owner: Definition) -> bool:
    """Whether nothing but its owner, and functions in the same file, knows a class."""
    users = [one for one in house.definitions if one != bag and bag in list(named_in(house, one.source, one.node))]
    return all(one.source is owner.source and (one == owner or isinstance(one.node, Function)) for one in users)


def _reached_into(node: ast.stmt) -> Iterator[tuple[str, str]]:
    """What a class sets or keeps behind one of its attributes as if it were its own: (attribute, name)."""
    for name, value in own_values(node):
        if isinstance(value, ast.Call) and last_name(value.func) in ("replace", "_replace"):
            holder = value.args[0] if value.args else getattr(value.func, "value", None)
            yield from ((name, option.arg) for option in value.keywords if option.arg and last_name(holder) == name)
    for method in methods(node):
        own = self_name(method)
        for inner in ast.walk(method):
            holder, names = _set_behind(inner)
            if isinstance(holder, ast.Attribute) and last_name(holder.value) == own:
                yield from ((holder.attr, name) for name in names)


def _set_behind(node: ast.AST) -> tuple[ast.AST | None, list[str]]:
    """What a node sets something in, and under which names."""
    if isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store):
        return node.value, [node.attr]
    if isinstance(node, ast.Subscript) and isinstance(node.slice, ast.Constant) and isinstance(node.slice.value, str):
        return node.value, [node.slice.value]
    if isinstance(node, ast.Call) and last_name(node.func) == "setattr" and len(node.args) > 1:
        return node.args[0], [str(node.args[1].value)] if isinstance(node.args[1], ast.Constant) else []
    return None, []


def monitor_parameters(house: House) -> Found:
    """Parameters of `lyapunov.Monitor`. Keywords taken as `**options` count as those of what they are passed on to.

    A note says how many fields the records among them have, as parameters could have moved there.
    """
    monitor = house.named("lyapunov", "Monitor")
    made = [method for method in methods(monitor.node) if method.name == "__init__"] if monitor is not None else []
    if monitor is None or not made:
        raise LookupError("Expected a class lyapunov.Monitor with an __init__, got none.")
    taken = made[0].args
    listed = [*taken.posonlyargs, *taken.args, *taken.kwonlyargs][1:]
    places = [monitor.source.place(one, one.arg) for one in listed]
    if taken.kwarg is not None:
        names = _passed_on(house, monitor.source, made[0], taken.kwarg.arg) or [f"**{taken.kwarg.arg}"]
        places += [monitor.source.place(taken.kwarg, name) for name in names]
    annotations = [one.annotation for one in listed if one.annotation is not None]
    records = {one for each in annotations for one in named_in(house, monitor.source, each) if is_record(one.node)}
    return all_of(places, *sorted(f"{one.name} among them has {len(fields(one.node))} fields" for one in records))


def _passed_on(house: House, source: Source, function: ast.AST, options: str) -> list[str]:
    """The names that what is called with `**options` takes."""
    names = []
    for node in ast.walk(function):
        spread = isinstance(node, ast.Call) and any(
            one.arg is None and last_name(one.value) == options for one in node.keywords
        )
        called = house.meaning(source, node.func) if isinstance(node, ast.Call) and spread else None
        if called is not None and isinstance(called.node, Function):
            names += [one.arg for one in (*called.node.args.args, *called.node.args.kwonlyargs)]
        elif called is not None:
            names += list(fields(called.node))
    return names


def closed_forms(house: House) -> Found:
    """Places outside `systems/` that ask whether a system has a closed form.

    The closed form is the class of `systems/` that first defines `linearize`. What counts is code (no import, annotation or
    base) with its name or another name for it, be it in `isinstance`, `match` or a table; a function of `systems/` that answers
    for the caller; a test for two or more of its families; `hasattr` and the like with a method that only it has, or `except`
    around one; a flag that it sets; and a method that other systems refuse by None or an error, while it never does.
    """
    having = [one for one in house.classes if in_systems(one.source) and "linearize" in _method_names(one)]
    forms = [one for one in having if house.lineage(one) and not any(parent in having for parent in house.lineage(one))]
    if not forms:
        return Found(0, [], ("no class of systems/ defines linearize and is derived from another: nothing to ask for",))
    asked = _Asked(house, forms[0])
    outside = [source for source in house.sources if not in_systems(source)]
    found = [(source, node) for source in outside for node in source.nodes if asked.by(source, node)]
    places = [source.place(node, source.shown(node)) for source, node in found]
    return all_of(places, f"the class is {forms[0].name} ({forms[0].source.file})")


def _method_names(one: Definition) -> set[str]:
    return {method.name for method in methods(one.node)}


class _Asked:
    """Whether a piece of code asks for the closed form."""

    def __init__(self, house: House, form: Definition) -> None:
        self._house, self._form = house, form
        above = [method for parent in house.lineage(form) for method in methods(parent.node)]
        refusing = {method.name for method in above if _refuses(method)}
        self._names = {form, *self._aliases()}
        self._own = {name for name in _method_names(form) - {method.name for method in above} if not name.startswith("__")}
        self._never = {method.name for method in methods(form.node) if method.name in refusing and not _may_refuse(method)}
        self._flags = _flags(form.node)

    def by(self, source: Source, node: ast.AST) -> bool:
        """Whether this node of a file does."""
        if isinstance(node, ast.Name | ast.Attribute):
            parent = source.parents.get(node)
            base = isinstance(parent, ast.ClassDef)
            if not base and node not in source.annotations and self._house.meaning(source, node) in self._names:
                return True
            called = isinstance(parent, ast.Call) and parent.func is node
            return isinstance(node, ast.Attribute) and (node.attr in self._flags or (called and node.attr in self._never))
        if isinstance(node, ast.Call) and last_name(node.func) in ("hasattr", "getattr", "attrgetter", "methodcaller"):
            return any(isinstance(one, ast.Constant) and one.value in self._own for one in node.args)
        if isinstance(node, Function) and "register" in decorators(node):
            return any(self._form in list(named_in(self._house, source, one)) for one in node.args.args if one.annotation)
        if isinstance(node, ast.Try):
            used = {inner.attr for one in node.body for inner in ast.walk(one) if isinstance(inner, ast.Attribute)}
            caught = " ".join(ast.unparse(one.type) for one in node.handlers if one.type is not None)
            return bool(used & (self._own | self._never)) and any(
                one in caught for one in ("Attribute", "NotImpl", "TypeError")
            )
        return node in source.tests and len(self._families(source, node)) > 1

    def _families(self, source: Source, node: ast.AST) -> set[Definition]:
        """The classes right under the closed form that a test names, or names heirs of."""
        near = self._house.heirs(self._form)
        return {
            one for each in named_in(self._house, source, node) for one in (each, *self._house.lineage(each)) if one in near
        }

    def _aliases(self) -> Iterator[Definition]:
        """Other names for it, and functions of `systems/` that say whether something is one."""
        for source in self._house.sources:
            for name, node in source.defined.items():
                answers = isinstance(node, Function) and in_systems(source) and last_name(node.returns) in ("bool", "TypeGuard")
                renames = isinstance(node, ast.Assign | ast.AnnAssign)
                if (answers or renames) and self._form in list(named_in(self._house, source, node)):
                    yield Definition(source, name, node)


def _refuses(method: ast.FunctionDef | ast.AsyncFunctionDef) -> bool:
    """Whether a method does nothing but return None or raise."""
    body = [one for one in method.body if not (isinstance(one, ast.Expr) and isinstance(one.value, ast.Constant))]
    if len(body) != 1 or "abstractmethod" in decorators(method):
        return False
    return isinstance(body[0], ast.Raise) or (isinstance(body[0], ast.Return) and _is_nothing(body[0].value))


def _is_nothing(value: ast.expr | None) -> bool:
    return value is None or ast.unparse(value) in ("None", "NotImplemented")


def _may_refuse(method: ast.FunctionDef | ast.AsyncFunctionDef) -> bool:
    return method.returns is None or "None" in ast.unparse(method.returns)


def _flags(node: ast.stmt) -> set[str]:
    """Attributes that a class sets to a constant, and properties that return one."""
    found = set()
    for one in getattr(node, "body", []):
        if isinstance(one, ast.Assign | ast.AnnAssign) and isinstance(one.value, ast.Constant):
            found |= {last_name(target) for target in (one.targets if isinstance(one, ast.Assign) else [one.target])}
        elif isinstance(one, Function) and "property" in decorators(one) and isinstance(one.body[-1], ast.Return):
            found |= {one.name} if isinstance(one.body[-1].value, ast.Constant) else set()
    return found
