"""PyTorch's functions for nested containers of tensors: the only file that imports them.

`torch.utils._pytree` is private, and PyTorch up to 2.13 has no public module in its place. When one exists, or when these
functions move, this file is the one that changes.
"""

from collections.abc import Callable
from typing import Any

from torch import Tensor
from torch.utils import _pytree
from torch.utils._pytree import keystr, tree_flatten, tree_flatten_with_path, tree_unflatten

__all__ = ["keystr", "tree_flatten", "tree_flatten_with_path", "tree_map", "tree_unflatten"]


def tree_map(function: Callable[..., object], tree: Any, *rests: Any) -> Any:
    """PyTorch's, with a short way for one tensor and for a tuple of tensors: a state goes through it many times a step."""
    if isinstance(tree, Tensor):
        return function(tree, *rests)
    alike = all(type(rest) is tuple and len(rest) == len(tree) for rest in rests) if type(tree) is tuple else False
    if alike and all(isinstance(leaf, Tensor) for leaf in tree):
        return tuple(map(function, tree, *rests))
    return _pytree.tree_map(function, tree, *rests)
