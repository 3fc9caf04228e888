"""The systems that the laws are asked of: each as the user hands it over, beside PyTorch's own step where there is one."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from lyapunov.intake import CastProblem, capture, closed_loop, problem, recognize
from lyapunov.intake.kinds import KINDS
from lyapunov.systems import Diagonal, Loop, diagonal, known

BATCH, STEPS, INPUTS, UNITS = 3, 12, 4, 5
CELL = {kind.cell.__name__: kind.cell for kind in KINDS}


@dataclass(frozen=True)
class Case:
    """A way to build a problem in a dtype; `module_step` is PyTorch's own (state vector after one step), if any."""

    name: str
    build: Callable[[torch.dtype], CastProblem]
    module: nn.Module | None = None
    hidden_only: bool = False

    def __repr__(self) -> str:
        return self.name


def drawn(*shape: int, seed: int, scale: float = 1.0) -> Tensor:
    return scale * torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def seeded(kind: type[nn.Module], *args: Any, scale: float = 3.0, **kwargs: Any) -> nn.Module:
    """A module with weights three times PyTorch's: strong enough for every term of a Jacobian to show."""
    with torch.random.fork_rng():
        torch.manual_seed(1)
        module = kind(*args, **kwargs).double()
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.mul_(scale)
    return module


def cast_problem(system: Any, inputs: Any, state: Any, dtype: torch.dtype, **words: Any) -> CastProblem:
    """As it is run."""
    return recognize(problem(system, inputs, state=state, **words), dtype)


def _module_state(module: Any) -> Any:
    output = getattr(module, "proj_size", 0) or UNITS
    layers = (module.num_layers,) if isinstance(module, nn.RNNBase) else ()
    h, c = drawn(*layers, BATCH, output, seed=3, scale=0.5), drawn(*layers, BATCH, UNITS, seed=4, scale=0.5)
    return (h, c) if isinstance(module, nn.LSTM | nn.LSTMCell) else h


def _of_module(name: str, module: nn.Module, **kwargs: Any) -> Case:
    def build(dtype: torch.dtype) -> CastProblem:
        inputs = drawn(BATCH, STEPS, INPUTS, seed=2)
        if isinstance(module, nn.RNNBase) and not module.batch_first:
            inputs = inputs.transpose(0, 1)
        return cast_problem(module, inputs, _module_state(module), dtype, **kwargs)

    return Case(name, build, module, hidden_only=kwargs.get("linearization") == "hidden")


def _of_step(name: str, function: Callable[..., Any], state: Any, carried: Any = None) -> Case:
    inputs = drawn(BATCH, STEPS, INPUTS, seed=2)
    return Case(name, lambda dtype: cast_problem(function, inputs, state, dtype, carried=carried))


def _of_diagonal(system: Diagonal) -> Case:
    inputs = drawn(BATCH, STEPS, INPUTS, seed=2)

    def build(dtype: torch.dtype) -> CastProblem:
        state = system.initial_state(BATCH, torch.empty(0, dtype=dtype))
        return cast_problem(system, inputs, state + 0.3, dtype)

    return Case(system.name.replace(" ", "-"), build)


def _of_known(name: str, case: known.Known) -> Case:
    inputs = case.inputs(BATCH, STEPS) if case.draw_inputs else None
    steps = None if case.draw_inputs else STEPS
    return Case(name, lambda dtype: cast_problem(case.system, inputs, case.start(BATCH), dtype, steps=steps))


class PlainCell(nn.Module):
    """A user's own cell."""

    def __init__(self) -> None:
        super().__init__()
        self.mix = nn.Linear(UNITS + INPUTS, UNITS)
        self.dropout = nn.Dropout(0.5)

    def forward(self, state: Tensor, x: Tensor) -> Tensor:
        return 0.5 * state + 0.5 * torch.tanh(self.mix(torch.cat([self.dropout(state), x], dim=-1)))


def _tree_step(state: dict[str, Any], x: Tensor) -> dict[str, Any]:
    fast, (slow,) = state["fast"], state["slow"]
    fast = torch.tanh(fast @ MIX.to(fast) + x.sum(-1, keepdim=True) + slow.mean(dim=(1, 2)).unsqueeze(-1))
    return {"fast": fast, "slow": (0.9 * slow + 0.1 * fast.unsqueeze(-1),)}


def _complex_step(z: Tensor, x: Tensor) -> Tensor:
    return torch.polar(torch.full_like(z.real, 0.9), z.real.tanh()) * z.roll(1, -1) / (1 + z.abs()) + x.sum(-1, keepdim=True)


