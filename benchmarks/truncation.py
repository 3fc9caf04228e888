"""Does the lag that `gradient_decay(...).lag_at(0.01)` names tell how far back training must reach? Adding problems, 20 seeds.

    python benchmarks/truncation.py             # goes on where it was ended; a quarter of an hour on one core
    python benchmarks/truncation.py --table     # only the table, from what is there

Sequences of three adding problems in a row, twelve steps each, a flag at the first step of each. Two numbers of each are
marked; the target is the sum of the last two, asked at the last step. "late": both marks lie in the first half, as in
Hochreiter & Schmidhuber 1997, so whatever is learned is at least seven steps old. "spread": one in each half, as in
`lyapunov.tasks.Adding`, so some are as new as one step. LSTMs of 12 units, PyTorch's initialization with 1 added to the
forget bias, Adam at 0.01, gradients clipped at norm 1, 1000 steps of 64 fresh sequences, the same for every arm. Gradients go
back `window` steps from the loss; the state before comes from the whole sequence. A network has learned it where its squared
error on 1000 held-out sequences is below a tenth of the plateau of 1/6. The lag is that of each network that learned it with
the whole sequence, over six problems in a row. Settings were fixed after a look at five runs of other lengths, batches and
numbers of steps. Results: benchmarks/truncation.json; table in docs/memory.md.
"""

import argparse
import json
import time
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor, nn

import lyapunov

ROOT = Path(__file__).parent.parent
RESULTS, PAGE = Path(__file__).with_suffix(".json"), ROOT / "docs" / "memory.md"
SEEDS, UNITS, BATCH, STEPS, RATE, ENOUGH = 20, 12, 64, 1000, 1e-2, 1 / 60
EPISODE, EPISODES = 12, 3
WHOLE = EPISODE * EPISODES
WINDOWS = {"late": (WHOLE, 18, 12, 9, 6, 3), "spread": (WHOLE, 6, 3)}
NAMES = ("weight_ih_l0", "weight_hh_l0", "bias_ih_l0", "bias_hh_l0")


def start(seed: int) -> tuple[nn.LSTM, nn.Linear]:
    """A network before training, and its readout."""
    torch.manual_seed(seed)
    core, readout = nn.LSTM(3, UNITS, batch_first=True), nn.Linear(UNITS, 1)
    with torch.no_grad():
        core.bias_hh_l0[UNITS : 2 * UNITS] += 1.0
    return core, readout


