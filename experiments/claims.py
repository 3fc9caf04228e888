"""The claims, tested: `python -m experiments.claims` writes the tables of findings.md.

For every task and epoch: rank correlation of each readout, of the early validation loss and of the hyperparameters with the
least validation loss that the network reaches, with intervals (bootstrap over points of the sweep); partial ones given the
learning rate and given the early loss; what readouts add to the early loss in a cross-validated prediction; the chain from the
exponent by the reach of gradients to the loss; and what pruning by each signal would have lost at equal cost. From
results/*-small.csv.
"""

import csv
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from experiments.association import Estimate, Numbers, bootstrapped, gain, partial, random_regret, regret, spearman
from experiments.presets import TASKS, sweep

HERE = Path(__file__).parent
RESULTS, PAGE = HERE / "results", HERE / "findings.md"
EPOCHS = (0, 1, 2, 4, 8)
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
KEPT = 0.25
"""Share of networks that pruning keeps."""


@dataclass(frozen=True)
class Table:
    """A sweep's numbers: `values[name]` is (networks, epochs); `final` the least validation loss after the first epoch on."""

    task: str
    values: dict[str, Numbers]
    final: Numbers
    groups: Numbers

    @classmethod
    def read(cls, file: Path, task: str) -> "Table":
        """From the CSV that a sweep leaves."""
        with file.open(newline="") as lines:
            rows = list(csv.DictReader(lines))
        numbers = sorted({int(row["network"]) for row in rows})
        epochs = 1 + max(int(row["epoch"]) for row in rows)
        names = [name for name in rows[0] if name not in ("kind", "bias")]
        values = {name: np.full((len(numbers), epochs), np.nan) for name in names}
        for row in rows:
            at = numbers.index(int(row["network"])), int(row["epoch"])
            for name in names:
                values[name][at] = float(row[name]) if row[name] else np.nan
        points = list(zip(*(values[name][:, 0].tolist() for name in ("learning_rate", "spread", "dropout")), strict=True))
        groups = np.array([points.index(point) for point in points], dtype=np.float64)
        return cls(task, values, np.nanmin(values["held_out_loss"][:, 1:], axis=1), groups)

    def at(self, name: str, epoch: int) -> Numbers:
        """(networks,); infinities as the largest numbers there are, so that they keep their rank."""
        return np.nan_to_num(self.values[name][:, epoch], nan=np.nan, posinf=1e300, neginf=-1e300)

    @property
    def hyperparameters(self) -> list[str]:
        """Those that were drawn."""
        return [name for name in ("learning_rate", "spread", "dropout") if np.unique(self.values[name]).size > 1]


@dataclass(frozen=True)
class Line:
    """One signal at one epoch. Correlations are with the final loss: negative, the larger the better it ends."""

    task: str
    epoch: int
    signal: str
    alone: Estimate
    given_rate: Estimate | None
    given_loss: Estimate | None


def lines(table: Table) -> Iterator[Line]:
    """Every signal at every epoch."""
    for epoch in (epoch for epoch in EPOCHS if epoch < table.values["epoch"].shape[1]):
        loss, rate = table.at("held_out_loss", epoch), table.at("learning_rate", 0)
        for name in (*READOUTS, "held_out_loss", *table.hyperparameters):
            signal = table.at(name, epoch)
            if not np.isfinite(signal).all():
                continue
            controls = {"rate": None if name == "learning_rate" else rate, "loss": None if name == "held_out_loss" else loss}
            yield Line(
                table.task,
                epoch,
                name,
                bootstrapped(lambda at, s=signal: spearman(s[at], table.final[at]), table.groups),
                *(_given(table, signal, control) for control in controls.values()),
            )


def _given(table: Table, signal: Numbers, control: Numbers | None) -> Estimate | None:
    if control is None:
        return None
    return bootstrapped(lambda at: partial(signal[at], table.final[at], [control[at]]), table.groups)


def additions(table: Table) -> Iterator[tuple[int, Estimate]]:
    """What all readouts together add to early loss and hyperparameters, by epoch."""
    for epoch in (epoch for epoch in EPOCHS if epoch < table.values["epoch"].shape[1]):
        known = [table.at(name, epoch) for name in ("held_out_loss", *table.hyperparameters)]
        more = [values for values in (table.at(name, epoch) for name in READOUTS) if np.isfinite(values).all()]
        yield epoch, gain(known, more, table.final, table.groups)


