"""Rank correlations with intervals, partial ones, and what a signal adds to another: the statistics of the claims."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.stats import rankdata

Numbers = NDArray[np.float64]
REPLICATES, SEED, RIDGE = 1000, 0, 1.0


@dataclass(frozen=True)
class Estimate:
    """A value and its 95 % interval."""

    value: float
    low: float
    high: float

    @property
    def is_clear(self) -> bool:
        """Whether the interval leaves zero out."""
        return self.low > 0 or self.high < 0

    def __str__(self) -> str:
        return f"{self.value:+.2f} [{self.low:+.2f}, {self.high:+.2f}]"


def spearman(signal: Numbers, target: Numbers) -> float:
    """Rank correlation; NaN where one of them is constant."""
    return _correlation(rankdata(signal), rankdata(target))


def partial(signal: Numbers, target: Numbers, controls: Sequence[Numbers]) -> float:
    """Rank correlation of what is left of the ranks once those of the controls are taken out by least squares."""
    known = np.column_stack([np.ones(len(signal)), *(rankdata(control) for control in controls)])
    left = [ranks - known @ np.linalg.lstsq(known, ranks, rcond=None)[0] for ranks in (rankdata(signal), rankdata(target))]
    return _correlation(left[0], left[1])


def bootstrapped(statistic: Callable[[NDArray[np.int64]], float], groups: Numbers) -> Estimate:
    """Of a statistic of which networks are taken: resampled by group, so that seeds of one point stay together."""
    source, members = np.random.default_rng(SEED), [np.flatnonzero(groups == group) for group in np.unique(groups)]
    values = []
    for _ in range(REPLICATES):
        chosen = source.integers(len(members), size=len(members))
        values.append(statistic(np.concatenate([members[at] for at in chosen])))
    known = np.array(values)[np.isfinite(values)]  # a resample may hold one point alone
    low, high = np.quantile(known, [0.025, 0.975]) if len(known) else (np.nan, np.nan)
    return Estimate(statistic(np.arange(len(groups))), float(low), float(high))


def predicted(features: Sequence[Numbers], target: Numbers, groups: Numbers) -> Numbers:
    """Ranks of the target predicted from ranks of the features by ridge regression, each group by the others."""
    ranks = np.column_stack([_standard(rankdata(feature)) for feature in features])
    wanted = _standard(rankdata(target))
    found = np.empty(len(target))
    for group in np.unique(groups):
        held = groups == group
        known, values = ranks[~held], wanted[~held]
        weights = np.linalg.solve(known.T @ known + RIDGE * np.eye(known.shape[1]), known.T @ values)
        found[held] = ranks[held] @ weights
    return found


def gain(early: Sequence[Numbers], more: Sequence[Numbers], target: Numbers, groups: Numbers) -> Estimate:
    """By how much the cross-validated prediction's rank correlation rises when `more` is added to what is known early."""
    without, beside = predicted(early, target, groups), predicted([*early, *more], target, groups)
    return bootstrapped(lambda at: spearman(beside[at], target[at]) - spearman(without[at], target[at]), groups)


def regret(signal: Numbers, target: Numbers, keep: int) -> float:
    """How much worse the best network is among the `keep` with the least signal than among all."""
    kept = np.argsort(signal, kind="stable")[:keep]
    return float(target[kept].min() - target.min())


def random_regret(target: Numbers, keep: int) -> float:
    """The mean of `regret` over random choices."""
    source = np.random.default_rng(SEED)
    best = [target[source.choice(len(target), keep, replace=False)].min() for _ in range(REPLICATES)]
    return float(np.mean(best) - target.min())


def _correlation(one: Numbers, other: Numbers) -> float:
    one, other = one - one.mean(), other - other.mean()
    scale = np.sqrt((one @ one) * (other @ other))
    return float(one @ other / scale) if scale > 1e-9 else float("nan")


def _standard(values: Numbers) -> Numbers:
    spread = values.std()
    return (values - values.mean()) / (spread if spread > 0 else 1.0)
