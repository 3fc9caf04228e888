"""What the rows are made of: networks, inputs, the plain way, the floors, a training step, a flow."""

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional

SYMBOLS, SEQUENCES, SEED = 82, 10, 0
Run = Callable[[], object]
Pair = tuple[Tensor, Tensor]


def generator(offset: int = 0) -> torch.Generator:
    """Seeded."""
    return torch.Generator().manual_seed(SEED + offset)


@torch.no_grad()
def fresh_lstm(hidden: int, layers: int = 1) -> nn.LSTM:
    """The paper's untrained LSTM: every parameter uniform on [-.08, .08]."""
    lstm, source = nn.LSTM(SYMBOLS, hidden, layers, batch_first=True, dtype=torch.float64), generator()
    for parameter in lstm.parameters():
        parameter.uniform_(-0.08, 0.08, generator=source)
    return lstm.requires_grad_(False)


def text_like(steps: int, batch: int = SEQUENCES, *, dtype: torch.dtype = torch.float64) -> Tensor:
    """(batch, steps, 82): one-hot, symbols independent with probabilities as 1 / rank; made without a second copy."""
    weights = 1 / torch.arange(1, SYMBOLS + 1, dtype=torch.float64)
    symbols = torch.multinomial(weights, batch * steps, replacement=True, generator=generator(1)).view(batch, steps, 1)
    return torch.zeros(batch, steps, SYMBOLS, dtype=dtype).scatter_(-1, symbols, 1.0)


class CellStep(nn.Module):
    """A user's own step: `LSTMCell` around a state (h, c), with the weights of a layer."""

    def __init__(self, lstm: nn.LSTM) -> None:
        super().__init__()
        self.cell = nn.LSTMCell(lstm.input_size, lstm.hidden_size, dtype=torch.float64)
        self.cell.load_state_dict({name.removesuffix("_l0"): value for name, value in lstm.state_dict().items()})

    def forward(self, state: Pair, x: Tensor) -> Pair:
        """The next (h, c)."""
        return self.cell(x, state)


def training_step(hidden: int, batch: int, steps: int) -> Run:
    """One step of the paper's CharRNN in float32: forward, cross-entropy, backward, Adam. Its inputs are made beforehand."""
    lstm, readout = nn.LSTM(SYMBOLS, hidden, batch_first=True), nn.Linear(hidden, SYMBOLS)
    optimizer = torch.optim.Adam([*lstm.parameters(), *readout.parameters()], lr=3e-3)
    inputs = text_like(steps, batch, dtype=torch.float32)
    targets = inputs.argmax(-1).roll(-1, dims=1).flatten()

    def run() -> None:
        loss = functional.cross_entropy(readout(lstm(inputs)[0]).flatten(0, 1), targets)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()

    return run


def plain_way(lstm: nn.LSTM, inputs: Tensor, steps: int, *, k: int, hidden_only: bool = False) -> Run:
    """The dense Jacobian of every step by `jacrev`, vmapped over the sequences, times the frame; QR at every step.

    Of the full state (h, c), or of h alone with the recorded c held.
    """
    weight_ih, weight_hh = lstm.weight_ih_l0, lstm.weight_hh_l0
    bias, size = lstm.bias_ih_l0 + lstm.bias_hh_l0, lstm.hidden_size

    def cell(h: Tensor, c: Tensor, x: Tensor) -> Pair:
        i, f, g, o = (weight_ih @ x + weight_hh @ h + bias).chunk(4)
        c = f.sigmoid() * c + i.sigmoid() * g.tanh()
        return o.sigmoid() * c.tanh(), c

    def of_full(state: Tensor, x: Tensor) -> Pair:
        new = torch.cat(cell(*state.chunk(2), x))
        return new, new

    def of_hidden(h: Tensor, c: Tensor, x: Tensor) -> tuple[Tensor, Tensor]:
        new, c = cell(h, c, x)
        return new, torch.cat([new, c])

    full = torch.func.vmap(torch.func.jacrev(of_full, has_aux=True))
    hidden = torch.func.vmap(torch.func.jacrev(of_hidden, has_aux=True))

    @torch.no_grad()
    def run() -> Tensor:
        state = torch.zeros(len(inputs), 2 * size, dtype=inputs.dtype)
        frame = torch.eye(size if hidden_only else 2 * size, k, dtype=inputs.dtype).expand(len(inputs), -1, -1)
        growth = torch.zeros(len(inputs), k, dtype=inputs.dtype)
        for x in inputs[:, :steps].unbind(1):
            jacobian, state = hidden(*state.chunk(2, dim=-1), x) if hidden_only else full(state, x)
            frame, upper = torch.linalg.qr(jacobian @ frame)
            growth += upper.diagonal(dim1=-2, dim2=-1).abs().log()
        return growth / steps

    return run


def product(size: int, repeats: int, batch: int = SEQUENCES) -> Run:
    """The floor: one batched product of square matrices a step, into memory that is there."""
    left, right = torch.randn(2, batch, size, size, dtype=torch.float64, generator=generator(2)).unbind()
    out = torch.empty_like(left)

    def run() -> None:
        for _ in range(repeats):
            torch.bmm(left, right, out=out)

    return run


def orthonormalisation(size: int, batch: int = SEQUENCES) -> Run:
    """One QR of a batch of square frames."""
    frames = torch.randn(batch, size, size, dtype=torch.float64, generator=generator(3))
    return lambda: torch.linalg.qr(frames)


def reservoir(size: int, radius: float = 1.2) -> nn.RNN:
    """h' = tanh(W h + V u), u a scalar: W Gaussian of that spectral radius, V uniform on [-.5, .5]."""
    rnn, source = nn.RNN(1, size, bias=False, batch_first=True, dtype=torch.float64), generator(4)
    weight = torch.randn(size, size, dtype=torch.float64, generator=source)
    weight *= radius / torch.linalg.eigvals(weight).abs().max()
    values = {"weight_hh_l0": weight, "weight_ih_l0": torch.rand(size, 1, dtype=torch.float64, generator=source) - 0.5}
    rnn.load_state_dict(values)
    return rnn.requires_grad_(False)


def scalar_drive(batch: int, steps: int) -> Tensor:
    """(batch, steps, 1): uniform on [-1, 1]."""
    return 2 * torch.rand(batch, steps, 1, dtype=torch.float64, generator=generator(5)) - 1


def lorenz_rate(x: Tensor, forcing: float = 8.0) -> Tensor:
    """Lorenz 1996: dx_i / dt = (x_(i+1) - x_(i-2)) x_(i-1) - x_i + F."""
    return (x.roll(-1, -1) - x.roll(2, -1)) * x.roll(1, -1) - x + forcing


def runge_kutta(rate: Callable[[Tensor], Tensor], dt: float) -> Callable[[Tensor, object], Tensor]:
    """A user's step: the classical fourth-order scheme."""

    def step(state: Tensor, x: object = None) -> Tensor:  # noqa: ARG001
        k1 = rate(state)
        k2 = rate(state + dt / 2 * k1)
        k3 = rate(state + dt / 2 * k2)
        k4 = rate(state + dt * k3)
        return state + dt / 6 * (k1 + 2 * k2 + 2 * k3 + k4)

    return step
