"""The numbers of a sweep as tables, (networks, epochs), from the CSV that it leaves."""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file
from scipy.stats import rankdata

from experiments.association import Numbers
from experiments.commands import RECORDED, results_in
from experiments.rows import read
from experiments.sweeps.presets import Preset, sweep
from lyapunov import InvalidInput

RESULTS = RECORDED
READOUTS = {
    "full_max": "largest, full state",
    "full_mean": "mean, full state",
    "full_variance": "variance, full state",
    "hidden_max": "largest, hidden state",
    "hidden_mean": "mean, hidden state",
    "hidden_variance": "variance, hidden state",
    "seen_max": "seen from the readout",
    "measured_slope": "measured gradients",
}
DRAWN = ("learning_rate", "spread", "dropout")
WORDS = ("kind", "bias", "failure")
"""Columns that hold no number."""


@dataclass(frozen=True)
class Table:
    """A sweep's numbers: `values[name]` is (networks, epochs), NaN where a broken network has none.

    `final` (networks,): what is to be predicted, lower being better; at first the least held-out loss after training began,
    infinite for a network that never had one. `groups`: seeds of one point share a number. `target`: `final` in words.
    """

    name: str
    values: dict[str, Numbers]
    final: Numbers
    groups: Numbers
    target: str = "the least validation loss"

    @classmethod
    def read(cls, file: Path, name: str) -> "Table":
        """From the CSV that a sweep leaves."""
        rows = read(file)
        numbers = sorted({int(row["network"]) for row in rows})
        epochs = 1 + max(int(row["epoch"]) for row in rows)
        names = [column for column in rows[0] if column not in WORDS]
        values = {column: np.full((len(numbers), epochs), np.nan) for column in names}
        for row in rows:
            at = numbers.index(int(row["network"])), int(row["epoch"])
            for column in names:
                values[column][at] = float(row[column]) if row[column] else np.nan
        points = list(zip(*(values[column][:, 0].tolist() for column in DRAWN), strict=True))
        groups = np.array([points.index(point) for point in points], dtype=np.float64)
        return cls(name, values, _trained(values).min(axis=1), groups)

    @classmethod
    def of(cls, name: str, preset: Preset) -> "Table | None":
        """The committed results of a sweep, as many networks as there are; None where there are none."""
        file = results_of(name, preset)
        return cls.read(file, name) if file.exists() else None

    @property
    def epochs(self) -> int:
        """Epochs of training."""
        return self.values["epoch"].shape[1] - 1

    @property
    def best(self) -> Numbers:
        """(networks,): the epoch of the least held-out loss, training having begun."""
        return _trained(self.values).argmin(axis=1) + 1

    @property
    def hyperparameters(self) -> list[str]:
        """Those that were drawn."""
        return [name for name in DRAWN if np.unique(self.values[name]).size > 1]

    @property
    def settings(self) -> list[Numbers]:
        """What was drawn, (networks,) each, and how far each is from its middle rank: the best one often lies inside."""
        drawn = [self.at(name, 0) for name in self.hyperparameters]
        return [*drawn, *(np.abs(rankdata(one) - (len(one) + 1) / 2) for one in drawn)]

    def at(self, name: str, epoch: int) -> Numbers:
        """(networks,); infinities as the largest numbers there are, so that they keep their rank."""
        return np.nan_to_num(self.values[name][:, epoch], nan=np.nan, posinf=1e300, neginf=-1e300)

    def at_best(self, name: str) -> Numbers:
        """(networks,): at the epoch of the least held-out loss."""
        return self.values[name][np.arange(len(self.best)), self.best]

    def until(self, level: float) -> "Table":
        """The same, predicting when the held-out loss falls below `level`, in epochs, on straight lines between them.

        One more than there are: never.
        """
        losses = self.values["held_out_loss"]
        below = losses[:, 1:] < level
        after, everyone = below.argmax(axis=1) + 1, np.arange(len(losses))
        before, reached = losses[everyone, after - 1], losses[everyone, after]
        with np.errstate(invalid="ignore", divide="ignore"):
            crossing = after - 1 + (before - level) / (before - reached)
        first = np.where(below.any(axis=1), crossing, self.epochs + 1.0)
        return replace(self, final=first, target=f"the epoch at which the validation loss falls below {level:.3f}")


def _trained(values: dict[str, Numbers]) -> Numbers:
    """(networks, epochs - 1): held-out losses since training began, infinite where there is none."""
    losses = values["held_out_loss"][:, 1:]
    return np.where(np.isfinite(losses), losses, np.inf)


def known_tables(tasks: Iterable[str], preset: Preset) -> dict[str, Table]:
    """Of those sweeps that have left results; raises InvalidInput where none has."""
    found = {task: table for task in tasks if (table := Table.of(task, preset)) is not None}
    if not found:
        raise InvalidInput("Expected results of a sweep, got none. Run python -m experiments.sweeps text first.")
    return found


def results_of(name: str, preset: Preset) -> Path:
    """The CSV of a sweep."""
    return results_in(f"{sweep(name, preset).label}.csv", RESULTS)


def spectra_of(name: str, preset: Preset) -> dict[str, torch.Tensor]:
    """Whole spectra of a sweep, by network/epoch/linearization ("003/04/full")."""
    return load_file(results_of(name, preset).with_suffix(".safetensors"))
