"""What is public, and what its docstrings say: found by reading the reference's pages and the objects themselves."""

import inspect
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType

import lyapunov

ROOT = Path(__file__).parents[2]
ENTRY = re.compile(r"^\.\. auto(?P<kind>class|function|data):: (?P<name>\S+)", re.MULTILINE)
SECTION = re.compile(
    r"^(?P<title>Args|Attributes|Methods take|Returns|Yields|Raises|Example|References):\n(?P<body>(?:[ ]{4,}.*\n|\n)*)",
    re.MULTILINE,
)
HEAD = re.compile(r"^(\*{0,2}\w+(?:, \*{0,2}\w+)*)(?: \([^)]*\))?:", re.MULTILINE)
PARTS = ("init", "integrations", "known", "plots", "schedules")
"""Public names that are modules: what they hold is public as well."""


def entries() -> dict[str, list[str]]:
    """Names with an entry in the reference, and the pages that hold it."""
    found: dict[str, list[str]] = {}
    for page in sorted((ROOT / "docs" / "reference").glob("*.md")):
        for match in ENTRY.finditer(page.read_text()):
            found.setdefault(match["name"], []).append(page.name)
    return found


def names() -> list[str]:
    """Every public name, dotted."""
    top = [f"lyapunov.{name}" for name in lyapunov.__all__ if name not in (*PARTS, "__version__")]
    return top + [f"lyapunov.{part}.{name}" for part in PARTS for name in of_module(getattr(lyapunov, part))]


def of_module(module: ModuleType) -> list[str]:
    """The public names of a module: those of its `__all__`, or what it defines."""
    if hasattr(module, "__all__"):
        return list(module.__all__)
    return [name for name, value in vars(module).items() if not name.startswith("_") and owned(value, module)]


def owned(value: object, module: ModuleType) -> bool:
    return getattr(value, "__module__", None) == module.__name__ and (inspect.isclass(value) or inspect.isfunction(value))


def named(dotted: str) -> object:
    found: object = lyapunov
    for part in dotted.split(".")[1:]:
        found = getattr(found, part)
    return found


def callables(dotted: str) -> Iterator[tuple[str, Callable[..., object], str]]:
    """What a public name lets a user call, with the docstring in which its arguments are to be found."""
    value = named(dotted)
    if not inspect.isclass(value):
        yield dotted, value, inspect.getdoc(value) or ""
        return
    own = "\n\n".join(inspect.cleandoc(kind.__doc__ or "") for kind in value.__mro__ if kind.__module__.startswith("lyapunov"))
    if not getattr(value, "_is_protocol", False):
        yield dotted, value, own
    for name, member in vars(value).items():
        function = member.__func__ if isinstance(member, classmethod | staticmethod) else member
        if inspect.isfunction(function) and not name.startswith("_"):
            doc = inspect.getdoc(member) or ""
            yield f"{dotted}.{name}", function, f"{doc}\n\n{own}" if doc else ""


def described(doc: str) -> set[str]:
    """The names that sections of arguments and attributes explain: `a, b: text` explains both."""
    found = [match for match in SECTION.finditer(doc + "\n") if match["title"] in ("Args", "Attributes", "Methods take")]
    heads = [head for match in found for head in HEAD.findall(inspect.cleandoc(match["body"]))]
    return {name.strip(" *") for head in heads for name in head.split(",")}


def parameters(function: Callable[..., object]) -> list[str]:
    if inspect.isclass(function) and issubclass(function, Exception) and "__init__" not in vars(function):
        return []
    return [name for name in inspect.signature(function).parameters if name not in ("self", "cls", "_")]
