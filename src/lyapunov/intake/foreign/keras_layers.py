"""Recurrent layers and cells of Keras 3 on its PyTorch backend, as PyTorch's own; Keras itself is never imported."""

from itertools import takewhile
from typing import Any

import torch
from torch import Tensor, nn

from lyapunov._shapes import State
from lyapunov._trees import tree_flatten
from lyapunov.errors import InvalidInput, Unsupported
from lyapunov.intake.kinds import KINDS
from lyapunov.intake.rebuilt import rebuilt

_KINDS = {kind.keras: kind for kind in reversed(KINDS) if kind.keras}
_RECURRENT = {"RNN", "StackedRNNCells", "Bidirectional", *_KINDS}
"""Layers that are one of these, or derived from one: `LSTM`, `GRU`, `SimpleRNN` and `ConvLSTM` are from `RNN`."""
_STEP = (
    "Pass one step of it as step(state, x), in float32, as Keras multiplies: lyapunov.spectrum(step, inputs, state=..., "
    "dtype=torch.float32)."
)
_OWN = ("call", "inner_loop", "forward", "__call__")


def is_keras_recurrent(module: object) -> bool:
    """Whether it is a recurrent layer or cell of Keras, whatever its backend."""
    return any(kind.__name__ in _RECURRENT and _of_keras(kind, ".rnn") for kind in type(module).__mro__)


def refuse_keras_model(module: Any) -> None:
    """A sequential or functional model hides its layers from PyTorch; where some of them are recurrent, say how to go on."""
    if not any(kind.__name__ in ("Sequential", "Functional") and _of_keras(kind, ".models") for kind in type(module).__mro__):
        return
    places = [f"layers[{at}]" for at, layer in enumerate(module.layers) if is_keras_recurrent(layer)]
    if places:
        raise Unsupported(
            f"Expected a recurrent layer, got a Keras model with {', '.join(places)}. Pass model.{places[0]} with its own "
            "inputs: what the layers before it return."
        )


def from_keras(layer: object) -> nn.Module:
    """A layer as PyTorch's (batch first), a cell as PyTorch's cell, with the weights of Keras, live and with their graph.

    Raises Unsupported where Keras computes something else, and InvalidInput where there are no weights yet.
    """
    name = type(layer).__name__
    if not isinstance(layer, nn.Module):
        raise Unsupported(
            f"Expected a Keras layer on the PyTorch backend, got {name} on another. Set KERAS_BACKEND=torch before Keras is "
            "imported, and load the model there."
        )
    if hasattr(layer, "backward_layer"):
        raise Unsupported(
            f"Expected a one-directional layer, got {name}. Analyse each direction by itself: layer.forward_layer with the "
            "inputs, and layer.backward_layer.cell with inputs.flip(1)."
        )
    if getattr(layer, "go_backwards", False):
        raise Unsupported(
            f"Expected a layer that runs forwards, got {name} with go_backwards=True. Pass its cell with the inputs reversed "
            "in time: lyapunov.spectrum(layer.cell, inputs.flip(1))."
        )
    is_layer, cells = hasattr(layer, "cell"), cells_of(layer)
    for part in (layer, *cells):
        _require_own_call(part)
    form = _form(cells)
    kind = _KINDS[form[0]]
    suffixes = [f"_l{at}" for at in range(len(cells))] if is_layer else [""]
    weights = {
        f"{key}{suffix}": weight
        for cell, suffix in zip(cells, suffixes, strict=True)
        for key, weight in _weights(cell, kind.keras_gates).items()
    }
    nonlinearity = form[-1] if "nonlinearity" in kind.system.options else None
    module = kind.layer if is_layer and kind.layer is not None else kind.cell
    return rebuilt(module, weights, batch_first=True, nonlinearity=nonlinearity, like=layer)


