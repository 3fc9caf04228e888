"""Flossing pulls leading exponents towards a target, and touches nothing else."""

from typing import Any

import pytest
import torch
from torch import nn

import lyapunov
from cases import drawn, seeded

X = drawn(4, 40, 3, seed=1)


def test_the_regulariser_is_the_mean_square_of_mean_exponents() -> None:
    module = seeded(nn.GRU, 3, 8, batch_first=True, scale=1.0)
    sums = lyapunov.exponent_sum(module, X, (1, 2, 4, 6))
    expected = (sums / torch.tensor([1.0, 2.0, 4.0, 6.0]) + 0.1).square().mean()
    found = lyapunov.flossing_loss(module, X, 6, target=-0.1)
    torch.testing.assert_close(found, expected)
    (grad,) = torch.autograd.grad(found, [module.weight_hh_l0])
    assert float(grad.abs().max()) > 0


@pytest.mark.parametrize("kind", [nn.RNN, nn.GRU, nn.LSTM])
def test_leading_exponents_come_near_zero(kind: type[nn.Module]) -> None:
    module = seeded(kind, 3, 16, batch_first=True, scale=1.0)
    before = lyapunov.spectrum(module, drawn(4, 200, 3, seed=2), k=4)
    penalties = lyapunov.floss_(module, X, k=4, steps=120, learning_rate=1e-2, align=10, progress=False)
    after = lyapunov.spectrum(module, drawn(4, 200, 3, seed=2), k=4)
    assert penalties.shape == (120,)
    assert float(penalties[-1]) < 0.05 * float(penalties[0])
    assert float(after.exponents.abs().max()) < 0.35 * float(before.exponents.abs().max())


def test_new_inputs_are_drawn_at_every_step_and_gradients_are_left_alone() -> None:
    module = seeded(nn.RNN, 3, 8, batch_first=True, scale=1.0)
    module.weight_hh_l0.grad = torch.ones_like(module.weight_hh_l0)
    calls: list[int] = []

    def inputs() -> torch.Tensor:
        calls.append(1)
        return drawn(2, 20, 3, seed=len(calls))

    with torch.no_grad():
        lyapunov.floss_(module, inputs, k=2, steps=5, target=-0.2, progress=False)
    assert len(calls) == 5
    assert torch.equal(module.weight_hh_l0.grad, torch.ones_like(module.weight_hh_l0))
    assert module.weight_ih_l0.grad is None


def test_it_goes_unchecked_and_in_inference_mode() -> None:
    module = seeded(nn.RNN, 3, 8, batch_first=True, scale=1.0)
    before = module.weight_hh_l0.detach().clone()
    with torch.inference_mode():
        lyapunov.floss_(module, X, k=2, steps=2, check=False, progress=False)
    assert not torch.equal(module.weight_hh_l0, before)


def test_what_was_captured_moves_the_weights_of_its_module() -> None:
    module = seeded(nn.RNN, 3, 8, batch_first=True, scale=1.0)
    alone = seeded(nn.RNN, 3, 8, batch_first=True, scale=1.0)
    lyapunov.floss_(lyapunov.capture(module, X), k=2, steps=2, progress=False)
    lyapunov.floss_(alone, X, k=2, steps=2, progress=False)
    assert torch.equal(module.weight_hh_l0, alone.weight_hh_l0)


def test_frozen_weights_stay() -> None:
    module = seeded(nn.RNN, 3, 8, batch_first=True, scale=1.0)
    module.weight_ih_l0.requires_grad_(False)
    before = module.weight_ih_l0.clone(), module.weight_hh_l0.detach().clone()
    lyapunov.floss_(module, X, k=2, steps=2, progress=False)
    assert torch.equal(module.weight_ih_l0, before[0])
    assert not torch.equal(module.weight_hh_l0, before[1])


def test_a_lost_exponent_stops_it_with_the_weights_as_they_were() -> None:
    module = seeded(nn.RNN, 3, 4, batch_first=True)
    with torch.no_grad():
        module.weight_hh_l0[:, 1:] = 0.0
    before = {name: value.clone() for name, value in module.state_dict().items()}
    with pytest.raises(lyapunov.InvalidInput, match="a direction collapses"):
        lyapunov.floss_(module, X, k=2, steps=2, progress=False)
    assert all(torch.equal(value, before[name]) for name, value in module.state_dict().items())


@pytest.mark.parametrize(
    ("module", "given", "words"),
    [
        (seeded(nn.RNN, 3, 4, batch_first=True).requires_grad_(False), {}, "require a gradient"),
        (seeded(nn.RNN, 3, 4, batch_first=True), {"steps": 0}, "`steps`"),
        (seeded(nn.RNN, 3, 4, batch_first=True), {"learning_rate": 0.0}, "`learning_rate`"),
        (seeded(nn.RNN, 3, 4, batch_first=True), {"k": 5}, "from 1 to 4"),
    ],
)
def test_what_cannot_be_used_is_said(module: nn.Module, given: dict[str, Any], words: str) -> None:
    with pytest.raises(lyapunov.InvalidInput, match=words):
        lyapunov.floss_(module, X, **{"k": 2, "steps": 1, "progress": False, **given})
