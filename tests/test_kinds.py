"""Every kind of model against a naive reference written here: whole Jacobians by reverse mode, QR by NumPy, float64.

A kind to come is one more entry of KINDS: what is handed over, and the map of one sequence's flat state (see `Block`).
"""

import inspect
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.func import functional_call, jacrev

import lyapunov
from cases import drawn, seeded
from lyapunov.systems import diagonal
from lyapunov.tangent import random_frame
from tolerances import NAIVE

sys.path.insert(0, str(Path(__file__).parent.parent / "examples"))
import zoo

BATCH, STEPS, ALIGN, FEATURES, UNITS = 2, 24, 4, 3, 4
INPUTS = drawn(BATCH, STEPS, FEATURES, seed=70)
Flat = Callable[[Tensor, Tensor | None], Tensor]
GONE = 1e-13
"""What remains of a column beside the largest one, where only rounding remains."""


@dataclass(frozen=True)
class Block:
    """An independent block: the map of one sequence's flat state, its start (batch, n), its inputs (batch, time, ...)."""

    step: Flat
    start: Tensor
    inputs: Tensor | None


@dataclass(frozen=True)
class Kind:
    """What is handed over, and the same as naive blocks."""

    name: str
    system: Any
    inputs: Any
    blocks: list[Block]
    settings: dict[str, Any] = field(default_factory=dict)

    def __repr__(self) -> str:
        return self.name


def naive_growth(block: Block, number: int, seed: int, *, transposed: bool = False) -> np.ndarray:
    """(n,): ln diag R after alignment, averaged over steps and sequences, from the library's first frame; -inf once lost.

    A first frame is generic: what a singular Jacobian loses are the last columns, and those before do not notice.
    """
    batch, size = block.start.shape
    first = random_frame(size, size, batch=batch, seed=seed, block=number, like=block.start)
    total = np.zeros(size)
    for at in range(batch):
        state, frame = block.start[at], first[at].numpy()
        for t in range(STEPS):
            x = None if block.inputs is None else block.inputs[at, t]
            jacobian = jacrev(block.step)(state, x).detach().numpy()
            state = block.step(state, x).detach()
            frame, upper = np.linalg.qr((jacobian.T if transposed else jacobian) @ frame)
            grown = np.diag(upper)
            frame = frame * np.where(grown < 0, -1.0, 1.0)
            total[np.abs(grown) <= GONE * np.abs(grown).max()] = -np.inf
            if t >= ALIGN:
                total[np.isfinite(total)] += np.log(np.abs(grown[np.isfinite(total)]))
    return total / (batch * (STEPS - ALIGN))


def naive_spectrum(kind: Kind, *, transposed: bool = False) -> Tensor:
    grown = [naive_growth(block, at, seed=5, transposed=transposed) for at, block in enumerate(kind.blocks)]
    return torch.from_numpy(np.concatenate(grown)).sort(descending=True).values


# PyTorch's own layers: the reference steps a cell of theirs, built from the layer's weights.


def cell_of(module: Any, layer: int) -> nn.Module:
    """One layer as PyTorch's own cell."""
    if isinstance(module, nn.RNNCellBase):
        return module
    kinds = {nn.RNN: nn.RNNCell, nn.GRU: nn.GRUCell, nn.LSTM: nn.LSTMCell}
    options = {"nonlinearity": module.nonlinearity} if isinstance(module, nn.RNN) else {}
    features = getattr(module, f"weight_ih_l{layer}").shape[1]
    with torch.random.fork_rng():
        cell = kinds[type(module)](features, module.hidden_size, bias=module.bias, **options).double()
    with torch.no_grad():
        for name, weight in cell.named_parameters():
            weight.copy_(getattr(module, f"{name}_l{layer}"))
    return cell


def with_projection(module: nn.LSTM, h: Tensor, c: Tensor, x: Tensor) -> tuple[Tensor, Tensor]:
    """The whole layer on one step: there is no projected cell."""
    output, (_, c) = module(x.view(1, 1, -1), (h.view(1, 1, -1), c.view(1, 1, -1)))
    return output.flatten(), c.flatten()


