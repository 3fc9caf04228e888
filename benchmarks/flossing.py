"""Does flossing before training help? Success rates at a delayed XOR, with and without, over 24 seeds at each delay.

    python benchmarks/flossing.py             # goes on where it was ended; about an hour on one core
    python benchmarks/flossing.py --table     # only the table and the figure, from what is there

Inputs are +1 or -1; the target is the product of the inputs d and d/2 steps ago. Networks of 32 units, Adam at 3e-3, gradients
clipped at norm 1, 3000 steps of 64 fresh sequences of 2 d steps; the same data for every arm. "flossed" goes through
`lyapunov.floss_` first: 8 exponents, 150 steps at 3e-3, 8 sequences of 100 steps. "orthogonal" starts from orthogonal recurrent
weights (of each gate), the usual cheap remedy. A network succeeds with 95 % of the outputs of 512 held-out sequences right.
What counted as success, and all settings, were fixed before these runs, after a look at a copy task and at shorter delays.
Results: benchmarks/flossing.json; table in docs/gradients.md, between its markers; figure docs/figures/flossing.png.
"""

import argparse
import json
import time
from collections.abc import Callable
from pathlib import Path

import torch
from matplotlib.figure import Figure
from scipy.stats import fisher_exact
from torch import Tensor, nn
from torch.nn.functional import softplus

import lyapunov

ROOT = Path(__file__).parent.parent
RESULTS, PAGE = Path(__file__).with_suffix(".json"), ROOT / "docs" / "gradients.md"
FIGURE = ROOT / "docs" / "figures" / "flossing.png"
SEEDS, UNITS, BATCH, STEPS, RATE, ENOUGH = 24, 32, 64, 3000, 3e-3, 0.95
FLOSSED = {"k": 8, "steps": 150, "learning_rate": 3e-3, "align": 20}
DELAYS = {"RNN": (8, 16, 32, 48), "GRU": (16,)}
ARMS = ("default", "orthogonal", "flossed")
GATES = {"RNN": 1, "GRU": 3, "LSTM": 4}


def signs(batch: int, steps: int, generator: torch.Generator) -> Tensor:
    """(batch, steps, 1) of +1 and -1."""
    return torch.randint(2, (batch, steps, 1), generator=generator).float() * 2 - 1


def start(kind: str, arm: str, seed: int) -> tuple[nn.Module, nn.Linear]:
    """A network before training, and its readout."""
    torch.manual_seed(seed)
    core, readout = getattr(nn, kind)(1, UNITS, batch_first=True), nn.Linear(UNITS, 1)
    if arm == "orthogonal":
        for block in core.weight_hh_l0.chunk(GATES[kind]):
            nn.init.orthogonal_(block.data)
    if arm == "flossed":
        generator = torch.Generator().manual_seed(1000 + seed)
        lyapunov.floss_(core, lambda: signs(8, 100, generator), progress=False, **FLOSSED)
    return core, readout


