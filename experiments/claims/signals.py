"""The claims, tested: what each readout says about how a network will end, beside what the early loss and the settings say.

For every task and epoch: rank correlation of each readout, of the early validation loss and of the hyperparameters with what
is predicted, with intervals (bootstrap over points of the sweep); partial ones given the learning rate and given the early
loss; what readouts add to the early loss in a cross-validated prediction; the chain from the exponent by the reach of gradients
to the loss; and what pruning by each signal would have lost at equal cost. `experiments.claims.findings` writes them down.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from experiments.association import Estimate, Numbers, correlation, gain, random_regret, regret
from experiments.sweeps.presets import TASKS, Preset, sweep
from experiments.sweeps.table import READOUTS, Table

EPOCHS = (0, 1, 2, 4, 8)
CHAIN_AT = 2
LEADING = ("full_max", "hidden_max", "seen_max")
"""What pruning may go by, beside the loss."""
KEPT = 0.25
"""Share of networks that pruning keeps."""
SOLVED = 1 / 12
"""Half of the adding problem's plateau."""


@dataclass(frozen=True)
class Line:
    """One signal at one epoch. Correlations are with what is predicted: negative, the larger the better it ends."""

    epoch: int
    signal: str
    alone: Estimate
    given_rate: Estimate | None
    given_loss: Estimate | None
    given_all: Estimate | None
    """Given the early loss and `table.settings`."""


class Addition(NamedTuple):
    """What all readouts together add to a cross-validated prediction: the rank correlation without them, and the gain."""

    epoch: int
    to_loss: tuple[float, Estimate]
    to_all: tuple[float, Estimate]


def tables(preset: Preset) -> Iterator[Table]:
    """Of the sweeps that have been run to the end; of the adding problem also when it is solved, beside how well."""
    for task in TASKS:
        table = Table.of(task, preset)
        if table is not None and len(table.final) == len(sweep(task, preset).recipes):
            yield table
            if task == "adding":
                yield table.until(SOLVED)


def looked_at(table: Table) -> tuple[int, ...]:
    """The early epochs there are."""
    return tuple(epoch for epoch in EPOCHS if epoch < table.epochs)


def lines(table: Table) -> Iterator[Line]:
    """Every signal at every epoch; those that some network does not have are left out."""
    for epoch in looked_at(table):
        loss, rate = table.at("held_out_loss", epoch), table.at("learning_rate", 0)
        for name in ("held_out_loss", *table.hyperparameters, *READOUTS):
            signal = table.at(name, epoch)
            if np.isfinite(signal).all():
                given_rate = None if name == "learning_rate" else _given(table, signal, rate)
                given_loss = None if name == "held_out_loss" else _given(table, signal, loss)
                given_all = _given(table, signal, loss, *table.settings) if name in READOUTS else None
                yield Line(epoch, name, _given(table, signal), given_rate, given_loss, given_all)


def additions(table: Table) -> Iterator[Addition]:
    """By epoch, over the early loss, and over early loss and hyperparameters."""
    for epoch in looked_at(table):
        loss = table.at("held_out_loss", epoch)
        more = [values for values in (table.at(name, epoch) for name in READOUTS) if np.isfinite(values).all()]
        yield Addition(epoch, *(gain(known, more, table.final, table.groups) for known in ([loss], [loss, *table.settings])))


def chain(table: Table, epoch: int) -> dict[str, Estimate]:
    """Largest exponent -> reach of gradients -> loss: each link, and the first with the last given the one between."""
    largest, reach = table.at("full_max", epoch), table.at("measured_slope", epoch)
    pairs = {
        "exponent and reach": (largest, reach),
        "reach and what is predicted": (reach, table.final),
        "exponent and what is predicted": (largest, table.final),
    }
    found = {name: correlation(one, other, table.groups) for name, (one, other) in pairs.items()}
    found["exponent and what is predicted, given reach"] = _given(table, largest, reach)
    return found


def pruning(table: Table) -> Iterator[tuple[int, str, float]]:
    """Regret of keeping a quarter by a signal; fewer are kept where looking costs more.

    A spectrum's sign is the better one by hindsight, which flatters it.
    """
    count = len(table.final)
    keep = max(1, round(KEPT * count))
    for epoch in looked_at(table)[1:]:
        yield epoch, "held_out_loss", regret(table.at("held_out_loss", epoch), table.final, keep)
        for name in LEADING:
            fewer = max(1, round(keep - count * _cost(table, name) / (table.epochs - epoch)))
            yield epoch, name, min(regret(sign * table.at(name, epoch), table.final, fewer) for sign in (-1, 1))
        yield epoch, "random", random_regret(table.final, keep)


def _cost(table: Table, name: str) -> float:
    """Of a look, in epochs of training: from epochs at which no whole spectrum of the full state was taken."""
    seconds = table.values[f"{name.split('_')[0]}_seconds"][np.isnan(table.values["full_variance"])]
    return float(np.nanmedian(seconds) / np.nanmedian(table.values["train_seconds"][:, 1:]))


def _given(table: Table, signal: Numbers, *controls: Numbers) -> Estimate:
    return correlation(signal, table.final, table.groups, controls)
