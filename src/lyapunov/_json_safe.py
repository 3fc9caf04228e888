"""Values as JSON can hold them."""

import math
from typing import TypeAlias, overload

Json: TypeAlias = bool | int | float | str | list["Json"] | dict[str, "Json"] | None
"""What strict JSON can hold."""


@overload
def json_safe(value: dict[str, object]) -> dict[str, Json]: ...


@overload
def json_safe(value: object) -> Json: ...


def json_safe(value: object) -> Json:
    """Dictionaries, lists, numbers and strings; infinities and NaN as strings, which strict JSON has no numbers for."""
    if isinstance(value, dict):
        return {str(key): json_safe(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [json_safe(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    if isinstance(value, bool | int | float | str | None):
        return value
    raise TypeError(f"Expected plain values, got {type(value).__name__}. Pass numbers, words, lists and dictionaries of them.")
