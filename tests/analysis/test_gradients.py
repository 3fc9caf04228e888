"""Gradients seen from a readout: singular values of dense products, closed forms, and what a readout does not see."""

import importlib
import math
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import lyapunov
from cases import cast_problem, drawn, seeded
from tolerances import DENSE, EXACT_RUN

BATCH, STEPS, INPUTS, UNITS = 2, 60, 3, 8
X = drawn(BATCH, STEPS, INPUTS, seed=1)
READOUT = seeded(nn.Linear, UNITS, 4, scale=1.0)
KINDS = {
    "RNN": seeded(nn.RNN, INPUTS, UNITS, batch_first=True, scale=1.5),
    "GRU": seeded(nn.GRU, INPUTS, UNITS, batch_first=True, scale=1.5),
    "LSTM": seeded(nn.LSTM, INPUTS, UNITS, batch_first=True, scale=1.5),
    "LSTM-stack": seeded(nn.LSTM, INPUTS, UNITS, num_layers=2, batch_first=True, scale=1.5),
}

gradients = importlib.import_module("lyapunov.analysis.gradients.gradient_exponents")


def dense(module: Any, inputs: Tensor, **given: Any) -> tuple[list[Tensor], Any, list[Any]]:
    """Every step's Jacobian (batch, n, n), the system, and the state after every number of steps."""
    problem = cast_problem(module, inputs, None, torch.float64, coupled=True, **given)
    system, state, found, states = problem.system, problem.state, [], [problem.state]
    eye = torch.eye(*system.block_sizes, dtype=torch.float64).expand(len(inputs), -1, -1)
    with torch.no_grad():
        for t in range(problem.sequences.steps):
            state, (jacobian,) = system.push(state, problem.sequences.at(t), (eye,))
            found.append(jacobian)
            states.append(state)
    return found, system, states


def seen_by(system: Any, matrix: Tensor) -> Tensor:
    """A matrix on the top layer's h as one on all rows."""
    top = max(label.layer for label in system.labels)
    rows = [at for at, label in enumerate(system.labels) if (label.layer, label.part) == (top, "h")]
    whole = torch.zeros(len(matrix), len(system.labels), dtype=torch.float64)
    whole[:, rows] = matrix
    return whole


@pytest.mark.parametrize("name", KINDS)
def test_they_are_the_singular_values_of_the_product(name: str) -> None:
    module, lags = KINDS[name], (1, 5, 12)
    found = lyapunov.gradient_exponents(module, X, readout=READOUT, lags=lags, starts=7, settle=3)
    jacobians, system, _ = dense(module, X)
    for at, stop in enumerate(found.starts.tolist()):
        product = seen_by(system, READOUT.weight.detach()).expand(BATCH, -1, -1)
        torch.testing.assert_close(torch.linalg.svdvals(product).log(), found.log_readout[at], rtol=0, atol=DENSE)
        for lag in range(1, lags[-1] + 1):
            product = product @ jacobians[stop - lag]
            if lag in lags:
                values = torch.linalg.svdvals(product).log()
                torch.testing.assert_close(found.log_singular[lags.index(lag), at], values, rtol=0, atol=DENSE)


def test_moments_are_over_all_singular_values_and_k_keeps_the_first() -> None:
    whole = lyapunov.gradient_exponents(KINDS["GRU"], X, readout=READOUT, lags=(3, 6))
    few = lyapunov.gradient_exponents(KINDS["GRU"], X, readout=READOUT, lags=(3, 6), k=2)
    squares = (2 * whole.log_singular).exp()
    torch.testing.assert_close(few.mean_square, squares.mean((1, 2, 3)))
    torch.testing.assert_close(few.variance, squares.var(-1, correction=0).mean((1, 2)))
    ratio = (whole.log_singular[..., 0] - whole.log_singular[..., -1]).exp()
    torch.testing.assert_close(few.condition, ratio.flatten(1).median(-1).values)
    assert torch.equal(few.log_singular, whole.log_singular[..., :2])


def test_a_readout_is_a_module_a_matrix_or_a_function() -> None:
    module = KINDS["LSTM"]
    readouts = (READOUT, READOUT.weight, lambda h: h @ READOUT.weight.mT, nn.Sequential(nn.Dropout(), READOUT))
    found = [lyapunov.gradient_exponents(module, X, readout=one, lags=5).log_singular for one in readouts]
    for other in found[1:]:
        torch.testing.assert_close(found[0], other, rtol=0, atol=DENSE)


def test_a_curved_readout_is_linearised_where_the_state_is() -> None:
    module, readout = KINDS["RNN"], nn.Sequential(READOUT, nn.Tanh())
    found = lyapunov.gradient_exponents(module, X, readout=readout, lags=2, starts=3)
    jacobians, _, states = dense(module, X)
    for at, stop in enumerate(found.starts.tolist()):
        slope = 1 - torch.tanh(READOUT(states[stop])).square()
        product = slope.unsqueeze(-1) * READOUT.weight @ jacobians[stop - 1] @ jacobians[stop - 2]
        torch.testing.assert_close(torch.linalg.svdvals(product).log().detach(), found.log_singular[0, at], rtol=0, atol=DENSE)


