"""The remark, tested: what decides each sentence, fixed before the sweep was read.

The remark: Full-FORCE leaves the same largest, least and mean exponent and a much lower variance, presumably desirable.

- Networks of one seed and task start from the same random weights, so differences are paired over seeds: their mean, and its
  95 % interval by Student's t. All seeds count, also those that failed to learn.
- Largest, least, mean: "same" where the interval lies within `SAME` of zero on both sides; "different" where it does not and
  leaves zero out; else "open". `SAME` is a tenth of the rate at which a unit by itself forgets.
- Variance: of its logarithm. "much lower" where the ratio's interval lies below a half, "lower" where below one, "higher" where
  above one; else "open".
- Desirable: rank correlation of the variance with the error under noise, and with that of longer runs, within rules (the rule
  is controlled for), bootstrapped over seeds. Positive: lower variance goes with less error.
- A rule has learned a task where its median normalized error is below `LEARNED`.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from scipy.stats import t

from experiments.association import Estimate, Numbers, correlation
from experiments.figures.outputs import RESULTS
from experiments.force.network import LEAK
from experiments.force.presets import LONGER, RULES
from experiments.force.sweep import Rows, known
from experiments.sweeps.presets import Preset

SAME, LEARNED = 0.1, 0.01
PUBLISHED = 1.65511e-05
"""Normalized error that the Python demonstration of Full-FORCE's authors prints for its oscillation task, with 300 units."""
TRAINED = RULES[1:4]
QUANTITIES = ("largest", "least", "mean", "variance")
ERRORS = {"noise_error": "noise", "longer_error": "longer runs"}
TASKS = {"sines": "sum of sines", "delay": "delayed response"}


@dataclass(frozen=True)
class Table:
    """One task's rows, by rule and seed."""

    task: str
    rows: dict[tuple[str, int], dict[str, str]]

    @property
    def seeds(self) -> list[int]:
        """Those at which every rule of the remark has been run."""
        rules = RULES[:4]
        return sorted({seed for _, seed in self.rows if all((rule, seed) in self.rows for rule in rules)})

    @property
    def controlled(self) -> list[int]:
        """Those at which the control has been run, too, if they are several."""
        found = [seed for seed in self.seeds if (RULES[-1], seed) in self.rows]
        return found if len(found) > 1 else []

    def of(self, rule: str, name: str, seeds: Sequence[int] | None = None) -> Numbers:
        """A column of one rule, in the order of the seeds."""
        return np.array([float(self.rows[rule, seed][name]) for seed in (self.seeds if seeds is None else seeds)])


def tables(preset: Preset, results: Path = RESULTS) -> list[Table]:
    """Both tasks, as far as they have been run."""
    rows: Rows = known(preset, results)
    found = [
        Table(task, {(row["rule"], int(row["seed"])): row for row in rows if row["task"] == task}) for task in TASKS if rows
    ]
    return [table for table in found if len(table.seeds) > 1]


def minutes(rows: Rows) -> float:
    """Of one core, that all of these took."""
    return sum(float(row["seconds"]) for row in rows) / 60


def paired(differences: Numbers) -> Estimate:
    """Mean and 95 % interval by Student's t."""
    count = len(differences)
    reach = float(t.ppf(0.975, count - 1) * differences.std(ddof=1) / math.sqrt(count))
    mean = float(differences.mean())
    return Estimate(mean, mean - reach, mean + reach)


def difference(table: Table, other: str, name: str, rule: str = "full-force", seeds: Sequence[int] | None = None) -> Estimate:
    """Of one rule minus another; of a variance, the logarithm's."""
    first, second = table.of(rule, name, seeds), table.of(other, name, seeds)
    return paired(np.log(first / second) if name == "variance" else first - second)


def verdict(name: str, found: Estimate) -> str:
    """The word that the interval earns."""
    if name == "variance":
        if found.high < 0:
            return "much lower" if found.high < math.log(0.5) else "lower"
        return "higher" if found.low > 0 else "open"
    if max(-found.low, found.high) < SAME:
        return "same"
    return "different" if found.is_clear else "open"


def noise_ratio(table: Table, other: str) -> Estimate:
    """Logarithm of Full-FORCE's error under noise over that of another rule. This was asked after the rows had been read."""
    seeds = table.controlled if other == RULES[-1] else table.seeds
    return paired(np.log(table.of("full-force", "noise_error", seeds) / table.of(other, "noise_error", seeds)))


def generalization(table: Table, name: str) -> Estimate:
    """Rank correlation of the variance with an error over all trained networks of a task, within rules."""
    count = len(table.seeds)
    variance, missed = (np.concatenate([table.of(rule, column) for rule in TRAINED]) for column in ("variance", name))
    seeds = np.tile(np.array(table.seeds, dtype=np.float64), len(TRAINED))
    rules = [np.repeat([float(rule == one) for rule in TRAINED], count) for one in TRAINED[1:]]
    return correlation(variance, missed, seeds, rules)


