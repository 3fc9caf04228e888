"""Lorenz 1963 learned by closed loops, and their exponents beside the true ones: `python -m experiments.closed_loops.lorenz`.

A reservoir of 200 units (fixed weights, readout by ridge regression) and a GRU of 32 units (trained to predict the next step),
three seeds each. A row of results/loops.csv per network, written after each: the command goes on where it was stopped. Beside
the library's exponents stand those of a reference of its own: NumPy, dense Jacobians written down here, a QR at every step.
"""

import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

import lyapunov
from experiments.commands import RECORDED, arguments, run, scratch_of
from experiments.pages import replaced
from experiments.rows import read, write
from experiments.sweeps.table import RESULTS
from lyapunov import known

FILE, PAGE = RESULTS / "loops.csv", Path(__file__).parents[2] / "docs" / "closed-loops.md"
DT, SEEDS, K = 0.02, (0, 1, 2), 4


def lorenz(batch: int, steps: int, *, seed: int) -> Tensor:
    """(batch, steps, 3) on the attractor of Lorenz 1963, each variable with about zero mean and unit variance."""
    case = known.lorenz(dt=DT)
    state, found = case.start(batch, seed=seed), []
    for _ in range(steps + 500):
        state = case.system.step(state, None)
        found.append(state)
    path = torch.stack(found[500:], dim=1)
    return (path - torch.tensor([0.0, 0.0, 23.55], dtype=path.dtype)) / torch.tensor([7.93, 9.01, 8.62], dtype=path.dtype)


def reservoir(units: int = 200, *, seed: int, data: Tensor, radius: float = 0.4, ridge: float = 1e-8) -> lyapunov.ClosedLoop:
    """A tanh reservoir with fixed weights and a linear readout, fitted by ridge regression to the next step of the data."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        core, readout = nn.RNN(3, units, batch_first=True).double(), nn.Linear(units, 3).double()
        weight = torch.randn(units, units, dtype=torch.float64)
        bias = 2 * torch.rand(units, dtype=torch.float64) - 1
        enter = torch.empty(units, 3, dtype=torch.float64).uniform_(-0.3, 0.3)
    with torch.no_grad():
        core.weight_hh_l0.copy_(weight * radius / torch.linalg.eigvals(weight).abs().max())
        core.weight_ih_l0.copy_(enter)
        core.bias_ih_l0.copy_(bias)
        core.bias_hh_l0.zero_()
        seen = core(data[:, :-1])[0][:, 100:].reshape(-1, units)
        ahead = data[:, 101:].reshape(-1, 3)
        seen = torch.cat([seen, torch.ones(len(seen), 1, dtype=seen.dtype)], dim=1)
        inner = seen.mT @ seen + ridge * len(seen) * torch.eye(units + 1, dtype=seen.dtype)
        fitted = torch.linalg.solve(inner, seen.mT @ ahead)
        readout.weight.copy_(fitted[:-1].mT)
        readout.bias.copy_(fitted[-1])
    return lyapunov.closed_loop(core, readout)


def gru(units: int = 32, *, seed: int, data: Tensor, updates: int = 1200, free: int = 5) -> lyapunov.ClosedLoop:
    """A GRU trained to predict the next step along the data, and some steps of its own after each stretch of it."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        core, readout = nn.GRU(3, units, batch_first=True), nn.Linear(units, 3)
        parameters = [*core.parameters(), *readout.parameters()]
        optimizer = torch.optim.Adam(parameters, lr=5e-3)
        schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 1e-2, total_steps=updates)
        series = data.float()
        for _ in range(updates):
            rows = torch.randint(len(series), (32,))
            begin = int(torch.randint(series.shape[1] - 40 - free, (1,)))
            part = series[rows, begin : begin + 40 + free]
            output, state = core(part[:, :39])
            made = [readout(output)]
            for _ in range(free):
                output, state = core(made[-1][:, -1:], state)
                made.append(readout(output))
            loss = (torch.cat(made, dim=1) - part[:, 1:]).square()[:, 10:].mean()
            optimizer.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(parameters, 1.0)
            optimizer.step()
            schedule.step()
    return lyapunov.closed_loop(core.double(), readout.double())


def reference(loop: lyapunov.ClosedLoop, inputs: Tensor, *, steps: int, align: int = 500, k: int = K) -> np.ndarray:
    """(sequences, k): free exponents in nats per step; NumPy, dense Jacobians of the loop, a QR at every step."""
    named = [*loop.core.named_parameters(), *loop.readout.named_parameters()]
    w = {name: value.detach().double().numpy() for name, value in named}
    turn = _tanh_turn if isinstance(loop.core, nn.RNN) else _gru_turn
    driven, h = inputs.numpy(), np.zeros((len(inputs), loop.core.hidden_size))
    for t in range(driven.shape[1]):
        h = turn(w, h, driven[:, t])[0]
    source = np.random.default_rng(1)
    frame = np.linalg.qr(source.normal(size=(*h.shape, k)))[0]
    total = np.zeros((len(h), k))
    for t in range(align + steps):
        h, jacobian = turn(w, h, h @ w["weight"].T + w["bias"])
        frame, triangle = np.linalg.qr(jacobian @ frame)
        if t >= align:
            total += np.log(np.abs(np.diagonal(triangle, axis1=1, axis2=2)))
    return -np.sort(-total / steps, axis=1)


