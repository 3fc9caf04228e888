"""A problem stands in the place of a system and its inputs, everywhere, and holds the caller's own objects."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import lyapunov
from cases import drawn, seeded
from tolerances import same

INPUTS = drawn(4, 60, 3, seed=7)


def lstm() -> nn.LSTM:
    return seeded(nn.LSTM, 3, 6, batch_first=True, scale=1.5)


class Reader(nn.Module):
    """A core with something in front."""

    def __init__(self) -> None:
        super().__init__()
        self.front, self.core = seeded(nn.Linear, 3, 3, scale=1.0), lstm()

    def forward(self, x: Tensor) -> Tensor:
        return self.core(self.front(x))[0]


def loop() -> lyapunov.ClosedLoop:
    return lyapunov.closed_loop(seeded(nn.GRUCell, 3, 6, scale=1.0), seeded(nn.Linear, 6, 3, scale=1.0))


CALLS: dict[str, Callable[..., Any]] = {
    "spectrum": lambda *along: lyapunov.spectrum(*along, k=2).exponents,
    "covariant_vectors": lambda *along: lyapunov.covariant_vectors(*along, k=2, settle=5, align=5, align_back=5).exponents,
    "local_exponents": lambda *along: lyapunov.local_exponents(*along, settle=5, align=5).growth.nan_to_num(),
    "exponent_sum": lambda *along: lyapunov.exponent_sum(*along, k=2),
    "flossing_loss": lambda *along: lyapunov.flossing_loss(*along, k=2),
    "gradient_exponents": lambda *along: lyapunov.gradient_exponents(*along, lags=5).exponents,
    "jacobians": lambda *along: next(iter(lyapunov.jacobians(*along))).matrix,
    "memory": lambda *along: lyapunov.memory(*along).steps,
    "input_reach": lambda *along: lyapunov.input_reach(*along, lags=5).log_norms,
    "floss_": lambda *along: lyapunov.floss_(*along, k=2, steps=1),
    "to_exponent_": lambda *along: lyapunov.init.to_exponent_(*along, largest=-0.5).exponents,
}


@pytest.mark.parametrize("name", CALLS)
def test_a_problem_stands_in_the_place_of_a_system_and_its_inputs(name: str) -> None:
    with torch.random.fork_rng():
        assert same(CALLS[name](lyapunov.problem(lstm(), INPUTS)), CALLS[name](lstm(), INPUTS))


def test_a_problem_of_a_loop_is_predicted_and_measured() -> None:
    asked, closed = lyapunov.problem(loop(), INPUTS, steps=40), loop()
    assert same(lyapunov.predict(asked), lyapunov.predict(closed, INPUTS, steps=40))
    both = lyapunov.loop_spectra(asked, k=2, settle=5, align=5)
    expected = lyapunov.loop_spectra(closed, INPUTS, steps=40, k=2, settle=5, align=5)
    assert same(both.free.exponents, expected.free.exponents)
    assert same(both.conditional.exponents, expected.conditional.exponents)
    with pytest.raises(lyapunov.InvalidInput, match="Expected a closed loop, got LSTM"):
        lyapunov.predict(lyapunov.problem(lstm(), INPUTS), steps=3)


def test_a_problem_of_a_whole_model_is_the_model_and_what_it_is_called_with() -> None:
    model = Reader()
    assert same(lyapunov.memory(lyapunov.problem(model, INPUTS)).steps, lyapunov.memory(model, INPUTS).steps)
    reach = lyapunov.input_reach(lyapunov.problem(model, INPUTS), lags=5)
    assert same(reach.log_norms, lyapunov.input_reach(model, INPUTS, lags=5).log_norms)


def test_a_problem_holds_the_callers_own_objects_and_weights_that_move_move_in_it() -> None:
    module = lstm().float()
    along = lyapunov.problem(module, INPUTS)
    assert along.system is module
    assert along.inputs is INPUTS
    before = lyapunov.spectrum(along, k=1).max
    with torch.no_grad():
        module.weight_hh_l0.mul_(0.5)
    after = lyapunov.spectrum(along, k=1)
    assert after.max != before
    assert after.max == lyapunov.spectrum(module, INPUTS, k=1).max
    assert after.settings.source_dtype == "float32"


def test_what_is_captured_is_a_problem_and_is_completed_by_what_it_leaves_open() -> None:
    captured = lyapunov.capture(Reader(), INPUTS)
    assert isinstance(captured, lyapunov.Problem)
    assert captured.system is captured.module
    hidden = lyapunov.problem(captured, linearization="hidden", dt=0.5)
    expected = lyapunov.spectrum(captured.module, captured.inputs, linearization="hidden", dt=0.5, k=2)
    assert same(lyapunov.spectrum(hidden, k=2).exponents, expected.exponents)
    assert same(lyapunov.spectrum(captured, k=2, linearization="hidden", dt=0.5).exponents, expected.exponents)
    assert hidden.core("core").linearization == "hidden"
    with pytest.raises(lyapunov.InvalidInput, match="`inputs` left out with what was captured"):
        lyapunov.spectrum(captured, INPUTS)
    with pytest.raises(lyapunov.InvalidInput, match="`dt` left out with a problem that has its own"):
        lyapunov.spectrum(hidden, dt=0.1)


def test_a_problem_says_one_thing_only() -> None:
    asked = lyapunov.problem(lstm(), INPUTS, linearization="hidden")
    for name, value in {"inputs": INPUTS, "linearization": "hidden"}.items():
        with pytest.raises(lyapunov.InvalidInput, match=f"`{name}` left out with a problem that has its own"):
            lyapunov.problem(asked, **{name: value})
    assert lyapunov.problem(asked, dt=0.1).dt == 0.1
    with pytest.raises(lyapunov.InvalidInput, match="linearization='full' here, got 'hidden'"):
        lyapunov.memory(asked)


@pytest.mark.usefixtures("shapes_unchecked")  # which would refuse it before
@pytest.mark.parametrize(
    ("word", "value"), [("linearization", "Full"), ("coupled", 1), ("dt", 0.0), ("dt", "1"), ("steps", 1), ("steps", 2.5)]
)
def test_a_problem_is_checked_when_it_is_made(word: str, value: Any) -> None:
    with pytest.raises(lyapunov.InvalidInput, match=f"`{word}`"):
        lyapunov.problem(lstm(), **{word: value})


def test_a_problem_is_shown_by_shapes() -> None:
    assert repr(lyapunov.problem(lstm(), INPUTS, dt=0.1)) == "Problem(system=LSTM, inputs=Tensor(4, 60, 3), dt=0.1)"