def _carried_step(h: Tensor, x: Tensor, average: Tensor) -> tuple[Tensor, Tensor]:
    new = torch.tanh(h @ MIX.to(h) + x.sum(-1, keepdim=True) - average)
    return new, 0.9 * average + 0.1 * new.detach()


MIX = drawn(UNITS, UNITS, seed=7)
TREE = {"fast": drawn(BATCH, UNITS, seed=5), "slow": (drawn(BATCH, UNITS, 2, seed=6),)}

MODULES = [
    *(
        _of_module(f"RNN-{phi}-bias={bias}", seeded(nn.RNN, INPUTS, UNITS, nonlinearity=phi, bias=bias))
        for phi in ("tanh", "relu")
        for bias in (True, False)
    ),
    *(_of_module(f"GRU-bias={bias}", seeded(nn.GRU, INPUTS, UNITS, bias=bias, batch_first=True)) for bias in (True, False)),
    *(
        _of_module(
            f"LSTM-{lin}-bias={bias}-proj={proj}", seeded(nn.LSTM, INPUTS, UNITS, bias=bias, proj_size=proj), linearization=lin
        )
        for lin in ("full", "hidden")
        for bias in (True, False)
        for proj in (0, 2)
    ),
    _of_module("RNNCell-tanh", seeded(nn.RNNCell, INPUTS, UNITS)),
    _of_module("RNNCell-relu", seeded(nn.RNNCell, INPUTS, UNITS, nonlinearity="relu", bias=False)),
    _of_module("GRUCell", seeded(CELL["GRUCell"], INPUTS, UNITS)),
    _of_module("LSTMCell-full", seeded(nn.LSTMCell, INPUTS, UNITS)),
    _of_module("LSTMCell-hidden", seeded(nn.LSTMCell, INPUTS, UNITS, bias=False), linearization="hidden"),
]
_STACKED = {
    "RNN": seeded(nn.RNN, INPUTS, UNITS, num_layers=3, dropout=0.3),
    "RNN-relu": seeded(nn.RNN, INPUTS, UNITS, num_layers=2, nonlinearity="relu"),
    "GRU": seeded(nn.GRU, INPUTS, UNITS, num_layers=3, batch_first=True),
    "LSTM": seeded(nn.LSTM, INPUTS, UNITS, num_layers=2, dropout=0.3),
    "LSTM-proj": seeded(nn.LSTM, INPUTS, UNITS, num_layers=3, proj_size=2, batch_first=True),
}
STACKS = [_of_module(f"{name}-stack", module) for name, module in _STACKED.items()]
COUPLED = [_of_module(f"{name}-coupled", module, coupled=True) for name, module in _STACKED.items()] + [
    _of_module("LSTM-coupled-hidden", _STACKED["LSTM"], coupled=True, linearization="hidden")
]


class Apart(nn.Module):
    """Layers that see each other through what is no part of them."""

    def __init__(self) -> None:
        super().__init__()
        self.below = seeded(nn.GRU, INPUTS, UNITS, batch_first=True)
        self.norm = nn.LayerNorm(UNITS, dtype=torch.float64)
        self.above = seeded(nn.LSTM, UNITS, UNITS, num_layers=2, batch_first=True, proj_size=2)

    def forward(self, x: Tensor, state: Tensor, above: tuple[Tensor, Tensor]) -> Tensor:
        return self.above(self.norm(self.below(x, state)[0]), above)[0]


def _of_captured(name: str, model: nn.Module, *args: Any) -> Case:
    captured = capture(model, *args)
    return Case(name, lambda dtype: cast_problem(captured, None, None, dtype))


_APART = Apart()
BESIDE = [
    _of_captured(
        "GRU-beside-LSTM-stack",
        _APART,
        drawn(BATCH, STEPS, INPUTS, seed=2),
        _module_state(seeded(nn.GRU, INPUTS, UNITS)),
        _module_state(_APART.above),
    )
]
STEPS_OF_USERS = [
    _of_step("step-tensor", lambda s, x: torch.tanh(s @ MIX.to(s) + x.sum(-1, keepdim=True)), drawn(BATCH, UNITS, seed=8)),
    _of_step("step-module", seeded(PlainCell), drawn(BATCH, UNITS, seed=8)),
    _of_step("step-method", seeded(PlainCell).forward, drawn(BATCH, UNITS, seed=8)),
    _of_step("step-pytree", _tree_step, TREE),
    _of_step("step-complex", _complex_step, torch.complex(drawn(BATCH, UNITS, seed=8), drawn(BATCH, UNITS, seed=9))),
    _of_step("step-carried", _carried_step, drawn(BATCH, UNITS, seed=8), drawn(BATCH, UNITS, seed=9)),
]


