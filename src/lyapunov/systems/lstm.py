"""The long short-term memory layer in closed form: the full state (h, c), or the hidden state with c as recorded."""

from functools import cached_property
from typing import Literal, NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import logsigmoid

from lyapunov._shapes import Frame, InputFrame, PerSequence, Rows, Units
from lyapunov.systems._gates import combine_biases, log_sigmoid_slope, scale_rows, sigmoid_slope, tanh_slope
from lyapunov.systems.system import Label, Layer, size_labels

Linearization = Literal["full", "hidden"]


class _Gates(NamedTuple):
    i: Tensor
    f: Tensor
    g: Tensor
    o: Tensor
    a_i: Tensor
    a_f: Tensor
    a_g: Tensor
    a_o: Tensor


class LSTM(Layer):
    """c' = f c + i g, h' = W_hr (o tanh c') (W_hr = 1 without projection).

    With the gates' frames G = U dh (+ W dx), rows in PyTorch's order i, f, g, o:
        dc' = f dc + c f(1-f) G_f + g i(1-i) G_i + i (1-g^2) G_g
        dh' = W_hr [ o (1 - tanh^2 c') dc' + tanh c' o(1-o) G_o ]

    `linearization="full"`: rows (h, c), N + P of them (P the projection's size, or N). `"hidden"`: rows h alone with dc = 0,
    P of them: the linearization of the 2020 paper, blind to every path through the memory cell. The state is (h, c) in both.
    ln |det J| costs O(N) a step in the unprojected full form, O(N^3) otherwise.
    """

    def __init__(
        self,
        weight_ih: Tensor,
        weight_hh: Tensor,
        bias_ih: Tensor | None = None,
        bias_hh: Tensor | None = None,
        weight_hr: Tensor | None = None,
        *,
        linearization: Linearization = "full",
        layer: int = 0,
    ) -> None:
        self.weight_ih, self.weight_hh, self.weight_hr = weight_ih, weight_hh, weight_hr
        self.bias = combine_biases(bias_ih, bias_hh)
        self.linearization: Linearization = linearization
        self.cell_size, self.output_size = weight_hh.shape[0] // 4, weight_hh.shape[1]
        self.input_size, self.device, self.index = weight_ih.shape[1], weight_hh.device, layer
        self.name = f"LSTM ({linearization} state)"
        cheap = linearization == "full" and weight_hr is None
        self.volume_cost = "linear" if cheap else "cubic"
        self._u_o = weight_hh[3 * self.cell_size :]

    @property
    def tangent_size(self) -> int:
        """N + P for the full state, P for the hidden one."""
        return self.output_size + (self.cell_size if self.linearization == "full" else 0)

    @property
    def labels(self) -> tuple[Label, ...]:
        """The outputs h, then (full state) the cells c."""
        parts = [("h", self.output_size), ("c", self.cell_size)]
        return size_labels(self.index, parts if self.linearization == "full" else parts[:1])

    def initial_state(self, batch: int, like: Tensor) -> tuple[Units, Units]:
        """Zeros, as the module starts."""
        return like.new_zeros(batch, self.output_size), like.new_zeros(batch, self.cell_size)

    def vector(self, state: tuple[Units, Units]) -> Rows:
        """(h, c), or h."""
        return torch.cat(state, dim=-1) if self.linearization == "full" else state[0]

    def with_vector(self, state: tuple[Units, Units], vector: Rows) -> tuple[Units, Units]:
        """(h, c) from the vector, or h from it and c from the state."""
        if self.linearization == "hidden":
            return vector, state[1]
        return vector[:, : self.output_size], vector[:, self.output_size :]

    def output(self, state: tuple[Units, Units]) -> Units:
        """h."""
        return state[0]

    def step(self, state: tuple[Units, Units], x: Tensor) -> tuple[Units, Units]:
        """(h', c')."""
        return self._next(self._gates(state[0], x), state[1])

    def push_driven(
        self, state: tuple[Units, Units], x: Tensor, frame: Frame, input_frame: InputFrame | None
    ) -> tuple[tuple[Units, Units], Frame]:
        """(h', c') and J frame + X input_frame; one product with the weights serves all four gates."""
        c, gates = state[1], self._gates(state[0], x)
        new = self._next(gates, c)
        moved = self.weight_hh @ frame[:, : self.output_size]
        if input_frame is not None:
            moved = moved + self.weight_ih @ input_frame
        d_i, d_f, d_g, d_o = moved.chunk(4, dim=1)
        d_c = (
            scale_rows(gates.g * sigmoid_slope(gates.a_i), d_i)
            + scale_rows(c * sigmoid_slope(gates.a_f), d_f)
            + scale_rows(gates.i * tanh_slope(gates.a_g), d_g)
        )
        if self.linearization == "full":
            d_c = d_c + scale_rows(gates.f, frame[:, self.output_size :])
        d_h = scale_rows(gates.o * tanh_slope(new[1]), d_c) + scale_rows(self._output_slope(gates, new[1]), d_o)
        if self.weight_hr is not None:
            d_h = self.weight_hr @ d_h
        return new, torch.cat([d_h, d_c], dim=1) if self.linearization == "full" else d_h

    def log_volume(self, state: tuple[Units, Units], x: Tensor) -> PerSequence:
        """Full: sum ln f + sum [ln |tanh c'| + ln o(1-o)] + ln |det U_o| (projected: a P x P determinant); hidden: dense."""
        gates = self._gates(state[0], x)
        c_new = self._next(gates, state[1])[1]
        if self.linearization == "hidden":
            identity = torch.eye(self.output_size, dtype=x.dtype, device=x.device).expand(len(x), -1, -1)
            return torch.linalg.slogdet(self.push(state, x, identity)[1]).logabsdet
        cells = logsigmoid(gates.a_f).sum(-1)
        if self.weight_hr is not None:
            outer = self.weight_hr @ scale_rows(self._output_slope(gates, c_new), self._u_o.expand(len(x), -1, -1))
            return cells + torch.linalg.slogdet(outer).logabsdet
        outputs = torch.tanh(c_new).abs().log() + log_sigmoid_slope(gates.a_o)
        return cells + outputs.sum(-1) + self._log_det

    @cached_property
    def _log_det(self) -> Tensor:
        return torch.linalg.slogdet(self._u_o).logabsdet

    def _gates(self, h: Units, x: Tensor) -> _Gates:
        a_i, a_f, a_g, a_o = (x @ self.weight_ih.mT + h @ self.weight_hh.mT + self.bias).chunk(4, dim=-1)
        sigmoid = torch.sigmoid
        return _Gates(sigmoid(a_i), sigmoid(a_f), torch.tanh(a_g), sigmoid(a_o), a_i, a_f, a_g, a_o)

    def _next(self, gates: _Gates, c: Units) -> tuple[Units, Units]:
        c_new = gates.f * c + gates.i * gates.g
        h_new = gates.o * torch.tanh(c_new)
        return (h_new if self.weight_hr is None else h_new @ self.weight_hr.mT), c_new

    @staticmethod
    def _output_slope(gates: _Gates, c_new: Units) -> Units:
        return torch.tanh(c_new) * sigmoid_slope(gates.a_o)
