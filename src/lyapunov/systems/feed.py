"""From what a core returns to what it is given next: a readout and a feedback, with their derivative."""

from collections.abc import Callable, Generator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import vjp, vmap
from torch.nn.functional import linear

from lyapunov._shapes import Input, InputFrame
from lyapunov.systems.casting import CastCall, cast_tensor
from lyapunov.systems.closed import product
from lyapunov.systems.faults import explained


class Feed:
    """x = feedback(readout(output)), with the weights of both cast as those of a step are; no feedback: the readout itself."""

    def __init__(
        self,
        readout: Callable[..., object],
        feedback: Callable[..., object] | None,
        *,
        dtype: torch.dtype,
        device: torch.device,
    ) -> None:
        def feed(output: object) -> Any:
            return readout(output) if feedback is None else feedback(readout(output))

        self._call = CastCall(feed, dtype, device)
        self._dtype, self._device = dtype, device
        self._linear: Any = readout if feedback is None and _is_linear(readout) else None
        self._cast: tuple[Tensor, Tensor | None] | None = None

    @property
    def is_linear(self) -> bool:
        """Whether it is one linear layer, which is then applied without calling it: any thread may."""
        return self._linear is not None

    @property
    def modules(self) -> tuple[nn.Module, ...]:
        """Those that it reaches."""
        return self._call.modules

    def __call__(self, output: Any) -> Input:
        """The next input of the core."""
        return self._call(output) if self._linear is None else linear(output, *self._weights())

    @contextmanager
    def running(self) -> Generator[None, None, None]:
        """With the weights of the moment, cast once."""
        with self._call.running():
            self._cast = None if self._linear is None else self._weights()
            try:
                yield
            finally:
                self._cast = None

    def derivative(self, output: Tensor) -> "FeedTangent":
        """At outputs (batch, units): the weight of a linear readout; else by reverse mode, a row for each entry of x."""
        if self._linear is not None:
            return FeedTangent(self._weights()[0])

        def flat(at: Tensor) -> Tensor:
            return self(at).flatten(1)

        with explained(output):
            pulled: Any = vjp(flat, output)
            x, back = pulled
            rows = torch.eye(x.shape[1], dtype=x.dtype, device=x.device)
            by_row = vmap(lambda row: back(row.expand_as(x))[0])(rows)
        return FeedTangent(by_row.transpose(0, 1))

    def _weights(self) -> tuple[Tensor, Tensor | None]:
        """Weight and bias of a linear readout; within a run, those of its start."""
        if self._cast is not None and not torch.is_grad_enabled():
            return self._cast
        bias = None if self._linear.bias is None else cast_tensor(self._linear.bias, self._dtype, self._device)
        return cast_tensor(self._linear.weight, self._dtype, self._device), bias


class FeedTangent:
    """d x / d output: one matrix (features, units) for all, or (batch, features, units)."""

    def __init__(self, matrix: Tensor) -> None:
        self.matrix = matrix

    def push(self, frame: InputFrame) -> InputFrame:
        """How the input moves with the output."""
        return product(self.matrix, frame) if self.matrix.dim() == 2 else self.matrix @ frame

    def pull(self, frame: InputFrame) -> InputFrame:
        """How gradients at the input come back to the output."""
        return product(self.matrix.mT, frame) if self.matrix.dim() == 2 else self.matrix.mT @ frame

    def part(self, entries: slice) -> "FeedTangent":
        """Of some entries of the batch."""
        return self if self.matrix.dim() == 2 else FeedTangent(self.matrix[entries])


def _is_linear(readout: object) -> bool:
    """Whether it is PyTorch's linear layer and nothing is hooked to it."""
    return type(readout) is nn.Linear and not readout._forward_hooks and not readout._forward_pre_hooks