def test_hidden_is_the_output_and_state_is_everything() -> None:
    jacobians, system, _ = dense(KINDS["LSTM"], X)
    for readout, matrix in (("hidden", torch.eye(UNITS, dtype=torch.float64)), ("state", None)):
        found = lyapunov.gradient_exponents(KINDS["LSTM"], X, readout=readout, lags=2, starts=1, settle=0)
        stop = int(found.starts[0])
        whole = torch.eye(2 * UNITS, dtype=torch.float64) if matrix is None else seen_by(system, matrix)
        values = torch.linalg.svdvals(whole @ jacobians[stop - 1] @ jacobians[stop - 2]).log()
        torch.testing.assert_close(found.log_singular[0, 0], values, rtol=0, atol=DENSE)


def linear(gain: float) -> dict[str, Any]:
    """h' = gain times an orthogonal matrix times h."""
    turn = gain * torch.linalg.qr(drawn(UNITS, UNITS, seed=5))[0]
    return {"system": lambda h, x: h @ turn.mT, "state": drawn(2, UNITS, seed=6), "steps": 30, "settle": 0}


def test_an_isometry_keeps_every_gradient() -> None:
    kept = lyapunov.gradient_exponents(**linear(1.0), lags=(4, 20))
    torch.testing.assert_close(kept.exponents, torch.zeros(2, UNITS, dtype=torch.float64), rtol=0, atol=EXACT_RUN)
    torch.testing.assert_close(kept.mean_square, torch.ones(2, dtype=torch.float64))
    assert float(kept.variance.max()) < EXACT_RUN
    torch.testing.assert_close(kept.condition, torch.ones(2, dtype=torch.float64))
    assert kept.slope().value == pytest.approx(0.0, abs=EXACT_RUN)
    fading = lyapunov.gradient_exponents(**linear(0.5), lags=(4, 20))
    assert fading.exponents.flatten().tolist() == pytest.approx([math.log(0.5)] * 2 * UNITS)
    assert fading.e_folding_lag == pytest.approx(1 / math.log(2))


def counter() -> nn.LSTM:
    """One cell that counts (f = i = 1, g = 1, so c = t) and one that forgets at ln 0.5; the output shows tanh c."""
    module = seeded(nn.LSTM, 1, 2, batch_first=True)
    with torch.no_grad():
        for weight in module.parameters():
            weight.zero_()
        module.bias_ih_l0.copy_(torch.tensor([50.0, 0.0, 50.0, 0.0, 5.0, 0.0, 50.0, 50.0]))
    return module


def test_a_saturated_counter_is_not_seen_by_the_readout() -> None:
    """It never forgets, and so has an exponent of zero; its output stays at tanh of a large number."""
    inputs = torch.zeros(1, 100, 1, dtype=torch.float64)
    full = lyapunov.spectrum(counter(), inputs, k=2, settle=30, align=40, qr_every=1)
    assert full.exponents.tolist() == pytest.approx([0.0, math.log(0.5)], abs=1e-9)
    seen = lyapunov.gradient_exponents(counter(), inputs, lags=(5, 20), settle=60)
    assert float(seen.exponents[-1, 0]) == pytest.approx(math.log(0.5), abs=0.05)
    state = lyapunov.gradient_exponents(counter(), inputs, readout="state", lags=20, settle=60)
    assert float(state.exponents[0, 0]) == pytest.approx(0.0, abs=1e-6)


@pytest.mark.parametrize("name", ["RNN", "LSTM"])
def test_over_a_long_lag_they_are_the_exponents(name: str) -> None:
    """Frames forwards and frames backwards agree up to 1 / T: twice the lag, half the distance."""
    inputs = drawn(4, 1200, INPUTS, seed=6)
    apart = []
    for lag in (250, 1000):
        found = lyapunov.gradient_exponents(KINDS[name], inputs, readout="state", lags=lag, k=1, starts=1, settle=100)
        stop = int(found.starts[0])
        spectrum = lyapunov.spectrum(KINDS[name], inputs[:, :stop], k=1, settle=stop - lag, align=0, qr_every=1)
        apart.append(abs(float(found.exponents[0, 0]) - spectrum.max) * lag)
    assert apart[1] < 5.0
    assert apart[1] < 2 * apart[0] + 1.0


def test_values_below_what_float64_resolves_have_no_number() -> None:
    strong = torch.diag(torch.tensor([1.0, 1e-3], dtype=torch.float64))
    found = lyapunov.gradient_exponents(
        lambda s, x: s @ strong, drawn(1, 20, 1, seed=1), state=torch.ones(1, 2).double(), lags=(2, 8), settle=0
    )
    assert found.log_singular[0, 0, 0].tolist() == pytest.approx([0.0, 2 * math.log(1e-3)])
    assert math.isnan(float(found.log_singular[1, 0, 0, 1]))
    assert math.isnan(float(found.exponents[1, 1]))
    assert float(found.condition[1]) == torch.inf
    with pytest.raises(lyapunov.InvalidInput, match="at least two lags"):
        found.slope(8)


