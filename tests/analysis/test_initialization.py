"""Layers brought to an exponent: the target is met within its error, by what was to be moved and nothing else."""

import math
import re
from typing import Any

import pytest
import torch
from torch import nn
from torch.nn.functional import one_hot

import lyapunov
from cases import drawn, seeded
from lyapunov import InvalidInput, Unsupported, init

UNITS = 24
NOISE = drawn(4, 200, 5, seed=1)
LETTERS = torch.tensor(list(b"the map is not the territory, " * 8)) % 32
TEXT = one_hot(torch.stack([LETTERS[at : at + 200] for at in (0, 3, 9, 14)]), 32).double()
ALONG: dict[str, Any] = {"settle": 40, "align": 40, "progress": False}


def layer(kind: type[nn.Module], inputs: torch.Tensor, **kwargs: Any) -> Any:
    return seeded(kind, inputs.shape[-1], UNITS, batch_first=True, scale=1.0, **kwargs)


@pytest.mark.parametrize("target", [0.0, -0.2])
@pytest.mark.parametrize("inputs", [NOISE, TEXT], ids=["noise", "text"])
@pytest.mark.parametrize("kind", [nn.RNN, nn.GRU, nn.LSTM])
def test_the_target_is_met_within_its_error(kind: type[nn.Module], inputs: torch.Tensor, target: float) -> None:
    """Seen again by a look of its own, along the same inputs."""
    module = layer(kind, inputs)
    found = init.to_exponent_(module, inputs, largest=target, **ALONG)
    again = lyapunov.spectrum(module, inputs, k=1, **ALONG)
    assert again.max == found.max
    assert abs(again.max - target) <= max(float(again.standard_errors[0]), init.NEAR)


@pytest.mark.parametrize("kind", [nn.GRU, nn.LSTM])
def test_gates_meet_a_target_too(kind: type[nn.Module]) -> None:
    module = layer(kind, NOISE)
    before = {name: value.detach().clone() for name, value in module.named_parameters()}
    found = init.to_exponent_(module, NOISE, largest=-0.05, by="gates", **ALONG)
    assert abs(found.max + 0.05) <= max(float(found.standard_errors[0]), init.NEAR)
    moved = module.bias_ih_l0.detach() - before.pop("bias_ih_l0")
    assert float(moved[UNITS : 2 * UNITS].min()) > 0.1
    torch.testing.assert_close(moved[UNITS : 2 * UNITS], moved[UNITS].expand(UNITS))
    assert not moved[:UNITS].any()
    assert not moved[2 * UNITS :].any()
    assert all(torch.equal(value, before[name]) for name, value in module.named_parameters() if name in before)


@pytest.mark.parametrize("layers", [1, 2])
def test_recurrent_weights_are_multiplied_by_one_factor_and_nothing_else_is(layers: int) -> None:
    module = layer(nn.LSTM, NOISE, num_layers=layers)
    before = {name: value.detach().clone() for name, value in module.named_parameters()}
    init.to_exponent_(module, NOISE, largest=-0.1, **ALONG)
    ratios = [value.detach() / before[name] for name, value in module.named_parameters() if name.startswith("weight_hh")]
    assert len(ratios) == layers
    for ratio in ratios:
        torch.testing.assert_close(ratio, torch.full_like(ratio, float(ratios[0][0, 0])), rtol=1e-12, atol=0)
    assert all(
        torch.equal(value, before[name]) for name, value in module.named_parameters() if not name.startswith("weight_hh")
    )


def test_a_silent_network_meets_any_target_by_the_closed_form() -> None:
    """At zero the exponent of a tanh RNN is ln (scale rho)."""
    module = layer(nn.RNN, NOISE, bias=False)
    radius = float(torch.linalg.eigvals(module.weight_hh_l0.detach()).abs().max())
    start = module.weight_hh_l0.detach().clone()
    init.to_exponent_(module, torch.zeros(2, 400, 5), largest=-0.3, settle=0, align=200, progress=False)
    scale = float((module.weight_hh_l0.detach() / start)[0, 0])
    assert math.log(scale * radius) == pytest.approx(-0.3, abs=0.01)


