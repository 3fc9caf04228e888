"""Other packages that compute exponents along given dynamics, each called in its own best documented way.

lyapax and clvlib start from the state after `settle`, so that they make only the `align` + `count` steps in which we push the
frame, on the same trajectory. All in float64, and compiled before they are measured.

- lyapax (JAX): `lyapunov_spectrum` of a map `state -> state`, tangents by `jax.jvp`, under `jax.jit` (and once as its README
  calls it, without, where every call compiles anew); several sequences by `lyapax.sweep.sweep_lyapunov_spectrum`, which vmaps
  it. A map has no place for inputs: the step number is carried as one more entry of the state, behind `stop_gradient`, so that
  its direction dies in the first step and adds no exponent to the first N.
- clvlib (NumPy and PyTorch): `lyap_exp_from_ic` with a stepper of one's own (x', J V), which it documents, because its discrete
  stepper asks for the dense Jacobian of every step; for a flow its own "rk4" with the Jacobian of the rate. One sequence at a
  time. It keeps the history of every frame. In 0.1.5 the NumPy one of them reads a wrong frame (`Q_history[i]` at step i) where
  several steps go between two QR, so there it has QR at every step, or else `lyap_exp` over a trajectory made first, which is
  right.
- resdag (PyTorch): `reservoir_lyapunov` of a tanh `ESNLayer`. It forms the dense Jacobian, takes QR at every step, one sequence
  at a time, and runs the inputs once from zero before it runs them again with the frame: another trajectory under the same
  drive. It has no spectra of flows: its `largest_lyapunov` looks up published numbers, or asks tsdynamics (Python 3.12), for
  the largest alone.
"""

import importlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

Array = np.ndarray


@dataclass(frozen=True)
class Peer:
    """A call that gives the (k,) exponents of the first sequence, and for how many sequences it does the work."""

    name: str
    sequences: int
    run: Callable[[], Array]


@dataclass(frozen=True)
class Reservoir:
    """h' = tanh(W h + V u): W, V, all the inputs (batch, steps, 1), and the states after `settle` (batch, N)."""

    weight: Tensor
    input_weight: Tensor
    inputs: Tensor
    start: Tensor
    settle: int
    align: int
    count: int
    k: int
    qr_every: int

    def drive(self) -> Array:
        """(batch, align + count, N): V u of the steps in which the frame is pushed."""
        return (self.inputs[:, self.settle :] @ self.input_weight.mT).numpy()


@dataclass(frozen=True)
class Flow:
    """Lorenz 1996 by Runge-Kutta: forcing, step, the states after `settle` (batch, n)."""

    forcing: float
    dt: float
    start: Tensor
    align: int
    count: int
    k: int
    qr_every: int


Task = Reservoir | Flow


def interval(task: Task) -> int:
    """The longest interval up to ours that divides what is aligned and what is counted."""
    return max(every for every in range(1, task.qr_every + 1) if task.align % every == 0 and task.count % every == 0)


def peers(task: Task) -> tuple[list[Peer], list[str]]:
    """All that are installed and can do it, and why the others do not."""
    found: list[Peer] = []
    missing: list[str] = []
    for name, adapter in ADAPTERS.items():
        try:
            importlib.import_module(name)
        except ImportError as error:
            missing.append(f"{name} is not installed ({error})")
            continue
        made = list(adapter(task))
        found += made
        if not made:
            missing.append(f"{name} has no spectra of flows")
    return found, missing


def _jax() -> Any:
    """With float64."""
    import jax

    jax.config.update("jax_enable_x64", True)
    return jax


