"""Values as JSON can hold them."""

import math
from typing import overload


@overload
def json_safe(value: dict[str, object]) -> dict[str, object]: ...


@overload
def json_safe(value: object) -> object: ...


def json_safe(value: object) -> object:
    """Dictionaries, lists, numbers and strings; infinities and NaN as strings, which strict JSON has no numbers for."""
    if isinstance(value, dict):
        return {key: json_safe(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [json_safe(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    return value
