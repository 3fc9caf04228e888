"""However a frame goes through several steps, it arrives where one push after the other takes it."""

import pytest
import torch
from torch import Tensor, nn

import lyapunov
from cases import drawn, seeded
from lyapunov import intake
from lyapunov.systems import closed
from lyapunov.tangent import Workers, random_frame
from lyapunov.tangent.loop.propagation import TangentPropagator
from paths import PATHS, force
from tolerances import ROUNDING

F64 = torch.float64
MODULES = {
    "RNN": lambda: seeded(nn.RNN, 3, 6, batch_first=True),
    "GRU": lambda: seeded(nn.GRU, 3, 6, batch_first=True),
    "LSTM": lambda: seeded(nn.LSTM, 3, 6, batch_first=True),
    "LSTM with projection": lambda: seeded(nn.LSTM, 3, 6, proj_size=4, batch_first=True),
}


def system_of(name: str, **kwargs):
    return intake.recognize(intake.problem(MODULES[name](), drawn(5, 12, 3, seed=12), **kwargs), F64)


@pytest.mark.parametrize("lengths", [None, torch.tensor([12, 2, 7, 12, 5])], ids=["whole", "some end"])
@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("name", MODULES)
def test_several_steps_are_one_after_the_other(
    name: str, path: str, lengths: Tensor | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    problem = system_of(name)
    inputs = problem.sequences
    object.__setattr__(inputs, "lengths", lengths)
    system = problem.system
    frames = (random_frame(*system.block_sizes, 4, batch=5, seed=1, block=0, like=torch.empty(0, dtype=F64)),)
    with torch.no_grad(), Workers() as workers:
        plain = TangentPropagator(system, inputs, workers)
        state, moved, states, volumes = problem.state, frames, [problem.state], []
        for t in range(12):
            volumes.append(system.log_volume(state, inputs.at(t)))
            state, moved = plain.push(state, moved, t)
            states.append(state)
    force(path, monkeypatch)
    with torch.no_grad(), Workers() as workers:
        propagator, t, found, at = TangentPropagator(system, inputs, workers), 0, frames, problem.state
        for steps in (5, 2, 5):
            propagated = propagator.propagate(at, found, t, steps, volumes=True)
            for offset, volume in enumerate(propagated.log_volumes(range(steps))):
                running = torch.ones(5, dtype=torch.bool) if lengths is None else lengths > t + offset
                torch.testing.assert_close(volume[running], volumes[t + offset][running], rtol=0, atol=1e-10)
            at, found, t = propagated.states[-1], propagated.frames, t + steps
    torch.testing.assert_close(found, moved, rtol=0, atol=ROUNDING)
    torch.testing.assert_close(at, states[-1], rtol=0, atol=ROUNDING)


@pytest.mark.parametrize("coupled", [False, True])
@pytest.mark.parametrize(("kind", "linearization"), [(nn.GRU, "full"), (nn.LSTM, "full"), (nn.LSTM, "hidden")])
def test_jacobians_and_products_with_the_weights_say_the_same(
    kind, linearization: str, coupled: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    module, inputs = seeded(kind, 2, 5, num_layers=2, batch_first=True), drawn(3, 40, 2, seed=4)
    options = {"linearization": linearization, "coupled": coupled, "qr_every": 1, "settle": 5, "align": 5}
    apart = lyapunov.spectrum(module, inputs, **options)
    monkeypatch.setattr(closed, "DENSE", 1)
    torch.testing.assert_close(lyapunov.spectrum(module, inputs, **options).exponents, apart.exponents, rtol=0, atol=1e-9)
