"""Rank correlations with intervals, partial ones, and what a signal adds to another: the statistics of the claims."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.stats import rankdata

Numbers = NDArray[np.float64]
REPLICATES, SEED, RIDGE, TINY = 1000, 0, 1.0, 1e-9


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


def correlation(signal: Numbers, target: Numbers, groups: Numbers, given: Sequence[Numbers] = ()) -> Estimate:
    """Spearman's rank correlation, and its interval from a bootstrap over groups: seeds of one point stay together.

    `given`: partial, of what is left of the ranks once those of the controls are taken out by least squares. NaN where a signal
    is constant, or the controls leave nothing of it.
    """
    return _estimate(_partial(_rank_correlations([signal, target, *given], _resamples(groups))))


def difference(one: Numbers, other: Numbers, target: Numbers, groups: Numbers) -> Estimate:
    """Spearman's correlation of one signal with the target less that of another, on the same resamples of groups."""
    found = _rank_correlations([one, other, target], _resamples(groups))
    return _estimate(found[:, 0, 2] - found[:, 1, 2])


def _resamples(groups: Numbers) -> Numbers:
    """(1 + REPLICATES, networks): how often each network is taken; once each in the first row."""
    source, members = np.random.default_rng(SEED), np.unique(groups, return_inverse=True)[1]
    count = members.max() + 1
    drawn = source.multinomial(count, np.full(count, 1 / count), size=REPLICATES)[:, members]
    return np.vstack([np.ones(len(groups)), drawn]).astype(np.float64)


def _rank_correlations(signals: Sequence[Numbers], taken: Numbers) -> Numbers:
    """(resamples, signals, signals). The rank of a number is how many are taken below it, and half of its equals."""
    below = [np.less.outer(signal, signal) + np.equal.outer(signal, signal) / 2 for signal in signals]
    ranks = np.stack([taken @ one for one in below], axis=-1)
    means = np.einsum("rn,rna->ra", taken, ranks) / taken.sum(axis=1, keepdims=True)
    left = ranks - means[:, None]
    products = np.einsum("rn,rna,rnb->rab", taken, left, left)
    lengths = np.sqrt(np.einsum("raa->ra", products))
    scale = lengths[:, :, None] * lengths[:, None, :]
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(scale > TINY, products / scale, np.nan)


def _partial(correlations: Numbers) -> Numbers:
    """(resamples,): of the first two signals, given the others."""
    pair, cross, known = correlations[:, :2, :2], correlations[:, :2, 2:], correlations[:, 2:, 2:]
    found = np.full(len(correlations), np.nan)
    sound = np.isfinite(correlations).all(axis=(1, 2))
    left = pair[sound] - cross[sound] @ np.linalg.pinv(known[sound], hermitian=True) @ cross[sound].mT
    own = left[:, 0, 0] * left[:, 1, 1]
    with np.errstate(invalid="ignore", divide="ignore"):
        found[sound] = np.where(own > TINY, left[:, 0, 1] / np.sqrt(own), np.nan)
    return found


def _estimate(values: Numbers) -> Estimate:
    """The first one; the interval from the others, where they are known: a resample may hold one point alone."""
    known = values[1:][np.isfinite(values[1:])]
    low, high = np.quantile(known, [0.025, 0.975]) if len(known) else (np.nan, np.nan)
    return Estimate(float(values[0]), float(low), float(high))


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


def gain(early: Sequence[Numbers], more: Sequence[Numbers], target: Numbers, groups: Numbers) -> tuple[float, Estimate]:
    """The rank correlation of a cross-validated prediction from what is known early, and by how much `more` raises it."""
    predictions = [predicted(features, target, groups) for features in (early, [*early, *more])]
    found = _rank_correlations([*predictions, target], _resamples(groups))
    return float(found[0, 0, 2]), _estimate(found[:, 1, 2] - found[:, 0, 2])


def regret(signal: Numbers, target: Numbers, keep: int) -> float:
    """How much worse the best network is among the `keep` with the least signal than among all."""
    kept = np.argsort(signal, kind="stable")[:keep]
    return float(target[kept].min() - target.min())


def random_regret(target: Numbers, keep: int) -> float:
    """The mean of `regret` over random choices."""
    source = np.random.default_rng(SEED)
    best = [target[source.choice(len(target), keep, replace=False)].min() for _ in range(REPLICATES)]
    return float(np.mean(best) - target.min())


def _standard(values: Numbers) -> Numbers:
    spread = values.std()
    return (values - values.mean()) / (spread if spread > 0 else 1.0)
