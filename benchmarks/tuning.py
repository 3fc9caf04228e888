"""Do spectra pay in a search? Searches replayed from the experiments' committed curves and readouts, with and without.

    python benchmarks/tuning.py             # 1000 replays of each task and pruner; some minutes on two cores
    python benchmarks/tuning.py --table     # only the table and the figure, from what is there

A replay goes through the 48 networks of a sweep in an order of its own, one trial after the other, with Optuna's own pruners
and this library's pruner around them. Every trial reports the held-out loss after each epoch and, where spectra are asked, its
leading exponents after epochs 1, 2, 4 and 8, which cost what they took beside an epoch in the sweep. A pruned trial is over.
The target is a network among the best tenth; the budget a quarter of what all networks would cost. Trials at the adding problem
end after 8 epochs, as in lyapunov.tasks.objectives.

"share": a tenth of the trials runs on whatever losses say, as it does where spectra are asked, without asking them; what
spectra add is the difference to that. After 1000 replays of other orders, in which spectra seemed to save a third on motion
capture and this control was missing, it was added, and spectra are believed at two standard errors instead of one; all else was
fixed before, after 100 to 300 replays with a copy of the rule.

Real searches, one each, of 24 trials with two workers (benchmarks/searches, a row per trial):

    lyapunov tune lyapunov.tasks.objectives:motion --trials 24 --workers 2 --seed 0 --unpruned-fraction 0   # alone
    ... --unpruned-fraction 0.1                                                                        # share
    ... --unpruned-fraction 0.1 --spectra                                                              # spectra

Intervals are over replays, so they speak of the order in which trials come, not of other networks. "Networks that end better":
the fraction of them, than the best found for a quarter of what all cost.
Results: benchmarks/tuning.json; table in docs/tuning.md, between its markers; figure docs/figures/tuning.png.
"""

import argparse
import json
import sys
import warnings
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import optuna
from matplotlib.figure import Figure

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT))

from experiments.association import Numbers  # noqa: E402
from experiments.pages import replaced  # noqa: E402
from experiments.rows import read  # noqa: E402
from experiments.sweeps.table import Table  # noqa: E402

from lyapunov.integrations import optuna_report, spectrum_pruner  # noqa: E402
from lyapunov.training import Reading  # noqa: E402
from lyapunov.tuning import SpectrumRule  # noqa: E402

RESULTS, PAGE = Path(__file__).with_suffix(".json"), ROOT / "docs" / "tuning.md"
SEARCHES, FIGURE = Path(__file__).parent / "searches", ROOT / "docs" / "figures" / "tuning.png"
REPLAYS, FIRST, LOOKS, BEST, BUDGET = 1000, 10_000, (1, 2, 4, 8), 0.1, 0.25
EPOCHS = {"text": 12, "motion": 12, "adding": 8}
LAGS = {"adding": 60.0}
LEADING = tuple(f"full_{at:02d}" for at in range(1, 9))
PLAIN = 3
"""An epoch at which no whole spectrum was taken: what its reading cost is what a reading costs."""
PRUNERS = ("none", "median", "median, share", "median, spectra", "halving", "halving, share", "halving, spectra")


class Pool:
    """The networks of a sweep: curves, readings, and what a reading costs in epochs."""

    def __init__(self, task: str) -> None:
        table = Table.of(task, "small")
        assert table is not None, f"the sweep of {task} has not been run"
        self.task, self.epochs = task, EPOCHS[task]
        self.losses = table.values["held_out_loss"][:, : self.epochs + 1]
        self.final = self.losses[:, 1:].min(axis=1)
        self.look = float(np.nanmedian(table.values["full_seconds"][:, PLAIN] / table.values["train_seconds"][:, PLAIN]))
        self._leading = np.stack([table.values[name] for name in LEADING], axis=-1)
        self._error, self._mean = table.values["full_max_error"], table.values["full_mean"]

    def reading(self, network: int, epoch: int) -> Reading:
        """As a Monitor would have it."""
        exponents = tuple(self._leading[network, epoch].tolist())
        errors = (float(self._error[network, epoch]), *(float("nan") for _ in exponents[1:]))
        return Reading(epoch, epoch, {}, exponents, errors, mean=float(self._mean[network, epoch]))

    @property
    def whole(self) -> float:
        """What all networks cost, in epochs."""
        return float(self.losses.shape[0] * self.epochs)


def pruner(name: str, lag: float | None, seed: int) -> optuna.pruners.BasePruner:
    """One of PRUNERS."""
    kind, _, asked = name.partition(", ")
    plain = {
        "none": optuna.pruners.NopPruner,
        "median": optuna.pruners.MedianPruner,
        "halving": optuna.pruners.SuccessiveHalvingPruner,
    }[kind]()
    return spectrum_pruner(plain, SpectrumRule(lag=lag, seed=FIRST + seed, spectra=asked == "spectra")) if asked else plain


