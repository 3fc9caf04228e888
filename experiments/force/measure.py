"""One network of the experiment from its seed to its row: trained by a rule, tested, and its whole spectrum read."""

import time
import warnings
from typing import Any

import numpy as np
import torch
from torch import Tensor

import lyapunov
from experiments.force.network import LEAK, LeakyTanh, Network, Numbers, drawn
from experiments.force.presets import GAIN, LONGER, Plan
from experiments.force.rules import Trained, back_propagation, force, full_force
from experiments.force.tasks import Task, batch, trials

COPIES = 4
"""Runs with noise of their own that an error under noise is taken over."""


def trained(rule: str, task: Task, plan: Plan, seed: int) -> Trained:
    """The seed's random network after the rule. All rules get the same random weights, inputs and feedback."""
    start, feedback = drawn(plan.size, task.inputs, task.outputs, GAIN, seed)
    if rule == "force":
        return force(start, feedback, task, plan.length, seed)
    if rule == "full-force":
        return full_force(start, feedback, task, plan.length, seed)
    if rule == "full-force from W0":
        return full_force(start, feedback, task, plan.length, seed, initial=start.recurrent)
    if rule == "back-propagation":
        return back_propagation(start, task, plan.descent, seed)
    state = np.random.default_rng([seed, 1]).standard_normal(plan.size)
    inputs, _ = batch(task, 1, 500, seed)
    return start, start.run(state[None], inputs)[0][0]


def error(network: Network, state: Numbers, task: Task, count: int, *, noise: float = 0.0, longer: bool = False) -> float:
    """Squared error of the first output over the target's square, along trials that no training has seen.

    This is the normalized error of the Full-FORCE authors' program. Two trials go before.
    """
    source = np.random.default_rng(7)
    first, rest = trials(task, 2, 8), trials(task, count, 9, longer=longer)
    copies = COPIES if noise else 1
    begun, _ = network.run(state[None], first[0][None])
    inputs = np.repeat(rest[0][None], copies, axis=0)
    added = noise * source.standard_normal((copies, len(rest[0]), network.size)) if noise else None
    _, outputs = network.run(np.repeat(begun, copies, axis=0), inputs, added)
    wanted = rest[1][:, 0]
    return float(((outputs[:, :, 0] - wanted) ** 2).mean() / (wanted**2).mean())


def spectrum(network: Network, state: Numbers, task: Task, plan: Plan) -> lyapunov.Spectrum:
    """All exponents, per time constant of a unit, along streams of the task and with the output fed back."""
    length = plan.settle + plan.align + plan.counted
    inputs, _ = batch(task, plan.sequences, length, 10)
    ahead = [
        network.run(state[None], batch(task, 1, 100 * at, 11 + at)[0])[0] if at else state[None] for at in range(plan.sequences)
    ]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", lyapunov.LyapunovWarning)  # what is not reliable is counted in the row
        return lyapunov.spectrum(
            LeakyTanh(network),
            torch.as_tensor(inputs),
            state=torch.as_tensor(np.concatenate(ahead)),
            settle=plan.settle,
            align=plan.align,
            dt=LEAK,
            check=False,
            progress=False,
        )


def row(rule: str, task: Task, plan: Plan, seed: int) -> tuple[dict[str, Any], Tensor]:
    """Everything about one network, and its exponents."""
    begun = time.process_time()
    measured = plan.longer if rule.endswith(LONGER) else plan
    network, state = trained(rule.removesuffix(LONGER), task, plan, seed)
    training = time.process_time() - begun
    found = spectrum(network, state, task, measured)
    low, high = plan.noise
    return {
        "task": task.name,
        "rule": rule,
        "seed": seed,
        "error": error(network, state, task, plan.trials),
        "noise_error": error(network, state, task, plan.trials, noise=low),
        "strong_noise_error": error(network, state, task, plan.trials, noise=high),
        "longer_error": error(network, state, task, plan.trials, longer=True),
        "largest": found.max,
        "largest_error": float(found.standard_errors[0]),
        "least": float(found.exponents[-1]),
        "least_error": float(found.standard_errors[-1]),
        "mean": found.mean,
        "mean_error": found.standard_error("mean"),
        "variance": found.variance,
        "variance_error": found.standard_error("variance"),
        "unreliable": int((~found.reliable).sum()),
        "verdict": " ".join(kind.replace(" ", "-") for kind in found.verdict.kinds) or "converged",
        "training_seconds": training,
        "seconds": time.process_time() - begun,
        "settings": measured.settings,
        "made_with": f"lyapunov {lyapunov.__version__}; torch {torch.__version__}; numpy {np.__version__}",
    }, found.exponents
