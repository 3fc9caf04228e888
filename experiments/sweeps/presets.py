"""What is run: tasks, networks and epochs of every sweep, at three sizes.

`tiny` takes seconds and is what continuous integration runs; `small` takes two cores about two hours for all tasks; `paper` is
the paper's size, for a GPU. Sampling ranges that the paper leaves open are chosen here; docs of each choice are in README.md.
"""

import math
import random
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Literal

import torch

from lyapunov.tasks import WAR_AND_PEACE, Adding, NextCharacter, NextFrame, Recipe, Task, corpus, data_file, read_text

Preset = Literal["tiny", "small", "paper"]
PRESETS: tuple[Preset, ...] = ("tiny", "small", "paper")
TASKS = ("text", "motion", "adding")
SWEEPS = (*TASKS, "spread")
"""What can be run: a sweep per task, and that of several p, which is text, too."""
SPREADS = (0.04, 0.08, 0.16, 0.32)
"""p at the paper's 512 units."""


@dataclass(frozen=True)
class Sweep:
    """Networks at one task, each for so many epochs; whole spectra after those in `whole`.

    `settle`, `align`: of every spectrum's probe. `lags`: of gradients seen from the readout; the longest is that of the
    measured ones, too.
    """

    name: str
    preset: Preset
    build: Callable[[], Task]
    recipes: tuple[Recipe, ...]
    epochs: int
    whole: tuple[int, ...]
    settle: int
    align: int
    lags: tuple[int, ...]

    @property
    def dtype(self) -> torch.dtype:
        """Of weights and training: float64 for `tiny`, whose numbers the tests compare on every processor."""
        return torch.float64 if self.preset == "tiny" else torch.float32

    @property
    def label(self) -> str:
        """Of its folder and files."""
        return f"{self.name}-{self.preset}"


def sweep(task: str, preset: Preset) -> Sweep:
    """One of SWEEPS, at one of its sizes."""
    return {"text": _text, "motion": _motion, "adding": _adding, "spread": _spread}[task](preset)


def _text(preset: Preset) -> Sweep:
    """One-layer LSTM without biases, as the paper's; p scaled so that p sqrt(N) is the paper's .08 sqrt(512).

    Learning rates scale with 1 / N: 0.001 to 0.1 at 128 units, so that the best one (about 0.03) lies inside. `tiny` ends
    in the same numbers on every processor: without dropout, whose masks PyTorch draws in another way on Intel's processors, and
    without learning rates at which rounding grows (0.3 and above, at 16 units).
    """
    hidden = {"tiny": 16, "small": 128, "paper": 512}[preset]
    limit = {"tiny": 20_000, "small": 465_000, "paper": None}[preset]
    batch, steps = {"tiny": (8, 20), "small": (32, 64), "paper": (100, 100)}[preset]
    probe = {"tiny": (5, 60), "small": (10, 200), "paper": (10, 200)}[preset]
    drawn: dict[str, Any] = {"learning_rate": (0.128 / hidden, 12.8 / hidden), "dropout": (0.01, 0.2)}
    if preset == "tiny":
        drawn = {"learning_rate": (0.128 / hidden, 0.64 / hidden)}
    base = Recipe("LSTM", hidden, bias=False, spread=0.08 * math.sqrt(512 / hidden), decay=0.95)
    count, again = {"tiny": (2, 0), "small": (36, 4), "paper": (60, 4)}[preset]
    epochs = {"tiny": 2, "small": 12, "paper": 40}[preset]
    return Sweep(
        "text",
        preset,
        lambda: NextCharacter(
            corpus("War and Peace", read_text(data_file(WAR_AND_PEACE)), limit=limit),
            batch=batch,
            steps=steps,
            probe=probe,
        ),
        _drawn(base, count, again, **drawn),
        epochs,
        (0, 1, 2, 4, 8, epochs),
        settle=20 if preset == "tiny" else 50,
        align=10 if preset == "tiny" else 50,
        lags=(5, 10) if preset == "tiny" else (10, 20, 40),
    )


def _spread(preset: Preset) -> Sweep:
    """The text's network started from several p, all else being equal; whole spectra after every epoch."""
    base = _text(preset)
    hidden = base.recipes[0].hidden
    recipe = replace(base.recipes[0], learning_rate=1.28 / hidden, dropout=0.0 if preset == "tiny" else 0.05, seed=0)
    recipes = tuple(replace(recipe, spread=p * math.sqrt(512 / hidden)) for p in SPREADS[: 2 if preset == "tiny" else None])
    return replace(base, name="spread", recipes=recipes, whole=tuple(range(base.epochs + 1)))


def _motion(preset: Preset) -> Sweep:
    """One-layer LSTM of the paper's 256 units (small: 128), dropout 0; p and the learning rate are drawn."""
    hidden = {"tiny": 12, "small": 128, "paper": 256}[preset]
    scale = math.sqrt(256 / hidden)
    base = Recipe("LSTM", hidden, learning_rate=1e-2, decay=0.95)
    count, again = {"tiny": (2, 0), "small": (36, 4), "paper": (60, 4)}[preset]
    epochs = {"tiny": 2, "small": 12, "paper": 40}[preset]
    batch, batches = {"tiny": (20, 3), "small": (250, 20), "paper": (250, 50)}[preset]
    return Sweep(
        "motion",
        preset,
        lambda: NextFrame(batch=batch, steps=25, batches=batches, probe=(4 if preset == "tiny" else 10, 150)),
        _drawn(base, count, again, learning_rate=(1e-3, 5e-2), spread=(0.05 * scale, 0.5 * scale)),
        epochs,
        (0, 1, 2, 4, 8, epochs),
        settle=25,
        align=25,
        lags=(5, 10) if preset == "tiny" else (5, 10, 20),
    )


def _adding(preset: Preset) -> Sweep:
    """One-layer LSTM; p and the learning rate are drawn. The plateau is at 1/6."""
    hidden = {"tiny": 8, "small": 64, "paper": 128}[preset]
    steps = {"tiny": 20, "small": 60, "paper": 200}[preset]
    base = Recipe("LSTM", hidden, clip=1.0)
    count, again = {"tiny": (2, 0), "small": (36, 4), "paper": (60, 4)}[preset]
    epochs = {"tiny": 2, "small": 24, "paper": 40}[preset]
    scale = 1 / math.sqrt(hidden)
    return Sweep(
        "adding",
        preset,
        lambda: Adding(steps=steps, batch=50, batches=5 if preset == "tiny" else 200, probe=10),
        _drawn(base, count, again, learning_rate=(1e-3, 2e-2), spread=(0.3 * scale, 3 * scale)),
        epochs,
        (0, 1, 2, 4, 8, 16, epochs),
        settle=0,
        align=steps // 4,
        lags=(5, 10) if preset == "tiny" else (10, 20, 40),
    )


def _drawn(base: Recipe, count: int, again: int, **ranges: tuple[float, float]) -> tuple[Recipe, ...]:
    """`count` recipes with values drawn log-uniformly from the ranges, and `again` of them with three more seeds each."""
    source = random.Random(0)
    found = []
    for seed in range(count):
        values = {name: math.exp(source.uniform(math.log(low), math.log(high))) for name, (low, high) in ranges.items()}
        found.append(replace(base, seed=seed, **values))
    chosen = [found[at * count // max(again, 1)] for at in range(again)]
    more = [replace(recipe, seed=1000 + 3 * at + extra) for at, recipe in enumerate(chosen) for extra in range(3)]
    return (*found, *more)