def lyapax_peers(task: Task) -> Iterator[Peer]:
    """One sequence, and all of them in one sweep."""
    import lyapax
    from lyapax.sweep import sweep_lyapunov_spectrum

    jax = _jax()
    if isinstance(task, Reservoir):
        step, start, params, dt = *_clocked(jax.numpy, task), 1.0
    else:
        step, start, params, dt = _jax_flow(jax.numpy, task)
    settings = {"n_steps": task.count, "k": task.k, "renorm_every": interval(task), "t_transient": task.align * dt}

    def one(state: Any, param: Any) -> Any:
        return lyapax.lyapunov_spectrum(lambda x: step(x, param), state, dt=dt, **settings).exponents

    @jax.jit
    def sweep(states: Any, params: Any) -> Any:
        return sweep_lyapunov_spectrum(step, states[0], params, dt=dt, state0_batch=states, **settings).exponents

    first, compiled = jax.tree.map(lambda leaf: leaf[0], params), jax.jit(one)
    yield Peer("lyapax", 1, lambda: np.asarray(compiled(start[0], first)))
    yield Peer("lyapax, not under jit", 1, lambda: np.asarray(one(start[0], first)))
    if len(start) > 1:
        yield Peer("lyapax, sweep", len(start), lambda: np.asarray(sweep(start, params))[0])


def _clocked(jnp: Any, task: Reservoir) -> tuple[Callable[[Any, Any], Any], Any, Any]:
    """The driven map with the step number as one more entry of its state."""
    import jax

    weight, clocks = jnp.asarray(task.weight.numpy()), np.zeros((len(task.start), 1))

    def step(state: Any, param: Any) -> Any:
        clock = jax.lax.stop_gradient(state[-1])
        new = jnp.tanh(weight @ state[:-1] + param["drive"][clock.astype(int)])
        return jnp.concatenate([new, clock[None] + 1.0])

    start = jnp.asarray(np.concatenate([task.start.numpy(), clocks], axis=-1))
    return step, start, {"drive": jnp.asarray(task.drive())}


def _jax_flow(jnp: Any, task: Flow) -> tuple[Callable[[Any, Any], Any], Any, Any, float]:
    """By lyapax's own Runge-Kutta."""
    import lyapax

    def rate(x: Any) -> Any:
        return (jnp.roll(x, -1) - jnp.roll(x, 2)) * jnp.roll(x, 1) - x + task.forcing

    step = lyapax.ode_step(rate, task.dt, integrator="rk4")
    start = jnp.asarray(task.start.numpy())
    return lambda x, param: step(x), start, {"sequence": jnp.arange(len(start))}, task.dt  # noqa: ARG005


@dataclass(frozen=True)
class _Dynamics:
    """A task as clvlib takes it: arrays of one backend, rate or map, Jacobian, stepper, and one step of the state."""

    start: Any
    times: Any
    function: Callable[[float, Any], Any]
    jacobian: Callable[[float, Any], Any]
    stepper: Any
    advance: Callable[[float, Any], Any]


def clvlib_peers(task: Task) -> Iterator[Peer]:
    """Its two backends."""
    import clvlib.numpy
    import clvlib.pytorch

    every, make = interval(task), _clvlib_reservoir if isinstance(task, Reservoir) else _clvlib_flow
    arrays, tensors = make(task, Tensor.numpy), make(task, lambda value: value)  # type: ignore[arg-type]
    yield Peer("clvlib, numpy, QR every step", 1, _from_start(clvlib.numpy, arrays, task, 1))
    if every > 1:
        yield Peer("clvlib, numpy", 1, _along_trajectory(clvlib.numpy, arrays, task, every))
    yield Peer("clvlib, pytorch", 1, _from_start(clvlib.pytorch, tensors, task, every))


def _from_start(library: Any, dynamics: _Dynamics, task: Task, every: int) -> Callable[[], Array]:
    """State and frame together."""
    given = (dynamics.function, dynamics.jacobian, dynamics.start, dynamics.times)
    options = {"k_step": every, "stepper": dynamics.stepper, "n_lyap": task.k}
    return lambda: _counted(library.lyap_exp_from_ic(*given, **options)[1], task, every)