def chain(table: Table, epoch: int) -> dict[str, Estimate]:
    """Largest exponent -> reach of gradients -> loss: each link, and the first with the second given the one between."""
    largest, reach = table.at("full_max", epoch), table.at("measured_slope", epoch)
    pairs = {
        "exponent and reach": (largest, reach),
        "reach and loss": (reach, table.final),
        "exponent and loss": (largest, table.final),
    }
    found = {
        name: bootstrapped(lambda at, a=one, b=other: spearman(a[at], b[at]), table.groups)
        for name, (one, other) in pairs.items()
    }
    found["exponent and loss, given reach"] = bootstrapped(
        lambda at: partial(largest[at], table.final[at], [reach[at]]), table.groups
    )
    return found


def pruning(table: Table) -> Iterator[tuple[int, str, float]]:
    """Regret (in units of the loss) of keeping a quarter by a signal; fewer are kept where looking costs more."""
    count = len(table.final)
    for epoch in (epoch for epoch in EPOCHS[1:] if epoch < table.values["epoch"].shape[1]):
        total = table.values["epoch"].shape[1] - 1
        keep = max(1, round(KEPT * count))
        yield epoch, "held_out_loss", regret(table.at("held_out_loss", epoch), table.final, keep)
        for name in ("full_max", "hidden_max", "seen_max"):
            seconds = table.values[f"{name.split('_')[0]}_seconds"][:, epoch].mean()
            share = seconds / table.values["train_seconds"][:, 1:].mean()  # of an epoch
            fewer = max(1, round(keep - count * share / (total - epoch)))
            yield epoch, name, min(regret(sign * table.at(name, epoch), table.final, fewer) for sign in (-1, 1))
        yield epoch, "random", random_regret(table.final, keep)


def tables() -> Iterator[Table]:
    """Of the sweeps that have been run to the end."""
    for task in TASKS:
        chosen = sweep(task, "small")
        file = RESULTS / f"{chosen.name}.csv"
        table = Table.read(file, task) if file.exists() else None
        if table is not None and len(table.final) == len(chosen.recipes):
            yield table


def in_words(table: Table) -> Iterator[str]:
    """The tables of one task, as markdown."""
    yield f"### {table.task}: {len(table.final)} networks, {len(np.unique(table.groups))} points\n"
    yield "| epoch | signal | with the final loss | given the learning rate | given the early loss |"
    yield "|---" * 5 + "|"
    for line in lines(table):
        shown = (str(one) if one else "-" for one in (line.given_rate, line.given_loss))
        name = READOUTS.get(line.signal, "validation loss" if line.signal == "held_out_loss" else line.signal.replace("_", " "))
        yield f"| {line.epoch} | {name} | {line.alone} | {' | '.join(shown)} |"
    yield "\n| epoch | what all readouts add to early loss and hyperparameters (rank correlation, cross-validated) |\n|---|---|"
    yield from (f"| {epoch} | {added} |" for epoch, added in additions(table))
    yield "\n| link, at epoch 2 | rank correlation |\n|---|---|"
    yield from (f"| {name} | {found} |" for name, found in chain(table, 2).items())
    yield "\n| epoch | a quarter kept by | regret in the loss |\n|---|---|---|"
    for epoch, signal, lost in pruning(table):
        name = READOUTS.get(signal, "validation loss" if signal == "held_out_loss" else signal)
        hindsight = ", the better sign by hindsight" if signal in READOUTS else ""
        yield f"| {epoch} | {name}{hindsight} | {lost:.4f} |"


def write(page: Path, found: list[Table]) -> None:
    """The tables, between the page's markers."""
    before, _, rest = page.read_text().partition("<!-- tables -->\n")
    after = rest.partition("<!-- /tables -->")[2]
    text = "\n".join(line for table in found for line in (*in_words(table), ""))
    page.write_text(f"{before}<!-- tables -->\n{text}<!-- /tables -->{after}")


if __name__ == "__main__":
    known = list(tables())
    if not known:
        sys.exit("Expected a small sweep that is finished, got none. Run python -m experiments.sweep text first.")
    write(PAGE, known)
    print(PAGE.read_text())