class Attending(nn.Module):
    """A block to be looped: causal attention through PyTorch's own call."""

    def __init__(self) -> None:
        super().__init__()
        self.inward, self.outward = nn.Linear(UNITS, 3 * UNITS), nn.Linear(UNITS, UNITS)

    def forward(self, h: Tensor, e: Tensor) -> Tensor:
        heads = (part.unflatten(-1, (1, -1)).transpose(1, 2) for part in self.inward(torch.tanh(h + e)).chunk(3, -1))
        attended = nn.functional.scaled_dot_product_attention(*heads, is_causal=True)
        return 0.5 * h + self.outward(attended.squeeze(1))


def _of_loop(name: str, *, by_token: bool) -> Case:
    """Injected alike into all sequences, so that each can be stepped by itself."""
    loop = Loop(seeded(Attending), drawn(BATCH, 3, UNITS, seed=8), drawn(1, 3, UNITS, seed=9), by_token=by_token)
    return Case(name, lambda dtype: cast_problem(loop, None, None, dtype, steps=STEPS))


LOOPS = [_of_loop("loop", by_token=False), _of_loop("loop-by-token", by_token=True)]


def _of_closed_loop(name: str, core: Any, outputs: int, state: Any, *, linear: bool) -> Case:
    """A core fed by its own output, through a linear readout or through one that bends."""
    readout = seeded(nn.Linear, outputs, INPUTS, scale=1.0)
    feedback = None if linear else lambda y: torch.tanh(2 * y) + y
    loop = closed_loop(core, readout, feedback=feedback)
    inputs = drawn(BATCH, STEPS, INPUTS, seed=2)
    return Case(name, lambda dtype: cast_problem(loop, inputs, state, dtype, steps=STEPS))


_LOOPED = {
    "RNN": seeded(nn.RNN, INPUTS, UNITS, batch_first=True),
    "GRUCell": seeded(nn.GRUCell, INPUTS, UNITS),
    "LSTM": seeded(nn.LSTM, INPUTS, UNITS, batch_first=True),
    "GRU-stack": seeded(nn.GRU, INPUTS, UNITS, num_layers=2, batch_first=True),
    "LSTM-stack-projected": seeded(nn.LSTM, INPUTS, UNITS, num_layers=2, proj_size=2, batch_first=True),
}
CLOSED_LOOPS = [
    *(
        _of_closed_loop(
            f"closed-loop-{name}-{kind}", core, getattr(core, "proj_size", 0) or UNITS, None, linear=kind == "linear"
        )
        for name, core in _LOOPED.items()
        for kind in ("linear", "bent")
    ),
    _of_closed_loop("closed-loop-step", seeded(PlainCell), UNITS, drawn(BATCH, UNITS, seed=8), linear=False),
]
_GATES = [seeded(nn.Linear, INPUTS, UNITS) for _ in range(3)]
DIAGONAL = [
    _of_diagonal(diagonal.lru(drawn(UNITS, seed=10), drawn(UNITS, seed=11), torch.ones(UNITS, INPUTS, dtype=torch.complex128))),
    _of_diagonal(diagonal.min_gru(*_GATES[:2])),
    _of_diagonal(diagonal.min_lstm(*_GATES)),
    _of_diagonal(diagonal.gated_linear_attention(*_GATES, shape=(UNITS, UNITS))),
    _of_diagonal(
        diagonal.selective(drawn(INPUTS, 2, seed=12), seeded(nn.Linear, INPUTS, INPUTS), seeded(nn.Linear, INPUTS, 2))
    ),
]
KNOWN = [
    _of_known(build.__name__, build())
    for build in (
        known.logistic,
        known.henon,
        known.cat_map,
        known.bernoulli_ring,
        known.ikeda,
        known.lorenz,
        known.rossler,
        known.chen,
        known.thomas,
        known.halvorsen,
        known.windmi,
        known.lorenz96,
        known.kuramoto_sivashinsky,
        known.period_three_product,
        known.gaussian_products,
        known.random_fibonacci,
        known.triangular_products,
    )
]
KNOWN.append(_of_known("mackey_glass", known.mackey_glass(points=12)))
KNOWN.append(_of_known("gaussian_tanh", known.gaussian_tanh(size=6, noise=0.5)))
ALL = [*MODULES, *STACKS, *COUPLED, *BESIDE, *STEPS_OF_USERS, *LOOPS, *CLOSED_LOOPS, *DIAGONAL, *KNOWN]
