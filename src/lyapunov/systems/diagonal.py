"""Gated linear recurrences: the Jacobian is the gate, so exponents are known in closed form from one pass over the inputs."""

from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor, nn
from torch.nn.functional import softplus

from lyapunov._shapes import Frames, Input, PerSequence, Rows, State, Vectors
from lyapunov.errors import BadSystem
from lyapunov.systems.casting import CastCall, as_complex, cast_tensor, modules_reached, preserving_modules
from lyapunov.systems.closed import ClosedForm, Tangent, joined
from lyapunov.systems.faults import explained
from lyapunov.systems.system import Label
from lyapunov.systems.trace import Keep

Gates = Callable[[Input], tuple[Tensor, Tensor]]
"""(decay, drive) of one step's inputs (batch, ...); any number of steps of them as one batch."""


class Diagonal(ClosedForm):
    """h' = a(x) * h + b(x), entry by entry: the gates a and b see the inputs, not the state.

    J = diag a, so every axis is a direction of its own and lambda_i = mean_t ln |a_i(x_t)|: no frame is needed, and
    `lyapunov.spectrum` takes none unless it is asked for `method="qr"`. A complex entry turns and scales a plane: it has two
    equal exponents.

    gates: `gates(x) -> (decay, drive)`, each (batch, *shape), of inputs (batch, ...); modules it reaches are cast and put into
    evaluation mode. shape: of one sequence's state. is_complex: whether the state is.
    Source: Heinsen & Kozachkov 2025 (arXiv 2510.03426) for the same products taken in parallel.
    """

    triangular = True
    volume_cost = "linear"

    def __init__(
        self, gates: Gates, shape: Sequence[int], *, is_complex: bool = False, name: str = "diagonal recurrence"
    ) -> None:
        self._gates, self._shape, self._is_complex, self.name = gates, torch.Size(shape), is_complex, name
        self._modules = modules_reached(gates)
        weights = [weight for module in self._modules for weight in module.parameters()]
        self.device = weights[0].device if weights else torch.device("cpu")
        self._calls: dict[torch.dtype, CastCall] = {}

    @property
    def block_sizes(self) -> tuple[int]:
        """One block, with a row per entry of the state; two rows for a complex one."""
        return (self._shape.numel() * (2 if self._is_complex else 1),)

    @property
    def labels(self) -> tuple[Label, ...]:
        """Entry by entry, the real before the imaginary part."""
        parts = ("h.real", "h.imag") if self._is_complex else ("h",)
        return tuple(Label(0, part, unit) for unit in range(self._shape.numel()) for part in parts)

    def initial_state(self, batch: int, like: Tensor) -> State:
        """Zeros (batch, *shape), complex where the decay factors are."""
        dtype = like.dtype.to_complex() if self._is_complex else like.dtype
        return torch.zeros(batch, *self._shape, dtype=dtype, device=like.device)

    def step(self, state: State, x: Input) -> State:
        """a * h + b."""
        decay, drive = self._at(state, x)
        return decay * state + drive

    def vectors(self, state: State) -> tuple[Rows]:
        """All entries, one after the other."""
        return ((torch.view_as_real(state) if self._is_complex else state).flatten(1),)

    def with_vectors(self, state: State, vectors: Vectors) -> State:
        """The entries back in their shape."""
        (vector,) = vectors
        if self._is_complex:
            return as_complex(vector, self._shape)
        return vector.reshape(state.shape)

    def linearize(self, state: State, x: Input) -> tuple[State, "DiagonalTangent"]:
        """The next state, and the gate."""
        decay, drive = self._at(state, x)
        return decay * state + drive, DiagonalTangent(decay.flatten(1))

    def linearize_steps(self, state: State, inputs: Sequence[Input], keep: Keep) -> tuple[list[State], "DiagonalTangent"]:
        """The gates of all steps at once, then the states one after the other."""
        copies = (len(inputs), *[1] * len(self._shape))
        if inputs[0] is None:
            decay, drive = (gate.repeat(copies) for gate in self._at(state, None))
        else:
            decay, drive = self._at(state.repeat(copies), joined(inputs))
        states = [state]
        for at, (a, b) in enumerate(zip(decay.split(len(state)), drive.split(len(state)), strict=True)):
            states.append(keep(a * states[-1] + b, states[-1], at))
        return states, DiagonalTangent(decay.flatten(1))

    def log_diagonal(self, state: State, inputs: Sequence[Input], keep: Keep) -> tuple[list[State], Tensor]:
        """The states after each input, and ln |a| at each step: growth rates, for the Jacobian is diag(a)."""
        states, tangent = self.linearize_steps(state, inputs, keep)
        return states, tangent.log_diagonal().unflatten(0, (len(inputs), -1))

    @contextmanager
    def running(self) -> Generator[None, None, None]:
        """With the weights of the moment, cast when they are first needed."""
        self._calls = {}
        with preserving_modules(*self._modules):
            yield
        self._calls = {}

    def _at(self, state: State, x: Input) -> tuple[Tensor, Tensor]:
        dtype = state.dtype.to_real() if self._is_complex else state.dtype
        if dtype not in self._calls:
            self._calls[dtype] = CastCall(self._gates, dtype, state.device)
        with explained(state):
            gates = self._calls[dtype](x)
        pair = gates if isinstance(gates, tuple) else [gates]
        if len(pair) != 2 or any(not isinstance(gate, Tensor) or gate.shape != state.shape for gate in pair):
            got = [tuple(gate.shape) if isinstance(gate, Tensor) else type(gate).__name__ for gate in pair]
            raise BadSystem(
                f"Expected gates(x) to return (decay, drive), each of shape {tuple(state.shape)}, got {got}. Expand them to "
                "the shape of the state: decay.expand(...)."
            )
        if any(gate.is_complex() for gate in pair) and not self._is_complex:
            raise BadSystem("Expected real gates with a real state, got complex ones. Pass is_complex=True.")
        decay, drive = (cast_tensor(gate, dtype, state.device).to(state.dtype) for gate in pair)
        return decay, drive