class Many(nn.Module):
    """Several networks of one kind side by side: outputs (networks, batch, steps) of inputs (batch, steps, 1)."""

    def __init__(self, kind: str, started: list[tuple[nn.Module, nn.Linear]]) -> None:
        super().__init__()
        self.step = {"RNN": self._rnn, "GRU": self._gru, "LSTM": self._lstm}[kind]
        names = ("weight_ih_l0", "weight_hh_l0", "bias_ih_l0", "bias_hh_l0")
        cores = [torch.stack([getattr(core, name).detach() for core, _ in started]) for name in names]
        reads = [torch.stack([getattr(read, name).detach() for _, read in started]) for name in ("weight", "bias")]
        self.weights = nn.ParameterList([*cores, *reads])

    def forward(self, inputs: Tensor) -> Tensor:
        """Step by step."""
        enter, recur, bias_in, bias_rec, read, shift = self.weights
        drive = torch.einsum("bti,sji->tsbj", inputs, enter) + bias_in.unsqueeze(1)
        h = drive.new_zeros(len(recur), len(inputs), UNITS)
        state, shown = (h, h), []
        for x in drive:
            state = self.step(x, torch.baddbmm(bias_rec.unsqueeze(1), state[0], recur.mT), state)
            shown.append(state[0])
        return torch.einsum("tsbj,sj->sbt", torch.stack(shown), read.squeeze(1)) + shift.unsqueeze(-1)

    @staticmethod
    def _rnn(x: Tensor, u: Tensor, state: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
        return torch.tanh(x + u), state[1]

    @staticmethod
    def _gru(x: Tensor, u: Tensor, state: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
        (x_r, x_z, x_n), (u_r, u_z, u_n) = x.chunk(3, -1), u.chunk(3, -1)
        z = torch.sigmoid(x_z + u_z)
        n = torch.tanh(x_n + torch.sigmoid(x_r + u_r) * u_n)
        return n + z * (state[0] - n), state[1]

    @staticmethod
    def _lstm(x: Tensor, u: Tensor, state: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
        i, f, g, o = (x + u).chunk(4, -1)
        c = torch.sigmoid(f) * state[1] + torch.sigmoid(i) * torch.tanh(g)
        return torch.sigmoid(o) * torch.tanh(c), c


def product(inputs: Tensor, delay: int) -> Tensor:
    """(batch, steps): of the inputs `delay` and half as many steps ago, for the steps from `delay` on."""
    steps = inputs.shape[1]
    return (inputs[:, : steps - delay] * inputs[:, delay // 2 : steps - delay + delay // 2]).squeeze(-1)


def trained(kind: str, started: list[tuple[nn.Module, nn.Linear]], delay: int) -> list[float]:
    """Held-out accuracy of each network after training."""
    networks, generator = Many(kind, started), torch.Generator().manual_seed(delay)
    optimizer = torch.optim.Adam(networks.parameters(), lr=RATE)
    for _ in range(STEPS):
        inputs = signs(BATCH, 2 * delay, generator)
        wrong = softplus(-networks(inputs)[..., delay:] * product(inputs, delay))
        optimizer.zero_grad()
        wrong.mean((1, 2)).sum().backward()
        norms = torch.stack([w.grad.flatten(1).square().sum(1) for w in networks.parameters()]).sum(0).sqrt()
        for weight in networks.parameters():
            weight.grad.mul_((1 / norms).clamp(max=1.0).view(-1, *[1] * (weight.dim() - 1)))
        optimizer.step()
    held_out = signs(512, 2 * delay, generator)
    with torch.no_grad():
        right = networks(held_out)[..., delay:] * product(held_out, delay) > 0
    return right.float().mean((1, 2)).tolist()


def run_all(say: Callable[[str], None]) -> None:
    """Every row that is not there yet, each written when it is done."""
    rows = json.loads(RESULTS.read_text()) if RESULTS.exists() else {}
    for kind, delays in DELAYS.items():
        for arm in ARMS:
            started: list[tuple[nn.Module, nn.Linear]] = []
            before = time.perf_counter()
            for delay in delays:
                if f"{kind} {delay} {arm}" in rows:
                    continue
                if not started:
                    started = [start(kind, arm, seed) for seed in range(SEEDS)]
                    flossing = time.perf_counter() - before
                before = time.perf_counter()
                accuracy = trained(kind, started, delay)
                seconds = time.perf_counter() - before
                rows[f"{kind} {delay} {arm}"] = {"accuracy": accuracy, "seconds": seconds, "seconds_before": flossing}
                RESULTS.write_text(json.dumps(rows, indent=1) + "\n")
                say(f"{kind} {delay} {arm}: {succeeded(accuracy)} of {SEEDS}, {seconds:.0f} s ({flossing:.0f} s before)")


def succeeded(accuracy: list[float]) -> int:
    """Networks that are right often enough."""
    return sum(value >= ENOUGH for value in accuracy)


def write() -> None:
    """The table into the page, between its markers, and the figure: success against delay."""
    rows = json.loads(RESULTS.read_text())
    counts = {key: succeeded(row["accuracy"]) for key, row in rows.items()}
    head = "| network | delay | default | orthogonal | flossed | flossed against default | against orthogonal |"
    lines = [head, "|---" * 7 + "|"]
    for kind, delays in DELAYS.items():
        for delay in delays:
            found = [counts.get(f"{kind} {delay} {arm}") for arm in ARMS]
            if None in found:
                continue
            shown = (f"{count} of {SEEDS}" for count in found)
            against = (in_words(found[2], other) for other in found[:2])
            lines.append(f"| {kind} | {delay} | {' | '.join(shown)} | {' | '.join(against)} |")
    before, _, rest = PAGE.read_text().partition("<!-- flossing -->\n")
    after = rest.partition("<!-- /flossing -->")[2]
    PAGE.write_text(f"{before}<!-- flossing -->\n" + "\n".join(lines) + f"\n<!-- /flossing -->{after}")
    draw(counts)


def in_words(count: int, other: int) -> str:
    """Fisher's exact test of two success counts, two-sided."""
    table = [[count, SEEDS - count], [other, SEEDS - other]]
    return f"p = {float(fisher_exact(table).pvalue):.2g}"


def draw(counts: dict[str, int]) -> None:
    """Share of networks that learn it, by delay; of kinds that ran at several."""
    kinds = {kind: delays for kind, delays in DELAYS.items() if len(delays) > 1}
    figure = Figure(figsize=(5.2 * len(kinds), 3.8), layout="constrained")
    for (kind, delays), ax in zip(kinds.items(), figure.subplots(1, len(kinds), squeeze=False)[0], strict=True):
        for arm in ARMS:
            there = [delay for delay in delays if f"{kind} {delay} {arm}" in counts]
            ax.plot(there, [counts[f"{kind} {delay} {arm}"] / SEEDS for delay in there], marker="o", label=arm)
        ax.set_title(f"{kind}, {UNITS} units")
        ax.set_xlabel("delay (steps)")
        ax.set_ylim(-0.03, 1.03)
        ax.legend(frameon=False)
        ax.set_ylabel(f"share of {SEEDS} seeds that learn it")
    figure.savefig(FIGURE, dpi=150)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--table", action="store_true", help="only the table and the figure")
    asked = parser.parse_args()
    torch.set_num_threads(1)
    if not asked.table:
        run_all(lambda line: print(line, flush=True))
    write()
