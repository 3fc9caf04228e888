"""xlstm: blocks with sLSTM cells, stepped as the package generates."""

from typing import Any

import torch
from torch import Tensor
from torch.utils._pytree import tree_flatten, tree_map, tree_unflatten

import lyapunov
from _dense import Dense
from published._inputs import series

PACKAGE, K = "xlstm", 6
WHAT = "`xLSTMBlockStack`, 2 sLSTM blocks with convolutions"
HOW = "its `step`, one axis moved"
REMEDY = (
    "Done: the state of the sLSTM is (parts, batch, units), so its first two axes are exchanged on the way in and out. "
    "The package also moves the window of its convolution in place, so that its step gets copies."
)


def prepared() -> tuple[Any, ...]:
    from xlstm import (
        FeedForwardConfig,
        sLSTMBlockConfig,
        sLSTMLayerConfig,
        xLSTMBlockStack,
        xLSTMBlockStackConfig,
    )

    slstm = sLSTMLayerConfig(backend="vanilla", num_heads=2, conv1d_kernel_size=4)
    config = xLSTMBlockStackConfig(
        slstm_block=sLSTMBlockConfig(slstm=slstm, feedforward=FeedForwardConfig(proj_factor=1.3)),
        context_length=64,
        num_blocks=2,
        embedding_dim=8,
        slstm_at="all",
    )
    return xLSTMBlockStack(config), series(2, 160, 8)


def states(stack: Any, inputs: Tensor) -> Any:
    """Zeros, in the form in which the package hands its states on."""
    with torch.no_grad():
        return tree_map(torch.zeros_like, stack.step(inputs[:, :1])[1])


def refused(stack: Any, inputs: Tensor) -> None:
    lyapunov.spectrum(lambda s, x: stack.step(x[:, None], s)[1], inputs, state=states(stack, inputs), k=K)


def handed_over(stack: Any, inputs: Tensor, **settings: Any) -> lyapunov.Spectrum:
    def moved(s: Any) -> Any:
        s = tree_map(torch.clone, s)
        for block in s.values():
            block["slstm_state"] = block["slstm_state"].transpose(0, 1)
        return s

    def step(s: Any, x: Tensor) -> Any:
        return moved(stack.step(x[:, None], moved(s))[1])

    return lyapunov.spectrum(step, inputs, state=moved(states(stack, inputs)), **settings)


def reference(stack: Any, inputs: Tensor) -> list[Dense]:
    stack = stack.double().eval()
    parts, form = tree_flatten(states(stack, inputs[:1].double()))

    def step(state: Tensor, x: Tensor) -> Tensor:
        pieces = state.split([part.numel() for part in parts])
        old = tree_unflatten([piece.clone().view(part.shape) for piece, part in zip(pieces, parts, strict=True)], form)
        return torch.cat([part.flatten() for part in tree_flatten(stack.step(x.view(1, 1, -1), old)[1])[0]])

    return [Dense(step, torch.zeros(2, sum(part.numel() for part in parts)), list(inputs.double()))]
