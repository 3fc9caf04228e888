"""Growth at every step, and which inputs it belongs to."""

import math
from typing import Any

import pytest
import torch
from torch import nn
from torch.nn.functional import one_hot

import lyapunov
from cases import drawn, seeded

SYMBOLS = torch.randint(4, (3, 200), generator=torch.Generator().manual_seed(1))
ONE_HOT = one_hot(SYMBOLS, 4).double()


def switch(state: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
    """Each symbol multiplies the state by a factor of its own."""
    return state * (x @ torch.tensor([1.5, 0.5, 0.9, 0.1], dtype=torch.float64)).unsqueeze(-1)


def test_each_symbol_grows_by_its_own_factor() -> None:
    found = lyapunov.local_exponents(switch, ONE_HOT, state=torch.ones(3, 1).double(), settle=0, align=0)
    factors = torch.tensor([1.5, 0.5, 0.9, 0.1]).log().double()
    torch.testing.assert_close(found.growth[..., 0], factors[SYMBOLS], rtol=0, atol=1e-7)
    growths = found.by_symbol(SYMBOLS, "abcd")
    assert [one.name for one in growths] == ["a", "c", "b", "d"]
    assert [one.growth for one in growths] == pytest.approx([math.log(f) for f in (1.5, 0.9, 0.5, 0.1)], abs=1e-6)
    assert sum(one.count for one in growths) == SYMBOLS.numel()
    assert all(one.standard_error < 1e-6 for one in growths)


def test_an_input_that_erases_everything_is_not_left_out() -> None:
    def step(state: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
        return state * torch.where(x[:, :1] > 0.5, 0.0, 0.9)

    found = lyapunov.local_exponents(step, ONE_HOT, state=torch.ones(3, 1).double(), settle=0, align=0)
    erasing = {one.name: one for one in found.by_symbol(SYMBOLS.numpy())}["0"]
    assert erasing.growth == -math.inf
    assert erasing.count == int((SYMBOLS == 0).sum())


def test_what_only_rounding_keeps_is_lost() -> None:
    low = drawn(6, 2, seed=4) @ drawn(2, 6, seed=5)
    start = torch.zeros(3, 6, dtype=torch.float64)
    found = lyapunov.local_exponents(lambda h, x: torch.tanh(h @ low + x.sum(-1, keepdim=True)), ONE_HOT, k=3, state=start)
    assert bool(found.growth[:, found.first :, :2].isfinite().all())
    assert bool(found.growth[:, found.first :, 2].isneginf().all())


@pytest.mark.parametrize("kind", [nn.RNN, nn.GRU, nn.LSTM])
def test_their_mean_is_the_exponent(kind: type[nn.Module]) -> None:
    module = seeded(kind, 4, 8, batch_first=True)
    given = {"settle": 20, "align": 5}  # too short for `spectrum` to turn its frames
    found = lyapunov.local_exponents(module, ONE_HOT, k=3, **given)
    spectrum = lyapunov.spectrum(module, ONE_HOT, k=3, qr_every=1, **given)
    torch.testing.assert_close(found.exponents.sort(descending=True).values, spectrum.exponents, rtol=0, atol=1e-9)
    torch.testing.assert_close(found.volume[:, 25:].mean(), spectrum.exponents.sum(), rtol=0, atol=1e-9)
    assert found.first == 25
    assert bool(found.growth[:, :25].isnan().all())
    assert bool(found.growth[:, 25:].isfinite().all())
    assert "3 sequences x 175 steps" in repr(found)
    assert f"{float(found.exponents[0]):.5f}" in repr(found)


def test_symbols_before_counting_began_do_not_count() -> None:
    module = seeded(nn.RNN, 4, 8, batch_first=True)
    found = lyapunov.local_exponents(module, ONE_HOT, settle=50, align=50)
    counts = {one.name: one.count for one in found.by_symbol(SYMBOLS)}
    assert counts == {str(symbol): int((SYMBOLS[:, 100:] == symbol).sum()) for symbol in range(4)}
    rare = torch.zeros_like(SYMBOLS)
    rare[0, 150] = 1
    alone = next(one for one in found.by_symbol(rare) if one.name == "1")
    assert (alone.count, alone.growth) == (1, float(found.growth[0, 150, 0]))
    assert math.isnan(alone.standard_error)


def test_the_hidden_state_of_an_lstm_is_looked_at_when_asked_for() -> None:
    module = seeded(nn.LSTM, 4, 6, batch_first=True)
    hidden = lyapunov.local_exponents(module, ONE_HOT, linearization="hidden", settle=10, align=5)
    spectrum = lyapunov.spectrum(module, ONE_HOT, k=1, linearization="hidden", settle=10, align=5, qr_every=1)
    assert float(hidden.exponents[0]) == pytest.approx(spectrum.max)


@pytest.mark.parametrize(
    ("given", "words"),
    [({"k": 9}, "from 1 to 8"), ({"align": 200}, "none is left"), ({"settle": 200}, "longer than settle")],
)
def test_what_cannot_be_used_is_said(given: dict[str, Any], words: str) -> None:
    with pytest.raises(lyapunov.InvalidInput, match=words):
        lyapunov.local_exponents(seeded(nn.RNN, 4, 8, batch_first=True), ONE_HOT, **given)


def test_symbols_must_fit() -> None:
    found = lyapunov.local_exponents(seeded(nn.RNN, 2, 8, batch_first=True), drawn(2, 60, 2, seed=1))
    with pytest.raises(lyapunov.InvalidInput, match="One whole number per step"):
        found.by_symbol(SYMBOLS)
