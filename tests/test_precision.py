"""What is called reliable is right, and what is not is wrong: along recorded trajectories, over interval, dtype and spread."""

import pytest
import torch
from torch import nn

import lyapunov
from cases import drawn, seeded
from lyapunov.systems import System
from recorded import NETWORKS, Recorded, jacobians

F32, F64 = torch.float32, torch.float64
pytestmark = [
    pytest.mark.usefixtures("shapes_unchecked"),
    pytest.mark.filterwarnings("ignore:Expected exponents above the precision floor"),
]
WRONG, RELIABLE = 1e-2, 1e-3
INTERVALS = {F32: (1, 2, 4, 8, 16, 32, 64), F64: (2, 4, 8, 16, 32, 64)}


def run(name: str, batch: int, steps: int, dtype: torch.dtype, qr_every: int | None) -> lyapunov.Spectrum:
    recorded = jacobians(name, batch, steps)
    options = {"settle": 0, "align": 40, "check": False}
    return lyapunov.spectrum(Recorded(recorded.shape[-1]), recorded, dtype=dtype, qr_every=qr_every, **options)


def test_what_is_flagged_is_wrong_and_what_is_wrong_is_flagged() -> None:
    """Over 7 networks, 2 precisions and 6 or 7 intervals: recall at least 0.98, precision at least 0.9."""
    right, missed, needless = 0, 0, 0
    for name in NETWORKS:
        truth = run(name, 4, 240, F64, 1).exponents
        for dtype, intervals in INTERVALS.items():
            for interval in intervals:
                found = run(name, 4, 240, dtype, interval)
                wrong = (found.exponents - truth).abs() > WRONG
                right += int((wrong & ~found.reliable).sum())
                missed += int((wrong & found.reliable).sum())
                needless += int((~wrong & ~found.reliable).sum())
    assert right > 1000
    assert right / (right + missed) >= 0.98, (right, missed)
    assert right / (right + needless) >= 0.9, (right, needless)


@pytest.mark.parametrize("dtype", [F32, F64])
@pytest.mark.parametrize("name", NETWORKS)
def test_with_the_interval_left_open_no_reliable_exponent_is_wrong(name: str, dtype: torch.dtype) -> None:
    truth = run(name, 8, 540, F64, 1).exponents
    found = run(name, 8, 540, dtype, None)
    error = (found.exponents - truth).abs()
    assert float(error[found.reliable].max()) <= RELIABLE
    assert bool(found.reliable[0])
    if dtype == F64:
        assert int(found.reliable.sum()) >= int(0.75 * len(truth))


def test_the_warning_names_the_first_and_what_would_help() -> None:
    with pytest.warns(lyapunov.LyapunovWarning, match=r"from number (\d+) on.*float64.*k=\d+"):
        found = run("tanh, gain 4", 4, 240, F32, None)
    first = int(torch.nonzero(~found.reliable)[0]) + 1
    assert f"from number {first} on" in str(found.verdict)
    assert f"k={first - 1}" in str(found.verdict)
    few = lyapunov.spectrum(Recorded(32), jacobians("tanh, gain 4", 4, 240), dtype=F32, k=first - 1, check=False)
    assert bool(few.reliable.all())


class Misreported(System):
    """A tanh network whose push forgets a tenth of one row: plausible exponents, but not those of its determinant."""

    block_sizes = ()

    def __init__(self, system: System) -> None:
        self._system, self.block_sizes, self.volume_cost = system, system.block_sizes, "linear"

    def initial_state(self, batch, like):
        return self._system.initial_state(batch, like)

    def step(self, state, x):
        return self._system.step(state, x)

    def log_volume(self, state, x):
        return self._system.log_volume(state, x)

    def push(self, state, x, frames):
        state, (frame,) = self._system.push(state, x, frames)
        return state, (torch.cat([0.9 * frame[:, :1], frame[:, 1:]], dim=1),)


def test_a_full_run_that_misses_its_determinant_is_not_reliable() -> None:
    from lyapunov.systems import RNN

    weight = drawn(6, 6, seed=210, scale=0.5)
    system, inputs = RNN(torch.eye(6, dtype=F64), weight), drawn(3, 120, 6, seed=211)
    honest = lyapunov.spectrum(system, inputs)
    assert honest.volume_residual < 1e-6
    assert bool(honest.reliable.all())
    wrong = lyapunov.spectrum(Misreported(system), inputs, check=False)
    assert wrong.volume_residual == pytest.approx(0.10536, abs=1e-4)  # -ln 0.9
    assert not bool(wrong.reliable.any())
    assert bool(lyapunov.spectrum(Misreported(system), inputs, check=False, k=2).reliable.all())  # nothing to certify with


@pytest.mark.parametrize(("module", "options"), [(nn.GRU, {}), (nn.LSTM, {"linearization": "hidden"})])
def test_a_costly_mean_is_sampled_with_an_error_that_holds(module: type[nn.Module], options: dict) -> None:
    network, covered = seeded(module, 4, 12, batch_first=True, scale=1.5), 0
    truth = lyapunov.spectrum(network, drawn(40, 600, 4, seed=212), settle=40, align=40, **options).mean
    for seed in range(20):
        few = lyapunov.spectrum(network, drawn(8, 180, 4, seed=220 + seed), k=1, settle=40, align=40, **options)
        assert 0 < float(few.volume_steps.sum()) < 0.2 * float(few.history_steps.sum())
        low, high = few.mean_interval()
        covered += low <= truth <= high
    assert covered >= 17


def test_a_large_full_run_is_certified_by_samples_of_whole_intervals() -> None:
    module, inputs = seeded(nn.GRU, 3, 130, batch_first=True), drawn(2, 130, 3, seed=31)
    options = {"settle": 10, "align": 10}
    found = lyapunov.spectrum(module, inputs, **options)
    assert 0 < float(found.volume_steps.sum()) < 0.3 * float(found.history_steps.sum())
    assert found.volume_residual is not None
    assert found.volume_residual < 1e-6
    assert found.mean == pytest.approx(float(found.exponents.mean()), abs=1e-12)
    plain = lyapunov.spectrum(module, inputs, qr_every=1, **options)
    torch.testing.assert_close(found.exponents, plain.exponents, rtol=0, atol=1e-6)
