"""The gated recurrent unit in closed form, with PyTorch's placing of the reset gate (after the product with U_n)."""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn

from lyapunov._shapes import Frame, Frames, InputFrame, PerSequence, Units
from lyapunov.systems._gates import SATURATED, sigmoid_slope, tanh_slope
from lyapunov.systems.closed import (
    LayerTangent,
    Linearization,
    ModuleLayer,
    add_scaled,
    dense_log_volume,
    is_wide,
    product,
    scale_rows,
)

Rowwise = tuple[Tensor, Tensor, Tensor]
"""What scales the rows of the reset, the update and the candidate weights, (batch, N) each."""


class _Gates(NamedTuple):
    r: Tensor
    z: Tensor
    one_minus_z: Tensor
    n: Tensor
    r_slope: Tensor
    z_slope: Tensor
    n_slope: Tensor
    recurrent_n: Tensor


class GRU(ModuleLayer):
    """h' = (1 - z) n + z h with n = tanh(W_n x + b_in + r (U_n h + b_hn)).

    J = diag(z) + diag((h - n) z (1 - z)) U_z
        + diag((1 - z)(1 - n^2)) (diag(r) U_n + diag((U_n h + b_hn) r (1 - r)) U_r)

    Weights as in `torch.nn.GRU`, gates in the order r, z, n. The state is h, (batch, N). ln |det J| costs O(N^3) a step.
    """

    gates, candidate, keeping = 3, 2, 1
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

    @classmethod
    def of_module(cls, module: nn.Module, weights: dict[str, Tensor], layer: int, linearization: Linearization) -> "GRU":  # noqa: ARG003
        """One layer of `nn.GRU`, or `nn.GRUCell`."""
        return cls(**weights, layer=layer)

    @staticmethod
    def at_zero(gates: Sequence[float]) -> tuple[float, float]:
        """z, and (1 - z) r before U_n."""
        return gates[1], (1 - gates[1]) * gates[0]

    def step(self, state: Units, x: Tensor) -> Units:
        """h' = (1 - z) n + z h, with PyTorch's gates: the reset gate acts on the recurrent part of the candidate n."""
        gates = self._gates(state, x)
        return gates.one_minus_z * gates.n + gates.z * state

    def saturated(self, state: Units) -> Tensor:
        """Where h, a mean of earlier candidates, is as far out as a saturated tanh."""
        return state.abs() > SATURATED

    def linearize(self, state: Units, x: Tensor) -> tuple[Units, "GRUTangent"]:
        """The new state h', and its Jacobian as the factors that each gate contributes."""
        gates = self._gates(state, x)
        candidate = gates.one_minus_z * gates.n_slope
        terms = torch.stack(
            [
                gates.z,
                (state - gates.n) * gates.z_slope,
                candidate,
                candidate * gates.recurrent_n * gates.r_slope,
                candidate * gates.r,
            ]
        )
        return gates.one_minus_z * gates.n + gates.z * state, GRUTangent(self, terms)

    def _gates(self, h: Units, x: Tensor) -> _Gates:
        w_r, w_z, w_n = (x @ self.weight_ih.mT + self.bias_ih).chunk(3, dim=-1)
        u_r, u_z, u_n = (h @ self.weight_hh.mT + self.bias_hh).chunk(3, dim=-1)
        a_r, a_z = w_r + u_r, w_z + u_z
        r, z = torch.sigmoid(a_r), torch.sigmoid(a_z)
        a_n = w_n + r * u_n
        return _Gates(r, z, torch.sigmoid(-a_z), torch.tanh(a_n), sigmoid_slope(a_r), sigmoid_slope(a_z), tanh_slope(a_n), u_n)


class GRUTangent(LayerTangent):
    """diag(z) + diag(by_z) U_z + diag(by_r) U_r + diag(by_n) U_n.

    `terms` (5, batch, N): z, by_z, what the candidate's input is scaled by, by_r, by_n.
    """

    def __init__(self, layer: GRU, terms: Tensor) -> None:
        self._layer, self._terms = layer, terms

    def push_driven(self, frame: Frame, input_frame: InputFrame | None) -> Frame:
        """J frame + X input_frame; the reset gate stands before U_n but not before W_n."""
        z, by_z, by_input, by_r, by_n = self._terms
        move = self._dense if is_wide(frame) else self._gate_by_gate
        moved = add_scaled(move(self._layer.weight_hh, frame, (by_r, by_z, by_n)), z, frame)
        if input_frame is not None:
            moved = moved + move(self._layer.weight_ih, input_frame, (by_r, by_z, by_input))
        return moved

    def pull_back(self, frame: Frame) -> Frame:
        """J^T @ frame: the update gate's direct path, and what comes back through all three gates."""
        z, by_z, _, by_r, by_n = self._terms
        return add_scaled(self._pulled(self._layer.weight_hh, frame, (by_r, by_z, by_n)), z, frame)

    def pull_to_input(self, frame: Frame) -> InputFrame:
        """X^T @ frame: what comes back through the input weights of all three gates."""
        _, by_z, by_input, by_r, _ = self._terms
        return self._pulled(self._layer.weight_ih, frame, (by_r, by_z, by_input))

    def paths(self, frames: Frames) -> dict[str, Frames]:
        """The state carried over, and each gate's part."""
        (frame,) = frames
        z, by_z, _, by_r, by_n = self._terms
        rows = product(self._layer.weight_hh, frame).chunk(3, dim=1)
        names = ("reset gate", "update gate", "candidate")
        gates = {name: (scale_rows(by, row),) for name, by, row in zip(names, (by_r, by_z, by_n), rows, strict=True)}
        return {"carried over": (scale_rows(z, frame),), **gates}

    def _pulled(self, weight: Tensor, frame: Frame, rows: Rowwise) -> InputFrame:
        """(sum over gates of diag(rows) weight)^T frame."""
        if is_wide(frame):
            return (frame.mT @ self._jacobian(weight, rows)).mT
        columns = frame.mT
        return product(weight.mT, torch.cat([columns * by.unsqueeze(1) for by in rows], dim=-1).mT)

    @staticmethod
    def _gate_by_gate(weight: Tensor, frame: InputFrame, rows: Rowwise) -> InputFrame:
        """One product serves all gates and all sequences."""
        r, z, n = product(weight, frame).chunk(3, dim=1)
        return add_scaled(add_scaled(scale_rows(rows[0], r), rows[1], z), rows[2], n)

    @classmethod
    def _dense(cls, weight: Tensor, frame: InputFrame, rows: Rowwise) -> InputFrame:
        """The gates' weights combined first: one Jacobian per sequence."""
        return (frame.mT @ cls._jacobian(weight, rows).mT).mT

    @staticmethod
    def _jacobian(weight: Tensor, rows: Rowwise) -> Tensor:
        r, z, n = weight.chunk(3)
        by_r, by_z, by_n = (row.unsqueeze(-1) for row in rows)
        return (by_r * r).addcmul_(by_z, z).addcmul_(by_n, n)

    def part(self, entries: slice) -> "GRUTangent":
        """Of some entries of the batch."""
        return GRUTangent(self._layer, self._terms[:, entries])

    def log_volume(self) -> PerSequence:
        """ln |det J| from the dense Jacobian."""
        return dense_log_volume(self, self._layer.output_size, self._terms[0])
