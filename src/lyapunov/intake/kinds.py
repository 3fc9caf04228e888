"""The kinds of recurrent layers that are known in closed form: the one list of them, and all that differs outside `systems/`.

What a kind computes, how many gates it has and what its state is made of stays with its closed form in `systems/`.
"""

from dataclasses import dataclass

from torch import nn

from lyapunov.systems import GRU, LSTM, RNN, ModuleLayer


@dataclass(frozen=True)
class Kind:
    """One kind of layer: its closed form, PyTorch's module for one step and for whole sequences, and what others call it.

    cell: one step. layer: whole sequences, None where there is no such module. operators: the names under which PyTorch's
    dispatcher runs a layer; those of a cell end in `_cell`. keras: Keras's class for one step; keras_gates: the places of
    PyTorch's gates there.
    """

    system: type[ModuleLayer]
    cell: type[nn.RNNCellBase]
    layer: type[nn.RNNBase] | None = None
    operators: tuple[str, ...] = ()
    keras: str = ""
    keras_gates: tuple[int, ...] = ()

    @property
    def modules(self) -> tuple[type[nn.Module], ...]:
        """PyTorch's modules of this kind."""
        return (self.cell,) if self.layer is None else (self.layer, self.cell)


KINDS = (
    Kind(RNN, nn.RNNCell, nn.RNN, ("rnn_tanh", "rnn_relu"), "SimpleRNNCell", (0,)),
    Kind(GRU, nn.GRUCell, nn.GRU, ("gru",), "GRUCell", (1, 0, 2)),
    Kind(LSTM, nn.LSTMCell, nn.LSTM, ("lstm",), "LSTMCell", (0, 1, 2, 3)),
)
LAYERS = tuple(kind.layer for kind in KINDS if kind.layer is not None)
CELLS = tuple(kind.cell for kind in KINDS)


def known_kind(module: type[nn.Module]) -> Kind:
    """The kind that a class of modules is, or is derived from."""
    return next(kind for kind in KINDS if issubclass(module, kind.modules))


def kind_of(module: nn.Module) -> type[nn.Module]:
    """Which of PyTorch's layers or cells it is, or is derived from."""
    return next(kind for kind in (*LAYERS, *CELLS) if isinstance(module, kind))


def layer_names(last: str = "or") -> str:
    """The names of all layers, as a sentence lists them."""
    *names, final = (kind.__name__ for kind in LAYERS)
    return f"{', '.join(names)} {last} {final}"
