"""The long short-term memory layer in closed form: the full state (h, c), or the hidden state with c as recorded."""

from collections.abc import Sequence
from typing import NamedTuple, get_args

import torch
from torch import Tensor, nn
from torch.nn.functional import logsigmoid

from lyapunov import _checks
from lyapunov._frames import join_rows
from lyapunov._shapes import Frame, Frames, InputFrame, PerSequence, Rows, Units, Vectors
from lyapunov.systems._gates import SATURATED, combine_biases, log_sigmoid_slope, sigmoid_slope, tanh_slope
from lyapunov.systems.closed import (
    LayerTangent,
    Linearization,
    ModuleLayer,
    add_scaled,
    dense_log_volume,
    is_wide,
    log_abs_det,
    product,
    scale_rows,
)
from lyapunov.systems.system import Label, size_labels
from lyapunov.systems.trace import Keep


class _Gates(NamedTuple):
    i: Tensor
    f: Tensor
    g: Tensor
    o: Tensor
    a_i: Tensor
    a_f: Tensor
    a_g: Tensor
    a_o: Tensor


class LSTM(ModuleLayer):
    """c' = f c + i g, h' = W_hr (o tanh c') (W_hr = 1 without projection).

    With the gates' frames G = U dh (+ W dx), rows in PyTorch's order i, f, g, o:
        dc' = f dc + c f(1-f) G_f + g i(1-i) G_i + i (1-g^2) G_g
        dh' = W_hr [ o (1 - tanh^2 c') dc' + tanh c' o(1-o) G_o ]

    `linearization="full"`: rows (h, c), N + P of them (P the projection's size, or N). `"hidden"`: rows h alone with dc = 0,
    P of them: the linearization of the 2020 paper, blind to every path through the memory cell. The state is (h, c) in both.
    ln |det J| costs O(N) a step in the unprojected full form, O(N^3) otherwise.
    """

    gates, candidate, keeping, state_parts, options = 4, 2, 1, ("h", "c"), ("proj_size",)

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
        _checks.one_of(linearization, get_args(Linearization), "linearization")
        self.weight_ih, self.weight_hh, self.weight_hr = weight_ih, weight_hh, weight_hr
        self.bias_ih, self.bias_hh = bias_ih, bias_hh
        self.linearization: Linearization = linearization
        self.input_size, self.output_size = weight_ih.shape[1], weight_hh.shape[1]
        self.device, self.index = weight_hh.device, layer
        self.name = f"LSTM ({linearization} state)"
        cheap = linearization == "full" and weight_hr is None
        self.volume_cost = "linear" if cheap else "cubic"

    @classmethod
    def of_module(cls, module: nn.Module, weights: dict[str, Tensor], layer: int, linearization: Linearization) -> "LSTM":  # noqa: ARG003
        """One layer of `nn.LSTM`, or `nn.LSTMCell`."""
        return cls(**weights, linearization=linearization, layer=layer)

    @staticmethod
    def at_zero(gates: Sequence[float]) -> tuple[float, float]:
        """f, and i o before U_g."""
        return gates[1], gates[0] * gates[3]

    @property
    def cell_size(self) -> int:
        """N, the units of c; the output has as many, unless it is projected."""
        return self.weight_hh.shape[0] // 4

    @property
    def block_sizes(self) -> tuple[int]:
        """One block: N + P rows for the full state, P for the hidden one."""
        return (self.output_size + (self.cell_size if self.linearization == "full" else 0),)

    @property
    def labels(self) -> tuple[Label, ...]:
        """The outputs h, then (full state) the cells c."""
        parts = [("h", self.output_size), ("c", self.cell_size)]
        return size_labels(self.index, parts if self.linearization == "full" else parts[:1])

    def initial_state(self, batch: int, like: Tensor) -> tuple[Units, Units]:
        """Zeros, as the module starts."""
        return like.new_zeros(batch, self.output_size), like.new_zeros(batch, self.cell_size)

    def vectors(self, state: tuple[Units, Units]) -> tuple[Rows]:
        """(h, c), or h."""
        return (torch.cat(state, dim=-1) if self.linearization == "full" else state[0],)

    def with_vectors(self, state: tuple[Units, Units], vectors: Vectors) -> tuple[Units, Units]:
        """(h, c) from the only block, or h from it and c from the state."""
        (vector,) = vectors
        if self.linearization == "hidden":
            return vector, state[1]
        return vector[:, : self.output_size], vector[:, self.output_size :]

    def output(self, state: tuple[Units, Units]) -> Units:
        """h, without the cell c: what the layer above, or a readout, sees."""
        return state[0]

    def step(self, state: tuple[Units, Units], x: Tensor) -> tuple[Units, Units]:
        """(h', c') with c' = f c + i g and h' = o tanh(c')."""
        return self._next(_gates(self._preactivations(state[0], x)), state[1])

    def saturated(self, state: tuple[Units, Units]) -> Tensor:
        """Where the cell is so large that tanh c no longer shows what it does."""
        return torch.tanh(state[1]).abs() > SATURATED

    def linearize(self, state: tuple[Units, Units], x: Tensor) -> tuple[tuple[Units, Units], "LSTMTangent"]:
        """(h', c') and J."""
        c, gates = state[1], _gates(self._preactivations(state[0], x))
        new = self._next(gates, c)
        return new, self._tangent(gates, c, new[1])

    def linearize_steps(
        self, state: tuple[Units, Units], inputs: Sequence[Tensor], keep: Keep
    ) -> tuple[list[tuple[Units, Units]], "LSTMTangent"]:
        """The states, and the Jacobians from the preactivations that led to them: the weights are read once."""
        states, preactivations, cells = [state], [], []
        for at, driven in enumerate(self._driven(torch.cat(tuple(inputs))).chunk(len(inputs))):
            h, c = states[-1]
            preactivations.append(torch.addmm(driven, h, self.weight_hh.mT))
            new = self._next(_gates(preactivations[-1]), c)
            cells.append(new[1])
            states.append(keep(new, states[-1], at))
        c = torch.cat([c for _, c in states[:-1]])
        return states, self._tangent(_gates(torch.cat(preactivations)), c, torch.cat(cells))

    def _tangent(self, gates: _Gates, c: Units, c_new: Units) -> "LSTMTangent":
        return LSTMTangent(self, self._slopes(gates, c, c_new), torch.stack([gates.a_f, gates.a_o, c_new]))

    @staticmethod
    def _slopes(gates: _Gates, c: Units, c_new: Units) -> Tensor:
        """(6, batch, N): what scales the rows of U_i, U_f and U_g in dc'; f; what scales dc' and the rows of U_o in dh'."""
        return torch.stack(
            [
                gates.g * sigmoid_slope(gates.a_i),
                c * sigmoid_slope(gates.a_f),
                gates.i * tanh_slope(gates.a_g),
                gates.f,
                gates.o * tanh_slope(c_new),
                torch.tanh(c_new) * sigmoid_slope(gates.a_o),
            ]
        )

    @property
    def log_det_u_o(self) -> Tensor:
        """ln |det U_o| of the output gate's recurrent weights, kept for the time of a run."""
        return self.of_weights("ln |det U_o|", lambda: torch.linalg.slogdet(self._u_o).logabsdet)

    @property
    def _u_o(self) -> Tensor:
        return self.weight_hh[3 * self.cell_size :]

    def _preactivations(self, h: Units, x: Tensor) -> Units:
        """(batch, 4N), gates in PyTorch's order i, f, g, o."""
        return torch.addmm(self._driven(x), h, self.weight_hh.mT)

    def _driven(self, x: Tensor) -> Units:
        """What the inputs add to them."""
        bias = combine_biases(self.bias_ih, self.bias_hh)
        return x @ self.weight_ih.mT if bias is None else torch.addmm(bias, x, self.weight_ih.mT)

    def _next(self, gates: _Gates, c: Units) -> tuple[Units, Units]:
        c_new = torch.addcmul(gates.i * gates.g, gates.f, c)
        h_new = gates.o * torch.tanh(c_new)
        return (h_new if self.weight_hr is None else h_new @ self.weight_hr.mT), c_new