def _tanh_turn(w: dict[str, np.ndarray], h: np.ndarray, x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    new = np.tanh(x @ w["weight_ih_l0"].T + w["bias_ih_l0"] + h @ w["weight_hh_l0"].T + w["bias_hh_l0"])
    return new, (1 - new**2)[:, :, None] * (w["weight_hh_l0"] + w["weight_ih_l0"] @ w["weight"])


def _gru_turn(w: dict[str, np.ndarray], h: np.ndarray, x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The candidate's recurrent part is reset after its product with the weights, as PyTorch does."""
    given = x @ w["weight_ih_l0"].T + w["bias_ih_l0"]
    kept = h @ w["weight_hh_l0"].T + w["bias_hh_l0"]
    (xr, xz, xn), (hr, hz, hn) = np.split(given, 3, axis=1), np.split(kept, 3, axis=1)
    r, z = 1 / (1 + np.exp(-xr - hr)), 1 / (1 + np.exp(-xz - hz))
    n = np.tanh(xn + r * hn)
    inward, recurrent = np.split(w["weight_ih_l0"] @ w["weight"], 3), np.split(w["weight_hh_l0"], 3)
    by_r, by_z = (r * (1 - r))[:, :, None] * (inward[0] + recurrent[0]), (z * (1 - z))[:, :, None] * (inward[1] + recurrent[1])
    by_n = (1 - n**2)[:, :, None] * (inward[2] + r[:, :, None] * recurrent[2] + hn[:, :, None] * by_r)
    diagonal = np.eye(h.shape[1]) * z[:, :, None]
    return (1 - z) * n + z * h, diagonal + (h - n)[:, :, None] * by_z + (1 - z)[:, :, None] * by_n


def measure(name: str, loop: lyapunov.ClosedLoop, inputs: Tensor, *, steps: int) -> dict[str, Any]:
    """One row: both spectra with errors, the reference's, and both beside the true system."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", lyapunov.LyapunovWarning)
        both = lyapunov.loop_spectra(loop, inputs, steps=steps, k=K, dt=DT, align=500, progress=False)
    own = reference(loop, inputs, steps=steps) / DT
    row: dict[str, Any] = {"network": name, "sequences": len(inputs), "counted": steps}
    row["conditional"], row["conditional_error"] = both.conditional.max, float(both.conditional.standard_errors[0])
    row["conditional_verdict"] = " ".join(both.conditional.verdict.kinds) or "converged"
    row["free_verdict"] = " ".join(both.free.verdict.kinds) or "converged"
    beside = both.compare(known.lorenz())
    row["kaplan_yorke"], row["kaplan_yorke_error"] = beside.dimensions[0], beside.dimension_error
    for at in range(K):
        row |= {
            f"free_{at + 1}": float(both.free.exponents[at]),
            f"error_{at + 1}": float(both.free.standard_errors[at]),
            f"reference_{at + 1}": float(own[:, at].mean()),
            f"reference_error_{at + 1}": float(own[:, at].std(ddof=1) / len(own) ** 0.5),
        }
    row |= {f"in_errors_{at + 1}": value for at, value in enumerate(beside.in_errors.tolist())}
    row["gap"] = both.gap_to(known.lorenz()).gap
    return row


KINDS = {"reservoir": reservoir, "GRU": gru}


def table(rows: Sequence[Mapping[str, Any]]) -> str:
    """The rows as the page shows them."""
    head = "| network | conditional | free 1 | free 2 | free 3 | reference 1 | reference 2 | reference 3 | dimension |"
    lines = [head, "|---|" + "---|" * (head.count("|") - 2)]
    for row in rows:
        pairs = [("conditional", "conditional_error")]
        pairs += [(f"free_{at}", f"error_{at}") for at in (1, 2, 3)]
        pairs += [(f"reference_{at}", f"reference_error_{at}") for at in (1, 2, 3)]
        pairs += [("kaplan_yorke", "kaplan_yorke_error")]
        cells = [f"{float(row[value]):.3f} ± {float(row[error]):.3f}" for value, error in pairs]
        lines.append("| " + " | ".join([str(row["network"]), *cells]) + " |")
    return "\n".join(lines) + "\n"


def main() -> None:
    """Whatever is not yet in the file."""
    parser = arguments(__doc__)
    parser.add_argument("--kinds", nargs="*", default=list(KINDS), choices=list(KINDS))
    parser.add_argument("--seeds", nargs="*", default=SEEDS, type=int)
    options = parser.parse_args()
    torch.set_num_threads(1)
    file = (RECORDED if options.record else scratch_of("loops")) / FILE.name
    rows: list[dict[str, Any]] = list(read(file)) if file.exists() else []
    data, inputs = lorenz(20, 1500, seed=1), lorenz(8, 600, seed=2)
    for seed in options.seeds:
        for kind in options.kinds:
            name = f"{kind} {seed}"
            if name not in [row["network"] for row in rows]:
                rows.append(measure(name, KINDS[kind](seed=seed, data=data), inputs, steps=1500))
                write(file, rows)
                print(rows[-1], flush=True)
    if options.record:
        PAGE.write_text(replaced(PAGE.read_text(), "loops", table(rows)))
    else:
        print(table(rows))


if __name__ == "__main__":
    run(main)
