"""Series hold the numbers of the runs, and associations are what SciPy and a closed form say."""

import math

import pytest

import lyapunov
from lyapunov.report import series
from lyapunov.training import History, Reading, Run
from runs import made


@pytest.fixture(scope="module")
def run(tmp_path_factory) -> Run:
    return made(tmp_path_factory.mktemp("series") / "run")


def test_bands_are_the_readings(run) -> None:
    band = series.largest(run)
    assert band.steps == (0, 10, 20, 30, 40, 50)
    assert band.values == tuple(reading.max for reading in run.readings)
    assert band.low == tuple(reading.max_interval[0] for reading in run.readings)
    mean = series.mean(run)
    assert mean.values == tuple(reading.mean for reading in run.readings)
    assert mean.high == tuple(reading.mean + 2 * reading.mean_error for reading in run.readings)
    assert series.losses(run)["train"] == ((0, 10, 20, 30, 40, 50), tuple(2.0 / (step + 1) + 1.0 for step in range(6)))


def test_layers_are_those_of_the_spectra(run) -> None:
    spectra, found = run.spectra(), series.layers(run.spectra())
    assert list(found) == [0, 1]
    for layer, band in found.items():
        assert band.values == tuple(spectra[step].by_layer()[layer].largest for step in band.steps)
    assert series.layers({0: spectra[0]})


def test_distances_are_the_papers_measures() -> None:
    """By hand: differences to the last are (-2, -4), (-1, 0), (0, 0)."""
    found = series.distances({0: [-3.0, -6.0], 10: [-2.0, -2.0, -9.0], 30: [-1.0, -2.0]})
    assert found.steps == (0, 10, 30)
    assert found.mean_difference == (-3.0, -0.5, 0.0)
    assert found.reduced == (1.0, 1 / 20, 0.0)
    assert found.taken == 2
    assert series.distances({0: [-1.0]}) is None
    assert series.distances({0: [-1.0, -math.inf], 1: [-2.0, -math.inf]}).taken == 1
    assert series.distances({0: [-1.0], 1: [-1.0]}) is None


def runs_with(directory, pairs: list[tuple[float, float]], loss: str = "val") -> list[Run]:
    found = []
    for at, (exponent, least) in enumerate(pairs):
        history = History(directory / str(at))
        for step, value in enumerate((least + 1.0, least)):
            reading = Reading(step, None, {"train": 0.0, loss: value}, exponents=(exponent,), standard_errors=(0.1,))
            history.append(reading.record())
        found.append(Run.load(history.directory))
    return found


def test_associations_take_the_least_held_out_loss_and_the_last_exponent(tmp_path) -> None:
    found = series.association(runs_with(tmp_path, [(-0.3, 3.0), (-0.2, 2.0), (-0.1, 2.5)]), lambda reading: reading.max)
    assert (found.loss, found.values, found.losses) == ("val", (-0.3, -0.2, -0.1), (3.0, 2.0, 2.5))
    assert found.correlation is None
    assert "3 runs: too few" in found.in_words()
    assert series.association(runs_with(tmp_path, [(-0.3, 3.0)]), lambda reading: reading.max) is None


def test_the_rank_correlation_has_its_interval(tmp_path) -> None:
    """Of 1..6 against 2 1 4 3 6 5: 1 - 6 sum d^2 / (n (n^2 - 1)) = 1 - 36 / 210; Bonett and Wright's interval by hand."""
    runs = runs_with(tmp_path, [(1, 2), (2, 1), (3, 4), (4, 3), (5, 6), (6, 5)])
    found = series.association(runs, lambda reading: reading.max)
    rho = 1 - 36 / 210
    assert found.correlation == pytest.approx(rho)
    half = 1.959964 * ((1 + rho**2 / 2) / 3) ** 0.5
    assert found.interval == pytest.approx((math.tanh(math.atanh(rho) - half), math.tanh(math.atanh(rho) + half)))
    assert "rank correlation 0.83 (95 %: " in found.in_words()


def test_rank_correlations_without_a_number() -> None:
    assert series.rank_correlation([1.0] * 5, [1.0, 2.0, 3.0, 4.0, 5.0]) == (None, None)
    assert series.rank_correlation([1.0, 2.0, 3.0, 4.0], [4.0, 3.0, 2.0, 1.0]) == (pytest.approx(-1.0), None)
    with pytest.raises(lyapunov.InvalidInput, match="4 or more, got 2 and 2"):
        series.rank_correlation([1.0, 2.0], [1.0, 2.0])


def test_runs_without_a_common_loss_are_not_compared(tmp_path) -> None:
    runs = [*runs_with(tmp_path / "a", [(1, 2)]), made(tmp_path / "b", layers=1, readings=2)]
    assert series.common_loss(runs) == "train"
    assert series.common_loss([]) is None
