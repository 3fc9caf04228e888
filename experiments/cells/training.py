"""Trains fresh cells, each in the same way: `python -m experiments.cells.training text --record`; `copy` is the second task.

A row per cell and seed in results/cells-training.csv, appended as they come; a run that was killed goes on, and several
processes share the work. Nothing is trained before results/cells-predictions.csv is there and committed: its digest, the
commit and the time stand in every row.
"""

import hashlib
import math
import subprocess
import sys
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from experiments.cells.compiled import CompiledNetwork
from experiments.cells.measure import Named, fresh_cells
from experiments.cells.network import CellNetwork
from experiments.cells.recipes import Recipe
from experiments.commands import RECORDED, SCRATCH, arguments, run
from experiments.records import append, shared
from lyapunov import InvalidInput
from lyapunov._progress import progress_bar
from lyapunov.tasks import demo_corpus

WIDTH, BATCH, WINDOW, UPDATES, RATE, CLIP = 64, 8, 24, 1500, 3e-3, 1.0
"""Units per layer; streams side by side; steps of back-propagation, the state being carried from window to window; Adam."""
MEASURED_AT = (30, 56, 100, 167, 300, 500, 750, 1000, 1250, 1500)
"""Updates after which the validation loss is taken: 2 % of the training first; 56, 167 and 500 are rungs of halving."""
HELD_OUT = (32, 100)
"""Streams and steps of the validation loss."""
SYMBOLS, DELAY = 8, 10
"""Of the copy task: name the symbol of so many steps ago."""
TASKS = ("text", "copy")
CELLS, TWICE, COPIED = 126, 40, 60
"""Text: cells that are trained first (120 random ones among them), then those of a second seed; cells of the copy task."""
Windows = tuple[NDArray[np.int32], NDArray[np.int32]]


class Text:
    """Characters of War and Peace (or of the reference text where the data are not there)."""

    def __init__(self) -> None:
        data = demo_corpus()
        self.name, self.symbols = data.name, len(data.vocabulary)
        self._train, self._valid = data.train.numpy().astype(np.int32), data.valid.numpy().astype(np.int32)

    def windows(self, seed: int) -> Iterator[Windows]:
        """Streams from evenly spaced places, the first one by the seed."""
        length = WINDOW * UPDATES
        starts = np.linspace(0, len(self._train) - length - 2, BATCH).astype(int) - 37 * seed
        for at in range(0, length, WINDOW):
            own = [self._train[max(start, 0) + at : max(start, 0) + at + WINDOW + 1] for start in starts]
            block = np.stack(own, axis=1)
            yield block[:-1], block[1:]

    def held_out(self) -> Windows:
        """From evenly spaced places of the validation text."""
        streams, steps = HELD_OUT
        starts = np.linspace(0, len(self._valid) - steps - 2, streams).astype(int)
        block = np.stack([self._valid[start : start + steps + 1] for start in starts], axis=1)
        return block[:-1], block[1:]


class Copy:
    """Random symbols, each to be named again after a delay."""

    name, symbols = f"copy after {DELAY} steps", SYMBOLS

    def windows(self, seed: int) -> Iterator[Windows]:
        """One endless stream for each entry of the batch."""
        yield from self._drawn(np.random.default_rng(1000 + seed), BATCH, WINDOW, UPDATES)

    def held_out(self) -> Windows:
        """The same for all."""
        return next(self._drawn(np.random.default_rng(999), *HELD_OUT, 1))

    def _drawn(self, source: np.random.Generator, batch: int, steps: int, count: int) -> Iterator[Windows]:
        before = np.full((DELAY, batch), -1)
        for _ in range(count):
            both = np.concatenate([before, source.integers(SYMBOLS, size=(steps, batch))]).astype(np.int32)
            before = both[-DELAY:]
            yield both[DELAY:], both[:-DELAY]


def trained(recipe: Recipe, task: Text | Copy, seed: int, measured_at: tuple[int, ...] = MEASURED_AT) -> dict[str, float]:
    """Validation losses by the number of updates, infinite from where a network broke; the processor's seconds."""
    start = time.process_time()
    network = CompiledNetwork(CellNetwork(recipe, WIDTH, task.symbols, task.symbols, seed=100 + seed))
    losses = dict.fromkeys((f"loss_{at}" for at in measured_at), math.inf)
    held_out, states = task.held_out(), network.states(BATCH)
    for at, (inputs, targets) in enumerate(task.windows(seed), start=1):
        if not math.isfinite(network.loss(inputs, targets, states, learn=True)) or not math.isfinite(
            network.update(RATE, CLIP)
        ):
            break
        if at in measured_at:
            loss = network.loss(*held_out, network.states(HELD_OUT[0]))
            if not math.isfinite(loss):
                break
            losses[f"loss_{at}"] = loss
        if at == measured_at[-1]:
            break
    return {**losses, "seconds": time.process_time() - start}


def work(task: str, cells: list[Named]) -> list[tuple[Named, int]]:
    """Cell and seed in the order of training, which is that of the random draw: what is there at any time is a fair sample."""
    if task == "copy":
        return [(one, 0) for one in cells[:COPIED]]
    first, later = cells[:CELLS], cells[CELLS:]
    return [(one, 0) for one in first] + [(one, 1) for one in first[:TWICE]] + [(one, 0) for one in later]


def frozen(file: Path = RECORDED / "cells-predictions.csv") -> dict[str, str]:
    """The digest of the committed predictions, and the commit that is checked out; refuses where there are none."""
    root = file.parent
    told = ["git", "-C", str(root)]
    listed = subprocess.run([*told, "status", "--porcelain", "--", file.name], capture_output=True, text=True, check=False)
    tracked = subprocess.run([*told, "ls-files", "--", file.name], capture_output=True, text=True, check=False)
    if not tracked.stdout.strip() or listed.stdout.strip():
        raise InvalidInput(
            f"Expected predictions in {file} that are committed as they are, got none. Run "
            "`python -m experiments.cells.predictions --record`, and commit."
        )
    head = subprocess.run([*told, "rev-parse", "HEAD"], capture_output=True, text=True, check=True).stdout.strip()
    return {"predictions": hashlib.sha256(file.read_bytes()).hexdigest()[:16], "commit": head}


def train(name: str, file: Path) -> None:
    """What is not in the file yet."""
    task, made = Text() if name == "text" else Copy(), frozen()
    wanted = {(name, one.cell, str(seed)): (one, seed) for one, seed in work(name, fresh_cells())}
    with progress_bar(f"{name}: cells", len(wanted), enabled=None) as advance:
        for at, (one, seed) in enumerate(shared(file, wanted, ("task", "cell", "seed")), start=1):
            began = datetime.now(UTC).isoformat(timespec="seconds")
            row = {"task": name, "cell": one.cell, "seed": seed, **made, "began": began}
            append(file, [{**row, **trained(one.recipe, task, seed)}])
            advance(at)


def main() -> None:
    """Parse and train."""
    parser = arguments(__doc__)
    parser.add_argument("task", choices=TASKS)
    asked = parser.parse_args()
    torch.set_num_threads(1)
    file = (RECORDED if asked.record else SCRATCH) / "cells-training.csv"
    run(lambda: train(asked.task, file))
    print(file, file=sys.stderr)


if __name__ == "__main__":
    main()