def keras_state(layer: object, state: State) -> State:
    """The state of a layer as Keras takes it (tensors (batch, units), cell by cell) in PyTorch's form; others as they are."""
    leaves = tree_flatten(state)[0]
    cells = cells_of(layer) if hasattr(layer, "cell") else ()
    known = _KINDS.get(_cell_kind(cells[0]) or "") if cells else None
    parts = 1 if known is None else len(known.system.state_parts)
    if len(leaves) != parts * len(cells) or not all(isinstance(leaf, Tensor) and leaf.dim() == 2 for leaf in leaves):
        return state
    stacked = tuple(torch.stack(leaves[at::parts]) for at in range(parts))
    return stacked if parts == 2 else stacked[0]


def cells_of(layer: object) -> tuple[Any, ...]:
    """The cells of a layer from the bottom up; of a cell, itself."""
    cell = getattr(layer, "cell", layer)
    return tuple(getattr(cell, "cells", (cell,)))


def _of_keras(kind: type, part: str) -> bool:
    root, _, rest = kind.__module__.partition(".")
    return root in ("keras", "tf_keras") and part in f".{rest}"


def _cell_kind(cell: object) -> str | None:
    return next((kind.__name__ for kind in type(cell).__mro__ if kind.__name__ in _KINDS and _of_keras(kind, ".rnn")), None)


def _require_own_call(part: object) -> None:
    """What a user's class changes is not in the weights."""
    users = takewhile(lambda kind: not _of_keras(kind, ""), type(part).__mro__)
    changed = [name for kind in users for name in _OWN if name in vars(kind)]
    if changed:
        raise Unsupported(
            f"Expected the call of Keras's own layer, got {type(part).__name__} with its own {' and '.join(changed)}. {_STEP}"
        )


def _form(cells: tuple[Any, ...]) -> tuple[Any, ...]:
    """The kind, units, bias and activation of all cells, which are the same."""
    forms = []
    for cell in cells:
        kind = _cell_kind(cell)
        if kind is None or getattr(cell, "reset_after", True) is False:
            what = f"{kind} with reset_after=False" if kind else type(cell).__name__
            known = ", ".join(_KINDS)
            raise Unsupported(f"Expected a cell of the form of PyTorch's ({known}), got {what}. {_STEP}")
        if not cell.built:
            raise InvalidInput(
                f"Expected a {kind} with weights, got one that is not built. Call the layer once on its inputs before."
            )
        forms.append((kind, cell.units, cell.use_bias, _activation(cell, kind)))
    if len(set(forms)) > 1:
        raise Unsupported(
            f"Expected cells of one kind and size, got {', '.join(f'{kind}({units})' for kind, units, *_ in forms)}. Pass one "
            "after the other, each with what it receives: layer.cell.cells[0] with the inputs, and so on."
        )
    return forms[0]


def _activation(cell: Any, kind: str) -> str:
    """The nonlinearity of an RNN; the others have tanh and sigmoid."""
    allowed = {
        "activation": ("tanh", "relu") if "nonlinearity" in _KINDS[kind].system.options else ("tanh",),
        "recurrent_activation": ("sigmoid",),
    }
    for attribute, names in allowed.items():
        function = getattr(cell, attribute, None)
        found = getattr(function, "__name__", type(function).__name__)
        own = str(getattr(function, "__module__", "")).split(".")[0] == "keras"
        if function is not None and not (own and found in names):
            raise Unsupported(f"Expected {attribute}={' or '.join(map(repr, names))} with a {kind}, got {found!r}. {_STEP}")
    return cell.activation.__name__


def _weights(cell: Any, order: tuple[int, ...]) -> dict[str, Tensor]:
    """Keras's (inputs, gates) as PyTorch's (gates, inputs), in PyTorch's order of gates, and two biases for one."""

    def in_order(variable: Any) -> Tensor:
        gates = variable.value.chunk(len(order), dim=-1)
        return torch.cat([gates[at] for at in order], dim=-1)

    weights = {"weight_ih": in_order(cell.kernel).T, "weight_hh": in_order(cell.recurrent_kernel).T}
    if not cell.use_bias:
        return weights
    bias = in_order(cell.bias)
    both = tuple(bias) if bias.dim() == 2 else (bias, torch.zeros_like(bias))
    return weights | dict(zip(("bias_ih", "bias_hh"), both, strict=True))
