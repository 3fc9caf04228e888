"""How a spectrum is run: what excludes each other cannot be said, and both doors lead to the same run."""

from typing import Any

import pytest
import torch
from torch import nn

import lyapunov
from cases import drawn, seeded
from lyapunov import QR, RunOptions, TimeMean
from lyapunov.systems import Diagonal
from lyapunov.systems.diagonal import min_gru
from tolerances import Z

INPUTS = drawn(4, 200, 3, seed=7)


def gru() -> nn.GRU:
    return seeded(nn.GRU, 3, 6, batch_first=True, scale=1.5)


@pytest.mark.parametrize(
    ("options", "keywords"),
    [
        (RunOptions(), {}),
        (RunOptions(settle=10, align=20, seed=3), {"settle": 10, "align": 20, "seed": 3}),
        (RunOptions(from_initial_state=True), {"from_initial_state": True}),
        (RunOptions(method=QR(every=2)), {"qr_every": 2}),
        (RunOptions(method=QR(chunks=2), settle=5, align=10), {"chunks": 2, "settle": 5, "align": 10}),
        (RunOptions(dtype=torch.float32), {"dtype": torch.float32}),
    ],
)
def test_options_are_the_keywords_in_one_object(options: RunOptions, keywords: dict[str, Any]) -> None:
    one, other = lyapunov.spectrum(gru(), INPUTS, k=3, options=options), lyapunov.spectrum(gru(), INPUTS, k=3, **keywords)
    assert torch.equal(one.exponents, other.exponents)
    assert one.settings == other.settings


def test_options_and_keywords_of_what_they_hold_exclude_each_other() -> None:
    with pytest.raises(lyapunov.InvalidInput, match=r"Expected `options`, or keywords of what they hold .* got both"):
        lyapunov.spectrum(gru(), INPUTS, options=RunOptions(), settle=3)


def diagonal() -> Diagonal:
    return min_gru(seeded(nn.Linear, 3, 5), seeded(nn.Linear, 3, 5))


def test_frames_that_are_asked_for_are_taken_where_there_is_a_closed_form() -> None:
    closed, framed = lyapunov.spectrum(diagonal(), INPUTS), lyapunov.spectrum(diagonal(), INPUTS, qr_every=1)
    assert (closed.settings.method, framed.settings.method) == ("closed", "qr")
    error = torch.hypot(framed.standard_errors, closed.standard_errors)
    assert bool(((framed.exponents - closed.exponents).abs() < Z * error).all())
    explicit = lyapunov.spectrum(diagonal(), INPUTS, options=RunOptions(method=TimeMean()))
    assert torch.equal(explicit.exponents, closed.exponents)


@pytest.mark.usefixtures("shapes_unchecked")
@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"settle": -1}, "`settle`"),
        ({"align": 1.5}, "`align`"),
        ({"from_initial_state": 1}, "`from_initial_state`"),
        ({"from_initial_state": True, "settle": 3}, "`settle` left out with from_initial_state=True"),
        ({"from_initial_state": True, "method": QR(chunks=2)}, "`chunks` left out with from_initial_state=True"),
        ({"method": "qr"}, r"`method` to be lyapunov\.QR\(\.\.\.\), lyapunov\.TimeMean\(\) or None, got 'qr'"),
        ({"dtype": torch.float16}, "`dtype`"),
        ({"seed": -1}, "`seed`"),
    ],
)
def test_options_are_checked_when_they_are_made(given: dict[str, Any], message: str) -> None:
    with pytest.raises(lyapunov.InvalidInput, match=message):
        RunOptions(**given)


@pytest.mark.usefixtures("shapes_unchecked")
@pytest.mark.parametrize("given", [{"every": 0}, {"every": 1.5}, {"chunks": 0}])
def test_a_method_is_checked_when_it_is_made(given: dict[str, Any]) -> None:
    with pytest.raises(lyapunov.InvalidInput, match=f"`{next(iter(given))}`"):
        QR(**given)
