"""A compiled step is the step: the same numbers to rounding, the same errors, and the ordinary way wherever it cannot be."""

import os
import subprocess
import sys
import warnings

import pytest
import torch
from torch import nn

import lyapunov
from cases import drawn, seeded
from lyapunov.systems import Step
from lyapunov.systems import compiled as compiled_system
from lyapunov.systems.compiled import Graphs, lacks_compiler
from tolerances import ROUNDING, same

BATCH, SIZE = 3, 5
CELL, OTHER = seeded(nn.GRUCell, 4, SIZE), seeded(nn.GRUCell, SIZE, SIZE)
INPUTS = drawn(BATCH, 60, 4, seed=3)
START = drawn(BATCH, SIZE, seed=4)


MACHINE_CODE = sys.modules["lyapunov.systems.compiled"]


@pytest.fixture
def compiler():
    if lacks_compiler():
        pytest.skip("no C++ compiler, without which PyTorch makes no machine code for the CPU")


def lorenz96(state, _, dt=0.05):
    def rate(x):
        return (x.roll(-1, -1) - x.roll(2, -1)) * x.roll(1, -1) - x + 8.0

    a = rate(state)
    b = rate(state + dt / 2 * a)
    c = rate(state + dt / 2 * b)
    return state + dt / 6 * (a + 2 * b + 2 * c + rate(state + dt * c))


def two_cells(state, x):
    fast = CELL(x, state["fast"])
    return {"fast": fast, "slow": (OTHER(fast, state["slow"][0]),)}


def counted(h, x, carried):
    return CELL(x, h) * (1 - 0.01 * carried[1].unsqueeze(-1)), (carried[0] + 1, carried[1] * 0.9)


def turning(z, x):
    return torch.tanh(z * torch.polar(torch.ones(SIZE).double(), torch.arange(SIZE).double())) + x[:, :1]


STEPS = {
    "Runge-Kutta": (lorenz96, {"state": 8 + drawn(BATCH, 12, seed=5), "steps": 60, "k": 5}),
    "one sequence": (lorenz96, {"state": 8 + drawn(1, 12, seed=5), "steps": 60}),
    "weights and inputs": (lambda h, x: CELL(x, h), {"inputs": INPUTS, "state": START}),
    "pytree": (two_cells, {"inputs": INPUTS, "state": {"fast": START, "slow": (0.5 * START,)}, "k": 3}),
    "carried": (
        counted,
        {"inputs": INPUTS, "state": START, "carried": (torch.zeros(BATCH).long(), torch.ones(BATCH).double())},
    ),
    "complex": (turning, {"inputs": INPUTS, "state": torch.complex(START, -START), "k": 2}),
    "float32": (lambda h, x: CELL(x, h), {"inputs": INPUTS, "state": START, "dtype": torch.float32, "k": 2}),
    "lengths": (lambda h, x: CELL(x, h), {"inputs": INPUTS, "state": START, "lengths": torch.tensor([60, 31, 44]), "k": 2}),
    "chunks": (lambda h, x: CELL(x, h), {"inputs": INPUTS, "state": START, "chunks": 2, "k": 2}),
    "known flow": (lyapunov.known.lorenz96(12).system, {"state": 8 + drawn(BATCH, 12, seed=5), "steps": 60, "k": 5}),
}


def spectra(system, **asked):
    return [lyapunov.spectrum(system, compile=way, **asked) for way in (False, True)]


@pytest.mark.parametrize("name", STEPS)
def test_a_compiled_run_has_the_numbers_and_the_verdict_of_the_run_itself(name: str, compiler) -> None:
    step, asked = STEPS[name]
    before = torch.random.get_rng_state(), torch.get_num_threads()
    plain, fast = spectra(step, settle=5, align=10, **asked)
    assert (plain.settings.compiled, fast.settings.compiled) == (False, True)
    tolerance = 1e-3 if name == "float32" else 1e-8
    torch.testing.assert_close(fast.exponents, plain.exponents, rtol=0, atol=tolerance)
    torch.testing.assert_close(fast.standard_errors, plain.standard_errors, rtol=1e-2 if name == "float32" else 1e-5, atol=1e-8)
    assert fast.verdict.kinds == plain.verdict.kinds
    assert torch.equal(before[0], torch.random.get_rng_state())
    assert before[1] == torch.get_num_threads()