class DiagonalTangent(Tangent):
    """diag a, for `decay` (batch, n), real or complex."""

    def __init__(self, decay: Tensor) -> None:
        self._decay = decay

    def part(self, entries: slice) -> "DiagonalTangent":
        """Of some entries of the batch."""
        return DiagonalTangent(self._decay[entries])

    def push(self, frames: Frames) -> Frames:
        """a * rows; the two rows of a complex entry turn into each other."""
        return self._scaled(self._decay, frames)

    def pull(self, frames: Frames) -> Frames:
        """a * rows; those of a complex entry turn the other way."""
        return self._scaled(self._decay.conj(), frames)

    @staticmethod
    def _scaled(decay: Tensor, frames: Frames) -> Frames:
        (frame,) = frames
        if not decay.is_complex():
            return (decay.unsqueeze(-1) * frame,)
        pairs = frame.unflatten(1, (-1, 2)).transpose(2, 3).contiguous()
        moved = torch.view_as_real(decay.unsqueeze(-1) * torch.view_as_complex(pairs))
        return (moved.transpose(2, 3).flatten(1, 2),)

    def log_diagonal(self) -> Rows:
        """ln |a| of every row."""
        factors = self._decay.abs().log()
        return factors.repeat_interleave(2, dim=-1) if self._decay.is_complex() else factors

    def log_volume(self) -> PerSequence:
        """ln |det J| (batch,): for a diagonal Jacobian the sum of ln |a|."""
        return self.log_diagonal().sum(-1)


def lru(log_decay: Tensor, log_phase: Tensor, input_weight: Tensor) -> Diagonal:
    """Linear recurrent unit: a = exp(-exp(log_decay) + i exp(log_phase)), b = sqrt(1 - |a|^2) * (B x).

    log_decay, log_phase: (n,); input_weight B: (n, features), complex; inputs (batch, time, features).
    Source: Orvieto et al. 2023 (arXiv 2303.06349).
    """

    def gates(x: Tensor) -> tuple[Tensor, Tensor]:
        decay, phase = (weight.to(x.dtype).exp() for weight in (log_decay, log_phase))
        a = torch.polar(torch.exp(-decay), phase)
        drive = x.to(a.dtype) @ input_weight.to(a.dtype).mT * (1 - a.abs().square()).sqrt()
        return a.expand_as(drive), drive

    return Diagonal(gates, log_decay.shape, is_complex=True, name="LRU")


def min_gru(gate: nn.Linear, candidate: nn.Linear) -> Diagonal:
    """minGRU: z = sigmoid(gate(x)), a = 1 - z, b = z * candidate(x). Source: Feng et al. 2024 (arXiv 2410.01201)."""

    def gates(x: Tensor) -> tuple[Tensor, Tensor]:
        opening = gate(x)
        return torch.sigmoid(-opening), torch.sigmoid(opening) * candidate(x)

    return Diagonal(gates, (gate.out_features,), name="minGRU")


def min_lstm(forget: nn.Linear, enter: nn.Linear, candidate: nn.Linear) -> Diagonal:
    """minLSTM: a = f / (f + i), b = i / (f + i) * candidate(x), f and i sigmoids of forget(x) and enter(x).

    Source: Feng et al. 2024 (arXiv 2410.01201).
    """

    def gates(x: Tensor) -> tuple[Tensor, Tensor]:
        kept, entering = torch.sigmoid(forget(x)), torch.sigmoid(enter(x))
        return kept / (kept + entering), entering / (kept + entering) * candidate(x)

    return Diagonal(gates, (forget.out_features,), name="minLSTM")


def gated_linear_attention(decay: nn.Module, key: nn.Module, value: nn.Module, *, shape: tuple[int, int]) -> Diagonal:
    """Gated linear attention: S' = diag(sigmoid(decay(x))) S + key(x) value(x)^T, S of shape (key size, value size).

    Source: Yang et al. 2024 (arXiv 2312.06635), their temperature within `decay`.
    """

    def gates(x: Tensor) -> tuple[Tensor, Tensor]:
        drive = key(x).unsqueeze(-1) * value(x).unsqueeze(-2)
        return torch.sigmoid(decay(x)).unsqueeze(-1).expand_as(drive), drive

    return Diagonal(gates, shape, name="gated linear attention")


def selective(log_rate: Tensor, step_size: nn.Linear, entering: nn.Linear) -> Diagonal:
    """A selective state space, as in Mamba: D = softplus(step_size(x)), a = exp(-D exp(log_rate)), b = D * entering(x) * x.

    log_rate: (channels, states); step_size: channels to channels; entering: channels to states; inputs (batch, time, channels).
    Source: Gu & Dao 2023 (arXiv 2312.00752), equation 4 with the zero-order hold of A alone, as their code has it.
    """

    def gates(x: Tensor) -> tuple[Tensor, Tensor]:
        size = softplus(step_size(x)).unsqueeze(-1)
        return torch.exp(-size * log_rate.to(x.dtype).exp()), size * entering(x).unsqueeze(-2) * x.unsqueeze(-1)

    return Diagonal(gates, log_rate.shape, name="selective state space")
