"""Ends predicted from the ends of others, against explicit leave-one-out fits and relations that are known."""

import numpy as np
import pytest

from lyapunov.tuning.forecast import RIDGE, forecast, held_out, ranks

SOURCE = np.random.default_rng(0)


def test_ranks_are_fractions_below() -> None:
    assert ranks(np.array([1.0, 5.0, 3.0, 9.0]), np.array([1.0, 3.0, 3.0, 5.0])) == pytest.approx([-0.375, 0.375, 0.0, 0.5])


def test_what_is_held_out_is_predicted_by_the_others() -> None:
    known, wanted = SOURCE.normal(size=(11, 3)), SOURCE.normal(size=11)
    expected = []
    for at in range(11):
        others = np.arange(11) != at
        gram = known[others].T @ known[others] + RIDGE * np.eye(3)
        expected.append(wanted[at] - known[at] @ np.linalg.solve(gram, known[others].T @ wanted[others]))
    assert held_out(known, wanted) == pytest.approx(np.array(expected))


def trials(count: int) -> tuple[np.ndarray, np.ndarray]:
    loss, spectrum = SOURCE.normal(size=count), SOURCE.normal(size=(count, 2))
    return loss, spectrum


def test_spectra_are_used_where_they_predict_what_losses_do_not() -> None:
    loss, spectrum = trials(30)
    finals = loss - 3 * spectrum[:, 0]
    good = forecast(loss, spectrum, finals, loss=0.0, spectrum=np.array([2.5, 0.0]))
    bad = forecast(loss, spectrum, finals, loss=0.0, spectrum=np.array([-2.5, 0.0]))
    assert good.with_spectra
    assert good.gained > 2 * good.error
    assert good.rank < -0.2
    assert bad.rank > 0.2


def test_spectra_that_say_nothing_are_seldom_used_and_losses_are() -> None:
    used = []
    for _ in range(50):
        loss, spectrum = trials(20)
        finals = loss + 0.3 * SOURCE.normal(size=20)
        found = forecast(loss, spectrum, finals, loss=3.0, spectrum=np.zeros(2))
        used.append(found.with_spectra)
        assert found.rank > 0.2
    assert sum(used) <= 10


def test_no_spectra_are_no_spectra() -> None:
    loss = np.arange(8.0)
    found = forecast(loss, np.empty((8, 0)), loss, loss=0.5, spectrum=np.empty(0))
    assert not found.with_spectra
    assert found.rank < 0
