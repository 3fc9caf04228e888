"""Jacobians step by step, against autograd through PyTorch's own cells."""

import pytest
import torch
from torch import nn

import lyapunov
from cases import drawn, seeded
from tolerances import CLOSED_FORM

X = drawn(3, 6, 2, seed=51)


def test_they_are_those_of_the_cell_at_the_state_it_has() -> None:
    cell, state = seeded(nn.LSTMCell, 2, 3), tuple(torch.zeros(3, 3, dtype=torch.float64) for _ in range(2))
    found = list(lyapunov.jacobians(cell, X))
    assert [one.step for one in found] == list(range(6))
    for one, x in zip(found, X.unbind(1), strict=True):
        for at in range(3):

            def step(vector, at=at, x=x):
                h, c = cell(x[at : at + 1], (vector[None, :3], vector[None, 3:]))
                return torch.cat([h, c], dim=-1)[0]

            dense = torch.autograd.functional.jacobian(step, torch.cat([part[at] for part in state]))
            torch.testing.assert_close(one.matrix[at], dense, rtol=0, atol=CLOSED_FORM)
        state = tuple(part.detach() for part in cell(x, state))


def test_their_determinants_have_the_sum_of_the_exponents() -> None:
    rnn, x = seeded(nn.RNN, 2, 4, batch_first=True, scale=1.0), drawn(1, 40, 2, seed=52)
    volumes = [float(torch.linalg.slogdet(one.matrix[0])[1]) for one in lyapunov.jacobians(rnn, x)]
    whole = lyapunov.spectrum(rnn, x, from_initial_state=True, qr_every=1)
    assert float(whole.exponents.sum()) == pytest.approx(sum(volumes) / 40, rel=1e-9)


def test_eigenvalues_and_singular_values_belong_to_the_matrix() -> None:
    one = next(lyapunov.jacobians(seeded(nn.GRU, 2, 3, batch_first=True), X))
    determinant = torch.linalg.det(one.matrix)
    torch.testing.assert_close(one.eigenvalues.prod(-1).real, determinant, rtol=1e-9, atol=1e-12)
    torch.testing.assert_close(one.singular_values.prod(-1), determinant.abs(), rtol=1e-9, atol=1e-12)


def test_one_step_is_held_and_the_module_is_free_between_two() -> None:
    class Step(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer, self.calls = seeded(nn.Linear, 2, 2), 0

        def forward(self, h, x):
            return torch.tanh(self.layer(h) + x)

    step = Step().train()
    stream = lyapunov.jacobians(step, X, state=torch.zeros(3, 2))
    first = next(stream)
    assert step.training
    assert torch.is_grad_enabled()
    with torch.no_grad():
        step.layer.weight.zero_()  # weights that change meanwhile are read anew
    assert float(next(stream).matrix.abs().max()) == 0.0
    assert float(first.matrix.abs().max()) > 0.0


def test_settling_passes_steps_over() -> None:
    cell = seeded(nn.GRUCell, 2, 3)
    later, whole = list(lyapunov.jacobians(cell, X, settle=4)), list(lyapunov.jacobians(cell, X))
    assert [one.step for one in later] == [4, 5]
    torch.testing.assert_close(later[0].matrix, whole[4].matrix, rtol=0, atol=0)
    assert len(list(lyapunov.jacobians(lambda s, x: 4 * s * (1 - s), state=torch.full((1, 1), 0.3), steps=5))) == 5


def test_what_cannot_be_run_is_said_before_the_first_step() -> None:
    with pytest.raises(lyapunov.InvalidInput, match="longer than settle"):
        lyapunov.jacobians(seeded(nn.GRUCell, 2, 3), X, settle=6)
    with pytest.raises(lyapunov.Diverged, match="finite state"):
        list(lyapunov.jacobians(lambda s, x: 1e200 * s * s, state=torch.ones(1, 1), steps=5, check=False))