def test_starting_times_beyond_the_end_of_a_sequence_do_not_count() -> None:
    module = KINDS["RNN"]
    lengths = torch.tensor([STEPS, 30])
    found = lyapunov.gradient_exponents(module, X, lags=10, starts=6, settle=5, lengths=lengths)
    assert torch.equal(found.weights, (found.starts.unsqueeze(-1) <= lengths).double())
    there = found.weights > 0
    rates = (found.log_singular[0, ..., 0] - found.log_readout[..., 0])[there] / 10
    assert float(found.exponents[0, 0]) == pytest.approx(float(rates.mean()))


def test_groups_do_not_change_what_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    together = lyapunov.gradient_exponents(KINDS["LSTM"], X, readout=READOUT, lags=(3, 9), starts=8)
    monkeypatch.setattr(gradients, "_AT_ONCE", 1)
    alone = lyapunov.gradient_exponents(KINDS["LSTM"], X, readout=READOUT, lags=(3, 9), starts=8)
    torch.testing.assert_close(together.log_singular, alone.log_singular, rtol=0, atol=DENSE)


def test_a_readout_of_lower_rank_is_no_isometry() -> None:
    """Singular values of zero count in the moments, whatever group a starting time is in."""
    twice = torch.cat([READOUT.weight.detach()[:2], READOUT.weight.detach()[:1]])
    found = lyapunov.gradient_exponents(KINDS["GRU"], X, readout=twice, lags=3)
    plain = lyapunov.gradient_exponents(KINDS["GRU"], X, readout=twice[:2], lags=3)
    assert found.log_singular.shape[-1] == 3
    assert bool(found.log_singular[..., 2].isnan().all())
    assert float(found.condition[0]) == torch.inf
    assert float(found.mean_square[0]) < float(plain.mean_square[0]) * 2


def test_a_readout_whose_rank_depends_on_the_state_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    readout = nn.Sequential(READOUT, nn.ReLU(), seeded(nn.Linear, 4, 4))
    together = lyapunov.gradient_exponents(KINDS["GRU"], X, readout=readout, lags=(2, 4))
    monkeypatch.setattr(gradients, "_AT_ONCE", 1)
    alone = lyapunov.gradient_exponents(KINDS["GRU"], X, readout=readout, lags=(2, 4))
    torch.testing.assert_close(together.log_singular, alone.log_singular, rtol=0, atol=DENSE, equal_nan=True)


def test_errors_come_from_sequences_and_starting_times() -> None:
    found = lyapunov.gradient_exponents(KINDS["GRU"], drawn(12, 200, INPUTS, seed=7), lags=(5, 10), k=1, starts=30)
    interval = found.interval(0.95)
    assert bool((found.standard_errors > 0).all())
    assert bool((interval[..., 0] < found.exponents).all() & (found.exponents < interval[..., 1]).all())
    other = lyapunov.gradient_exponents(KINDS["GRU"], drawn(12, 200, INPUTS, seed=8), lags=(5, 10), k=1, starts=30)
    apart = (found.exponents - other.exponents) / (found.standard_errors.square() + other.standard_errors.square()).sqrt()
    assert float(apart.abs().max()) < 4
    text = repr(found)
    assert "30 starting times x 12 sequences" in text
    assert f"{float(found.exponents[0, 0]):.5f}" in text


def test_what_was_captured_is_taken() -> None:
    class Model(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.core, self.head = KINDS["LSTM-stack"], READOUT

        def forward(self, x: Tensor) -> Tensor:
            return self.head(self.core(x)[0])

    model = Model()
    captured = lyapunov.gradient_exponents(lyapunov.capture(model, X), readout=model.head, lags=4)
    torch.testing.assert_close(
        captured.log_singular, lyapunov.gradient_exponents(model.core, X, readout=model.head, lags=4).log_singular
    )


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"lags": 60, "settle": 1}, "longer than settle"),
        ({"lags": (5, 2)}, "ascending"),
        ({"lags": ()}, "Expected lags, got none"),
        ({"lags": 2, "readout": torch.ones(2, 3)}, "Its columns are the units"),
        ({"lags": 2, "readout": lambda h: h.sum()}, "a tensor \\(2, outputs\\)"),
        ({"lags": 2, "readout": lambda h: READOUT(h)[:, 0]}, "keep the axis"),
        ({"lags": 2, "readout": seeded(nn.Linear, 3, 2)}, "puts out, a tensor"),
        ({"lags": 2, "k": 9}, "from 1 to 8"),
        ({"lags": 2, "starts": 0}, "at least 1"),
    ],
)
def test_what_cannot_be_used_is_said(given: dict[str, Any], words: str) -> None:
    with pytest.raises(lyapunov.InvalidInput, match=words):
        lyapunov.gradient_exponents(KINDS["RNN"], X, **given)
