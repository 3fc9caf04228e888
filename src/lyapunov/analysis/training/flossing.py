"""Gradient flossing: leading exponents pulled towards zero, so that gradients neither vanish nor explode along them."""

from itertools import takewhile
from typing import Any

import torch
from torch import Tensor, nn

from lyapunov import _checks
from lyapunov._progress import progress_bar
from lyapunov.analysis.training.exponent_sum import exponent_sum
from lyapunov.errors import InvalidInput
from lyapunov.intake import problem

USUAL = 8
"""Leading exponents that are flossed where the caller does not say."""


def flossing_loss(system: object, inputs: object = None, k: int = USUAL, *, target: float = 0.0, **along: Any) -> Tensor:
    """How far the k leading exponents are from a target, as a regularizer: a scalar that one can differentiate.

    The mean over j = 1, 2, 4, ..., k of (S_j / j - target)^2, S_j the sum of the j leading exponents. It takes sums because
    single exponents have no well-conditioned derivative where two of them are close.

    Args:
        system, inputs: as for `lyapunov.spectrum`.
        k: how many leading exponents.
        target: where they should be, nats per step.
        along: further arguments of `lyapunov.exponent_sum`.

    Returns:
        A scalar tensor.

    Example:
        >>> rnn = torch.nn.RNN(2, 6, batch_first=True)
        >>> lyapunov.flossing_loss(rnn, torch.randn(3, 20, 2), k=2).backward()
        >>> rnn.weight_hh_l0.grad is not None
        True

    References:
        Engelken 2023 (arXiv 2312.17306), who takes the squares of single exponents.
    """
    counts, target = _counts(_checks.whole_number(k, "k", least=1)), _checks.finite_number(target, "target")
    sums = exponent_sum(system, inputs, counts, **along)
    return (sums / torch.tensor(counts, dtype=sums.dtype, device=sums.device) - target).square().mean()


def floss_(
    module: object,
    inputs: object = None,
    *,
    k: int = USUAL,
    target: float = 0.0,
    steps: int = 100,
    learning_rate: float = 1e-3,
    progress: bool | None = None,
    **along: Any,
) -> Tensor:
    """Move a module's weights, before training or between epochs, until its k leading exponents are near a target.

    It runs Adam on `flossing_loss`, in place. Gradients that the module holds are left as they were.

    Args:
        module: a recurrent layer or cell.
        inputs: as the module takes them, or a function that returns new ones each time.
        k: how many leading exponents.
        target: where they should be, nats per step.
        steps: how many steps of Adam.
        learning_rate: of Adam.
        progress: a bar (None: on a terminal, after two seconds).
        along: further arguments of `lyapunov.exponent_sum`.

    Returns:
        (steps,), the loss before each step.

    Raises:
        InvalidInput: where nothing can be moved, and where an exponent is lost; the weights are then those before that step.

    Example:
        >>> rnn = torch.nn.RNN(2, 6, batch_first=True)
        >>> losses = lyapunov.floss_(rnn, torch.randn(3, 20, 2), k=2, steps=3)
        >>> len(losses)
        3
    """
    module, inputs, rest = problem(module, inputs).parts()
    if not isinstance(module, nn.Module):
        raise InvalidInput(
            f"Expected a module whose weights are moved, got {type(module).__name__}. Pass it, or a problem of it."
        )
    weights, check = [weight for weight in module.parameters() if weight.requires_grad], along.pop("check", True)
    _checks.require_nonempty(tuple(weights), "a module with weights that require a gradient", "nn.GRU(10, 64)")
    count = _checks.whole_number(steps, "steps", least=1)
    optimizer = torch.optim.Adam(weights, lr=_checks.positive(learning_rate, "learning_rate"))
    before, found = [weight.grad for weight in weights], []
    try:
        bar = progress_bar("Flossing", count, enabled=progress)
        with bar as advance, torch.inference_mode(False), torch.enable_grad():
            for at in range(count):
                current = inputs() if callable(inputs) else inputs
                now = problem(module, current, **rest)
                penalty = flossing_loss(now, k=k, target=target, check=check and at == 0, **along)
                grads = torch.autograd.grad(penalty, weights, allow_unused=True)
                _require_finite((penalty, *grads), at)
                for weight, grad in zip(weights, grads, strict=True):
                    weight.grad = grad
                optimizer.step()
                found.append(penalty.detach())
                advance(at + 1)
    finally:
        for weight, grad in zip(weights, before, strict=True):
            weight.grad = grad
    return torch.stack(found)


def _counts(k: int) -> tuple[int, ...]:
    """1, 2, 4, ... and k."""
    return (*takewhile(lambda count: count < k, (2**power for power in range(k))), k)


def _require_finite(values: tuple[Tensor | None, ...], at: int) -> None:
    if not all(bool(torch.isfinite(value).all()) for value in values if value is not None):
        raise InvalidInput(
            f"Expected finite exponents and gradients, got NaN or infinity at step {at} of flossing; the weights are as they "
            "were before it. Floss fewer exponents (k), those that are not lost, or take a smaller learning_rate."
        )
