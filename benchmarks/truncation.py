"""Does the lag that `gradient_decay(...).lag_at(0.01)` names tell how far back training must reach? Adding problems, 20 seeds.

    python benchmarks/truncation.py             # goes on where it was ended; a quarter of an hour on one core
    python benchmarks/truncation.py --table     # only the table, from what is there

Two numbers of an adding problem are marked; the target is their sum, asked at the last step. "alone": one problem of 16 steps
from the initial state, one mark in each half of its first quarter. All that is to be learned is 13 to 16 steps old, and nothing
comes before. "late" and "spread": three problems in a row, twelve steps each, a flag at the first step of each; the sum of the
last two numbers is asked. "late": both marks lie in the first half, as in Hochreiter & Schmidhuber 1997, so whatever is learned
is at least seven steps old. "spread": one in each half, as in `lyapunov.tasks.Adding`, so some are as new as one step. LSTMs of
12 units, PyTorch's initialization with 1 added to the forget bias, Adam at 0.01, gradients clipped at norm 1, 1000 steps of 64
fresh sequences (2000 for "alone", which has fewer marks), the same for every arm. Gradients go back `window` steps from the
loss; the state before comes from the whole sequence. A network has learned it where its squared error on 1000 held-out
sequences is below a tenth of the plateau of 1/6. The lag is that of each network that learned it with the whole sequence;
"late" and "spread" take it over six problems in a row. Settings of "late" and "spread" were fixed after a look at five runs of
other lengths, batches and numbers of steps, those of "alone" after three runs with other seeds. Its windows are all of the lag
that is named, and three quarters, half and a quarter of it. Results: benchmarks/truncation.json; table in
docs/truncated-bptt.md.
"""

import argparse
import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor, nn

import lyapunov

ROOT = Path(__file__).parent.parent
RESULTS, PAGE = Path(__file__).with_suffix(".json"), ROOT / "docs" / "truncated-bptt.md"
SEEDS, UNITS, BATCH, RATE, ENOUGH = 20, 12, 64, 1e-2, 1 / 60


class Task(NamedTuple):
    """Adding problems: how long one is, how many come in a row, where its two marks lie, and how it is trained."""

    episode: int
    episodes: int
    marks: tuple[tuple[int, int], tuple[int, int]]
    updates: int
    windows: tuple[int, ...]
    read_episodes: int

    @property
    def whole(self) -> int:
        """Steps of a training sequence."""
        return self.episode * self.episodes


TASKS = {
    "alone": Task(16, 1, ((0, 2), (2, 4)), 2000, (16, 12, 8, 4), 1),
    "late": Task(12, 3, ((0, 3), (3, 6)), 1000, (36, 18, 12, 9, 6, 3), 6),
    "spread": Task(12, 3, ((0, 6), (6, 12)), 1000, (36, 6, 3), 6),
}
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
    numbers = torch.rand(batch, episodes, TASKS[task].episode, generator=generator)
    marks, flags = torch.zeros_like(numbers), torch.zeros_like(numbers)
    for low, high in TASKS[task].marks:
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
    for _ in range(TASKS[task].updates):
        inputs, targets = drawn(task, BATCH, TASKS[task].episodes, generator)
        optimizer.zero_grad()
        (networks(inputs, window) - targets).square().mean(1).sum().backward()
        norms = torch.stack([w.grad.flatten(1).square().sum(1) for w in networks.parameters()]).sum(0).sqrt()
        for weight in networks.parameters():
            weight.grad.mul_((1 / norms).clamp(max=1.0).view(-1, *[1] * (weight.dim() - 1)))
        optimizer.step()
    inputs, targets = drawn(task, 1000, TASKS[task].episodes, torch.Generator().manual_seed(99))
    with torch.no_grad():
        wrong = (networks(inputs, window) - targets).square().mean(1)
    return networks, wrong.tolist()


def named_lags(task: str, networks: Many, wrong: list[float]) -> list[float]:
    """What `lag_at(0.01)` says of each network that has learned the task; all steps there are, where none ends it."""
    inputs, targets = drawn(task, 50, TASKS[task].read_episodes, torch.Generator().manual_seed(3))
    batch = inputs.double(), targets.double()

    def loss(model: nn.Module, batch: tuple[Tensor, Tensor]) -> Tensor:
        return (model(batch[0])[:, -1] - batch[1]).square()

    found = []
    for seed, error in enumerate(wrong):
        if error < ENOUGH:
            decay = lyapunov.gradient_decay(networks.alone(seed), loss, batch, lags=inputs.shape[1] - 1, progress=False)
            found.append(min(decay.lag_at(0.01).value, float(inputs.shape[1])))
    return found


def run_all(say: Callable[[str], None]) -> None:
    """Every row that is not there yet, each written when it is done; after the whole sequence, the lag it names."""
    rows = json.loads(RESULTS.read_text()) if RESULTS.exists() else {}
    for name, task in TASKS.items():
        for window in task.windows:
            run(name, window, rows, say)
            if window == task.whole:
                lags_before_training(name, rows)
                named = sorted(rows[f"{name} {window}"]["lags"])
                run(name, int(min(window, named[len(named) // 2])), rows, say)


def lags_before_training(task: str, rows: dict) -> None:
    """The lag that the untrained networks name, beside that of the trained ones."""
    if "untrained_lags" not in rows[f"{task} {TASKS[task].whole}"]:
        networks = Many([start(seed) for seed in range(SEEDS)])
        rows[f"{task} {TASKS[task].whole}"]["untrained_lags"] = named_lags(task, networks, [0.0] * SEEDS)
        RESULTS.write_text(json.dumps(rows, indent=1) + "\n")


def run(task: str, window: int, rows: dict, say: Callable[[str], None]) -> None:
    """One row, if it is not there."""
    if f"{task} {window}" in rows:
        return
    before = time.perf_counter()
    networks, wrong = trained(task, window)
    row = {"errors": wrong, "seconds": time.perf_counter() - before}
    if window == TASKS[task].whole:
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
    for task, drawn_as in TASKS.items():
        found = {int(key.split()[1]): row for key, row in rows.items() if key.split()[0] == task}
        whole, longest = drawn_as.whole, drawn_as.episode * drawn_as.read_episodes
        lags = sorted(found[whole]["lags"]) if whole in found else []
        named = named_in_words(lags, longest) if lags else "-"
        for window in sorted(found):
            reach = f"{window} steps" if window < whole else f"all {whole} steps"
            errors = found[window]["errors"]
            middle = sorted(errors)[len(errors) // 2]
            lines.append(f"| {task} | {named} | {reach} | {learned(errors)} of {SEEDS} | {middle:.4f} |")
    return "\n".join(lines) + "\n"


def named_in_words(lags: list[float], longest: int) -> str:
    """Median and range of sorted lags; 'all' where the gradient is above 1 % at the first step, too."""
    texts = [f"{lag:.0f}" if lag < longest else f"all {longest}" for lag in lags]
    middle, first, last = texts[len(texts) // 2], texts[0], texts[-1]
    return middle if first == last else f"{middle} ({first} to {last})"


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
