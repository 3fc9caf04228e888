"""PyTorch's functions for nested containers of tensors: the only file that imports them.

`torch.utils._pytree` is private, and PyTorch up to 2.13 has no public module in its place. When one exists, or when these
functions move, this file is the one that changes.
"""

from torch.utils._pytree import keystr, tree_flatten, tree_flatten_with_path, tree_map, tree_unflatten

__all__ = ["keystr", "tree_flatten", "tree_flatten_with_path", "tree_map", "tree_unflatten"]
