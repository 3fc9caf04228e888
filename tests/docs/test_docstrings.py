"""Docstrings become reStructuredText without losing what they say."""

from docs.docstrings import as_rst

LINKED = ["lyapunov.memory", "lyapunov.Memory"]


def rst(text: str) -> str:
    return "\n".join(as_rst(text.split("\n"), LINKED))


def test_code_is_literal_and_public_names_are_links() -> None:
    assert rst("a `state` of `Memory`, see `lyapunov.memory`") == (
        "a ``state`` of :py:obj:`Memory <lyapunov.Memory>`, see :py:obj:`lyapunov.memory <lyapunov.memory>`"
    )
    assert rst("what `f(x,\n    y)` is") == "what ``f(x, y)`` is"


def test_absolute_values_and_trailing_underscores_are_text() -> None:
    assert rst("ln |det J| of floss_ and *shape") == r"ln \|det J\| of floss\_ and \*shape"


def test_lines_that_name_and_explain_are_a_list() -> None:
    assert rst("k: how many,\n    at most.\nseed: of it.").strip().split("\n") == [
        "- ``k``: how many,",
        "  at most.",
        "- ``seed``: of it.",
    ]


def test_sections_and_examples_stay() -> None:
    text = "Sum.\n\nArgs:\n    k: how many,\n        at most.\n\nExample:\n    >>> 1 | 2\n    3"
    assert rst(text) == text
