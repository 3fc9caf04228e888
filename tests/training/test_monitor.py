"""A monitor sees what `lyapunov.spectrum` sees, keeps it, and leaves the training as it would have been."""

import copy
import io
import math
import os
import random
import re
import subprocess
import sys
from pathlib import Path
from subprocess import PIPE

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional

import lyapunov
from cases import drawn, seeded
from lyapunov.training import AlarmThresholds
from tolerances import SAME, same

SYMBOLS, UNITS = 11, 12
TOKENS = torch.randint(0, SYMBOLS, (40, 8, 25), generator=torch.Generator().manual_seed(5))
PROBE = torch.randint(0, SYMBOLS, (4, 60), generator=torch.Generator().manual_seed(6))
CORE_PROBE = drawn(4, 60, 3, seed=7)
DOUBLE = lyapunov.RunOptions(dtype=torch.float64)


class Model(nn.Module):
    """Dropout, batch normalisation and a core: everything that a careless measurement would disturb."""

    def __init__(self, kind: type[nn.RNNBase] = nn.LSTM) -> None:
        super().__init__()
        self.embedding = nn.Embedding(SYMBOLS, 6)
        self.dropout = nn.Dropout(0.2)
        self.lstm = kind(6, UNITS, num_layers=2, dropout=0.3, batch_first=True)
        self.norm = nn.BatchNorm1d(UNITS)
        self.readout = nn.Linear(UNITS, SYMBOLS)

    def forward(self, tokens):
        hidden = self.lstm(self.dropout(self.embedding(tokens)))[0]
        return self.readout(self.norm(hidden.flatten(0, 1)))


def built() -> Model:
    """One in training mode, the global random state as it was."""
    with torch.random.fork_rng():
        torch.manual_seed(3)
        return Model().train()


def core() -> nn.LSTM:
    return seeded(nn.LSTM, 3, UNITS, batch_first=True, scale=1.5)


def monitor(system, probe=CORE_PROBE, *, directory, **kwargs) -> lyapunov.Monitor:
    return lyapunov.Monitor(system, probe, directory=directory, **{"every": 1, "k": 3, "options": DOUBLE, **kwargs})


def nudge(module: nn.Module, size: float = 0.01) -> None:
    """A training step's worth of change, the same every time."""
    generator = torch.Generator().manual_seed(11)
    with torch.no_grad():
        for weight in module.parameters():
            weight.add_(size * torch.randn(weight.shape, generator=generator, dtype=weight.dtype))


def has_bfloat16(kind: type[nn.RNNBase]) -> bool:
    """Whether PyTorch can train such a layer in bfloat16 here: of an LSTM it asks oneDNN, which wants AVX-512 for it."""
    try:
        with torch.random.fork_rng(), torch.autocast("cpu", dtype=torch.bfloat16):
            kind(3, 4)(torch.ones(2, 1, 3))[0].sum().backward()
    except RuntimeError:
        return False
    return True


