"""Attention written out in products and a softmax: fused kernels have no forward-mode derivative."""

from collections.abc import Generator
from contextlib import contextmanager

import torch
from torch.nn.attention import SDPBackend, sdpa_kernel


@contextmanager
def plain_attention() -> Generator[None, None, None]:
    """Within it, `scaled_dot_product_attention` and PyTorch's transformer layers do without fused kernels.

    The flash and memory-efficient kernels, and the one call that `nn.TransformerEncoderLayer` and `nn.MultiheadAttention` make
    in evaluation mode, compute the same numbers up to rounding, but forward mode cannot follow them. Both settings hold for
    the whole process, and are as before afterwards.
    """
    fast = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        with sdpa_kernel(SDPBackend.MATH):
            yield
    finally:
        torch.backends.mha.set_fastpath_enabled(fast)
