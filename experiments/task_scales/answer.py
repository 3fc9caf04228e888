"""Whether the task's time scale says which initial exponent is good: the statistic, its mark, and a table in findings.md."""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from scipy import stats

from experiments.association import Estimate, Numbers
from experiments.commands import RECORDED
from experiments.records import Rows, known
from experiments.task_scales.measure import NAME

CAP = 10.0
"""Memory times are taken to be at most so many time scales."""


@dataclass(frozen=True)
class OfTask:
    """One task. `distance`: Spearman's correlation with the final loss of how far the memory time is from the time scale;
    `exponent`: of the exponent itself."""

    name: str
    time_scale: float
    networks: int
    distance: float
    exponent: float


def distances(exponents: Numbers, time_scale: float) -> Numbers:
    """|ln of the memory time less ln of the task's time scale|; exponents are at most -1 / (CAP time_scale)."""
    capped = np.minimum(exponents, -1 / (CAP * time_scale))
    return np.abs(np.log(-1 / capped) - math.log(time_scale))


def by_task(rows: Rows) -> list[OfTask]:
    """In the order in which they come. A loss that is infinite is worst."""
    found = []
    for name in dict.fromkeys(row["task"] for row in rows):
        own = [row for row in rows if row["task"] == name]
        exponents, losses = (np.array([float(row[column]) for row in own]) for column in ("exponent", "loss"))
        scale = float(own[0]["time_scale"])
        order = stats.rankdata(losses)
        of_distance, of_exponent = (
            float(stats.spearmanr(signal, order).statistic) for signal in (distances(exponents, scale), exponents)
        )
        found.append(OfTask(name, scale, len(own), of_distance, of_exponent))
    return found


def statistic(found: list[OfTask]) -> Estimate:
    """The mean over tasks of the correlation of distance and loss, with Student's interval."""
    values = np.array([one.distance for one in found])
    mean, half = float(values.mean()), float(stats.t.ppf(0.975, len(values) - 1) * stats.sem(values))
    return Estimate(mean, mean - half, mean + half)


def sign_against_scale(found: list[OfTask]) -> float:
    """Spearman's correlation over tasks: of the exponent's own correlation with the loss, and the time scale."""
    return float(stats.spearmanr([one.exponent for one in found], [one.time_scale for one in found]).statistic)


def paragraphs(results: Path = RECORDED) -> Iterator[str]:
    """The mark, then the tasks."""
    rows = known(results / NAME)
    if not rows:
        return
    found = by_task(rows)
    mean = statistic(found)
    verdict = "reached" if mean.low > 0 else "**not reached**"
    yield "| mark | asked | found | |\n|---|---|---|---|"
    yield f"| Time scale | mean over {len(found)} tasks beyond 0 | {mean} | {verdict} |"
    yield "\n| task | time scale (steps) | networks | distance and loss | exponent and loss |\n|---|---|---|---|---|"
    for one in found:
        yield f"| {one.name} | {one.time_scale:.3g} | {one.networks} | {one.distance:+.2f} | {one.exponent:+.2f} |"
    sign = sign_against_scale(found)
    yield f"\nThe exponent's own correlation with the loss against the time scale, over tasks: {sign:+.2f}."
