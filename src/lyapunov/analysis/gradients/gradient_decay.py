"""The decay of real loss gradients: |d loss_T / d state_(T-n)| of a user's own model, loss and batch."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from lyapunov import _checks
from lyapunov._progress import progress_bar
from lyapunov._shapes import State
from lyapunov._shown import Parts
from lyapunov._trees import tree_flatten, tree_map
from lyapunov.analysis.lag_decay import LagDecay, starting_times
from lyapunov.errors import InvalidInput, Unsupported
from lyapunov.intake import CELLS, Problem, cores_of, layer_system, preserving_state, split_layers
from lyapunov.systems import CoupledStack, System
from lyapunov.tangent import Workers

AGREE, COMPARED = 1e-3, 8
"""How far a layer's outputs may be from those of its steps one by one, beside the largest, over so many steps: later, rounding
alone sets those of a chaotic network apart."""


@dataclass(frozen=True, eq=False, repr=False)
class GradientDecay(LagDecay):
    """|d loss_T / d state_(T-n)| against the lag n, over starting times T and sequences.

    Attributes:
        lags: (lags,), from 0 to the longest, in steps.
        log_norms: (lags, starts, batch), ln of the norm over the state of all layers (h and c). It is -inf where the norm is
            smaller than the model's dtype holds.
        starts: (starts,), the steps after which the loss is taken.
        core: the name of the recurrent core whose state it is.

    Example:
        >>> rnn, batch = torch.nn.RNN(2, 8, batch_first=True), torch.randn(4, 60, 2)
        >>> decay = lyapunov.gradient_decay(rnn, lambda model, x: model(x)[0].square().sum(-1), batch, lags=20)
        >>> decay.log_norms.shape[0], decay.slope().value < 0
        (21, True)
    """

    core: str

    def _parts(self) -> Parts:
        title = f"Gradients of the loss by the state of {self.core or 'the core'}: {self._extent}"
        return Parts([title], self._rows("mean ln |gradient|"))


def gradient_decay(
    model: nn.Module,
    loss: Callable[[object, object], Tensor],
    batch: object,
    *,
    lags: int = 80,
    starts: int = 200,
    core: str | None = None,
    progress: bool | None = None,
) -> GradientDecay:
    """How the gradients that training really uses decay with the lag, measured by backpropagation.

    Args:
        model: a module with one of PyTorch's recurrent layers or cells inside. It runs once, in evaluation mode, and is left as
            it was, its gradients and random states included.
        loss: `loss(model, batch)`, the losses of every step before any mean, (batch, time), for example of cross_entropy with
            reduction="none"; or (batch,), the loss of the last step alone.
        batch: what the loss is called with.
        lags: the longest lag, in steps.
        starts: how many starting times T, spread over the steps with that many before them.
        core: the name of the recurrent core in `model.named_modules()`; None: the only one.
        progress: a bar (None: on a terminal, after two seconds).

    Returns:
        A `GradientDecay`: `slope()`, `lag_at(0.01)`, `interval()`. It is computed in the model's dtype: float32 ends at e^-103,
        so use `model.double()` where gradients are smaller.

    Raises:
        InvalidInput, Unsupported: with the remedy.

    Example:
        >>> rnn, batch = torch.nn.RNN(2, 8, batch_first=True), torch.randn(4, 60, 2)
        >>> decay = lyapunov.gradient_decay(rnn, lambda model, x: model(x)[0].square().sum(-1), batch, lags=20)
        >>> decay.lag_at(0.01).longest > 0
        True
    """
    name, module = _core(model, core)
    longest = _checks.whole_number(lags, "lags", least=1)
    count = _checks.whole_number(starts, "starts", least=1)
    with torch.inference_mode(False), preserving_state(model, batch), torch.enable_grad(), Workers():
        states, losses = _recorded(model, module, loss, batch)
        times = _times(losses, len(states), longest, count)
        found = []
        with progress_bar("Gradients of the loss", len(times), enabled=progress) as advance:
            for at, (column, time) in enumerate(times):
                found.append(_log_norms(losses[:, column], states[time - longest : time + 1]))
                advance(at + 1)
    log_norms = torch.stack(found, dim=1).detach().double().cpu()
    return GradientDecay(torch.arange(longest + 1), log_norms, torch.tensor([time + 1 for _, time in times]), name)


def _core(model: nn.Module, core: str | None) -> tuple[str, nn.Module]:
    cores = cores_of(model)
    if not cores:
        raise Unsupported(
            f"Expected a model with one of PyTorch's recurrent layers or cells, got {type(model).__name__} without. For a "
            "step of your own, lyapunov.gradient_exponents says what its readout sees."
        )
    if core is None and len(cores) > 1:
        raise InvalidInput(f"Expected `core` with several recurrent cores, got none. Choose among {', '.join(cores)}.")
    name = next(iter(cores)) if core is None else core
    _checks.one_of(name, tuple(cores), "core")
    return name, cores[name]


def _recorded(
    model: nn.Module, module: nn.Module, loss: Callable[[object, object], Tensor], batch: object
) -> tuple[list[list[Tensor]], Tensor]:
    """The tensors of the core's state after each step, each a branch of its own in the graph, and the losses (batch, time)."""
    states: list[list[Tensor]] = []
    watch: Callable[..., object] = _watched_cell if isinstance(module, CELLS) else _stepwise
    handle = module.register_forward_hook(
        lambda core, args, kwargs, output: watch(core, args, kwargs, output, states), with_kwargs=True
    )
    try:
        losses = loss(model, batch)
    finally:
        handle.remove()
    if not isinstance(losses, Tensor) or losses.dim() not in (1, 2):
        got = tuple(losses.shape) if isinstance(losses, Tensor) else type(losses).__name__
        raise InvalidInput(
            f"Expected a `loss` that returns (batch, time) losses of every step, or (batch,) of the last, got {got}. Leave the "
            'mean out (reduction="none").'
        )
    if not states:
        raise Unsupported(
            "Expected a `loss` that calls the recurrent core, got one that does not. Call it as a module: core(x)."
        )
    sequences = len(states[0][0]) if states[0][0].dim() == 2 else 0
    if len(losses) != sequences:
        raise InvalidInput(
            f"Expected a `loss` that returns one row for each of the {sequences} sequences of the core, got "
            f"{tuple(losses.shape)}. Give the core a batch axis, and the losses the shape (batch, time): losses.view(batch, "
            "time)."
        )
    if not losses.requires_grad:
        raise InvalidInput("Expected losses that depend on the core, got ones without a gradient. Leave torch.no_grad() out.")
    return states, (losses.unsqueeze(1) if losses.dim() == 1 else losses)


