"""Covariant vectors: they keep their direction, grow at the exponents, and are the eigenvectors where these are known."""

import math
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import lyapunov
from cases import cast_problem, drawn, seeded
from lyapunov.intake import CastProblem
from lyapunov.systems import known
from tolerances import COVARIANCE, ROUNDING

INPUTS, STEPS = 3, 600
X = drawn(2, STEPS, INPUTS, seed=1)
LORENZ = known.lorenz()
RNN = seeded(nn.RNN, INPUTS, 6, batch_first=True, scale=2.0)
LSTM = seeded(nn.LSTM, INPUTS, 4, batch_first=True, scale=2.0)
STACK = seeded(nn.LSTM, INPUTS, 3, num_layers=2, batch_first=True, scale=2.0)


def problem_of(name: str) -> tuple[Any, dict[str, Any], CastProblem]:
    """What is handed over, and the same as a problem whose steps can be taken by hand."""
    if name == "Lorenz":
        start = LORENZ.start(2, seed=1)
        given: dict[str, Any] = {"state": start, "steps": 4000}
        return LORENZ.system, given, cast_problem(LORENZ.system, None, start, torch.float64, steps=4000)
    module = {"RNN": RNN, "LSTM": LSTM, "stack": STACK}[name]
    return module, {"inputs": X}, cast_problem(module, X, None, torch.float64, coupled=True)


@pytest.mark.parametrize(("name", "k"), [("Lorenz", 3), ("RNN", 6), ("LSTM", 4), ("stack", 6)])
def test_a_step_takes_each_vector_to_the_next_one(name: str, k: int) -> None:
    system, given, problem = problem_of(name)
    found = lyapunov.covariant_vectors(system, k=k, keep=80, **given)
    state = problem.state
    with torch.no_grad():
        for t in range(found.first):
            state = problem.system.step(state, problem.sequences.at(t))
        for t in range(80):
            state, (moved,) = problem.system.push(state, problem.sequences.at(found.first + t), (found.vectors[t],))
            expected = found.growth[t].exp().unsqueeze(1) * found.vectors[t + 1]
            torch.testing.assert_close(moved, expected, rtol=0, atol=COVARIANCE)
    torch.testing.assert_close(found.vectors.norm(dim=2), torch.ones(81, 2, k).double(), rtol=0, atol=ROUNDING)


@pytest.mark.parametrize(("name", "k"), [("Lorenz", 3), ("RNN", 6), ("LSTM", 4), ("stack", 6)])
def test_vectors_grow_at_the_exponents(name: str, k: int) -> None:
    """Frames and vectors differ by what the angles between them do at both ends, over the steps counted."""
    system, given, _ = problem_of(name)
    found = lyapunov.covariant_vectors(system, k=k, **given)
    torch.testing.assert_close(found.growth_rates, found.exponents, rtol=0, atol=8 / found.count)
    spectrum = lyapunov.spectrum(system, k=k, coupled=name == "stack", **given)
    error = (found.standard_errors.square() + spectrum.standard_errors.square()).sqrt()
    assert bool(((found.exponents - spectrum.exponents).abs() < 4 * error + 0.01).all())


def eigen_system() -> tuple[Tensor, Tensor]:
    """A matrix that is not normal, and its eigenvectors by falling eigenvalues 1.2, 0.9, -0.5."""
    vectors = torch.tensor([[1.0, 1.0, 0.0], [0.0, 0.5, 1.0], [0.0, 0.0, 0.3]], dtype=torch.float64)
    vectors = vectors / vectors.norm(dim=0)
    return vectors @ torch.diag(torch.tensor([1.2, 0.9, -0.5]).double()) @ torch.linalg.inv(vectors), vectors


def test_of_a_linear_map_they_are_the_eigenvectors() -> None:
    matrix, eigenvectors = eigen_system()
    start = torch.zeros(1, 3, dtype=torch.float64)
    found = lyapunov.covariant_vectors(lambda s, x: s @ matrix.mT, state=start, steps=400, keep=3)
    assert found.growth_rates.tolist() == pytest.approx([math.log(1.2), math.log(0.9), math.log(0.5)])
    cosines = (found.vectors[0, 0] * eigenvectors).sum(0).abs()
    assert cosines.tolist() == pytest.approx([1.0] * 3)
    torch.testing.assert_close(found.participation, eigenvectors.square(), rtol=0, atol=1e-9)
    angle = math.acos(float((eigenvectors[:, 0] * eigenvectors[:, 1]).sum()))
    assert float(found.angles[0, 1]) == pytest.approx(angle)
    assert float(found.smallest_angles[0, 1]) == pytest.approx(angle)
    assert bool(found.converged.all())
    assert found.effective_rows[0] == pytest.approx(1.0)


