"""Whatever shape, dtype, gain and inputs: never a NaN, never a wrong number without a flag, a result or a named error."""

import math
import warnings

import pytest
import torch
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from torch import nn

import lyapunov
from cases import drawn
from lyapunov.systems import known

F32, F64 = torch.float32, torch.float64
pytestmark = pytest.mark.usefixtures("shapes_unchecked")
usual = settings(max_examples=25, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.function_scoped_fixture])
dtypes, seeds = st.sampled_from([F32, F64]), st.integers(0, 1000)
intervals = st.sampled_from([None, None, 1, 3, 12])
PRECISION = {F32: 2e-3, F64: 1e-3}
"""What rounding of the weights alone, and a reliable exponent, may be off by."""


UNDERFLOW = {F32: -80.0, F64: -700.0}
"""A gate closed further than this is zero to the arithmetic, and its cell truly lost to it."""


def spectrum(*args, **kwargs) -> lyapunov.Spectrum:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", lyapunov.LyapunovWarning)
        return lyapunov.spectrum(*args, **kwargs)


def network(kind: type[nn.RNNBase], inputs: int, size: int, gain: float, seed: int, **options) -> nn.RNNBase:
    """Normal weights of this scale; the global random state is left alone."""
    with torch.random.fork_rng():
        module = kind(inputs, size, batch_first=True, **options).double()
    with torch.no_grad():
        for at, parameter in enumerate(module.parameters()):
            parameter.copy_(gain * drawn(*parameter.shape, seed=seed + at))
    return module


def assert_sound(found: lyapunov.Spectrum) -> None:
    """No NaN among the numbers; in order; -inf only where a direction is said to be lost."""
    assert not bool(found.exponents.isnan().any())
    assert not bool(found.per_sequence.isnan().any())
    assert not bool((found.exponents == math.inf).any())
    assert bool((found.exponents.diff().nan_to_num(nan=0.0) <= 0).all())
    assert torch.equal(found.exponents.isneginf(), found.lost_at >= 0)
    assert all(value is None or not math.isnan(value) for value in found.quantities().values())
    assert str(found.verdict)
    assert repr(found)


@usual
@given(
    size=st.integers(1, 9),
    spread=st.floats(0.0, 12.0),
    shift=st.floats(-3.0, 3.0),
    batch=st.integers(1, 3),
    steps=st.integers(30, 120),
    dtype=dtypes,
    qr_every=intervals,
    seed=seeds,
)
def test_diagonal_maps_in_turned_coordinates(size, spread, shift, batch, steps, dtype, qr_every, seed) -> None:
    """h' = Q diag(e^l) Q^T h: the exponents are l, whatever the rotation; flagged where they are not found."""
    exact = shift - spread * torch.rand(size, generator=torch.Generator().manual_seed(seed), dtype=F64).sort().values
    turn = torch.linalg.qr(drawn(size, size, seed=seed))[0]
    matrix = turn @ torch.diag(exact.exp()) @ turn.mT
    inputs = matrix.expand(batch, steps, size, size)
    found = spectrum(
        known.gaussian_products(size).system, inputs, dtype=dtype, qr_every=qr_every, settle=0, align=steps // 2, seed=seed
    )
    assert_sound(found)
    gaps = (exact.unsqueeze(0) - exact.unsqueeze(1)).abs() + 1e9 * torch.eye(size, dtype=F64)
    slow = (-gaps.amin(1) * (steps // 2)).exp() / (steps - steps // 2) * 30 / gaps.amin(1).clamp(min=1e-6)
    wrong = (found.exponents - exact).abs() > 10 * PRECISION[dtype] + slow.clamp(max=2 * spread + 1) + gaps.amin(1).clamp(
        max=0.05
    )
    assert not bool((wrong & found.reliable).any()), (found.exponents, exact, found.reliable)


@usual
@given(
    size=st.integers(1, 8),
    batch=st.integers(1, 4),
    steps=st.integers(8, 60),
    gain=st.floats(0.01, 30.0),
    dtype=dtypes,
    seed=seeds,
)
def test_forget_gates_of_an_lstm_without_recurrent_weights(size, batch, steps, gain, dtype, seed) -> None:
    """Mean ln f of each cell, and N directions lost, at every gain of the inputs."""
    module = network(nn.LSTM, 2, size, gain, seed)
    with torch.no_grad():
        module.weight_hh_l0.zero_()
    inputs = drawn(batch, steps, 2, seed=seed + 9)
    forget = (inputs @ module.weight_ih_l0.mT + module.bias_ih_l0 + module.bias_hh_l0)[..., size : 2 * size]
    logs = nn.functional.logsigmoid(forget).detach()
    assume(float(logs.min()) > UNDERFLOW[dtype])
    exact = logs.mean((0, 1))
    found = spectrum(module, inputs, dtype=dtype, from_initial_state=True)
    assert_sound(found)
    assert int(found.exponents.isneginf().sum()) == size
    if bool(found.reliable.all()):
        assert float(found.exponents[:size].sum()) == pytest.approx(
            float(exact.sum()), abs=size * (0.01 + 30 / steps), rel=0.05
        )


@usual
@given(
    kind=st.sampled_from(["RNN", "ReLU", "GRU", "LSTM"]),
    size=st.integers(1, 10),
    batch=st.integers(1, 3),
    steps=st.integers(2, 50),
    gain=st.floats(0.0, 50.0),
    drive=st.sampled_from([0.0, 1e-8, 1.0, 1e4]),
    k=st.integers(1, 4),
    dtype=dtypes,
    qr_every=intervals,
    seed=seeds,
)
def test_any_layer_gives_a_sound_result_or_a_named_error(
    kind, size, batch, steps, gain, drive, k, dtype, qr_every, seed
) -> None:
    options = {"nonlinearity": "relu"} if kind == "ReLU" else {}
    module = network(nn.RNN if kind == "ReLU" else getattr(nn, kind), 3, size, gain / size**0.5, seed, **options)
    inputs = drive * drawn(batch, steps, 3, seed=seed + 11)
    try:
        found = spectrum(module, inputs, dtype=dtype, qr_every=qr_every, k=min(k, size))
    except (lyapunov.InvalidInput, lyapunov.Diverged, lyapunov.BadSystem):
        return  # any other error fails the test
    assert_sound(found)
    reference = spectrum(module, inputs, qr_every=1, k=min(k, size), settle=found.settings.settle, align=found.settings.align)
    both = found.reliable & reference.reliable & torch.isfinite(reference.exponents) & torch.isfinite(found.exponents)
    chaotic = reference.max > -0.05
    if dtype == F64 and not chaotic:
        assert float((found.exponents - reference.exponents)[both].abs().max() if bool(both.any()) else 0.0) <= 1e-2


@usual
@given(size=st.integers(1, 12), steps=st.integers(40, 80), qr_every=intervals, dtype=dtypes, k=st.integers(1, 12))
def test_shift_registers_lose_everything(size, steps, qr_every, dtype, k) -> None:
    def shift(state, x):
        return torch.cat([x[:, :1], state[:, :-1]], dim=-1)

    found = spectrum(
        shift, drawn(2, steps, 1, seed=1), state=torch.zeros(2, size), dtype=dtype, qr_every=qr_every, k=min(k, size)
    )
    assert_sound(found)
    assert bool(found.exponents.isneginf().all())
    assert found.rank == 0