def _times(losses: Tensor, steps: int, longest: int, starts: int) -> list[tuple[int, int]]:
    """Which column of the losses is taken, and the step that it belongs to."""
    columns = losses.shape[1]
    if columns not in (1, steps):
        raise InvalidInput(
            f"Expected losses (batch, time) of {steps} steps, as many as the core makes, got {tuple(losses.shape)}. Return one "
            "per step, batch first, or those of the last step, (batch,)."
        )
    if longest > steps - 1:
        raise InvalidInput(
            f"Expected `lags` below the {steps} steps of the batch, got {longest}. Pass fewer, or longer sequences."
        )
    if columns == 1:
        return [(0, steps - 1)]
    return [(time, time) for time in starting_times(longest, steps - 1, starts)]


def _log_norms(losses: Tensor, states: list[list[Tensor]]) -> Tensor:
    """(lags + 1, batch), lag 0 first."""
    parts = [part for state in states for part in state]
    grads = torch.autograd.grad(losses.sum(), parts, retain_graph=True, allow_unused=True)
    width = len(states[0])
    squares = [torch.zeros(len(losses), dtype=torch.float64, device=losses.device) for _ in states]
    for at, grad in enumerate(grads):
        if grad is not None:
            squares[at // width] = squares[at // width] + grad.double().square().flatten(1).sum(-1)
    return torch.stack(squares[::-1]).sqrt().log()


def _watched_cell(core: nn.Module, args: object, kwargs: object, output: object, states: list[list[Tensor]]) -> object:  # noqa: ARG001
    """The cell's own output, each part as a branch of its own."""
    branches = tree_map(_branch, output)
    states.append(list(tree_flatten(branches)[0]))
    return branches


def _stepwise(
    core: nn.RNNBase,
    args: tuple[State, ...],
    kwargs: Mapping[str, State],
    output: tuple[State, State],
    states: list[list[Tensor]],
) -> tuple[Tensor, State]:
    """A layer's output, made again step by step so that every state is there."""
    inputs = args[0] if args else kwargs["input"]
    given = args[1] if len(args) > 1 else kwargs.get("hx")
    if not isinstance(inputs, Tensor) or inputs.dim() != 3 or inputs.dtype not in (torch.float32, torch.float64):
        got = f"{tuple(inputs.shape)} of {inputs.dtype}" if isinstance(inputs, Tensor) else type(inputs).__name__
        raise Unsupported(
            f"Expected a core that is given padded batches in float32 or float64, got {got}. Measure without packing, in "
            "batches, and without autocast."
        )
    system = layer_system(core, Problem(core, inputs, coupled=True), inputs.dtype)
    if given is None:
        state = system.initial_state(inputs.shape[0 if core.batch_first else 1], inputs)
    else:  # handed on from an earlier call, with its graph
        state = split_layers(list(given) if isinstance(given, tuple) else [given], system)
    shown = []
    for x in inputs.unbind(1 if core.batch_first else 0):
        state = tree_map(_branch, system.step(state, x))
        states.append(list(tree_flatten(state)[0]))
        shown.append(system.output(state))
    axis = 1 if core.batch_first else 0
    outputs = torch.stack(shown, dim=axis)
    count = min(COMPARED, len(shown))
    _require_equal(outputs.narrow(axis, 0, count), output[0].narrow(axis, 0, count), core)
    parts = [torch.stack(part) for part in zip(*_by_layer(system, state), strict=True)]
    return outputs, (tuple(parts) if len(parts) > 1 else parts[0])


def _by_layer(system: System, state: State) -> list[tuple[Tensor, ...]]:
    """The parts (h, or h and c) of each layer."""
    layers = state if isinstance(system, CoupledStack) else (state,)
    return [tuple(tree_flatten(layer)[0]) for layer in layers]


def _branch(leaf: Tensor) -> Tensor:
    """The same numbers at a place of their own in the graph: what is made of it depends on it, and on what made it."""
    return leaf.view_as(leaf) if leaf.requires_grad else leaf.detach().requires_grad_()


def _require_equal(made: Tensor, own: Tensor, core: nn.Module) -> None:
    gap, size = float((made - own).detach().abs().max()), float(own.detach().abs().max())
    if not gap <= AGREE * max(size, 1e-30):
        raise Unsupported(
            f"Expected a {type(core).__name__} that computes as PyTorch's own, got outputs that differ by {gap:.2g}. Write the "
            "model with a cell that is called step by step."
        )
