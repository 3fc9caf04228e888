"""A run puts a user's modules back as they were, and touches nothing in them that the run did not change."""

from collections import OrderedDict
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from lyapunov.systems.casting import attribute_restorer, content_restorer


class Counting(nn.Module):
    """A step that counts its calls and keeps its last state, beside an attribute that it leaves alone."""

    def __init__(self) -> None:
        super().__init__()
        self.calls, self.name = 0, "the user's"
        self.seen: list[Tensor] = []

    def forward(self, h: Tensor) -> Tensor:
        self.calls += 1
        self.last = h
        self.seen.append(h)
        return torch.tanh(h)


class Watched(dict[str, Any]):
    """A dictionary that notes which keys are taken out of it."""

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self.removed: set[str] = set()

    def clear(self) -> None:
        self.removed |= set(self)
        super().clear()

    def pop(self, key: str, *default: Any) -> Any:
        self.removed.add(key)
        return super().pop(key, *default)

    def __delitem__(self, key: str) -> None:
        self.removed.add(key)
        super().__delitem__(key)


def test_restoring_removes_only_the_attributes_that_the_run_added() -> None:
    module = Counting()
    watched = module.__dict__ = Watched(vars(module))
    restore = attribute_restorer(module)
    module(torch.zeros(1, 2))
    assert vars(module) is watched
    restore()
    assert watched.removed == {"last"}
    assert (module.calls, module.seen) == (0, [])


@pytest.mark.parametrize("kind", [dict, OrderedDict])
def test_a_dictionary_has_its_keys_values_and_order_back(kind: type[dict[str, int]]) -> None:
    value = kind({"a": 1, "b": 2, "c": 3})
    restore = content_restorer(value)
    del value["a"]
    value |= {"b": 4, "d": 5, "a": 1}
    restore()
    assert list(value.items()) == [("a", 1), ("b", 2), ("c", 3)]


def test_lists_and_sets_have_their_contents_back() -> None:
    numbers, names = [3, 1, 2], {"a", "b"}
    restores = [content_restorer(numbers), content_restorer(names)]
    numbers[:] = [2, 4]
    names ^= {"b", "c"}
    for restore in restores:
        restore()
    assert (numbers, names) == ([3, 1, 2], {"a", "b"})