def _along_trajectory(library: Any, dynamics: _Dynamics, task: Task, every: int) -> Callable[[], Array]:
    """The state first."""
    options = {"k_step": every, "stepper": dynamics.stepper, "n_lyap": task.k}

    def run() -> Array:
        states = [dynamics.start]
        for t in dynamics.times[:-1]:
            states.append(dynamics.advance(t, states[-1]))
        found = library.lyap_exp(dynamics.function, dynamics.jacobian, np.stack(states), dynamics.times, **options)
        return _counted(found[1], task, every)

    return run


def _clvlib_reservoir(task: Reservoir, convert: Callable[[Tensor], Any]) -> _Dynamics:
    weight, start, drive = convert(task.weight), convert(task.start[0]), convert(torch.from_numpy(task.drive()[0]))
    times = convert(torch.arange(task.align + task.count + 1, dtype=torch.float64))
    tanh = np.tanh if isinstance(weight, np.ndarray) else torch.tanh

    def state(t: float, x: Any) -> Any:
        return tanh(weight @ x + drive[int(t)])

    def jacobian(t: float, x: Any) -> Any:
        return (1 - state(t, x) ** 2)[:, None] * weight

    def stepper(_f: object, _df: object, t: float, x: Any, frame: Any, _dt: float) -> tuple[Any, Any]:
        new = state(t, x)
        return new, (1 - new * new)[:, None] * (weight @ frame)

    return _Dynamics(start, times, state, jacobian, stepper, state)


def _clvlib_flow(task: Flow, convert: Callable[[Tensor], Any]) -> _Dynamics:
    times = convert(torch.arange(task.align + task.count + 1, dtype=torch.float64) * task.dt)
    eye, half = torch.eye(task.start.shape[-1], dtype=torch.float64), task.dt / 2
    identity, ahead, behind, two = (convert(eye.roll(by, 1).contiguous()) for by in (0, 1, -1, -2))

    def roll(x: Any, by: int) -> Any:
        return np.roll(x, by) if isinstance(x, np.ndarray) else x.roll(by)

    def rate(_t: float, x: Any) -> Any:
        return (roll(x, -1) - roll(x, 2)) * roll(x, 1) - x + task.forcing

    def jacobian(_t: float, x: Any) -> Any:
        slope, factor = (roll(x, -1) - roll(x, 2))[:, None], roll(x, 1)[:, None]
        return slope * behind + factor * (ahead - two) - identity

    def advance(t: float, x: Any) -> Any:
        k1 = rate(t, x)
        k2 = rate(t, x + half * k1)
        k3 = rate(t, x + half * k2)
        k4 = rate(t, x + 2 * half * k3)
        return x + half / 3 * (k1 + 2 * k2 + 2 * k3 + k4)

    return _Dynamics(convert(task.start[0]), times, rate, jacobian, "rk4", advance)


def _counted(history: Any, task: Task, every: int) -> Array:
    """The mean over the counted steps, from running means over all steps."""
    history, aligned, dt = np.asarray(history), task.align // every, task.dt if isinstance(task, Flow) else 1.0
    grown = history * (np.arange(len(history)) * every * dt)[:, None]
    return (grown[-1] - grown[aligned]) / (task.count * dt)


def resdag_peers(task: Task) -> Iterator[Peer]:
    """Its reservoir with our weights."""
    if isinstance(task, Flow):
        return
    from resdag.layers import ESNLayer
    from resdag.metrics import reservoir_lyapunov

    size = len(task.weight)
    layer = ESNLayer(size, feedback_size=1, bias=False, dtype=torch.float64, seed=0)
    with torch.no_grad():
        layer.cell.weight_hh.copy_(task.weight)
        layer.cell.weight_feedback.copy_(task.input_weight)
    inputs, options = task.inputs[:1], {"horizon": task.count, "transient": task.align, "k": task.k}
    yield Peer("resdag", 1, lambda: np.atleast_1d(reservoir_lyapunov(layer, inputs, **options)))


ADAPTERS: dict[str, Callable[[Task], Iterator[Peer]]] = {
    "lyapax": lyapax_peers,
    "resdag": resdag_peers,
    "clvlib": clvlib_peers,
}