def paragraphs(preset: Preset) -> Iterator[str]:
    """The chapter's tables, as markdown."""
    found, isolated = tables(preset), math.log(1 - LEAK) / LEAK
    for table in found:
        yield from _measured(table)
        yield from _compared(table)
        yield "\n| lower variance goes with less error under | rank correlation within rules |\n|---|---|"
        yield from (f"| {words} | {generalization(table, name)} |" for name, words in ERRORS.items())
        yield "\n| looked at afterwards | Full-FORCE's error under noise over that of the other |\n|---|---|"
        yield from (f"| {other} | {_bracket(noise_ratio(table, other))} |" for other in TRAINED[:0:-1])
        if table.controlled:
            yield f"| {RULES[-1]} | {_bracket(noise_ratio(table, RULES[-1]))} |"
        yield ""
        yield from _measured_longer(table)
    yield f"All exponents of a network without recurrent weights, at which Full-FORCE begins: {isolated:.4f}. The networks took"
    yield f"{minutes([row for table in found for row in table.rows.values()]):.0f} minutes of one core."


def _measured(table: Table) -> Iterator[str]:
    yield f"**{TASKS[table.task]}: {len(table.seeds)} seeds, exponents per time constant of a unit**\n"
    yield "| rule | error | under noise | longer runs | largest | least | mean | variance |"
    yield "|---" * 8 + "|"
    for rule in RULES:
        seeds = table.controlled if rule == RULES[-1] else table.seeds
        if not seeds:
            continue
        errors = " | ".join(_spread(table.of(rule, name, seeds)) for name in ("error", *ERRORS))
        cells = []
        for name in QUANTITIES:
            values, own = table.of(rule, name, seeds), table.of(rule, f"{name}_error", seeds)
            cells.append(f"{values.mean():+.3f} ± {values.std(ddof=1):.3f} ({np.median(own):.3f})")
        named = f"{rule} ({len(seeds)} seeds)" if rule == RULES[-1] else rule
        yield f"| {named} | {errors} | {' | '.join(cells)} |"
    if table.task == "sines":
        yield f"\nFull-FORCE's authors print an error of {PUBLISHED:.1e} for their oscillation task with 300 units."
    yield "\nErrors: median (range). Exponents: mean ± standard deviation over seeds (median error of one spectrum).\n"


def _compared(table: Table) -> Iterator[str]:
    yield f"| Full-FORCE against | {' | '.join(QUANTITIES[:3])} | variance, ratio |\n" + "|---" * 5 + "|"
    for other in ("back-propagation", "force", "untrained"):
        yield f"| {other} | {' | '.join(_cell(name, difference(table, other, name)) for name in QUANTITIES)} |"
    if table.controlled:
        control = RULES[-1]
        for other in ("back-propagation", "full-force"):
            cells = [_cell(name, difference(table, other, name, control, table.controlled)) for name in QUANTITIES]
            yield f"| *{control}* against {other} | {' | '.join(cells)} |"


def _measured_longer(table: Table) -> Iterator[str]:
    """Spectra of one seed taken again over more steps, and by how many standard errors they differ."""
    rules = [rule for rule in TRAINED if (rule + LONGER, 0) in table.rows]
    if rules:
        yield f"| seed 0 over more steps | {' | '.join(QUANTITIES)} |\n" + "|---" * 5 + "|"
    for rule in rules:
        short, long = table.rows[rule, 0], table.rows[rule + LONGER, 0]
        cells = [
            f"{float(long[name]):+.3f} ± {float(long[f'{name}_error']):.3f} ({apart(short, long, name):+.1f})"
            for name in QUANTITIES
        ]
        yield f"| {rule} | {' | '.join(cells)} |"
    if rules:
        yield "\nIn parentheses: by how many standard errors of the difference it lies above the spectrum of the table.\n"


def apart(short: dict[str, str], long: dict[str, str], name: str) -> float:
    """By how many standard errors of their difference two measurements differ."""
    errors = [float(one[f"{name}_error"]) for one in (short, long)]
    return (float(long[name]) - float(short[name])) / math.hypot(*errors)


def _cell(name: str, found: Estimate) -> str:
    if name != "variance":
        return f"{found}: {verdict(name, found)}"
    return f"{_bracket(found)}: {verdict(name, found)}"


def _bracket(found: Estimate) -> str:
    """A ratio, from its logarithm."""
    value, low, high = (math.exp(one) for one in (found.value, found.low, found.high))
    return f"{value:.2f} [{low:.2f}, {high:.2f}]"


def _spread(values: Numbers) -> str:
    return f"{np.median(values):.1e} ({values.min():.1e} to {values.max():.1e})"