def layer_blocks(module: Any, hidden: bool = False) -> list[Block]:
    """One block per layer, each driven by what the layer below gave."""
    blocks, below = [], INPUTS
    for layer in range(getattr(module, "num_layers", 1)):
        projected = getattr(module, "proj_size", 0)
        cell = None if projected else cell_of(module, layer)
        is_lstm = isinstance(module, nn.LSTM | nn.LSTMCell)
        size = projected or UNITS

        def turn(parts: tuple[Tensor, ...], x: Tensor, cell=cell, is_lstm=is_lstm) -> tuple[Tensor, ...]:
            if cell is None:
                return with_projection(module, *parts, x)
            new = cell(x, parts if is_lstm else parts[0])
            return new if is_lstm else (new,)

        def step(state: Tensor, x: Tensor, turn=turn, size=size, is_lstm=is_lstm) -> Tensor:
            return torch.cat(turn((state[:size], state[size:]) if is_lstm else (state,), x))

        start = torch.zeros(BATCH, size + (UNITS if is_lstm else 0), dtype=torch.float64)
        if hidden:
            blocks.append(hidden_block(turn, size))
            continue
        blocks.append(Block(step, start, below))
        below = outputs(step, start, below, size)
    return blocks


def hidden_block(turn: Callable[..., tuple[Tensor, ...]], size: int) -> Block:
    """h alone, the recorded cell state handed over as an input."""
    cells = torch.zeros(BATCH, STEPS, UNITS, dtype=torch.float64)
    with torch.no_grad():
        for at in range(BATCH):
            h, c = torch.zeros(size, dtype=torch.float64), torch.zeros(UNITS, dtype=torch.float64)
            for t in range(STEPS):
                cells[at, t] = c
                h, c = turn((h, c), INPUTS[at, t])
    driven = torch.cat([INPUTS, cells], dim=-1)
    start = torch.zeros(BATCH, size, dtype=torch.float64)
    return Block(lambda h, x: turn((h, x[FEATURES:]), x[:FEATURES])[0], start, driven)


def outputs(step: Flat, start: Tensor, inputs: Tensor, size: int) -> Tensor:
    rows = []
    with torch.no_grad():
        for at in range(BATCH):
            state, row = start[at], []
            for t in range(STEPS):
                state = step(state, inputs[at, t])
                row.append(state[:size])
            rows.append(torch.stack(row))
    return torch.stack(rows)


def of_layer(name: str, module: nn.Module, **settings: Any) -> Kind:
    blocks = layer_blocks(module, hidden=settings.get("linearization") == "hidden")
    return Kind(name, module, INPUTS, blocks, settings)


def coupled(name: str, module: nn.Module) -> Kind:
    """All layers as one map: the module itself on one step."""
    layers = module.num_layers

    def step(state: Tensor, x: Tensor) -> Tensor:
        parts = state.view(layers, -1, UNITS)  # layer by layer, h before c
        given = tuple(parts[:, at].unsqueeze(1).contiguous() for at in range(parts.shape[1]))
        new = module(x.view(1, 1, -1), given if len(given) > 1 else given[0])[1]
        new = new if isinstance(new, tuple) else (new,)
        return torch.stack([part.squeeze(1) for part in new], dim=1).flatten()

    size = layers * UNITS * (2 if isinstance(module, nn.LSTM) else 1)
    start = torch.zeros(BATCH, size, dtype=torch.float64)
    return Kind(name, module, INPUTS, [Block(step, start, INPUTS)], {"coupled": True})


# Cells of users, and of the zoo: the reference calls the float64 cell on one sequence.


def flattened(parts: Any) -> Tensor:
    """A state of one sequence as real coordinates, in the order of its leaves."""
    if isinstance(parts, dict):
        return torch.cat([flattened(part) for part in parts.values()])
    if isinstance(parts, tuple):
        return torch.cat([flattened(part) for part in parts])
    return torch.view_as_real(parts).flatten() if parts.is_complex() else parts.flatten()


def rebuilt(vector: Tensor, like: Any) -> Any:
    if isinstance(like, dict):
        sizes = [len(flattened(part)) for part in like.values()]
        pieces = zip(like.items(), vector.split(sizes), strict=True)
        return {name: rebuilt(piece, part) for (name, part), piece in pieces}
    if isinstance(like, tuple):
        sizes = [len(flattened(part)) for part in like]
        return tuple(rebuilt(piece, part) for part, piece in zip(like, vector.split(sizes), strict=True))
    return torch.view_as_complex(vector.view(*like.shape, 2)) if like.is_complex() else vector.view(like.shape)


def doubled(value: Tensor) -> Tensor:
    return value.to(torch.complex128) if value.is_complex() else value.double()