def replay(pool: Pool, name: str, seed: int) -> Iterator[tuple[float, float]]:
    """Cost so far, in epochs, and the least loss so far, after every epoch of every trial."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        study = optuna.create_study(pruner=pruner(name, LAGS.get(pool.task), seed))
    cost, best = 0.0, np.inf
    for network in np.random.default_rng(FIRST + seed).permutation(len(pool.final)):
        trial = study.ask()
        for epoch in range(1, pool.epochs + 1):
            asked = "spectra" in name and epoch in LOOKS
            cost += 1.0 + pool.look * asked
            best = min(best, pool.losses[network, epoch])
            yield cost, best
            optuna_report(trial, epoch, pool.losses[network, epoch], pool.reading(network, epoch) if asked else None)
            if epoch < pool.epochs and trial.should_prune():
                study.tell(trial, state=optuna.trial.TrialState.PRUNED)
                break
        else:
            study.tell(trial, pool.final[network])


def outcome(task: str, name: str, seed: int) -> tuple[float, float]:
    """Cost to target as a fraction of what all networks cost (1: not reached), and the fraction of networks that end better."""
    pool = Pool(task)
    curve = np.array(list(replay(pool, name, seed)))
    target = np.sort(pool.final)[max(1, round(BEST * len(pool.final))) - 1]
    reached = np.flatnonzero(curve[:, 1] <= target * (1 + 1e-9))
    there = curve[curve[:, 0] <= BUDGET * pool.whole][-1, 1]
    return (float(curve[reached[0], 0] / pool.whole) if len(reached) else 1.0), float((pool.final < there).mean())


def measured(task: str, name: str) -> dict[str, Any]:
    """All replays of one row."""
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    found = np.array([outcome(task, name, seed) for seed in range(REPLAYS)])
    return {"task": task, "pruner": name, "look": Pool(task).look, "cost": found[:, 0].tolist(), "regret": found[:, 1].tolist()}


def interval(values: Numbers) -> str:
    """Mean and 95 % over replays."""
    half = 1.96 * values.std(ddof=1) / np.sqrt(len(values))
    return f"{values.mean():.3f} ± {half:.3f}"


def table(rows: list[dict[str, Any]]) -> str:
    """As markdown, with the paired difference to the pruner without spectra."""
    lines = [
        "| task | pruner | cost to target | less than the pruner alone | less than with the share | networks that end better |"
    ]
    lines.append("|---" * 6 + "|")
    by_name = {(row["task"], row["pruner"]): row for row in rows}
    for row in rows:
        cost, regret = np.array(row["cost"]), np.array(row["regret"])
        kind, saved = row["pruner"].partition(", ")[0], []
        for other in (kind, f"{kind}, share"):
            there = other != row["pruner"] and (", spectra" in row["pruner"] or other == kind)
            plain = by_name.get((row["task"], other)) if there else None
            saved.append("" if plain is None else interval(np.array(plain["cost"]) - cost))
        lines.append(f"| {row['task']} | {row['pruner']} | {interval(cost)} | {' | '.join(saved)} | {interval(regret)} |")
    looks = ", ".join(f"{row['task']} {row['look']:.3f}" for row in rows if row["pruner"] == "none")
    return "\n".join(lines) + f"\n\nA reading costs, in epochs: {looks}. {REPLAYS} replays of each row.\n"


def searches() -> str:
    """A row per search, from what its trials left."""
    lines = ["| search | completed | pruned | epochs | seconds of both workers | best loss |", "|---" * 6 + "|"]
    for arm in ("alone", "share", "spectra"):
        rows = read(SEARCHES / f"motion-{arm}.csv")
        states = [row["state"] for row in rows]
        best = min(float(row["value"]) for row in rows if row["state"] == "complete")
        epochs, seconds = (sum(float(row[name]) for row in rows) for name in ("steps", "seconds"))
        lines.append(
            f"| motion, median, {arm} | {states.count('complete')} | {states.count('pruned')} | {epochs:.0f} | {seconds:.0f} | "
            f"{best:.4f} |"
        )
    return "\n".join(lines) + "\n"


def draw(rows: list[dict[str, Any]]) -> None:
    """The fraction of replays that have reached the target, by cost."""
    figure = Figure(figsize=(12, 3.6), layout="constrained")
    tasks = list(dict.fromkeys(row["task"] for row in rows))
    for ax, task in zip(figure.subplots(1, len(tasks)), tasks, strict=True):
        for row in (row for row in rows if row["task"] == task):
            cost = np.sort(row["cost"])
            style = "-" if "spectra" in row["pruner"] else ":" if row["pruner"] == "none" else "--"
            ax.step(cost, np.arange(1, len(cost) + 1) / len(cost), style, where="post", label=row["pruner"])
        ax.set_title(task)
        ax.set_xlim(0, 0.6)
        ax.set_xlabel("cost, as a fraction of training all networks")
        ax.set_ylabel("replays with a network of the best tenth")
    figure.axes[0].legend(frameon=False, fontsize="small")
    figure.savefig(FIGURE, dpi=120)


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--table", action="store_true", help="only the table and the figure")
    if not parser.parse_args().table:
        pairs = [(task, name) for task in EPOCHS for name in PRUNERS]
        with ProcessPoolExecutor() as pool:
            rows = []
            for row in pool.map(measured, *zip(*pairs, strict=True)):
                rows.append(row)
                print(row["task"], row["pruner"], interval(np.array(row["cost"])), flush=True)
        RESULTS.write_text(json.dumps([{**row, "cost": _short(row["cost"]), "regret": _short(row["regret"])} for row in rows]))
    rows = json.loads(RESULTS.read_text())
    PAGE.write_text(replaced(replaced(PAGE.read_text(), "replays", table(rows)), "searches", searches()))
    draw(rows)
    print(table(rows))


def _short(values: list[float]) -> list[float]:
    return [round(value, 5) for value in values]


if __name__ == "__main__":
    main()
