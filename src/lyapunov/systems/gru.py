"""The gated recurrent unit in closed form, with PyTorch's placing of the reset gate (after the product with U_n)."""

from typing import NamedTuple

import torch
from torch import Tensor

from lyapunov._shapes import Frame, InputFrame, PerSequence, Units
from lyapunov.systems._gates import scale_rows, sigmoid_slope, tanh_slope
from lyapunov.systems.system import Layer


class _Gates(NamedTuple):
    r: Tensor
    z: Tensor
    one_minus_z: Tensor
    n: Tensor
    r_slope: Tensor
    z_slope: Tensor
    n_slope: Tensor
    recurrent_n: Tensor


class GRU(Layer):
    """h' = (1 - z) n + z h with n = tanh(W_n x + b_in + r (U_n h + b_hn)).

    J = diag(z) + diag((h - n) z (1 - z)) U_z
        + diag((1 - z)(1 - n^2)) (diag(r) U_n + diag((U_n h + b_hn) r (1 - r)) U_r)

    Weights as in `torch.nn.GRU`, gates in the order r, z, n. The state is h, (batch, N). ln |det J| costs O(N^3) a step.
    """

    name = "GRU"
    volume_cost = "cubic"

    def __init__(
        self,
        weight_ih: Tensor,
        weight_hh: Tensor,
        bias_ih: Tensor | None = None,
        bias_hh: Tensor | None = None,
        *,
        layer: int = 0,
    ) -> None:
        self.weight_ih, self.weight_hh = weight_ih, weight_hh
        self.bias_ih: Tensor | float = 0.0 if bias_ih is None else bias_ih
        self.bias_hh: Tensor | float = 0.0 if bias_hh is None else bias_hh
        self.output_size, self.input_size = weight_hh.shape[1], weight_ih.shape[1]
        self.device, self.index = weight_hh.device, layer

    def step(self, state: Units, x: Tensor) -> Units:
        """h'."""
        gates = self._gates(state, x)
        return gates.one_minus_z * gates.n + gates.z * state

    def push_driven(self, state: Units, x: Tensor, frame: Frame, input_frame: InputFrame | None) -> tuple[Units, Frame]:
        """h' and J frame + X input_frame; the reset gate stands before U_n but not before W_n."""
        gates = self._gates(state, x)
        u_r, u_z, u_n = (self.weight_hh @ frame).chunk(3, dim=1)
        u_n = scale_rows(gates.r, u_n)
        if input_frame is not None:
            w_r, w_z, w_n = (self.weight_ih @ input_frame).chunk(3, dim=1)
            u_r, u_z, u_n = u_r + w_r, u_z + w_z, u_n + w_n
        candidate = scale_rows(gates.n_slope, u_n + scale_rows(gates.recurrent_n * gates.r_slope, u_r))
        moved = (
            scale_rows(gates.z, frame)
            + scale_rows((state - gates.n) * gates.z_slope, u_z)
            + scale_rows(gates.one_minus_z, candidate)
        )
        return gates.one_minus_z * gates.n + gates.z * state, moved

    def log_volume(self, state: Units, x: Tensor) -> PerSequence:
        """ln |det J| from the dense Jacobian."""
        identity = torch.eye(self.output_size, dtype=state.dtype, device=state.device).expand(len(state), -1, -1)
        return torch.linalg.slogdet(self.push(state, x, identity)[1]).logabsdet

    def _gates(self, h: Units, x: Tensor) -> _Gates:
        w_r, w_z, w_n = (x @ self.weight_ih.mT + self.bias_ih).chunk(3, dim=-1)
        u_r, u_z, u_n = (h @ self.weight_hh.mT + self.bias_hh).chunk(3, dim=-1)
        a_r, a_z = w_r + u_r, w_z + u_z
        r, z = torch.sigmoid(a_r), torch.sigmoid(a_z)
        a_n = w_n + r * u_n
        return _Gates(r, z, torch.sigmoid(-a_z), torch.tanh(a_n), sigmoid_slope(a_r), sigmoid_slope(a_z), tanh_slope(a_n), u_n)