def test_equal_exponents_leave_vectors_undetermined() -> None:
    matrix = torch.diag(torch.tensor([1.1, 1.1, 0.4], dtype=torch.float64))
    found = lyapunov.covariant_vectors(lambda s, x: s @ matrix, state=torch.zeros(1, 3).double(), steps=200)
    assert found.converged.tolist() == [False, False, True]
    assert repr(found).count("not converged") == 2


def test_too_few_steps_are_told_by_the_disagreement() -> None:
    matrix, _ = eigen_system()
    start = torch.zeros(1, 3, dtype=torch.float64)
    gaps = [
        lyapunov.covariant_vectors(
            lambda s, x: s @ matrix.mT, state=start, steps=300, settle=0, align=steps, align_back=steps
        ).disagreement[0]
        for steps in (2, 100)
    ]
    assert gaps[0] > 1e-2 > 1e-6 > gaps[1]


def test_what_a_layer_below_cannot_feel_is_not_in_its_rows() -> None:
    """The Jacobian is block-triangular: vectors of the upper layer have nothing in the lower one."""
    lower, upper = seeded(nn.RNN, INPUTS, 2, batch_first=True, scale=0.1), seeded(nn.RNN, 2, 2, batch_first=True, scale=2.0)
    both = seeded(nn.RNN, INPUTS, 2, num_layers=2, batch_first=True)
    with torch.no_grad():
        for name in ("weight_ih", "weight_hh", "bias_ih", "bias_hh"):
            getattr(both, f"{name}_l0").copy_(getattr(lower, f"{name}_l0"))
            getattr(both, f"{name}_l1").copy_(getattr(upper, f"{name}_l0"))
    found = lyapunov.covariant_vectors(both, X)
    parts = found.by_part()
    assert list(parts) == ["layer 0 h", "layer 1 h"]
    torch.testing.assert_close(sum(parts.values()), torch.ones(4).double())
    assert parts["layer 0 h"][:2].tolist() == pytest.approx([0.0, 0.0], abs=1e-20)
    assert float(parts["layer 0 h"][2:].min()) > 1e-3
    assert found.units(0, 1)[0][0].layer == 1


def test_shares_say_which_path_carries_a_vector() -> None:
    """With f = 0.9 and all else shut, the cell does; in general all paths add up to one."""
    module = seeded(nn.LSTM, INPUTS, 2, batch_first=True, scale=0.1)
    with torch.no_grad():
        module.bias_ih_l0[2:4] = torch.tensor([2.0, 4.0])
    found = lyapunov.covariant_vectors(module, X, k=2)
    fraction = dict(zip(found.paths, found.path_fractions, strict=True))
    assert set(fraction) == {"cell", "input gate", "forget gate", "candidate", "output gate"}
    assert fraction["cell"].tolist() == pytest.approx([1.0, 1.0], abs=0.02)
    whole = lyapunov.covariant_vectors(STACK, X, k=4)
    torch.testing.assert_close(whole.path_fractions.sum(0), torch.ones(4).double(), rtol=0, atol=1e-9)
    assert "layer 1: from below" in whole.paths
    assert f"{float(whole.exponents[0]):.5f}" in repr(whole)


def test_a_lost_direction_has_no_vector() -> None:
    module = seeded(nn.RNN, INPUTS, 4, batch_first=True)
    with torch.no_grad():
        module.weight_hh_l0[:, 2:] = 0.0
    with pytest.raises(lyapunov.InvalidInput, match="Pass k=2 or fewer"):
        lyapunov.covariant_vectors(module, X)
    assert lyapunov.covariant_vectors(module, X, k=2).exponents.isfinite().all()


def test_what_is_kept_does_not_depend_on_segments(monkeypatch: pytest.MonkeyPatch) -> None:
    one = lyapunov.covariant_vectors(LSTM, X, k=3, keep=150)
    monkeypatch.setattr("lyapunov.tangent.loop.segments.SHORTEST", 7)
    other = lyapunov.covariant_vectors(LSTM, X, k=3, keep=150)
    assert one.vectors.shape == other.vectors.shape == (151, 2, 8, 3)
    for name in ("vectors", "growth", "participation", "angles", "path_fractions", "growth_rates", "exponents"):
        torch.testing.assert_close(getattr(one, name), getattr(other, name), rtol=0, atol=1e-9)


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"k": 7}, "from 1 to 6"),
        ({"align": 400, "align_back": 400, "settle": 0}, "settle \\+ align \\+ align_back"),
        ({"align": STEPS}, "settle \\+ align ="),
        ({"keep": STEPS}, "the counted steps"),
        ({"settle": STEPS}, "longer than settle"),
    ],
)
def test_what_cannot_be_used_is_said(given: dict[str, Any], words: str) -> None:
    with pytest.raises(lyapunov.InvalidInput, match=words):
        lyapunov.covariant_vectors(RNN, X, **given)
