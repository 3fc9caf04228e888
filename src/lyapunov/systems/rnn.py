"""The vanilla recurrent layer in closed form."""

from functools import cached_property
from typing import Literal

import torch
from torch import Tensor

from lyapunov._shapes import Frame, InputFrame, PerSequence, Units
from lyapunov.systems._gates import combine_biases, log_tanh_slope, scale_rows, tanh_slope
from lyapunov.systems.system import Layer


class RNN(Layer):
    """h' = phi(a), a = W_ih x + b_ih + W_hh h + b_hh; J = diag(phi'(a)) W_hh.

    Weights as in `torch.nn.RNN`: `weight_ih` (N, inputs), `weight_hh` (N, N), biases (N,) or None. The state is h,
    (batch, N). For tanh, ln |det J| = sum ln phi'(a) + ln |det W_hh| costs O(N) a step; for relu there is none.
    """

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
        self.weight_ih, self.weight_hh, self.nonlinearity = weight_ih, weight_hh, nonlinearity
        self.bias = combine_biases(bias_ih, bias_hh)
        self.output_size, self.input_size = weight_ih.shape
        self.device, self.name, self.index = weight_hh.device, f"RNN ({nonlinearity})", layer
        self.volume_cost = "linear" if nonlinearity == "tanh" else "none"

    def step(self, state: Units, x: Tensor) -> Units:
        """h'."""
        a = self._preactivation(state, x)
        return torch.tanh(a) if self.nonlinearity == "tanh" else torch.relu(a)

    def push_driven(self, state: Units, x: Tensor, frame: Frame, input_frame: InputFrame | None) -> tuple[Units, Frame]:
        """h' and diag(phi') (W_hh frame + W_ih input_frame)."""
        a = self._preactivation(state, x)
        moved = self.weight_hh @ frame
        if input_frame is not None:
            moved = moved + self.weight_ih @ input_frame
        if self.nonlinearity == "tanh":
            return torch.tanh(a), scale_rows(tanh_slope(a), moved)
        return torch.relu(a), scale_rows((a > 0).to(a.dtype), moved)

    def log_volume(self, state: Units, x: Tensor) -> PerSequence | None:
        """Sum of ln phi'(a) plus ln |det W_hh|."""
        if self.nonlinearity == "relu":
            return None
        return log_tanh_slope(self._preactivation(state, x)).sum(-1) + self._log_det

    @cached_property
    def _log_det(self) -> Tensor:
        return torch.linalg.slogdet(self.weight_hh).logabsdet

    def _preactivation(self, h: Units, x: Tensor) -> Units:
        return x @ self.weight_ih.mT + h @ self.weight_hh.mT + self.bias
