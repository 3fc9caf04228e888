"""One direction of a bidirectional layer: its layers as one-directional modules, each with the inputs that drive it."""

from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from lyapunov.intake.capturing.calls import Piece, Received, as_taken
from lyapunov.intake.kinds import kind_of
from lyapunov.intake.rebuilt import rebuilt
from lyapunov.systems import eval_mode


def layers_of(module: nn.RNNBase, received: Received, backward: bool) -> list[Piece]:
    """The layers of one direction, from the bottom up, with the module's own weights.

    The backward one has its inputs reversed in time, each sequence within its length. Above the first layer, the inputs are
    the outputs of both directions below.
    """
    pieces = []
    with torch.no_grad():
        for layer in range(module.num_layers):
            both = [one_directional(module, layer, reverse) for reverse in (False, True)]
            driven = [_of_direction(received, layer, reverse) for reverse in (False, True)]
            pieces.append(as_taken(both[backward], driven[backward]))
            if layer + 1 < module.num_layers:
                ahead, behind = (_output(*pair) for pair in zip(both, driven, strict=True))
                below = torch.cat([ahead, reversed_in_time(behind, received.lengths)], dim=-1)
                received = replace(received, values=below)
    return pieces


def one_directional(module: nn.RNNBase, layer: int, backward: bool) -> Any:
    """One layer of one direction as a module of its own, around the weights of that direction."""
    suffix = f"_l{layer}{'_reverse' if backward else ''}"
    names = ["weight_ih", "weight_hh", *["bias_ih", "bias_hh"][: 2 * module.bias], *["weight_hr"][: bool(module.proj_size)]]
    with eval_mode(module):
        weights = {f"{name}_l0": getattr(module, name + suffix) for name in names}
    nonlinearity = getattr(module, "nonlinearity", None)
    return rebuilt(kind_of(module), weights, batch_first=module.batch_first, nonlinearity=nonlinearity, like=module).eval()


def reversed_in_time(values: Tensor, lengths: Tensor | None) -> Tensor:
    """(time, batch, ...) backwards, each sequence within its length; what stands behind its end stays there."""
    if lengths is None:
        return values.flip(0)
    steps = torch.arange(len(values)).unsqueeze(-1)
    order = torch.where(steps < lengths, lengths - 1 - steps, steps).to(values.device)
    return values.gather(0, order.unsqueeze(-1).expand_as(values))


def _of_direction(received: Received, layer: int, backward: bool) -> Received:
    """What one layer of one direction receives, in the order in which it does."""
    at = 2 * layer + int(backward)
    state = None if received.state is None else tuple(part[at : at + 1] for part in received.state)
    values = reversed_in_time(received.values, received.lengths) if backward else received.values
    return replace(received, values=values, state=state)


def _output(module: nn.RNNBase, driven: Received) -> Tensor:
    """Run the module again on what it received: its output (time, batch, size)."""
    whole = as_taken(module, replace(driven, unbatched=False))
    weight: Any = module.weight_hh_l0
    state = whole.state
    if state is not None:
        parts = state if isinstance(state, tuple) else (state,)
        parts = tuple(part.to(weight.dtype).contiguous() for part in parts)
        state = parts if isinstance(state, tuple) else parts[0]
    output = module(whole.inputs.to(weight.dtype), state)[0]
    return output.transpose(0, 1) if module.batch_first else output