def train(make_monitor, steps: int = 12, *, kind: type[nn.RNNBase] = nn.LSTM, autocast: bool = False):
    """Seeded training with everything random in it; the final weights, buffers, moments, losses and random states."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        random.seed(0)
        np.random.seed(0)
        model = Model(kind)
        optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
        watching = make_monitor(model)
        losses = []
        for step in range(steps):
            tokens = TOKENS[step]
            with torch.autocast("cpu", dtype=torch.bfloat16, enabled=autocast):
                loss = functional.cross_entropy(model(tokens[:, :-1]), tokens[:, 1:].flatten())
                if watching is not None and autocast:
                    watching.observe(step, loss=loss)
            optimizer.zero_grad()
            loss.backward()
            if watching is not None and not autocast:
                watching.observe(step, loss=loss)  # between backward and step: gradients must stay
            optimizer.step()
            losses.append(loss.item())
        state = {name: value.clone() for name, value in model.state_dict().items()}
        moments = [value for group in optimizer.state.values() for value in group.values()]
        return state, moments, losses, torch.get_rng_state(), random.getstate(), str(np.random.get_state())


@pytest.mark.bits
@pytest.mark.parametrize(
    ("kind", "autocast"),
    [(nn.LSTM, False), (nn.LSTM, True), (nn.GRU, True)],
    ids=["LSTM-float32", "LSTM-bfloat16", "GRU-bfloat16"],
)
@pytest.mark.parametrize("probe", ["model", "core", "next"])
def test_training_is_the_same_to_the_last_bit(probe: str, kind, autocast: bool, tmp_path, shapes_unchecked) -> None:
    """Of a GRU in bfloat16 everywhere: PyTorch adds it up itself. (Annotations are not checked: that draws random numbers.)"""
    if autocast and not has_bfloat16(kind):
        pytest.skip(f"PyTorch has no {kind.__name__} in bfloat16 on this processor")

    def watching(model: Model) -> lyapunov.Monitor:
        system, along = {"model": (model, PROBE), "core": (model.lstm, drawn(3, 40, 6, seed=8)), "next": (model, None)}[probe]
        return lyapunov.Monitor(system, along, every=3, directory=tmp_path)

    plain, watched = (train(one, kind=kind, autocast=autocast) for one in (lambda _: None, watching))
    assert len(lyapunov.Run.load(tmp_path).readings) == 4
    for name, value in plain[0].items():
        assert torch.equal(value, watched[0][name]), name
    assert all(torch.equal(one, two) for one, two in zip(plain[1], watched[1], strict=True))
    assert plain[2] == watched[2]
    assert torch.equal(plain[3], watched[3])
    assert plain[4:] == watched[4:]


def test_a_reading_leaves_gradients_flags_versions_hooks_and_grad_mode(tmp_path) -> None:
    model = built()
    model.lstm.eval()
    with torch.random.fork_rng():
        functional.cross_entropy(model(PROBE), PROBE.flatten()).backward()
    before = [(weight.grad.clone(), weight.grad, weight._version) for weight in model.parameters()]
    flags = [part.training for part in model.modules()]
    watching = lyapunov.Monitor(model, PROBE, every=1, directory=tmp_path)
    watching.observe(0)
    for weight, (copied, gradient, version) in zip(model.parameters(), before, strict=True):
        assert weight.grad is gradient
        assert torch.equal(gradient, copied)
        assert weight._version == version
    assert [part.training for part in model.modules()] == flags
    assert not any(part._forward_pre_hooks or part._forward_hooks for part in model.modules())
    assert torch.is_grad_enabled()


def test_the_first_reading_is_the_spectrum(tmp_path) -> None:
    module = core()
    reading = monitor(module, directory=tmp_path).observe(7, epoch=2, loss=1.25, extra=None)
    found = lyapunov.spectrum(module, CORE_PROBE, k=3)
    assert same(reading.exponents, found.exponents)
    assert same(reading.standard_errors, found.standard_errors)
    assert same(reading.max_interval, found.interval()[0])
    assert same((reading.max, reading.mean, reading.mean_error), (found.max, found.mean, found.mean_standard_error))
    assert reading.memory == pytest.approx(-1 / reading.max)
    assert reading.timescale[0] == found.timescales[0][0]
    assert same(reading.timescale[1:], found.timescales[0][1:])
    assert reading.verdict == str(found.verdict)
    assert (reading.step, reading.epoch, reading.losses, reading.taken) == (7, 2, {"loss": 1.25}, 3)
    kept = lyapunov.Run.load(tmp_path)
    assert repr(kept.readings[0]) == repr(reading)
    assert same(kept.spectra()[7].exponents, found.exponents)


def test_a_model_is_read_along_what_its_core_really_receives(tmp_path) -> None:
    model = built().eval()
    reading = lyapunov.Monitor(model, PROBE, every=1, k=2, options=DOUBLE, directory=tmp_path).observe(0)
    with torch.no_grad():
        received = model.embedding(PROBE)
    assert same(reading.exponents, lyapunov.spectrum(model.lstm, received, k=2).exponents)


def test_the_next_batch_is_what_the_core_gets_in_training(tmp_path) -> None:
    model = built()
    model.dropout.p = 0.0
    watching = lyapunov.Monitor(model, every=1, k=2, sequences=5, options=DOUBLE, directory=tmp_path)
    assert watching.observe(0) is None
    assert len(model.lstm._forward_pre_hooks) == 1
    with torch.random.fork_rng():
        model(TOKENS[0])
    assert len(model.lstm._forward_pre_hooks) == 0
    reading = watching.observe(1)
    with torch.no_grad():
        received = model.embedding(TOKENS[0][:5])
    assert same(reading.exponents, lyapunov.spectrum(model.lstm, received, k=2).exponents)


def test_the_batch_of_the_step_that_is_due_is_caught_and_no_validation(tmp_path) -> None:
    module = core().train()
    watching = lyapunov.Monitor(module, every=5, k=2, directory=tmp_path)
    for step in range(12):
        module.eval()
        module(drawn(2, 30, 3, seed=99))
        module.train()
        module(drawn(4, 30, 3, seed=step))
        watching.observe(step)
    spectra = lyapunov.Run.load(tmp_path).spectra()
    assert list(spectra) == [1, 5, 10]
    assert all(found.settings.batch == 4 for found in spectra.values())
    single = lyapunov.spectrum(module, drawn(4, 30, 3, seed=1), k=2, dtype=torch.float32)
    assert spectra[1].exponents == pytest.approx(single.exponents, abs=1e-6)


@pytest.mark.filterwarnings("ignore:.*left out")
def test_batches_of_another_length_are_measured_from_a_cold_start(tmp_path) -> None:
    module = core().train()
    watching = lyapunov.Monitor(module, every=1, k=2, directory=tmp_path)
    watching.observe(0)
    packed = nn.utils.rnn.pack_padded_sequence(drawn(3, 30, 3, seed=9), torch.tensor([30, 20, 9]), batch_first=True)
    shapes = [(4, 60), (4, 60), (4, 60), (4, 20), (3, 20), (4, 60)]
    for step, batch in enumerate([*(drawn(*shape, 3, seed=0) for shape in shapes), packed, packed], start=1):
        module(hx=None, input=batch)
        assert watching.observe(step).failure is None
    state = (drawn(1, 12, UNITS, seed=1), drawn(1, 12, UNITS, seed=2))
    module(drawn(12, 60, 3, seed=0), state)
    found = watching.observe(20).spectrum
    expected = lyapunov.spectrum(module, drawn(12, 60, 3, seed=0)[:10], state=tuple(part[:, :10] for part in state), k=2)
    assert found.exponents == pytest.approx(expected.exponents, abs=1e-5)


def test_a_core_that_is_never_called_is_told_once(tmp_path) -> None:
    watching = lyapunov.Monitor(built(), every=1, directory=tmp_path)
    with pytest.warns(lyapunov.LyapunovWarning, match=r"no call of it in 20 steps") as reported:
        assert [watching.observe(step) for step in range(50)] == [None] * 50
    assert len(reported) == 1


def test_losses_are_means_since_the_last_reading(tmp_path) -> None:
    watching = monitor(core(), directory=tmp_path, every=3)
    for step in range(7):
        watching.observe(step, train=torch.tensor(float(step), requires_grad=True), every_other=step if step % 2 else None)
        if step == 4:
            watching.note(held_out=9.0)
    losses = [reading.losses for reading in watching.readings]
    assert losses == [{"train": 0.0}, {"train": 2.0, "every_other": 2.0}, {"train": 5.0, "every_other": 5.0, "held_out": 9.0}]
    with pytest.raises(lyapunov.InvalidInput, match=r"loss `train` to be one number, got a tensor of shape \(2,\)"):
        watching.observe(8, train=torch.zeros(2))


def test_single_precision_is_enough_for_the_leading_exponents(tmp_path) -> None:
    module = core()
    single = lyapunov.Monitor(module, CORE_PROBE, every=1, k=3, directory=tmp_path)
    reading, found = single.observe(0), lyapunov.spectrum(module, CORE_PROBE, k=3)
    assert reading.spectrum.settings.dtype == "float32"
    assert reading.exponents == pytest.approx(found.exponents.tolist(), abs=1e-5)
    assert single.read(1, whole=True).spectrum.settings.dtype == "float64"


def test_small_systems_have_all_their_exponents_taken(tmp_path) -> None:
    reading = lyapunov.Monitor(seeded(nn.GRU, 3, 4, batch_first=True), CORE_PROBE, directory=tmp_path).observe(0)
    assert len(reading.exponents) == 4


def test_what_is_due_may_be_put_off(tmp_path) -> None:
    watching = monitor(core(), directory=tmp_path, at_most=1e-9)
    assert watching.observe(0) is not None
    assert all(watching.observe(step) is None for step in range(1, 5))
    assert monitor(core(), directory=tmp_path / "b", at_most=1.0).observe(1) is not None
    assert watching.time_fraction > 1e-9


def test_a_run_goes_on_after_a_checkpoint_as_if_nothing_had_happened(tmp_path) -> None:
    module = core()
    whole = monitor(module, directory=tmp_path / "whole")
    first = monitor(copy.deepcopy(module), directory=tmp_path / "halves")
    half = copy.deepcopy(module)
    for step in range(4):
        whole.observe(step)
        monitored = first.observe(step)
        for weights in (module, first._probe._asked.system, half):
            nudge(weights)
    file = io.BytesIO()
    torch.save(first.state_dict(), file)
    file.seek(0)
    second = monitor(half, directory=None)
    second.load_state_dict(torch.load(file, weights_only=True))
    for step in range(4, 9):
        one, two = whole.observe(step), second.observe(step)
        assert same(one.exponents, two.exponents)
        assert one.drift == pytest.approx(two.drift, abs=SAME)
        assert one.alarms == two.alarms
        for weights in (module, half):
            nudge(weights)
    assert second.directory == tmp_path / "halves"
    runs = [lyapunov.Run.load(tmp_path / name).readings for name in ("whole", "halves")]
    assert all(same(one.exponents, two.exponents) for one, two in zip(*runs, strict=True))
    assert second.seconds > first.seconds > 0
    assert monitored.step == 3
    with pytest.raises(lyapunov.InvalidInput, match="form 1, got None"):
        second.load_state_dict({})


def test_a_run_that_is_resumed_in_its_directory_goes_on_there(tmp_path) -> None:
    for step in range(3):
        monitor(core(), directory=tmp_path, resume=True).observe(step)
    kept = lyapunov.Run.load(tmp_path).readings
    assert [reading.step for reading in kept] == [0, 1, 2]
    assert [reading.drift is None for reading in kept] == [True, False, False]
    again_at_1 = monitor(core(), directory=tmp_path, resume=True).read(1)
    assert again_at_1.drift == pytest.approx(kept[1].drift, abs=SAME)  # again beside step 0
    assert (again_at_1.file, kept[1].file) == ("spectra/000001-2.safetensors", "spectra/000001.safetensors")
    assert (tmp_path / kept[1].file).is_file()
    with pytest.raises(lyapunov.InvalidInput, match=r"same size as the run in .*, 24, got 8. Choose another"):
        monitor(seeded(nn.LSTM, 3, 4, batch_first=True), directory=tmp_path, resume=True).observe(3)
    assert len(lyapunov.Run.load(tmp_path).readings) == 2
    with pytest.raises(lyapunov.InvalidInput, match=r"\(batch, time, 3\)"):
        monitor(core(), drawn(4, 60, 5, seed=1), directory=tmp_path, resume=True).observe(3)
    with pytest.raises(lyapunov.InvalidInput, match=r"`directory` with resume=True, got none"):
        monitor(core(), directory=None, resume=True)


@pytest.mark.parametrize("name", ["run", "run-1", "."])
def test_a_run_is_never_written_into_another(tmp_path, monkeypatch, name) -> None:
    """Started again with the same directory, by the same steps: both runs are whole, and the second says where it is."""
    (tmp_path / "within").mkdir()
    monkeypatch.chdir(tmp_path / "within")
    first = monitor(core(), directory=name)
    before = [first.observe(step) for step in range(2)]
    for number in (2, 3):
        other = core()
        nudge(other)
        again = monitor(other, directory=name)
        with pytest.warns(
            lyapunov.LyapunovWarning, match=rf"got {re.escape(name)}, which holds one: .* kept in .*-{number}. To"
        ):
            reading = again.observe(0)
        again.observe(1)
        assert reading.drift is None
        assert again.directory.resolve() != first.directory.resolve()
        assert [reading.step for reading in lyapunov.Run.load(again.directory).readings] == [0, 1]
    kept = lyapunov.Run.load(name)
    assert [same(one.exponents, two.exponents) for one, two in zip(kept.readings, before, strict=True)] == [True, True]
    assert same(kept.spectra()[1].exponents.tolist(), before[1].spectrum.exponents.tolist())


def test_a_state_does_not_go_on_in_the_run_of_another(tmp_path) -> None:
    first = monitor(core(), directory=tmp_path / "a")
    readings = [first.observe(step) for step in range(2)]
    other = monitor(core(), directory=tmp_path / "b", name="another")
    for step in range(4):
        other.observe(step)
    again = monitor(core(), directory=tmp_path / "b")
    again.load_state_dict(first.state_dict())
    with pytest.warns(lyapunov.LyapunovWarning, match=r"b-2"):
        reading = again.observe(2)
    assert reading.drift is not None  # it knows what was before
    kept = lyapunov.Run.load(tmp_path / "b")
    assert (kept.name, [one.step for one in kept.readings]) == ("another", [0, 1, 2, 3])
    moved = monitor(core(), directory=tmp_path / "new")
    moved.load_state_dict(first.state_dict())
    moved.observe(2)
    assert moved.directory == tmp_path / "new"
    assert len(readings) == len(lyapunov.Run.load(tmp_path / "a").readings)


_OTHER_PROCESS = """
import sys, torch, lyapunov
torch.set_num_threads(1)
monitor = lyapunov.Monitor(torch.nn.RNN(2, 3), torch.randn(30, 2, 2), k=1, directory=sys.argv[1])
monitor.read(0)
print("writing", flush=True)
sys.stdin.read()
"""


def test_two_processes_never_write_one_run(tmp_path) -> None:
    place = tmp_path / "run"
    with subprocess.Popen(
        [sys.executable, "-W", "ignore", "-c", _OTHER_PROCESS, str(place)], stdin=PIPE, stdout=PIPE, text=True
    ) as other:
        assert other.stdout.readline() == "writing\n"
        going_on = monitor(seeded(nn.RNN, 2, 3), drawn(30, 2, 2, seed=1).float(), k=1, directory=place, resume=True)
        with pytest.raises(
            lyapunov.InvalidInput, match=r"no other process writes, got .*run, in which one does\. Choose another"
        ):
            going_on.read(1)
        (place / "history.jsonl").rename(place / "not yet written")
        beside = monitor(seeded(nn.RNN, 2, 3), drawn(30, 2, 2, seed=1).float(), k=1, directory=place)
        with pytest.warns(lyapunov.LyapunovWarning, match="run-2"):
            beside.read(0)
        (place / "not yet written").rename(place / "history.jsonl")
        other.kill()
    going_on.read(1)
    assert [reading.step for reading in lyapunov.Run.load(place).readings] == [0, 1]


def test_steps_that_go_back_are_told_once_and_made_again(tmp_path) -> None:
    watching = monitor(core(), directory=tmp_path, every=2)
    for step in range(5):
        watching.observe(step)
    with pytest.warns(lyapunov.LyapunovWarning, match=r"a step after 4, got 1.*pass the total number of steps") as reported:
        found = [watching.observe(step) for step in (1, 2, 3, 1, 2)]
    assert len(reported) == 1
    assert [reading is not None for reading in found] == [False, True, False, False, True]
    assert [reading.step for reading in lyapunov.Run.load(tmp_path).readings] == [0, 2]


def test_without_a_directory_a_new_one_is_made_in_runs(tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    for number in (1, 2):
        watching = monitor(core(), directory=None)
        assert watching.directory is None
        watching.observe(0)
        assert watching.directory == Path("runs") / f"monitor-{number}"
        assert (tmp_path / watching.directory / "history.jsonl").exists()


def test_a_sink_is_told_finite_numbers_and_one_that_fails_warns_once(tmp_path) -> None:
    reported = []

    def broken(step, numbers):
        raise ConnectionError("no such host")

    watching = monitor(core(), directory=tmp_path, sinks=[broken, lambda step, numbers: reported.append((step, dict(numbers)))])
    with pytest.warns(lyapunov.LyapunovWarning, match=r"sink 0.*no such host") as warned:
        readings = [watching.observe(step) for step in range(3)]
    assert len(warned) == 1
    assert [step for step, _ in reported] == [0, 1, 2]
    for (_, numbers), reading in zip(reported, readings, strict=True):
        assert numbers["lyapunov/max"] == reading.max
        assert numbers["lyapunov/exponent_3"] == reading.exponents[2]
        assert numbers["lyapunov/memory"] == reading.memory
        assert all(math.isfinite(value) for value in numbers.values())


def test_a_network_that_breaks_is_a_reading_that_says_so(tmp_path) -> None:
    module = core()
    watching = monitor(module, directory=tmp_path, thresholds=AlarmThresholds(stop_on=["broken"]))
    watching.observe(0)
    kept = copy.deepcopy(module.state_dict())
    with torch.no_grad():
        module.weight_hh_l0[0, 0] = math.nan
    broken = watching.observe(1)
    assert broken.failure.startswith("InvalidInput: Expected finite `weight_hh_l0`")
    assert [alarm.kind for alarm in broken.alarms] == ["broken"]
    assert math.isnan(broken.max)
    assert watching.should_stop
    module.load_state_dict(kept)
    assert watching.observe(2).failure is None
    assert [reading.failure is None for reading in lyapunov.Run.load(tmp_path).readings] == [True, False, True]
    assert "weight_hh_l0" in str(broken)


def test_what_is_wrong_from_the_start_is_an_error(tmp_path) -> None:
    with pytest.raises(lyapunov.InvalidInput, match=r"\(batch, time, 3\)"):
        monitor(core(), drawn(4, 60, 5, seed=1), directory=tmp_path).observe(0)
    with pytest.raises(lyapunov.InvalidInput, match="`probe` with function, got none"):
        monitor(lambda state, x: state, None, directory=tmp_path)
    with pytest.raises(lyapunov.InvalidInput, match=r"`probe` with GRUCell, got none: a cell is called with one step"):
        monitor(seeded(nn.GRUCell, 2, 2), None, directory=tmp_path)
    with pytest.raises(lyapunov.InvalidInput, match=r"`core` to be one of '0', '1', got None"):
        monitor(nn.ModuleList([core(), core()]), None, directory=tmp_path)
    with pytest.raises(lyapunov.Unsupported, match="in Linear to wait for, got none"):
        monitor(seeded(nn.Linear, 2, 2), None, directory=tmp_path)
    with pytest.raises(lyapunov.InvalidInput, match="`core` with a model that has cores inside"):
        monitor(core(), directory=tmp_path, core="lstm")
    with pytest.raises(lyapunov.InvalidInput, match="`probe` to read along"):
        monitor(built(), None, directory=tmp_path).read(0)
    with pytest.raises(
        lyapunov.InvalidInput, match=r"Model can be called with, got RuntimeError: .*scalar types.*\(tokens, targets"
    ):
        monitor(built(), PROBE.float(), directory=tmp_path).observe(0)
    with pytest.raises(
        lyapunov.InvalidInput, match=r"Monitor\(system, probe\), got 3 arguments.*one tuple: Monitor\(model, \(tok"
    ):
        lyapunov.Monitor(built(), PROBE, PROBE)
    with pytest.raises(lyapunov.InvalidInput, match="can be called with, got TypeError"):
        monitor(built(), (PROBE, PROBE), directory=tmp_path).observe(0)
    method = monitor(built().forward, PROBE, directory=tmp_path / "method").read(0)
    assert same(method.exponents, monitor(built(), PROBE, directory=tmp_path / "model").read(0).exponents)
    with pytest.raises(lyapunov.InvalidInput, match="`step` to be a whole number"):
        monitor(core(), directory=tmp_path).observe(-1)


@pytest.mark.parametrize(
    ("word", "place"),
    [
        ("linearization", r"lyapunov\.problem\(system, inputs, linearization=\.\.\.\)"),
        ("state", r"lyapunov\.problem\(system, inputs, state=\.\.\.\)"),
        ("settle", r"options=lyapunov\.RunOptions\(settle=\.\.\.\)"),
        ("qr_every", r"options=lyapunov\.RunOptions\(method=lyapunov\.QR\(every=\.\.\.\)\)"),
        ("stop_on", r"thresholds=lyapunov\.AlarmThresholds\(stop_on=\.\.\.\)"),
    ],
)
def test_an_argument_of_the_problem_or_the_options_is_told_its_place(word: str, place: str) -> None:
    with pytest.raises(TypeError, match=f"^Expected `{word}` in {place}, got it as an argument of Monitor"):
        lyapunov.Monitor(core(), CORE_PROBE, **{word: 1})
    with pytest.raises(TypeError, match="unexpected keyword argument 'evry'"):
        lyapunov.Monitor(core(), CORE_PROBE, evry=1)


def test_a_problem_and_options_hold_for_every_reading(tmp_path) -> None:
    asked = lyapunov.problem(core(), CORE_PROBE, linearization="hidden", dt=0.5)
    options = lyapunov.RunOptions(settle=5, align=10, seed=3, method=lyapunov.QR(every=2), dtype=torch.float64)
    watching = lyapunov.Monitor(asked, k=2, every=1, options=options, directory=tmp_path)
    expected = lyapunov.spectrum(asked, k=2, options=options)
    found = watching.observe(0).spectrum
    assert same(found.exponents, expected.exponents)
    assert (found.settings.linearization, found.settings.dt, found.settings.seed) == ("hidden", 0.5, 3)
    with pytest.raises(lyapunov.InvalidInput, match="`inputs` left out with a problem that has its own"):
        lyapunov.Monitor(asked, CORE_PROBE)


def test_what_is_swallowed_is_logged_with_its_traceback_and_warnings_point_at_the_callers_line(tmp_path, caplog) -> None:
    module = core()

    def broken(step, numbers) -> None:
        raise ConnectionError("no such host")

    watching = monitor(module, directory=tmp_path, sinks=[broken])
    with pytest.warns(lyapunov.LyapunovWarning, match="no such host") as first:
        watching.observe(0)
    with torch.no_grad():
        module.weight_hh_l0[0, 0] = math.nan
    watching.observe(1)
    with pytest.warns(lyapunov.LyapunovWarning, match="a step after 1, got 0") as second:
        watching.finish(0)
    places = [Path(warned[0].filename) for warned in (first, second)]
    assert all(place == Path(__file__) or "jaxtyping" in place.parts for place in places)  # around calls that it checks
    traced = [record.exc_info[0] for record in caplog.records if record.exc_info]
    assert traced[:2] == [ConnectionError, lyapunov.InvalidInput]


def test_the_disk_may_fill_up_later_but_not_at_once(tmp_path, monkeypatch) -> None:
    (tmp_path / "taken").write_text("a file")
    with pytest.raises(OSError, match="taken"):
        monitor(core(), directory=tmp_path / "taken").observe(0)
    watching = monitor(core(), directory=tmp_path / "run")
    watching.observe(0)

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("lyapunov.training.history.History.append", full)
    with pytest.warns(lyapunov.LyapunovWarning, match="No space left") as reported:
        readings = [watching.observe(step) for step in (1, 2)]
    assert readings[0].failure is None
    assert readings[1].drift is not None
    assert len(reported) == 1


def test_alarms_are_logged_when_they_begin_and_may_stop_training(tmp_path, caplog) -> None:
    module = seeded(nn.RNN, 3, 40, batch_first=True, scale=10.0)
    long = drawn(10, 400, 3, seed=7)
    watching = monitor(module, long, directory=tmp_path, thresholds=AlarmThresholds(stop_on="chaos"), lag=3, k=1)
    readings = [watching.observe(step) for step in range(3)]
    assert all(reading.alarms[0].kind == "chaos" for reading in readings)
    assert all(reading.converged for reading in readings)
    assert watching.should_stop
    assert sum("chaos" in record.message for record in caplog.records) == 1
    assert monitor(module, directory=tmp_path, thresholds=AlarmThresholds(settled=3), lag=7).thresholds == AlarmThresholds(
        settled=3, lag=7
    )
    assert AlarmThresholds(stop_on="chaos").stopping == AlarmThresholds(stop_on=["chaos"]).stopping == ("chaos",)
    assert monitor(module, directory=tmp_path, sinks=print).sinks == [print]
    quiet = monitor(module, directory=tmp_path / "b", thresholds=AlarmThresholds())
    quiet.observe(0)
    assert not quiet.should_stop


def test_an_alarm_that_is_not_certain_is_logged_and_stops_nothing(tmp_path, caplog) -> None:
    """Two sequences of 12 steps: nothing has settled or aligned by then."""
    module = seeded(nn.RNN, 3, 40, batch_first=True, scale=10.0)
    thresholds = AlarmThresholds(contracting=9, stop_on=["contracting"])
    watching = monitor(module, drawn(2, 12, 3, seed=7), directory=tmp_path, thresholds=thresholds)
    reading = watching.observe(0)
    assert reading.converged is False
    (alarm,) = [alarm for alarm in reading.alarms if alarm.kind == "contracting"]
    assert alarm.tentative
    assert not watching.should_stop
    assert any("not certain" in record.message for record in caplog.records)


def test_saturation_is_told_for_layers_that_know_it(tmp_path) -> None:
    module = core()
    assert monitor(module, directory=tmp_path / "a").observe(0).saturated < 0.2
    with torch.no_grad():
        module.bias_ih_l0[UNITS : 2 * UNITS] = 30.0  # forget nothing
        module.bias_ih_l0[:UNITS] = 30.0  # let everything in
        module.bias_ih_l0[2 * UNITS : 3 * UNITS] = 3.0
    reading = monitor(module, directory=tmp_path / "b").observe(0)
    assert reading.saturated == 1.0
    assert "saturating" in [alarm.kind for alarm in reading.alarms]
    assert (
        monitor(seeded(nn.RNN, 3, 5, nonlinearity="relu", batch_first=True, scale=0.1), directory=tmp_path / "c")
        .observe(0)
        .saturated
        is None
    )


def test_any_system_can_be_watched(tmp_path) -> None:
    logistic = lyapunov.problem(lambda x, _: 4 * x * (1 - x), state=drawn(20, 1, seed=9).sigmoid(), steps=300)
    step = monitor(logistic, None, directory=tmp_path / "a")
    assert step.observe(0).max == pytest.approx(math.log(2), abs=0.02)
    captured = lyapunov.capture(built(), PROBE)
    assert len(monitor(captured, None, directory=tmp_path / "b").observe(0).exponents) == 3
    keywords = monitor(built(), {"tokens": PROBE}, directory=tmp_path / "c").observe(0)
    assert len(keywords.exponents) == 3


def test_all_exponents_on_request(tmp_path) -> None:
    module = core()
    watching = monitor(module, directory=tmp_path)
    watching.observe(0)
    reading = watching.read(1, whole=True, loss=2.0)
    assert (reading.taken, len(reading.exponents), reading.spectrum.is_full) == (2 * UNITS, 3, True)
    assert same(reading.spectrum.exponents, lyapunov.spectrum(module, CORE_PROBE).exponents)
    assert watching.observe(2).taken == 3


def test_finish_is_a_last_reading_where_something_is_new(tmp_path) -> None:
    watching = monitor(core(), directory=tmp_path, every=10)
    watching.observe(0)
    assert watching.finish(0) is None
    assert watching.finish(7).step == 7
    watching.note(val=1.0)
    assert watching.finish(7, late=2.0).losses == {"val": 1.0, "late": 2.0}
    assert watching.readings[-1].losses == {"val": 1.0, "late": 2.0}
    assert [reading.step for reading in lyapunov.Run.load(tmp_path).readings] == [0, 7]


def test_it_says_what_it_is(tmp_path) -> None:
    watching = monitor(core(), directory=tmp_path, name="mine", about={"lr": 0.1}, lag=5)
    assert "0 readings" in repr(watching)
    watching.observe(0)
    assert "1 readings" in repr(watching)
    run = lyapunov.Run.load(tmp_path)
    assert run.name == "mine"
    assert run.about["about"] == {"lr": 0.1}
    assert (run.about["system"], run.about["size"], run.about["lag"]) == ("LSTM (full state)", 2 * UNITS, 5)


RANKS = """
import sys, torch, lyapunov
from torch import distributed, nn
from torch.nn.parallel import DistributedDataParallel
rank, place = int(sys.argv[1]), sys.argv[2]
distributed.init_process_group("gloo", init_method=f"file://{place}/meet", rank=rank, world_size=2)
torch.manual_seed(0)
class Model(nn.Module):
    def __init__(self):
        super().__init__()
        self.norm, self.rnn = nn.BatchNorm1d(3), nn.RNN(3, 40, batch_first=True)
    def forward(self, x):
        return self.rnn(self.norm(x.mT).mT)[0]
model = Model()
with torch.no_grad():
    model.rnn.weight_hh_l0.mul_(8)
model = DistributedDataParallel(model)
probe = torch.randn(10, 400, 3)
thresholds = lyapunov.AlarmThresholds(stop_on="chaos")
monitor = lyapunov.Monitor(model, probe, every=2, k=1, thresholds=thresholds, directory=f"{place}/run")
steps = 0
for step in range(10):
    model(torch.randn(4, 20, 3)).sum().backward()
    monitor.observe(step)
    steps += 1
    if step > 2 and monitor.should_stop:
        break
print(rank, steps, len(monitor.readings), monitor.should_stop)
distributed.destroy_process_group()
"""


def test_one_of_several_processes_measures_and_all_stop(tmp_path) -> None:
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", RANKS, str(rank), str(tmp_path)], env=environment, text=True, stdout=-1, stderr=-1
        )
        for rank in range(2)
    ]
    said = [process.communicate(timeout=120) for process in processes]
    assert [out.split() for out, _ in said] == [["0", "4", "2", "True"], ["1", "4", "0", "True"]], said
    assert len(lyapunov.Run.load(tmp_path / "run").readings) == 2