@pytest.mark.parametrize("kind", [nn.RNN, nn.GRU, nn.LSTM])
def test_at_the_critical_scale_zero_is_neither_stable_nor_unstable(kind: type[nn.Module]) -> None:
    """One value per gate bias, candidates without: the fixed point at zero is exact."""
    module = layer(kind, NOISE)
    with torch.no_grad():
        for bias in (module.bias_ih_l0, module.bias_hh_l0):
            blocks = bias.chunk(len(bias) // UNITS)
            for at, block in enumerate(blocks):
                block.fill_(0.0 if len(blocks) == 1 or at == 2 else 0.2 * at - 0.1)
        module.weight_hh_l0.mul_(init.critical_scale(module))
    spectrum = lyapunov.spectrum(module, torch.zeros(1, 600, 5), k=1, settle=0, align=300, progress=False)
    assert spectrum.max == pytest.approx(0.0, abs=1e-2)
    assert init.critical_scale(module) == pytest.approx(1.0)


def test_cells_and_projections_are_taken() -> None:
    cell: Any = seeded(nn.GRUCell, 5, UNITS, scale=1.0)
    assert abs(init.to_exponent_(cell, NOISE, largest=-0.2, **ALONG).max + 0.2) < 0.02
    projected = layer(nn.LSTM, NOISE, proj_size=6)
    assert init.critical_scale(projected) == 1.0
    assert abs(init.to_exponent_(projected, NOISE, largest=-0.2, **ALONG).max + 0.2) < 0.02


def test_what_cannot_be_reached_leaves_the_weights_as_they_were() -> None:
    module = layer(nn.GRU, NOISE)
    before = [value.detach().clone() for value in module.parameters()]
    with pytest.raises(
        InvalidInput, match=r"brought to 0.5 by the gates, GRU, got from -[\d.]+ to -?[\d.]+ in \d+ measurements"
    ):
        init.to_exponent_(module, NOISE, largest=0.5, by="gates", **ALONG)
    assert all(torch.equal(value, old) for value, old in zip(module.parameters(), before, strict=True))


def test_what_is_far_out_of_reach_is_said_so() -> None:
    """Not that the step has no derivative, which at such weights finite differences do not show."""
    with pytest.raises(InvalidInput, match=r"brought to 9 by the weights, LSTM, got from -[\d.]+ to [\d.]+ in"):
        init.to_exponent_(layer(nn.LSTM, NOISE), NOISE, largest=9.0, **ALONG)


def test_a_network_that_runs_away_is_brought_back() -> None:
    """relu with far too large weights: its states overflow."""
    module = layer(nn.RNN, NOISE, nonlinearity="relu")
    with torch.no_grad():
        module.weight_hh_l0.mul_(1e3)
    found = init.to_exponent_(module, NOISE, largest=-0.1, **ALONG)
    assert abs(found.max + 0.1) <= max(float(found.standard_errors[0]), init.NEAR)


def test_gradients_and_modes_are_left_alone() -> None:
    module = layer(nn.RNN, NOISE)
    module.weight_hh_l0.grad = torch.ones_like(module.weight_hh_l0)
    module.train()
    init.to_exponent_(module, NOISE, largest=-0.1, **ALONG)
    assert module.training
    assert module.weight_hh_l0.requires_grad
    assert bool((module.weight_hh_l0.grad == 1).all())


def test_what_has_nothing_to_move_is_refused() -> None:
    with pytest.raises(Unsupported, match="an RNN, which has no gates"):
        init.to_exponent_(layer(nn.RNN, NOISE), NOISE, by="gates")
    with pytest.raises(Unsupported, match=r"plain parameters bias_ih_\.\.\."):
        init.to_exponent_(layer(nn.LSTM, NOISE, bias=False), NOISE, by="gates")
    with pytest.raises(Unsupported, match=r"got Linear\. .*captured\.module"):
        init.to_exponent_(seeded(nn.Linear, 2, 2), NOISE)
    with pytest.raises(Unsupported, match="got Linear"):
        init.critical_scale(seeded(nn.Linear, 3, 3))
    with pytest.raises(InvalidInput, match="`largest` to be a finite number"):
        init.to_exponent_(layer(nn.RNN, NOISE), NOISE, largest=math.nan)
    with torch.random.fork_rng():
        parametrized = torch.nn.utils.parametrizations.spectral_norm(layer(nn.RNN, NOISE), "weight_hh_l0")
    with pytest.raises(Unsupported, match=r"weight_hh_\.\.\."):
        init.to_exponent_(parametrized, NOISE)


def test_the_result_says_what_was_done() -> None:
    module = layer(nn.GRU, NOISE, num_layers=2)
    before = {name: value.detach().clone() for name, value in module.named_parameters()}
    found = init.to_exponent_(module, NOISE, largest=-0.1, **ALONG)
    for name in ("weight_hh_l0", "weight_hh_l1"):
        torch.testing.assert_close(getattr(module, name).detach(), before[name] * found.factor, rtol=1e-12, atol=0)
    assert found.factors == (found.factor,) * 2
    assert found.shift == 0.0
    assert f"recurrent weights x {found.factor:.4g}" in repr(found)
    assert isinstance(found, lyapunov.Spectrum)
    found = init.to_exponent_(module, NOISE, largest=-0.05, by="gates", **ALONG)
    moved = module.bias_ih_l0.detach()[UNITS : 2 * UNITS] - before["bias_ih_l0"][UNITS : 2 * UNITS]
    torch.testing.assert_close(moved, torch.full_like(moved, found.shift), rtol=1e-12, atol=1e-12)
    assert found.factor == 1.0
    assert f"gate biases + {found.shift:.4g}" in repr(found)


@pytest.mark.parametrize("kind", [nn.RNN, nn.LSTM])
def test_each_layer_of_a_stack_is_brought_there(kind: type[nn.Module]) -> None:
    module = layer(kind, NOISE, num_layers=3)
    before = {name: value.detach().clone() for name, value in module.named_parameters()}
    found = init.to_exponent_(module, NOISE, largest=-0.15, each=True, **ALONG)
    again = lyapunov.spectrum(module, NOISE, **ALONG).by_layer()
    for at, summary in enumerate(again):
        assert abs(summary.largest + 0.15) <= max(summary.standard_error, init.NEAR) * 1.5
        weight = f"weight_hh_l{at}"
        scaled = before.pop(weight) * found.factors[at]
        torch.testing.assert_close(getattr(module, weight).detach(), scaled, rtol=1e-12, atol=0)
    assert all(torch.equal(value, before[name]) for name, value in module.named_parameters() if name in before)
    assert len(set(found.factors)) == 3
    with pytest.raises(InvalidInput, match=r"3 that differ\. Read `factors`"):
        _ = found.factor


def test_a_stack_of_which_one_layer_cannot_be_brought_there_is_left_as_it_was() -> None:
    module = layer(nn.LSTM, NOISE, num_layers=2)
    before = {name: value.detach().clone() for name, value in module.named_parameters()}
    with pytest.raises(InvalidInput, match=r"what is reachable here: with weights x [\d.e+-]+ and with weights x"):
        init.to_exponent_(module, NOISE[:2, :120], largest=3.0, each=True, **ALONG)
    assert all(torch.equal(value, before[name]) for name, value in module.named_parameters())


def test_what_is_reachable_holds_what_strides_from_far_away_did_not_see() -> None:
    """Targets of 0 and -0.3 are met, so they lie within what a target out of reach is told."""
    with pytest.raises(InvalidInput) as caught:
        init.to_exponent_(layer(nn.RNN, NOISE), NOISE, largest=9.0, **ALONG)
    low, high = map(float, re.search(r"got from (-?[\d.]+) to (-?[\d.]+) in", str(caught.value)).groups())
    assert low < -0.3
    assert high > 0.0
