"""How a trial will end, predicted from its loss and its spectrum, each as a rank among those of completed trials."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Numbers = NDArray[np.float64]
RIDGE = 2.0 / 12
"""In units of the variance of ranks, 1/12: a signal alone counts for n / (n + 2) of what it says on n trials."""
SURE = 2.0
"""Standard errors by which spectra must lower the squared error on held-out trials before they are believed."""


@dataclass(frozen=True)
class Forecast:
    """`rank`: the fraction of finished trials that end better than this one will, less a half.

    `with_spectra`: whether they were used. `gained`: by how much they lower the mean squared error on held-out trials, and
    `error`, one standard error of that.
    """

    rank: float
    with_spectra: bool
    gained: float
    error: float


def forecast(losses: Numbers, spectra: Numbers, finals: Numbers, *, loss: float, spectrum: Numbers) -> Forecast:
    """From `losses` (n,) and `spectra` (n, p) of finished trials at a step, and their `finals` (n,), for one more trial.

    Ridge regression of ranks at the end on ranks at the step. Each finished trial is predicted by the others, with and
    without spectra; these are used where that was clearly better.
    """
    wanted, of_losses = ranks(finals, finals), ranks(losses, losses)[:, None]
    of_both = np.column_stack([of_losses, *(ranks(column, column) for column in spectra.T)])
    gains = held_out(of_losses, wanted) ** 2 - held_out(of_both, wanted) ** 2
    gained, error = float(gains.mean()), float(gains.std(ddof=1) / np.sqrt(len(gains)))
    use = spectra.shape[1] > 0 and gained > SURE * error
    columns = [losses, *(spectra.T if use else ())]
    here = [ranks(np.array([value]), column)[0] for value, column in zip((loss, *spectrum), columns, strict=False)]
    return Forecast(float(np.array(here) @ _weights(of_both if use else of_losses, wanted)), use, gained, error)


def ranks(values: Numbers, among: Numbers) -> Numbers:
    """The fraction of `among` below each value, equals counting half, less a half."""
    below = np.less.outer(among, values).sum(axis=0) + np.equal.outer(among, values).sum(axis=0) / 2
    return below / len(among) - 0.5


def held_out(known: Numbers, wanted: Numbers) -> Numbers:
    """What is left of each `wanted` (n,) when it is predicted by the others from `known` (n, p): r_i / (1 - H_ii)."""
    hat = known @ np.linalg.solve(_gram(known), known.T)
    return (wanted - hat @ wanted) / (1 - np.diag(hat))


def _weights(known: Numbers, wanted: Numbers) -> Numbers:
    return np.linalg.solve(_gram(known), known.T @ wanted).astype(np.float64)


def _gram(known: Numbers) -> Numbers:
    return known.T @ known + RIDGE * np.eye(known.shape[1])