def drawn(task: str, batch: int, episodes: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Inputs (batch, time, 3): number, mark, start of a problem; targets (batch,): the sum of the last problem."""
    first = (0, EPISODE // 4) if task == "late" else (0, EPISODE // 2)
    second = (EPISODE // 4, EPISODE // 2) if task == "late" else (EPISODE // 2, EPISODE)
    numbers = torch.rand(batch, episodes, EPISODE, generator=generator)
    marks, flags = torch.zeros_like(numbers), torch.zeros_like(numbers)
    for low, high in (first, second):
        marks.scatter_(2, torch.randint(low, high, (batch, episodes, 1), generator=generator), 1.0)
    flags[:, :, 0] = 1.0
    return torch.stack([numbers, marks, flags], dim=-1).flatten(1, 2), (numbers * marks)[:, -1].sum(-1)


class Many(nn.Module):
    """Several networks side by side: the last output (networks, batch) of inputs (batch, time, 3)."""

    def __init__(self, started: list[tuple[nn.LSTM, nn.Linear]]) -> None:
        super().__init__()
        cores = [torch.stack([getattr(core, name).detach() for core, _ in started]) for name in NAMES]
        reads = [torch.stack([getattr(read, name).detach() for _, read in started]) for name in ("weight", "bias")]
        self.weights = nn.ParameterList([*cores, *reads])

    def forward(self, inputs: Tensor, window: int) -> Tensor:
        """Gradients reach the last `window` steps."""
        enter, recur, bias_in, bias_rec, read, shift = self.weights
        drive = torch.einsum("bti,sji->tsbj", inputs, enter) + (bias_in + bias_rec).unsqueeze(1)
        h = c = drive.new_zeros(len(recur), len(inputs), UNITS)
        back = len(drive) - window
        with torch.no_grad():
            for x in drive[:back]:
                h, c = self._step(x, h, c, recur)
        for x in drive[back:]:
            h, c = self._step(x, h, c, recur)
        return torch.einsum("sbj,sj->sb", h, read.squeeze(1)) + shift

    @staticmethod
    def _step(x: Tensor, h: Tensor, c: Tensor, recur: Tensor) -> tuple[Tensor, Tensor]:
        i, f, g, o = torch.baddbmm(x, h, recur.mT).chunk(4, -1)
        c = torch.sigmoid(f) * c + torch.sigmoid(i) * torch.tanh(g)
        return torch.sigmoid(o) * torch.tanh(c), c

    def alone(self, seed: int) -> nn.Module:
        """One of them as a module of its own, in float64."""
        return Alone([weight[seed].detach() for weight in self.weights])


class Alone(nn.Module):
    """An LSTM with its readout: outputs (batch, time)."""

    def __init__(self, weights: list[Tensor]) -> None:
        super().__init__()
        self.core, self.readout = nn.LSTM(3, UNITS, batch_first=True), nn.Linear(UNITS, 1)
        targets = [*(getattr(self.core, name) for name in NAMES), self.readout.weight, self.readout.bias]
        with torch.no_grad():
            for target, weight in zip(targets, weights, strict=True):
                target.copy_(weight)
        self.double()

    def forward(self, inputs: Tensor) -> Tensor:
        """At every step."""
        return self.readout(self.core(inputs)[0]).squeeze(-1)


def trained(task: str, window: int) -> tuple[Many, list[float]]:
    """The networks, and the held-out squared error of each."""
    networks, generator = Many([start(seed) for seed in range(SEEDS)]), torch.Generator().manual_seed(7)
    optimizer = torch.optim.Adam(networks.parameters(), lr=RATE)
    for _ in range(STEPS):
        inputs, targets = drawn(task, BATCH, EPISODES, generator)
        optimizer.zero_grad()
        (networks(inputs, window) - targets).square().mean(1).sum().backward()
        norms = torch.stack([w.grad.flatten(1).square().sum(1) for w in networks.parameters()]).sum(0).sqrt()
        for weight in networks.parameters():
            weight.grad.mul_((1 / norms).clamp(max=1.0).view(-1, *[1] * (weight.dim() - 1)))
        optimizer.step()
    inputs, targets = drawn(task, 1000, EPISODES, torch.Generator().manual_seed(99))
    with torch.no_grad():
        wrong = (networks(inputs, window) - targets).square().mean(1)
    return networks, wrong.tolist()


def named_lags(task: str, networks: Many, wrong: list[float]) -> list[float]:
    """What `lag_at(0.01)` says of each network that has learned the task."""
    inputs, targets = drawn(task, 50, 6, torch.Generator().manual_seed(3))
    batch = inputs.double(), targets.double()

    def loss(model: nn.Module, batch: tuple[Tensor, Tensor]) -> Tensor:
        return (model(batch[0])[:, -1] - batch[1]).square()

    found = []
    for seed, error in enumerate(wrong):
        if error < ENOUGH:
            decay = lyapunov.gradient_decay(networks.alone(seed), loss, batch, lags=6 * EPISODE - 1, progress=False)
            found.append(decay.lag_at(0.01).value)
    return found


def run_all(say: Callable[[str], None]) -> None:
    """Every row that is not there yet, each written when it is done; after the whole sequence, the lag it names."""
    rows = json.loads(RESULTS.read_text()) if RESULTS.exists() else {}
    for task, windows in WINDOWS.items():
        for window in windows:
            run(task, window, rows, say)
            if window == WHOLE:
                lags_before_training(task, rows)
                named = sorted(rows[f"{task} {WHOLE}"]["lags"])
                run(task, min(WHOLE, int(named[len(named) // 2])), rows, say)


def lags_before_training(task: str, rows: dict) -> None:
    """The lag that the untrained networks name, beside that of the trained ones."""
    if "untrained_lags" not in rows[f"{task} {WHOLE}"]:
        networks = Many([start(seed) for seed in range(SEEDS)])
        rows[f"{task} {WHOLE}"]["untrained_lags"] = named_lags(task, networks, [0.0] * SEEDS)
        RESULTS.write_text(json.dumps(rows, indent=1) + "\n")


def run(task: str, window: int, rows: dict, say: Callable[[str], None]) -> None:
    """One row, if it is not there."""
    if f"{task} {window}" in rows:
        return
    before = time.perf_counter()
    networks, wrong = trained(task, window)
    row = {"errors": wrong, "seconds": time.perf_counter() - before}
    if window == WHOLE:
        row["lags"] = named_lags(task, networks, wrong)
    rows[f"{task} {window}"] = row
    RESULTS.write_text(json.dumps(rows, indent=1) + "\n")
    say(f"{task} {window}: {learned(wrong)} of {SEEDS}, {row['seconds']:.0f} s, lags {row.get('lags')}")


def learned(wrong: list[float]) -> int:
    """Networks that are near enough."""
    return sum(error < ENOUGH for error in wrong)


def table() -> str:
    """In Markdown."""
    rows = json.loads(RESULTS.read_text())
    heads = (
        "marks",
        "lag named by `lag_at(0.01)`, median (range)",
        "gradients go back",
        "networks that learn it",
        "median error",
    )
    lines = [f"| {' | '.join(heads)} |", "|---" * len(heads) + "|"]
    for task in WINDOWS:
        found = {int(key.split()[1]): row for key, row in rows.items() if key.split()[0] == task}
        lags = sorted(found[WHOLE]["lags"]) if WHOLE in found else []
        named = f"{lags[len(lags) // 2]:.0f} ({lags[0]:.0f} to {lags[-1]:.0f})" if lags else "-"
        for window in sorted(found):
            reach = f"{window} steps" if window < WHOLE else f"all {WHOLE} steps"
            errors = found[window]["errors"]
            middle = sorted(errors)[len(errors) // 2]
            lines.append(f"| {task} | {named} | {reach} | {learned(errors)} of {SEEDS} | {middle:.4f} |")
    return "\n".join(lines) + "\n"


def write() -> None:
    """The table into the page, between its markers."""
    before, _, rest = PAGE.read_text().partition("<!-- truncation -->\n")
    after = rest.partition("<!-- /truncation -->")[2]
    PAGE.write_text(f"{before}<!-- truncation -->\n{table()}<!-- /truncation -->{after}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--table", action="store_true", help="only the table")
    asked = parser.parse_args()
    torch.set_num_threads(1)
    if not asked.table:
        run_all(lambda line: print(line, flush=True))
    write()
