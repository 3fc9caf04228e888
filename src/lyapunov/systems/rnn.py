"""The vanilla recurrent layer in closed form."""

from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor, nn

from lyapunov import _checks
from lyapunov._shapes import Frame, Frames, InputFrame, PerSequence, Units
from lyapunov.systems._gates import SATURATED, combine_biases, log_tanh_slope, tanh_slope
from lyapunov.systems.closed import LayerTangent, Linearization, ModuleLayer, product, scale_rows


class RNN(ModuleLayer):
    """h' = phi(a), a = W_ih x + b_ih + W_hh h + b_hh; J = diag(phi'(a)) W_hh.

    Weights as in `torch.nn.RNN`: `weight_ih` (N, inputs), `weight_hh` (N, N), biases (N,) or None. The state is h,
    (batch, N). For tanh, ln |det J| = sum ln phi'(a) + ln |det W_hh| costs O(N) a step; for relu there is none.
    """

    gates, candidate, options = 1, 0, ("nonlinearity",)

    def __init__(
        self,
        weight_ih: Tensor,
        weight_hh: Tensor,
        bias_ih: Tensor | None = None,
        bias_hh: Tensor | None = None,
        *,
        nonlinearity: Literal["tanh", "relu"] = "tanh",
        layer: int = 0,
    ) -> None:
        _checks.one_of(nonlinearity, ("tanh", "relu"), "nonlinearity")
        self.weight_ih, self.weight_hh, self.nonlinearity = weight_ih, weight_hh, nonlinearity
        self.bias_ih, self.bias_hh = bias_ih, bias_hh
        self.output_size, self.input_size = weight_ih.shape
        self.device, self.name, self.index = weight_hh.device, f"RNN ({nonlinearity})", layer
        self.volume_cost = "linear" if nonlinearity == "tanh" else "none"

    @classmethod
    def of_module(cls, module: nn.Module, weights: dict[str, Tensor], layer: int, linearization: Linearization) -> "RNN":  # noqa: ARG003
        """One layer of `nn.RNN`, or `nn.RNNCell`."""
        nonlinearity: Literal["tanh", "relu"] = "relu" if module.nonlinearity == "relu" else "tanh"
        return cls(**weights, nonlinearity=nonlinearity, layer=layer)

    @staticmethod
    def at_zero(gates: Sequence[float]) -> tuple[float, float]:  # noqa: ARG004
        """Nothing is kept, and nothing stands before W_hh."""
        return 0.0, 1.0

    def step(self, state: Units, x: Tensor) -> Units:
        """h' = phi(W_ih x + W_hh h + b), by PyTorch's own kernel for a cell."""
        bias = combine_biases(self.bias_ih, self.bias_hh)
        cell = torch.rnn_tanh_cell if self.nonlinearity == "tanh" else torch.rnn_relu_cell
        return cell(x, state, self.weight_ih, self.weight_hh, bias)

    def linearize(self, state: Units, x: Tensor) -> tuple[Units, "RNNTangent"]:
        """h' and diag(phi') W_hh."""
        a = self._preactivation(state, x)
        slope = tanh_slope(a) if self.nonlinearity == "tanh" else (a > 0).to(a.dtype)
        return self._activated(a), RNNTangent(self, a, slope)

    def saturated(self, state: Units) -> Tensor | None:
        """Where tanh' < 0.04; None for relu, which has no end."""
        return state.abs() > SATURATED if self.nonlinearity == "tanh" else None

    def log_volume_of(self, a: Units) -> PerSequence | None:
        """Sum of ln phi'(a) plus ln |det W_hh|; None for relu."""
        return None if self.nonlinearity == "relu" else log_tanh_slope(a).sum(-1) + self._log_det()

    def _log_det(self) -> Tensor:
        return self.of_weights("ln |det W_hh|", lambda: torch.linalg.slogdet(self.weight_hh).logabsdet)

    def _preactivation(self, h: Units, x: Tensor) -> Units:
        moved, bias = x @ self.weight_ih.mT + h @ self.weight_hh.mT, combine_biases(self.bias_ih, self.bias_hh)
        return moved if bias is None else moved + bias

    def _activated(self, a: Units) -> Units:
        return torch.tanh(a) if self.nonlinearity == "tanh" else torch.relu(a)


class RNNTangent(LayerTangent):
    """The Jacobian diag(phi'(a)) W_hh, kept as slopes and weights: it is never formed."""

    def __init__(self, layer: RNN, preactivation: Units, slope: Units) -> None:
        self._layer, self._preactivation, self._slope = layer, preactivation, slope

    def push_driven(self, frame: Frame, input_frame: InputFrame | None) -> Frame:
        """diag(phi') (W_hh frame + W_ih input_frame)."""
        moved = product(self._layer.weight_hh, frame)
        if input_frame is not None:
            moved = moved + product(self._layer.weight_ih, input_frame)
        return scale_rows(self._slope, moved)

    def pull_back(self, frame: Frame) -> Frame:
        """J^T @ frame = W_hh^T diag(phi') frame."""
        return product(self._layer.weight_hh.mT, scale_rows(self._slope, frame))

    def pull_to_input(self, frame: Frame) -> InputFrame:
        """X^T @ frame = W_ih^T diag(phi') frame."""
        return product(self._layer.weight_ih.mT, scale_rows(self._slope, frame))

    def propagate(self, frames: Frames, steps: int) -> Frames:
        """J_steps ... J_1 @ frame: a product and a row scaling each."""
        columns, weight = frames[0].mT, self._layer.weight_hh.mT
        for slope in self._slope.view(steps, columns.shape[0], 1, -1).unbind():
            columns = (columns.reshape(-1, weight.shape[0]) @ weight).view(columns.shape) * slope
        return (columns.mT,)

    def part(self, entries: slice) -> "RNNTangent":
        """Of some entries of the batch."""
        return RNNTangent(self._layer, self._preactivation[entries], self._slope[entries])

    def log_volume(self) -> PerSequence | None:
        """Sum of ln phi' plus ln |det W_hh|."""
        return self._layer.log_volume_of(self._preactivation)