def test_step_and_push_are_those_of_the_system_and_no_more_is_compiled_than_two_graphs(compiler) -> None:
    """Whatever the number of columns is, and however the arguments lie in memory."""
    system = Step(lambda h, x: CELL(x, h), START, dtype=torch.float64)
    with torch.no_grad(), system.running():
        graphs = Graphs(system, columns=3)
        graphs.prepare(START, [INPUTS[:, 0], INPUTS[:, 1]], lambda _: None)
        fast = graphs.system()
        for columns in (1, 2, 3, 4, 7):
            frame, x = drawn(BATCH, SIZE, columns, seed=columns), INPUTS[:, columns]
            for own in (frame, frame.mT.contiguous().mT, frame[:1].expand(BATCH, -1, -1)):
                state, (moved,) = fast.push(START, x, (own,))
                expected, (pushed,) = system.push(START, x, (own,))
                torch.testing.assert_close(moved, pushed, rtol=0, atol=ROUNDING)
                torch.testing.assert_close(state, expected, rtol=0, atol=ROUNDING)
        torch.testing.assert_close(fast.step(START.mT.contiguous().mT, x), system.step(START, x), rtol=0, atol=ROUNDING)
        assert len(graphs._made) == 2
        (pulled,) = fast.pull(START, x, (frame,))
    torch.testing.assert_close(pulled, system.pull(START, x, (frame,))[0], rtol=0, atol=ROUNDING)
    gradient = torch.func.grad(lambda state: fast.step(state, x).sum())(START)
    torch.testing.assert_close(
        gradient, torch.func.grad(lambda state: system.step(state, x).sum())(START), rtol=0, atol=ROUNDING
    )
    assert graphs.failed is None
    assert fast.compiled


def test_weights_that_moved_between_two_runs_are_seen(compiler) -> None:
    """Those of a module, cast for each run, and a tensor that the step refers to."""
    cell, gain = seeded(nn.GRUCell, 4, SIZE, scale=1.0), torch.ones(SIZE, dtype=torch.float64)
    asked = {"inputs": INPUTS, "state": START, "settle": 5, "align": 10, "k": 2}
    system = Step(lambda h, x: gain * cell(x, h), START, dtype=torch.float64)
    found = [lyapunov.spectrum(system, compile=True, **asked)]
    with torch.no_grad():
        cell.weight_hh.mul_(0.3)
    found.append(lyapunov.spectrum(system, compile=True, **asked))
    gain.mul_(0.5)
    found.append(lyapunov.spectrum(system, compile=True, **asked))
    assert all(one.settings.compiled for one in found)
    assert same(found[-1].exponents, lyapunov.spectrum(system, compile=False, **asked).exponents)
    assert not same(found[0].exponents, found[1].exponents)
    assert not same(found[1].exponents, found[2].exponents)


def test_the_same_operations_are_compiled_once_in_a_process(monkeypatch) -> None:
    """Whatever the values are of the tensors that they refer to; a number in the step is part of the operations."""
    import torch._inductor

    made = []
    monkeypatch.setattr(MACHINE_CODE, "_MADE", {})
    monkeypatch.setattr(torch._inductor, "compile", lambda graph, given, options: made.append(1) or graph)
    for times, (factor, number) in ((2, (0.9, 1.0)), (2, (0.8, 1.0)), (4, (0.8, 0.9))):
        gain = torch.full((SIZE,), factor, dtype=torch.float64)

        def step(h, x, gain=gain, number=number):
            return number * gain * (CELL(x, h) + torch.tensor([1.0, 2.0, 3.0, 4.0, 5.0]))

        fast, plain = (lyapunov.spectrum(step, compile=way, **FAST) for way in (True, False))
        assert fast.settings.compiled
        assert same(fast.exponents, plain.exponents)
        assert len(made) == times


def test_what_is_kept_is_for_tensors_of_one_form(compiler) -> None:
    """The operations alone do not tell how many sequences there are."""
    for batch in (1, 2):
        fast = lyapunov.spectrum(
            lambda h, _: h.sin(), state=drawn(batch, 3, seed=1), steps=5, settle=0, align=0, compile=True, check=False
        )
        assert fast.settings.compiled


def test_a_step_of_too_many_operations_is_not_compiled_for_minutes(monkeypatch) -> None:
    monkeypatch.setattr(MACHINE_CODE, "MOST_OPERATIONS", 10)
    with pytest.warns(lyapunov.LyapunovWarning, match="a step of .* operations, which would take minutes"):
        assert not lyapunov.spectrum(lambda h, x: CELL(x, h), compile=True, **FAST).settings.compiled