def of_step(name: str, function: Any, state: Any, inputs: Tensor | None = INPUTS, **settings: Any) -> Kind:
    """`function(state, x)`; a module is called with its weights in float64."""
    call = function
    if isinstance(function, nn.Module):
        weights = {key: doubled(value.detach()) for key, value in function.state_dict().items()}

        def call(state: Any, x: Any) -> Any:
            return functional_call(function, weights, (state, x))

    def map_leaves(value: Any, change: Callable[[Tensor], Tensor]) -> Any:
        if isinstance(value, dict):
            return {key: map_leaves(part, change) for key, part in value.items()}
        return tuple(map_leaves(part, change) for part in value) if isinstance(value, tuple) else change(value)

    alone = map_leaves(state, lambda leaf: doubled(leaf[0]))

    def step(vector: Tensor, x: Tensor | None) -> Tensor:
        batched = map_leaves(rebuilt(vector, alone), lambda leaf: leaf.unsqueeze(0))
        new = call(batched, None if x is None else x.unsqueeze(0))
        return flattened(map_leaves(new, lambda leaf: leaf.squeeze(0)))

    starts = [flattened(map_leaves(state, lambda leaf, at=at: doubled(leaf[at]))) for at in range(BATCH)]
    given = {"state": state, **({"steps": STEPS - ALIGN} if inputs is None else {}), **settings}
    return Kind(name, function, inputs, [Block(step, torch.stack(starts), inputs)], given)


def of_zoo(resident: Any) -> Kind:
    with torch.random.fork_rng():
        torch.manual_seed(4)
        cell = resident.kind()
    inputs = drawn(BATCH, STEPS, zoo.FEATURES, seed=71)
    return of_step(f"zoo-{type(cell).__name__}", cell, resident.state(BATCH), inputs)


def tree_step(state: dict[str, Tensor], x: Tensor) -> dict[str, Tensor]:
    fast = torch.tanh(state["slow"] + 0.7 * state["fast"].roll(1, -1) + x.sum(-1, keepdim=True))
    return {"fast": fast, "slow": 0.9 * state["slow"] + 0.1 * fast}


CELL, READOUT = seeded(nn.GRUCell, FEATURES, UNITS), seeded(nn.Linear, UNITS, FEATURES)


def closed_loop(h: Tensor, x: None) -> Tensor:
    return CELL(READOUT(h), h)


def henon(state: Tensor, x: None) -> Tensor:
    first, second = state.unbind(-1)
    return torch.stack([1 - 1.4 * first**2 + second, 0.3 * first], dim=-1)


def lorenz(state: Tensor, x: None) -> Tensor:
    def field(s: Tensor) -> Tensor:
        a, b, c = s.unbind(-1)
        return torch.stack([10 * (b - a), a * (28 - c) - b, a * b - 8 / 3 * c], dim=-1)

    middle = state + 0.005 * field(state)
    return state + 0.01 * field(middle)


TURN = torch.polar(drawn(3, seed=72).abs().neg().exp(), drawn(3, seed=73))


def complex_net(z: Tensor, x: Tensor) -> Tensor:
    return TURN * z / (1 + z.abs().square()).sqrt() + x.sum(-1, keepdim=True)


def of_diagonal(name: str, system: Any, written_out: Flat, size: int) -> Kind:
    """By frames, as everything else here."""
    start = torch.zeros(BATCH, size, dtype=torch.float64)
    return Kind(name, system, INPUTS, [Block(written_out, start, INPUTS)], {"method": "qr"})


GATE, CANDIDATE = seeded(nn.Linear, FEATURES, UNITS), seeded(nn.Linear, FEATURES, UNITS)


def gated(h: Tensor, x: Tensor) -> Tensor:
    opening = torch.sigmoid(GATE(x))
    return (1 - opening) * h + opening * CANDIDATE(x)


def small(kind: type[nn.Module], **options: Any) -> nn.Module:
    return seeded(kind, FEATURES, UNITS, batch_first=True, **options)


