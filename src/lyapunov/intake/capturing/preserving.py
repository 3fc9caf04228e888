"""A user's model in evaluation mode, and everything that a pass of it can change put back afterwards."""

import random
from collections.abc import Callable, Generator, Iterator
from contextlib import ExitStack, contextmanager
from itertools import chain
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from lyapunov._trees import tree_flatten
from lyapunov.systems import attribute_restorer, content_restorer, eval_mode

Restore = Callable[[], Any]


@contextmanager
def preserving_state(model: nn.Module, given: object) -> Generator[None, None, None]:
    """In evaluation mode and without gradients; afterwards, also where the body raises, everything as it was.

    That is: random states (PyTorch's, Python's, NumPy's, and generators among attributes and arguments), the attributes of
    every module (flags, buffers, hooks, and the lists, sets and dictionaries that it holds, one level deep), their tensors,
    what is `given` (lists, dictionaries, sets, objects such as a cache, and the tensors in them), and gradients.
    """
    modules = list(model.modules())
    holders, leaves = _inside(given)
    held = list({id(leaf): leaf for value in (*map(vars, modules), leaves) for leaf in tree_flatten(value)[0]}.values())
    with torch.no_grad(), ExitStack() as back:
        contents = map(content_restorer, holders)
        for restore in chain(_random_states(), _generators(held), _tensors(held), contents, map(attribute_restorer, modules)):
            back.callback(restore)
        back.enter_context(eval_mode(model))
        yield


def _inside(given: object) -> tuple[list[Any], list[Any]]:
    """What can be refilled among arguments (lists, dictionaries, sets, attributes of objects), and all that is in it."""
    holders: dict[int, Any] = {}
    leaves: list[Any] = []
    waiting = [given]
    while waiting:
        value = waiting.pop()
        if isinstance(value, list | dict | set | tuple):
            if id(value) in holders:
                continue
            holders[id(value)] = value
            waiting.extend(value.values() if isinstance(value, dict) else value)
        else:
            leaves.append(value)
            if _is_own_object(value):
                waiting.append(vars(value))
    return [holder for holder in holders.values() if not isinstance(holder, tuple)], leaves


def _is_own_object(value: object) -> bool:
    """Whether it is an object whose attributes may be what a model changes: a cache, a dataclass."""
    is_leaf = isinstance(value, Tensor | nn.Module | type | torch.Generator | random.Random) or callable(value)
    return not is_leaf and isinstance(getattr(value, "__dict__", None), dict)


def _random_states() -> Iterator[Restore]:
    cpu, python, numpy = torch.get_rng_state(), random.getstate(), np.random.get_state()
    yield lambda: torch.set_rng_state(cpu)
    yield lambda: random.setstate(python)
    yield lambda: np.random.set_state(numpy)
    if torch.cuda.is_initialized():
        cuda = torch.cuda.get_rng_state_all()
        yield lambda: torch.cuda.set_rng_state_all(cuda)


def _generators(held: list[Any]) -> Iterator[Restore]:
    for leaf in held:
        if isinstance(leaf, torch.Generator):
            yield _setting(leaf.set_state, leaf.get_state())
        elif isinstance(leaf, random.Random):
            yield _setting(leaf.setstate, leaf.getstate())
        elif isinstance(leaf, np.random.Generator):
            yield _setting(type(leaf.bit_generator).state.__set__, leaf.bit_generator, leaf.bit_generator.state)


def _setting(setter: Callable[..., object], *values: object) -> Restore:
    return lambda: setter(*values)


def _tensors(held: list[Any]) -> Iterator[Restore]:
    for leaf in held:
        if isinstance(leaf, Tensor) and leaf.layout == torch.strided and leaf.device.type != "meta":
            yield _value(leaf)
            if leaf.is_leaf and leaf.grad is not None:
                yield _gradient(leaf)


def _value(tensor: Tensor) -> Restore:
    copy = tensor.detach().clone()

    def restore() -> None:
        if tensor.shape != copy.shape or tensor.dtype != copy.dtype:
            tensor.data = copy
        elif not bool(((tensor == copy) | ((tensor != tensor) & (copy != copy))).all()):
            tensor.copy_(copy)

    return restore


def _gradient(tensor: Tensor) -> Restore:
    """Out of reach during the pass, so that nothing is added to it."""
    gradient, tensor.grad = tensor.grad, None
    return lambda: setattr(tensor, "grad", gradient)