def test_a_state_that_diverges_is_named_at_the_same_step(compiler) -> None:
    asked = {"state": torch.tensor([[0.9, 1.01]]).double(), "steps": 80, "settle": 0, "align": 0, "k": 1, "qr_every": 1}
    errors = []
    for way in (False, True):
        with pytest.raises(lyapunov.Diverged) as caught:
            lyapunov.spectrum(lambda h, x: h * h.abs().exp() / 2.4, compile=way, **asked)
        errors.append(caught.value)
    plain, fast = errors
    assert fast.step == plain.step > 3
    assert str(fast) == str(plain)
    assert fast.partial.settings.compiled
    assert not plain.partial.settings.compiled
    assert same(fast.partial.exponents, plain.partial.exponents)


def branching(h, x):
    return 0.5 * CELL(x, h) if float(x.sum()) > 0 else CELL(x, h)


FAST = {"inputs": INPUTS, "state": START, "settle": 5, "align": 10, "k": 2}


def test_a_step_that_asks_for_values_runs_as_it_is_and_one_sentence_says_so() -> None:
    with pytest.warns(lyapunov.LyapunovWarning, match="Expected a step that can be compiled, got") as said:
        fast = lyapunov.spectrum(branching, compile=True, **FAST)
    assert len(said) == 1
    assert not fast.settings.compiled
    assert same(fast.exponents, lyapunov.spectrum(branching, compile=False, **FAST).exponents)


def test_a_step_that_changes_by_itself_is_not_taken_for_what_it_was_at_first(compiler) -> None:
    seen = []

    def step(h, x):
        seen.append(1)
        return CELL(x, h) * (1 - 1e-3 * (len(seen) > 1))

    with pytest.warns(lyapunov.LyapunovWarning, match="gives other numbers"):
        fast = lyapunov.spectrum(step, compile=True, check=False, **FAST)
    assert not fast.settings.compiled
    assert same(fast.exponents, lyapunov.spectrum(step, check=False, **FAST).exponents)


@pytest.mark.parametrize("system", [seeded(nn.LSTM, 4, SIZE, batch_first=True), nn.GRUCell(4, SIZE).double()])
def test_a_closed_form_is_left_alone(system) -> None:
    with pytest.warns(lyapunov.LyapunovWarning, match="whose closed form is fast as it is"):
        assert not lyapunov.spectrum(system, INPUTS, settle=5, align=10, k=2, compile=True).settings.compiled


def test_other_numbers_than_the_steps_own_are_refused(monkeypatch) -> None:
    """The first two calls of each graph are compared, to rounding."""
    monkeypatch.setattr(MACHINE_CODE, "_machine_code", lambda function, tensors: lambda *given: _nearly(function(*given)))
    with pytest.warns(lyapunov.LyapunovWarning, match="gives other numbers"):
        fast = lyapunov.spectrum(lambda h, x: CELL(x, h), compile=True, **FAST)
    assert not fast.settings.compiled
    assert same(fast.exponents, lyapunov.spectrum(lambda h, x: CELL(x, h), **FAST).exponents)


def _nearly(found):
    return [part + 1e-9 for part in found]


def test_rounding_is_no_other_number(monkeypatch) -> None:
    monkeypatch.setattr(
        MACHINE_CODE,
        "_machine_code",
        lambda function, tensors: lambda *given: [part * (1 + 1e-15) for part in function(*given)],
    )
    assert lyapunov.spectrum(lambda h, x: CELL(x, h), compile=True, **FAST).settings.compiled


def test_what_fails_in_the_middle_of_a_run_goes_on_without(monkeypatch) -> None:
    left = [40]

    def failing(function, tensors):
        def run(*given):
            left[0] -= 1
            if left[0] < 0:
                raise RuntimeError("no more")
            return function(*given)

        return run

    monkeypatch.setattr(MACHINE_CODE, "_machine_code", failing)
    fast = lyapunov.spectrum(lambda h, x: CELL(x, h), compile=True, **FAST)
    assert left[0] == -1
    assert not fast.settings.compiled
    assert same(fast.exponents, lyapunov.spectrum(lambda h, x: CELL(x, h), **FAST).exponents)


def test_a_wrong_return_is_refused_as_ever(compiler) -> None:
    for way in (False, True):
        with pytest.raises(lyapunov.BadSystem, match="of shape"):
            lyapunov.spectrum(lambda h, x: h[:, :2], compile=way, check=False, **FAST)


