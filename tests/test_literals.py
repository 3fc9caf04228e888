"""Every public function refuses every word, flag and count that it does not know, naming those it does.

Found by introspection: whatever parameter of a public callable is annotated with words, a dtype, a flag or a whole number is
tried with wrong ones. A parameter to come is tried without anybody adding it here.
"""

import inspect
import re
import types
from collections.abc import Callable, Iterator
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

import pytest
import torch
from torch import Tensor, nn

import lyapunov
from cases import drawn, seeded
from lyapunov.intake import load_checkpoint
from lyapunov.systems import LSTM, RNN

INPUTS = drawn(3, 40, 4, seed=1)
LAYER = seeded(nn.LSTM, 4, 5, batch_first=True, scale=1.0)
LOOP = lyapunov.closed_loop(LAYER, seeded(nn.Linear, 5, 4, scale=1.0))
pytestmark = pytest.mark.usefixtures("shapes_unchecked")  # which would refuse most of it before
STEP_STATE = torch.zeros(3, 4, dtype=torch.float64)
PILOT = lyapunov.spectrum(LAYER, INPUTS, k=2, settle=5, align=5)


class Reader(nn.Module):
    """A model with a recurrent core, and losses step by step."""

    def __init__(self) -> None:
        super().__init__()
        self.core = seeded(nn.GRU, 4, 5, batch_first=True, scale=1.0)

    def forward(self, x: Tensor) -> Tensor:
        return self.core(x)[0].square().mean(-1)


def step(state: Tensor, x: Any) -> Tensor:
    return torch.tanh(0.9 * state + (0.0 if x is None else x))


WEIGHTS = (drawn(5, 4, seed=2), drawn(5, 5, seed=3)), (drawn(20, 4, seed=4), drawn(20, 5, seed=5))
CALLS: dict[str, tuple[Callable[..., Any], Callable[..., Any]]] = {
    "spectrum": (lyapunov.spectrum, lambda **to: lyapunov.spectrum(LAYER, INPUTS, **to)),
    "covariant_vectors": (lyapunov.covariant_vectors, lambda **to: lyapunov.covariant_vectors(LAYER, INPUTS, **to)),
    "local_exponents": (lyapunov.local_exponents, lambda **to: lyapunov.local_exponents(LAYER, INPUTS, **to)),
    "gradient_exponents": (
        lyapunov.gradient_exponents,
        lambda **to: lyapunov.gradient_exponents(LAYER, INPUTS, **({"lags": 5} | to)),
    ),
    "gradient_decay": (
        lyapunov.gradient_decay,
        lambda **to: lyapunov.gradient_decay(READER, lambda model, x: model(x), INPUTS, **({"lags": 5} | to)),
    ),
    "memory": (lyapunov.memory, lambda **to: lyapunov.memory(LAYER, INPUTS, **to)),
    "input_reach": (lyapunov.input_reach, lambda **to: lyapunov.input_reach(LAYER, INPUTS, **({"lags": 5} | to))),
    "jacobians": (lyapunov.jacobians, lambda **to: lyapunov.jacobians(LAYER, INPUTS, **to)),
    "exponent_sum": (lyapunov.exponent_sum, lambda **to: lyapunov.exponent_sum(LAYER, INPUTS, **({"k": 2} | to))),
    "flossing_loss": (lyapunov.flossing_loss, lambda **to: lyapunov.flossing_loss(LAYER, INPUTS, **({"k": 2} | to))),
    "floss_": (lyapunov.floss_, lambda **to: lyapunov.floss_(LAYER, INPUTS, **({"k": 2, "steps": 1} | to))),
    "to_exponent_": (lyapunov.init.to_exponent_, lambda **to: lyapunov.init.to_exponent_(LAYER, INPUTS, **to)),
    "loop_spectra": (
        lyapunov.loop_spectra,
        lambda **to: lyapunov.loop_spectra(LOOP, INPUTS, **({"steps": 20, "settle": 5, "align": 5} | to)),
    ),
    "predict": (lyapunov.predict, lambda **to: lyapunov.predict(LOOP, INPUTS, **({"steps": 2} | to))),
    "effective_state_size": (
        lyapunov.effective_state_size,
        lambda **to: lyapunov.effective_state_size(torch.ones(3, 3).tril(), **to),
    ),
    "plan": (lyapunov.plan, lambda **to: lyapunov.plan(PILOT, **({"standard_error": 0.01} | to))),
    "core": (lyapunov.Captured.core, lambda **to: lyapunov.capture(READER, INPUTS).core(**to)),
    "Monitor": (lyapunov.Monitor.__init__, lambda **to: lyapunov.Monitor(LAYER, INPUTS, **to)),
    "AlarmThresholds": (lyapunov.AlarmThresholds.__init__, lambda **to: lyapunov.AlarmThresholds(**to)),
    "problem": (lyapunov.problem, lambda **to: lyapunov.problem(LAYER, INPUTS, **to)),
    "QR": (lyapunov.QR.__init__, lambda **to: lyapunov.QR(**to)),
    "RunOptions": (lyapunov.RunOptions.__init__, lambda **to: lyapunov.RunOptions(**to)),
    "RNN": (RNN.__init__, lambda **to: RNN(*WEIGHTS[0], **to)),
    "LSTM": (LSTM.__init__, lambda **to: LSTM(*WEIGHTS[1], **to)),
}
READER = Reader()
ANY_INT = {("RNN", "layer"), ("LSTM", "layer")}
"""Numbers that are only passed on."""