def _gates(preactivations: Units) -> _Gates:
    a_i, a_f, a_g, a_o = preactivations.chunk(4, dim=-1)
    i, f = torch.sigmoid(preactivations[:, : 2 * a_i.shape[-1]]).chunk(2, dim=-1)
    return _Gates(i, f, torch.tanh(a_g), torch.sigmoid(a_o), a_i, a_f, a_g, a_o)


class LSTMTangent(LayerTangent):
    """The Jacobian of (h, c), or of h alone, from `slopes` (6, batch, N); `saturation` (3, batch, N) is a_f, a_o and c'."""

    def __init__(self, layer: LSTM, slopes: Tensor, saturation: Tensor) -> None:
        self._layer, self._slopes, self._saturation = layer, slopes, saturation
        self._full = layer.linearization == "full"

    def push_driven(self, frame: Frame, input_frame: InputFrame | None) -> Frame:
        """J frame + X input_frame."""
        size = self._layer.output_size
        move = self._dense if is_wide(frame) else self._gate_by_gate
        d_h, d_c = move(self._layer.weight_hh, frame[:, :size])
        if input_frame is not None:
            by_input = move(self._layer.weight_ih, input_frame)
            d_h, d_c = d_h + by_input[0], d_c + by_input[1]
        if self._full:
            cells = scale_rows(self._slopes[3], frame[:, size:])
            d_h, d_c = add_scaled(d_h, self._slopes[4], cells), d_c + cells
        return self._rows(d_h, d_c)

    def pull_back(self, frame: Frame) -> Frame:
        """J^T @ frame, through h and, in the full linearization, through the cell."""
        d_h, d_c = self._cotangents(frame)
        pulled = self._pulled(self._layer.weight_hh, d_h, d_c)
        if not self._full:
            return pulled
        return join_rows((pulled, scale_rows(self._slopes[3], d_c)))

    def pull_to_input(self, frame: Frame) -> InputFrame:
        """X^T @ frame: what comes back through the input weights of all four gates."""
        return self._pulled(self._layer.weight_ih, *self._cotangents(frame))

    def paths(self, frames: Frames) -> dict[str, Frames]:
        """The cell carried over, and each gate's part; what moves the cell moves the output with it."""
        (frame,) = frames
        by_i, by_f, by_g, f, by_c, by_o = self._slopes
        size = self._layer.output_size
        rows = product(self._layer.weight_hh, frame[:, :size]).chunk(4, dim=1)
        names = ("input gate", "forget gate", "candidate")
        cells = {name: scale_rows(by, row) for name, by, row in zip(names, (by_i, by_f, by_g), rows[:3], strict=True)}
        if self._full:
            cells = {"cell": scale_rows(f, frame[:, size:]), **cells}
        found = {name: (self._rows(scale_rows(by_c, cell), cell),) for name, cell in cells.items()}
        return {**found, "output gate": (self._rows(scale_rows(by_o, rows[3]), torch.zeros_like(rows[3])),)}

    def _rows(self, d_h: Tensor, d_c: Tensor) -> Frame:
        """dh' (before a projection) and dc' as rows of a frame."""
        d_h = d_h if self._layer.weight_hr is None else product(self._layer.weight_hr, d_h)
        return join_rows((d_h, d_c)) if self._full else d_h

    def _cotangents(self, frame: Frame) -> tuple[Tensor, Tensor]:
        """What a cotangent of (h', c') is for h' before a projection, and for c' with what it does to h'."""
        size, by_c = self._layer.output_size, self._slopes[4]
        d_h = frame[:, :size]
        if self._layer.weight_hr is not None:
            d_h = product(self._layer.weight_hr.mT, d_h)
        return d_h, add_scaled(frame[:, size:], by_c, d_h) if self._full else scale_rows(by_c, d_h)

    def _pulled(self, weight: Tensor, d_h: Tensor, d_c: Tensor) -> InputFrame:
        """Through the gates' weights, from cotangents of h' (its direct part alone) and c'."""
        by_i, by_f, by_g, _, _, by_o = self._slopes
        if is_wide(d_h):
            i, f, g, o = weight.chunk(4)
            by_i, by_f, by_g, by_o = (by.unsqueeze(-1) for by in (by_i, by_f, by_g, by_o))
            cells = (by_i * i).addcmul_(by_f, f).addcmul_(by_g, g)
            return (d_c.mT @ cells + d_h.mT @ (by_o * o)).mT
        c, h = d_c.mT, d_h.mT
        rows = [c * by_i.unsqueeze(1), c * by_f.unsqueeze(1), c * by_g.unsqueeze(1), h * by_o.unsqueeze(1)]
        return product(weight.mT, torch.cat(rows, dim=-1).mT)

    def propagate(self, frames: Frames, steps: int) -> Frames:
        """J_steps ... J_1 @ frame; narrow frames without a graph in place, a fifth faster on one thread."""
        (frame,) = frames
        if is_wide(frame) or self._layer.weight_hr is not None or torch.is_grad_enabled():
            return super().propagate(frames, steps)
        columns, size, weight = frame.mT, self._layer.output_size, self._layer.weight_hh.mT
        for slopes in self._slopes.view(6, steps, columns.shape[0], 1, size).unbind(1):
            by_i, by_f, by_g, f, by_c, by_o = slopes
            rows = columns[..., :size].reshape(-1, size) @ weight
            d_i, d_f, d_g, d_o = rows.view(*columns.shape[:-1], -1).chunk(4, dim=-1)
            moved = torch.empty_like(columns, memory_format=torch.contiguous_format)
            d_h, d_c = moved[..., :size], moved[..., size:] if self._full else torch.empty_like(d_i)
            torch.mul(by_i, d_i, out=d_c).addcmul_(by_f, d_f).addcmul_(by_g, d_g)
            if self._full:
                d_c.addcmul_(f, columns[..., size:])
            torch.mul(by_c, d_c, out=d_h).addcmul_(by_o, d_o)
            columns = moved
        return (columns.mT,)

    def _gate_by_gate(self, weight: Tensor, frame: InputFrame) -> tuple[Tensor, Tensor]:
        """dh' (before a projection) and dc' of a change of h or x; one product serves all gates and all sequences."""
        return self._gated(product(weight, frame))

    def _dense(self, weight: Tensor, frame: InputFrame) -> tuple[Tensor, Tensor]:
        """The same with the gates' weights combined first: one Jacobian per sequence."""
        d_h, d_c = self._gated(weight.unsqueeze(0))
        jacobian = torch.cat([d_h, d_c], dim=1) if self._full else d_h
        moved = (frame.mT @ jacobian.mT).mT
        return moved[:, : self._layer.cell_size], moved[:, self._layer.cell_size :]

    def _gated(self, rows: Tensor) -> tuple[Tensor, Tensor]:
        by_i, by_f, by_g, _, by_c, by_o = self._slopes.unsqueeze(-1)
        d_i, d_f, d_g, d_o = rows.chunk(4, dim=1)
        d_c = (by_i * d_i).addcmul_(by_f, d_f).addcmul_(by_g, d_g)
        return (by_c * d_c).addcmul_(by_o, d_o), d_c

    def part(self, entries: slice) -> "LSTMTangent":
        """Of some entries of the batch."""
        return LSTMTangent(self._layer, self._slopes[:, entries], self._saturation[:, entries])

    def log_volume(self) -> PerSequence:
        """Full: sum ln f + sum [ln |tanh c'| + ln o(1-o)] + ln |det U_o| (projected: a P x P determinant); hidden: dense."""
        a_f, a_o, c_new = self._saturation
        layer = self._layer
        if not self._full:
            return dense_log_volume(self, layer.output_size, a_f)
        cells = logsigmoid(a_f).sum(-1)
        if layer.weight_hr is not None:
            outer = layer.weight_hr @ scale_rows(self._slopes[5], layer.weight_hh[3 * layer.cell_size :])
            return cells + log_abs_det(outer)
        outputs = torch.tanh(c_new).abs().log() + log_sigmoid_slope(a_o)
        return cells + outputs.sum(-1) + layer.log_det_u_o
