"""A cell in closed form: the update-gate RNN, whose gate g decides how much of the state is kept.

g = sigmoid(W_g x + U_g h + b_g), c = tanh(W_c x + U_c h + b_c), h' = g h + (1 - g) c.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from lyapunov.systems import Linearization, ModuleLayer
from lyapunov.systems.closed import LayerTangent, add_scaled, dense_log_volume, product, scale_rows


class UGRNNCell(nn.RNNCellBase):
    """The cell as a module of PyTorch's. Source: Collins, Sohl-Dickstein & Sussillo 2017 (arXiv 1611.09913)."""

    def __init__(self, input_size: int, hidden_size: int, bias: bool = True, **options: torch.device | torch.dtype) -> None:
        super().__init__(input_size, hidden_size, bias, num_chunks=2, **options)

    def forward(self, input: Tensor, hx: Tensor) -> Tensor:
        """The next state (batch, hidden_size)."""
        rows = nn.functional.linear(input, self.weight_ih, self.bias_ih) + nn.functional.linear(
            hx, self.weight_hh, self.bias_hh
        )
        gate, candidate = rows.chunk(2, dim=-1)
        return torch.lerp(candidate.tanh(), hx, gate.sigmoid())


class UGRNN(ModuleLayer):
    """J = diag(g) + diag((h - c) g (1 - g)) U_g + diag((1 - g)(1 - c^2)) U_c."""

    name, volume_cost = "UGRNN", "cubic"
    gates, candidate, keeping = 2, 1, 0

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
        self.bias_ih, self.bias_hh = (0.0 if bias is None else bias for bias in (bias_ih, bias_hh))
        self.output_size, self.input_size = weight_hh.shape[1], weight_ih.shape[1]
        self.device, self.index = weight_hh.device, layer

    @classmethod
    def of_module(cls, module: nn.Module, weights: dict[str, Tensor], layer: int, linearization: Linearization) -> "UGRNN":  # noqa: ARG003
        """A `UGRNNCell`."""
        return cls(**weights, layer=layer)

    @staticmethod
    def at_zero(gates: Sequence[float]) -> tuple[float, float]:
        """g, and 1 - g before U_c."""
        return gates[0], 1 - gates[0]

    def step(self, state: Tensor, x: Tensor) -> Tensor:
        """h' = g h + (1 - g) c."""
        gate, candidate = self._values(state, x)
        return gate * state + (1 - gate) * candidate

    def linearize(self, state: Tensor, x: Tensor) -> tuple[Tensor, "UGRNNTangent"]:
        """h', and what scales the state, the rows of the gate and the rows of the candidate."""
        gate, candidate = self._values(state, x)
        by_gate, by_candidate = (state - candidate) * gate * (1 - gate), (1 - gate) * (1 - candidate.square())
        new = gate * state + (1 - gate) * candidate
        return new, UGRNNTangent(self, torch.stack([gate, by_gate, by_candidate]))

    def _values(self, h: Tensor, x: Tensor) -> tuple[Tensor, Tensor]:
        rows = x @ self.weight_ih.mT + self.bias_ih + h @ self.weight_hh.mT + self.bias_hh
        gate, candidate = rows.chunk(2, dim=-1)
        return gate.sigmoid(), candidate.tanh()


class UGRNNTangent(LayerTangent):
    """The Jacobian as `terms` (3, batch, N): the gate, and what scales the rows of U_g and of U_c."""

    def __init__(self, layer: UGRNN, terms: Tensor) -> None:
        self._layer, self._terms = layer, terms

    def push_driven(self, frame: Tensor, input_frame: Tensor | None) -> Tensor:
        """J frame + X input_frame."""
        rows = product(self._layer.weight_hh, frame)
        rows = rows if input_frame is None else rows + product(self._layer.weight_ih, input_frame)
        kept, (by_gate, by_candidate) = self._terms[0], self._terms[1:]
        gate, candidate = rows.chunk(2, dim=1)
        return add_scaled(add_scaled(scale_rows(kept, frame), by_gate, gate), by_candidate, candidate)

    def pull_back(self, frame: Tensor) -> Tensor:
        """J^T frame."""
        return add_scaled(self._pulled(self._layer.weight_hh, frame), self._terms[0], frame)

    def pull_to_input(self, frame: Tensor) -> Tensor:
        """X^T frame."""
        return self._pulled(self._layer.weight_ih, frame)

    def _pulled(self, weight: Tensor, frame: Tensor) -> Tensor:
        return product(weight.mT, torch.cat([scale_rows(by, frame) for by in self._terms[1:]], dim=1))

    def part(self, entries: slice) -> "UGRNNTangent":
        """Of some entries of the batch."""
        return UGRNNTangent(self._layer, self._terms[:, entries])

    def log_volume(self) -> Tensor:
        """ln |det J| from the dense Jacobian."""
        return dense_log_volume(self, self._layer.output_size, self._terms[0])


# The demonstration: what stands above is the new file of docs/extending.md.


def main() -> None:
    """The same spectrum twice: from the closed form, and by forward mode through the module."""
    import lyapunov

    torch.manual_seed(0)
    cell, inputs = UGRNNCell(3, 16).double(), torch.randn(8, 400, 3).double()
    own = UGRNN.of_module(cell, {name: weight.detach() for name, weight in cell.named_parameters()}, 0, "full")
    closed = lyapunov.spectrum(own, inputs, k=3, progress=False)
    stepped = lyapunov.spectrum(lambda h, x: cell(x, h), inputs, k=3, state=torch.zeros(8, 16).double(), progress=False)
    print("closed form ", [round(one, 4) for one in closed.exponents.tolist()])
    print("forward mode", [round(one, 4) for one in stepped.exponents.tolist()])


if __name__ == "__main__":
    main()