FOUND = {("exponent_sum", "settle"), ("exponent_sum", "align")}
"""None is taken, as it is in the other analyses."""


def alternatives(annotation: Any) -> Iterator[Any]:
    if get_origin(annotation) in (Union, types.UnionType):
        for part in get_args(annotation):
            yield from alternatives(part)
    else:
        yield annotation


def words(annotation: Any) -> tuple[str, ...]:
    return tuple(word for part in alternatives(annotation) if get_origin(part) is Literal for word in get_args(part))


def wrong(annotation: Any) -> list[Any]:
    """Values that no parameter of that kind takes."""
    parts, known = list(alternatives(annotation)), words(annotation)
    kinds = {part for part in parts if isinstance(part, type)}
    if known:
        misspelt = [known[0].capitalize(), known[-1].upper(), f"{known[0]} ", known[0][:-1], "", "none"]
        return [*misspelt, b"full", *([] if {int, Tensor} & kinds else [1, True, torch.ones(2)])]
    if torch.dtype in kinds:
        wrong_types = [torch.float16, torch.int64, torch.complex128, "float64", "torch.float64", float, 64]
        return [*wrong_types, *([] if type(None) in kinds else [None])]
    if bool in kinds:
        return ["False", "no", "", 1, 0, torch.tensor(True), *([] if type(None) in kinds else [None])]
    if int in kinds and not {str, float} & kinds:
        return [-1, 1.5, "2", "all", True, torch.inf, *([] if type(None) in kinds else [None])]
    return []


def hints(function: Callable[..., Any]) -> dict[str, Any]:
    function = inspect.unwrap(function)
    found = get_type_hints(function)
    return {name: found[name] for name in inspect.signature(function).parameters if name in found}


TRIED = [
    (call, name, value)
    for call, (function, _) in CALLS.items()
    for name, annotation in hints(function).items()
    for value in wrong(annotation)
    if (call, name) not in ANY_INT and not (value is None and (call, name) in FOUND)
    if isinstance(value, str) or name != "stop_on"  # a collection of words; what is none is Python's to refuse
]


@pytest.mark.parametrize(
    ("call", "name", "value"), TRIED, ids=lambda value: repr(value)[:24] if not isinstance(value, str) else value
)
def test_a_wrong_word_flag_or_count_is_refused(call: str, name: str, value: Any) -> None:
    function, run = CALLS[call]
    with pytest.raises(lyapunov.InvalidInput, match=f"`{name}`") as caught:
        run(**{name: value})
    message = str(caught.value)
    assert re.match(r"Expected .+(got|but):? .+\. [A-Z].+", message, re.DOTALL), message
    for word in words(hints(function)[name]):
        assert word in message


@pytest.mark.parametrize("call", CALLS)
def test_what_the_calls_are_tried_with_is_right_but_for_that(call: str) -> None:
    if call in ("to_exponent_", "floss_"):
        pytest.skip("moves the weights of the layer that all calls share")
    CALLS[call][1]()


def test_every_public_callable_with_words_is_tried() -> None:
    tried = {function for function, _ in CALLS.values()}
    for name in lyapunov.__all__:
        public = getattr(lyapunov, name)
        if not inspect.isfunction(public):
            continue
        found = hints(public)
        if any(words(annotation) or annotation is torch.dtype for annotation in found.values()):
            assert public in tried, name


@pytest.mark.parametrize("value", ["Tanh", "sigmoid", "", 1])
def test_a_checkpoints_nonlinearity_is_one_of_two(tmp_path: Any, value: Any) -> None:
    path = tmp_path / "rnn.pt"
    torch.save(nn.RNN(3, 4).state_dict() if value is None else seeded(nn.RNN, 3, 4).state_dict(), path)
    with pytest.raises(lyapunov.InvalidInput, match="`nonlinearity` to be one of 'tanh', 'relu'"):
        load_checkpoint(path, nonlinearity=value)


@pytest.mark.parametrize("kind", [nn.GRU, nn.LSTM, nn.RNN])
@pytest.mark.parametrize("given", ["Hidden", "FULL", None, 3])
def test_no_kind_of_system_takes_a_linearization_it_does_not_know(kind: type[nn.Module], given: Any) -> None:
    module = seeded(kind, 4, 5, batch_first=True, scale=1.0)
    for system, inputs in ((module, INPUTS), (step, INPUTS), (lyapunov.capture(module, INPUTS), None)):
        with pytest.raises(lyapunov.InvalidInput, match="'full', 'hidden'"):
            lyapunov.spectrum(system, inputs, state=STEP_STATE if system is step else None, linearization=given)
