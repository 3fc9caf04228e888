"""The two frozen regressors, cross-validation with isomorphic cells together, and the mean of their ranks.

Both predict the rank of the final loss (0 best, 1 worst) from standardised features: nearest neighbours (k = 10), and ridge
regression on features, squares and products, whose penalty an inner cross-validation chooses. The same ridge with predictions
kept within the ranks, and boosted trees, are descriptive.
"""

from collections.abc import Callable, Sequence

import numpy as np
from scipy.stats import rankdata
from sklearn.ensemble import GradientBoostingRegressor

from experiments.association import Numbers

NEIGHBOURS, FOLDS, INNER = 10, 10, 5
PENALTIES = tuple(10.0**power for power in range(-2, 5))
Regressor = Callable[[Numbers, Numbers, Numbers, Sequence[str]], Numbers]
"""(known features, known targets, asked features, structures of the known) -> predictions."""


def ranks(losses: Numbers) -> Numbers:
    """From 0 (least) to 1; what failed is infinite, and worst together."""
    return (rankdata(losses) - 1) / max(len(losses) - 1, 1)


def nearest(known: Numbers, targets: Numbers, asked: Numbers, structures: Sequence[str]) -> Numbers:  # noqa: ARG001
    """The mean over the k nearest."""
    known, asked = _standardised(known, asked)
    distances = np.square(asked[:, None] - known[None]).sum(-1)
    near = np.argsort(distances, axis=1, kind="stable")[:, :NEIGHBOURS]
    return targets[near].mean(axis=1)


def ridge(known: Numbers, targets: Numbers, asked: Numbers, structures: Sequence[str]) -> Numbers:
    """Quadratic; the penalty with the least squared error in an inner cross-validation."""
    return _ridge(known, targets, asked, structures, lambda found: found)


def bounded_ridge(known: Numbers, targets: Numbers, asked: Numbers, structures: Sequence[str]) -> Numbers:
    """The same, no prediction beyond the targets' range: one outlier, far extrapolated, no longer decides the penalty.

    It came after the freeze and is descriptive.
    """
    return _ridge(known, targets, asked, structures, lambda found: np.clip(found, 0.0, 1.0))


def _ridge(
    known: Numbers, targets: Numbers, asked: Numbers, structures: Sequence[str], taken: Callable[[Numbers], Numbers]
) -> Numbers:
    errors = np.zeros(len(PENALTIES))
    for held in folds(structures, INNER):
        for at, found in enumerate(_ridges(known[~held], targets[~held], known[held])):
            errors[at] += np.square(taken(found) - targets[held]).sum()
    return taken(_ridges(known, targets, asked)[int(errors.argmin())])


def boosted_trees(known: Numbers, targets: Numbers, asked: Numbers, structures: Sequence[str]) -> Numbers:  # noqa: ARG001
    """Scikit-learn's gradient-boosted trees, everything at its default. Descriptive."""
    return GradientBoostingRegressor(random_state=0).fit(known, targets).predict(asked)


REGRESSORS: dict[str, Regressor] = {"nearest neighbours": nearest, "quadratic ridge": ridge}
BOUNDED: dict[str, Regressor] = {"nearest neighbours": nearest, "bounded ridge": bounded_ridge}
"""Descriptive: see `bounded_ridge`."""
TREES: dict[str, Regressor] = {"boosted trees": boosted_trees}
"""Descriptive."""


def folds(structures: Sequence[str], count: int = FOLDS, seed: int = 0) -> list[np.ndarray]:
    """Masks of what is held out; isomorphic cells are held out together."""
    names, members = np.unique(np.asarray(structures), return_inverse=True)
    fold = np.random.default_rng(seed).permutation(np.arange(len(names)) % count)
    return [fold[members] == at for at in range(count)]


def fitted(
    known: Numbers, losses: Numbers, asked: Numbers, structures: Sequence[str], by: dict[str, Regressor] = REGRESSORS
) -> dict[str, Numbers]:
    """Predictions for other cells: of each regressor, and the mean of their ranks ("both")."""
    return with_both({name: fit(known, ranks(losses), asked, structures) for name, fit in by.items()})


def cross_validated(
    features: Numbers, losses: Numbers, structures: Sequence[str], by: dict[str, Regressor] = REGRESSORS
) -> dict[str, Numbers]:
    """Predictions for each cell by the others."""
    targets = ranks(losses)
    found = {name: np.empty(len(targets)) for name in by}
    for held in folds(structures):
        own = [one for one, out in zip(structures, held, strict=True) if not out]
        for name, fit in by.items():
            found[name][held] = fit(features[~held], targets[~held], features[held], own)
    return with_both(found)


def with_both(found: dict[str, Numbers]) -> dict[str, Numbers]:
    """And the mean of their ranks."""
    return {**found, "both": np.mean([rankdata(one) for one in found.values()], axis=0)}


def _ridges(known: Numbers, targets: Numbers, asked: Numbers) -> list[Numbers]:
    """Predictions with every penalty."""
    known, asked = _standardised(*(_quadratic(one) for one in _standardised(known, asked)))
    middle = targets.mean()
    left, sizes, right = np.linalg.svd(known, full_matrices=False)
    turned = left.T @ (targets - middle)
    return [middle + asked @ (right.T @ (sizes / (sizes**2 + penalty) * turned)) for penalty in PENALTIES]


def _quadratic(features: Numbers) -> Numbers:
    first, second = np.triu_indices(features.shape[1])
    return np.hstack([features, features[:, first] * features[:, second]])


def _standardised(known: Numbers, asked: Numbers) -> tuple[Numbers, Numbers]:
    middle, spread = known.mean(axis=0), known.std(axis=0)
    spread = np.where(spread > 1e-12, spread, 1.0)
    return (known - middle) / spread, (asked - middle) / spread