def test_without_a_compiler_everything_works(monkeypatch) -> None:
    """It says so where compiling was asked for, and nothing where it was not."""
    monkeypatch.setattr(MACHINE_CODE, "_machine_code", _no_compiler)
    monkeypatch.setattr(MACHINE_CODE, "lacks_compiler", lambda: True)
    monkeypatch.setattr(MACHINE_CODE, "PAYS_FROM", 0.0)
    monkeypatch.setattr(MACHINE_CODE, "LEAST_STEPS", 0)
    with pytest.warns(
        lyapunov.LyapunovWarning, match="Expected a step that can be compiled, got RuntimeError: no compiler. The"
    ):
        assert not lyapunov.spectrum(lambda h, x: CELL(x, h), compile=True, **FAST).settings.compiled
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert not lyapunov.spectrum(lambda h, x: CELL(x, h), **FAST).settings.compiled


def _no_compiler(function, tensors):
    raise RuntimeError("no compiler.\nAnd much more.")


def test_unasked_only_a_long_run_is_compiled(monkeypatch) -> None:
    made = []
    monkeypatch.setattr(MACHINE_CODE, "_machine_code", lambda function, tensors: made.append(1) or _known_answers(function))
    monkeypatch.setattr(MACHINE_CODE, "lacks_compiler", lambda: False)
    system = Step(lambda h, x: CELL(x, h), START, dtype=torch.float64)
    about = {"columns": 2, "wanted": None}
    with torch.no_grad(), system.running():
        assert not compiled_system(system, START, [INPUTS[:, 0]], steps=60, **about).compiled
        assert not compiled_system(system, START, [INPUTS[:, 0]], steps=2000, **about).compiled
        monkeypatch.setattr(MACHINE_CODE, "PAYS_FROM", 0.0)
        assert not compiled_system(system, START, [INPUTS[:, 0]], steps=1999, **about).compiled
        assert made == []
        monkeypatch.undo()
        monkeypatch.setattr(MACHINE_CODE, "_machine_code", lambda function, tensors: made.append(1) or _known_answers(function))
        monkeypatch.setattr(MACHINE_CODE, "lacks_compiler", lambda: False)
        assert compiled_system(system, START, [INPUTS[:, 0]], steps=10**8, **about).compiled
        assert not system.compiled
    assert len(made) == 2
    assert not lyapunov.spectrum(system, **FAST).settings.compiled


def _known_answers(function):
    """As quick as machine code: each answer is worked out once."""
    known = {}

    def run(*given):
        key = tuple(float(one.sum()) for one in given)
        if key not in known:
            known[key] = function(*given)
        return known[key]

    return run


def test_unasked_what_is_no_faster_is_not_used(monkeypatch) -> None:
    monkeypatch.setattr(MACHINE_CODE, "_machine_code", lambda function, tensors: function)
    monkeypatch.setattr(MACHINE_CODE, "lacks_compiler", lambda: False)
    system = Step(lambda h, x: CELL(x, h), START, dtype=torch.float64)
    with torch.no_grad(), system.running():
        assert not compiled_system(system, START, [INPUTS[:, 0]], columns=2, steps=10**8, wanted=None).compiled
        assert compiled_system(system, START, [INPUTS[:, 0]], columns=2, steps=10**8, wanted=True).compiled


def test_the_setting_is_saved_and_files_without_it_load(tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(MACHINE_CODE, "_machine_code", lambda function, tensors: function)
    spectrum = lyapunov.spectrum(lambda h, x: CELL(x, h), compile=True, **FAST)
    spectrum.save(tmp_path / "one.safetensors")
    assert lyapunov.Spectrum.load(tmp_path / "one.safetensors").settings.compiled
    assert "compiled" in str(spectrum.settings)
    old = {name: value for name, value in vars(spectrum.settings).items() if name != "compiled"}
    assert not lyapunov.Settings(**old).compiled


def test_options_say_the_same_as_the_keyword(shapes_unchecked) -> None:
    assert lyapunov.RunOptions().compile is None
    with pytest.raises(lyapunov.InvalidInput, match="`compile`"):
        lyapunov.RunOptions(compile="yes")
    with pytest.raises(lyapunov.InvalidInput, match="got both"):
        lyapunov.spectrum(lambda h, x: CELL(x, h), compile=True, options=lyapunov.RunOptions(), **FAST)


def test_importing_the_package_brings_no_compiler_in() -> None:
    code = "import sys, torch, lyapunov; lyapunov.spectrum; print({'torch._inductor', 'torch._dynamo'} & set(sys.modules))"
    here = {**os.environ, "PYTHONPATH": os.pathsep.join(part for part in sys.path if part)}
    out = subprocess.run([sys.executable, "-c", code], env=here, capture_output=True, text=True, check=True).stdout
    assert out.strip() == "set()"
