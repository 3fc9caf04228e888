"""Docstrings are plain text with Google's sections; here they become what Sphinx reads.

In a docstring `name` is code, |x| is an absolute value, and lines "name: text" in a paragraph are a list. Sphinx would take the
first for emphasis, the second for a substitution and the third for definitions.
"""

import re
from collections.abc import Iterable

ITEM = re.compile(r"^(?P<names>[\w`*(][\w`*.,() ]{0,60}?): (?P<text>\S.*)$")
SPECIAL = re.compile(r"`([^`]+)`|[|*]|(?<=\w)_(?!\w)")


def as_rst(lines: Iterable[str], linked: Iterable[str]) -> list[str]:
    """The lines of a docstring, in the form that reStructuredText understands.

    Args:
        lines: of the docstring, without common indentation.
        linked: names that have an entry in the reference, as `lyapunov.memory`; where they are mentioned, they become links.

    Returns:
        Lines.
    """
    names = {name.removeprefix("lyapunov."): name for name in linked}
    names = {short: name for short, name in names.items() if short[0].isupper()} | {name: name for name in names.values()}
    blocks = "\n".join(lines).split("\n\n")
    return "\n\n".join(block if ">>>" in block else _prose(block, names) for block in blocks).split("\n")


def _prose(block: str, names: dict[str, str]) -> str:
    lines = block.split("\n")
    if _is_list(lines):
        lines = _listed(lines)
    return SPECIAL.sub(lambda found: _marked(found, names), "\n".join(lines))


def _marked(found: re.Match[str], names: dict[str, str]) -> str:
    code = " ".join((found[1] or "").split())  # it may go on in the next line
    if code in names:
        return f":py:obj:`{code} <{names[code]}>`"
    return f"``{code}``" if code else "\\" + found[0]


def _is_list(lines: list[str]) -> bool:
    """Whether some lines at the margin are "name: text", and continue indented."""
    pairs = zip(lines, [*lines[1:], ""], strict=True)
    return any(ITEM.match(line) and (after.startswith(" ") or ITEM.match(after)) for line, after in pairs)


def _listed(lines: list[str]) -> list[str]:
    listed = [""]
    for line in lines:
        item = ITEM.match(line)
        if item:
            listed.append(f"- {item['names'] if '`' in item['names'] else '`' + item['names'] + '`'}: {item['text']}")
        elif line.startswith(" ") or not line:
            listed.append(f"  {line.strip()}" if line else line)
        else:
            listed += ["", line] if listed[-1] else [line]
    return listed