KINDS = [
    of_layer("RNN-tanh", small(nn.RNN)),
    of_layer("RNN-no-bias", small(nn.RNN, bias=False)),
    of_layer("RNN-relu", small(nn.RNN, nonlinearity="relu")),
    of_layer("GRU", small(nn.GRU)),
    of_layer("GRU-no-bias", small(nn.GRU, bias=False)),
    of_layer("LSTM", small(nn.LSTM)),
    of_layer("LSTM-no-bias", small(nn.LSTM, bias=False)),
    of_layer("LSTM-hidden", small(nn.LSTM), linearization="hidden"),
    of_layer("LSTM-projected", small(nn.LSTM, proj_size=2)),
    of_layer("LSTM-hidden-projected", small(nn.LSTM, proj_size=2), linearization="hidden"),
    of_layer("RNNCell", seeded(nn.RNNCell, FEATURES, UNITS)),
    of_layer("GRUCell", seeded(nn.GRUCell, FEATURES, UNITS)),
    of_layer("LSTMCell", seeded(nn.LSTMCell, FEATURES, UNITS)),
    of_layer("RNN-stack", small(nn.RNN, num_layers=2)),
    of_layer("GRU-stack", small(nn.GRU, num_layers=3)),
    of_layer("LSTM-stack", small(nn.LSTM, num_layers=2)),
    coupled("RNN-coupled", small(nn.RNN, num_layers=2)),
    coupled("GRU-coupled", small(nn.GRU, num_layers=2)),
    coupled("LSTM-coupled", small(nn.LSTM, num_layers=2)),
    *map(of_zoo, zoo.ZOO),
    of_step("pytree", tree_step, {"fast": torch.zeros(BATCH, 3), "slow": torch.zeros(BATCH, 3)}),
    of_step("closed-loop", closed_loop, drawn(BATCH, UNITS, seed=74), None),
    of_step("map", henon, 0.1 * drawn(BATCH, 2, seed=75), None),
    of_step("flow", lorenz, drawn(BATCH, 3, seed=76), None),
    of_step("complex", complex_net, torch.zeros(BATCH, 3, dtype=torch.complex64)),
    of_diagonal("minGRU-gates", diagonal.min_gru(GATE, CANDIDATE), gated, UNITS),
]


@pytest.mark.parametrize("kind", KINDS, ids=repr)
def test_exponents_are_those_of_whole_jacobians_and_numpys_qr(kind: Kind) -> None:
    settings = {"settle": 0, "align": ALIGN, "qr_every": 1, "seed": 5, "progress": False, **kind.settings}
    result = lyapunov.spectrum(kind.system, kind.inputs, **settings)
    expected = naive_spectrum(kind)
    assert len(result.exponents) == len(expected) == sum(block.start.shape[1] for block in kind.blocks)
    assert bool(result.reliable.all())
    torch.testing.assert_close(result.exponents, expected, rtol=0, atol=NAIVE)


def test_there_are_enough_kinds() -> None:
    assert len({kind.name for kind in KINDS}) == len(KINDS) >= 25


@pytest.mark.parametrize("name", ["RNN-tanh", "GRU-stack", "LSTM", "zoo-LayerNormLSTM", "flow"])
def test_a_transposed_jacobian_would_show(name: str) -> None:
    """Along the same trajectory, J^T in forward order gives other numbers."""
    kind = next(kind for kind in KINDS if kind.name == name)
    assert float((naive_spectrum(kind, transposed=True) - naive_spectrum(kind)).abs().max()) > 0.01


def test_the_relu_net_has_both_kept_and_lost_directions() -> None:
    """Else the comparison of lost ones would be of nothing."""
    found = naive_spectrum(next(kind for kind in KINDS if kind.name == "RNN-relu"))
    assert 0 < int(found.isneginf().sum()) < UNITS


@pytest.mark.parametrize("resident", zoo.ZOO, ids=lambda resident: resident.kind.__name__)
def test_every_cell_of_the_zoo_is_short(resident: Any) -> None:
    assert len(inspect.getsource(resident.kind).splitlines()) < 30


@pytest.mark.parametrize("resident", zoo.ZOO, ids=lambda resident: resident.kind.__name__)
def test_no_cell_of_the_zoo_runs_away(resident: Any) -> None:
    """An exponent of a state that grows without bound would be one of infinity, not of the network."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        cell = resident.kind()
    state, drive = resident.state(BATCH), drawn(BATCH, 400, zoo.FEATURES, seed=77).float()
    with torch.no_grad():
        for x in drive.unbind(1):
            state = cell(state, x)
    parts = state if isinstance(state, tuple) else (state,)
    assert max(float(part.abs().max()) for part in parts) < 100


def test_the_zoo_prints_a_row_for_every_cell(monkeypatch, capsys) -> None:
    monkeypatch.setattr(zoo, "STEPS", 60)
    state = torch.random.get_rng_state()
    zoo.main()
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines[1:]] == [resident.kind.__name__ for resident in zoo.ZOO]
    assert torch.equal(torch.random.get_rng_state(), state)
