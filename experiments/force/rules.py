"""The three rules. Each gives a `Network`, whose W holds the fed-back output, too, and the state in which training ended."""

from dataclasses import dataclass

import numpy as np
import torch

from experiments.force.network import LEAK, Network, Numbers
from experiments.force.tasks import Task, batch, steps

EVERY = 2
"""Steps between updates of recursive least squares (both papers' programs)."""
Trained = tuple[Network, Numbers]
"""A network, and the state (N,) in which its training ended."""


class LeastSquares:
    """Recursive least squares with one inverse correlation matrix P, begun at the unit matrix (alpha = 1)."""

    def __init__(self, size: int) -> None:
        self.inverse = np.eye(size)

    def gain(self, rates: Numbers) -> Numbers:
        """P r / (1 + r' P r), after which P is the one that knows of r: weights move by -error times it."""
        moved = self.inverse @ rates
        gain = moved / (1 + rates @ moved)
        self.inverse -= np.outer(moved, gain)
        return gain


def force(start: Network, feedback: Numbers, task: Task, length: int, seed: int) -> Trained:
    """Sussillo and Abbott 2009, architecture A: only the readout learns, and its output is fed back while it does.

    The readout C follows recursive least squares towards the target; W = W0 + B C.
    """
    source = np.random.default_rng([seed, 1])
    state, readout, squares = source.standard_normal(start.size), start.readout.copy(), LeastSquares(start.size)
    rates, output = np.tanh(state), np.zeros(len(readout))
    for at, (x, target) in zip(range(length), steps(task, source), strict=False):
        state = state + LEAK * (start.recurrent @ rates + start.input @ x + feedback @ output - state)
        rates = np.tanh(state)
        output = readout @ rates
        if at % EVERY == 0:
            readout -= np.outer(output - target, squares.gain(rates))
            output = readout @ rates
    return Network(start.recurrent + feedback @ readout, start.input, readout), state


def full_force(
    start: Network, feedback: Numbers, task: Task, length: int, seed: int, *, settle: int = 2000, initial: Numbers | None = None
) -> Trained:
    """DePasquale et al. 2018: all of W learns what a target-generating network receives, which is driven by the target itself.

    The target-generating network is `start` with B f added, f being the target. W tanh(x) follows W0 tanh(x_target) + B f, and
    C tanh(x) follows f, by one recursive least squares. W begins at zero, as in the authors' program, or at `initial`. For the
    first `settle` steps the network receives what the target-generating one does, and nothing is learned.
    """
    source = np.random.default_rng([seed, 1])
    aim = state = source.standard_normal(start.size)
    recurrent, readout = np.zeros_like(start.recurrent) if initial is None else initial.copy(), start.readout.copy()
    squares, given = LeastSquares(start.size), np.zeros(start.size)
    for at, (x, target) in zip(range(settle + length), steps(task, source), strict=False):
        wanted = start.recurrent @ np.tanh(aim) + feedback @ target
        drive = start.input @ x
        aim = aim + LEAK * (wanted + drive - aim)
        given = wanted if at < settle else recurrent @ np.tanh(state)
        state = state + LEAK * (given + drive - state)
        if at >= settle and at % EVERY == 0:
            rates = np.tanh(state)
            gain = squares.gain(rates)
            wanted = start.recurrent @ np.tanh(aim) + feedback @ target
            recurrent -= np.outer(recurrent @ rates - wanted, gain)
            readout -= np.outer(readout @ rates - target, gain)
    return Network(recurrent, start.input, readout), state


@dataclass(frozen=True)
class Descent:
    """Settings of back-propagation."""

    updates: int = 300
    window: int = 200
    batch: int = 8
    learning_rate: float = 1e-3
    clip: float = 1.0


def back_propagation(start: Network, task: Task, settings: Descent, seed: int) -> Trained:
    """Adam on W and C, by back-propagation through windows of streams whose states are carried on (mean squared error)."""
    inputs, targets = batch(task, settings.batch, settings.updates * settings.window, seed)
    state = np.random.default_rng([seed, 1]).standard_normal((settings.batch, start.size))
    weights = [torch.tensor(part) for part in (start.recurrent, start.readout)]
    optimizer = torch.optim.Adam(weights, lr=settings.learning_rate)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, settings.updates)
    for at in range(settings.updates):
        window = slice(at * settings.window, (at + 1) * settings.window)
        network = Network(weights[0].numpy(), start.input, weights[1].numpy())
        state, _, gradients = descended(network, state, inputs[:, window], targets[:, window])
        for weight, gradient in zip(weights, gradients, strict=True):
            weight.grad = torch.as_tensor(gradient)
        torch.nn.utils.clip_grad_norm_(weights, settings.clip)
        optimizer.step()
        schedule.step()
    return Network(weights[0].numpy(), start.input, weights[1].numpy()), state[0]


def descended(network: Network, state: Numbers, inputs: Numbers, targets: Numbers) -> tuple[Numbers, float, list[Numbers]]:
    """The last state, the mean squared error along a window, and its gradients by W and C.

    Written out because a step is small: PyTorch's tape costs several times what the products do.
    """
    length, count = inputs.shape[1], len(state)
    states = np.empty((length + 1, count, network.size))
    states[0] = state
    drive = np.swapaxes(inputs @ network.input.T, 0, 1)
    for at in range(length):
        states[at + 1] = states[at] + LEAK * (np.tanh(states[at]) @ network.recurrent.T + drive[at] - states[at])
    rates = np.tanh(states)
    slopes = 1 - rates**2
    errors = rates[1:] @ network.readout.T - np.swapaxes(targets, 0, 1)
    outer = 2 / errors.size * errors
    seen = (outer @ network.readout) * slopes[1:]
    moved, back = np.empty_like(seen), np.zeros_like(state)
    for at in reversed(range(length)):
        moved[at] = LEAK * (seen[at] + back)
        back = (1 / LEAK - 1) * moved[at] + (moved[at] @ network.recurrent) * slopes[at]
    by_recurrent = moved.reshape(-1, network.size).T @ rates[:-1].reshape(-1, network.size)
    by_readout = outer.reshape(-1, outer.shape[-1]).T @ rates[1:].reshape(-1, network.size)
    return states[-1], float((errors**2).mean()), [by_recurrent, by_readout]
