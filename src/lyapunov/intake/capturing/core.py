"""A recurrent core in a user's model, and what was seen of it while the model ran."""

from dataclasses import dataclass
from typing import Any

from torch import nn

from lyapunov.errors import Unsupported
from lyapunov.intake.capturing.calls import Piece, Received
from lyapunov.intake.capturing.turns import Turn
from lyapunov.intake.kinds import LAYERS, kind_of


@dataclass(frozen=True, eq=False)
class Core:
    """A recurrent layer or cell in a model. `received`: None where it was not called, or has a forward of its own."""

    name: str
    module: Any
    calls: int
    received: Received | None = None
    fed_by: frozenset[str] = frozenset()
    """The cores whose outputs reach its inputs; itself, too, where it is in a closed loop."""
    state_changed: bool = False
    """Whether the state it is given depends on one that it returned, without being it."""
    other_weights: bool = False
    """Whether it returned something else than the weights that it holds make of what it received."""
    through: tuple[str, ...] = ()
    """The other cores of that loop."""
    failure: str = ""
    """The error that the model raised when this core returned other outputs."""
    turn: Turn | Unsupported | None = None
    """The way from its output round to its next input, or why there is none; None where it is not fed by its own output."""
    refusal: str = ""
    """Why it is not taken: its forward is one of its own, and returns something else."""
    piece: Piece | None = None
    """A cell of the user's own, as the step it was called for."""
    left_out: int = 0
    """Sequences of a single step, which are none."""
    sources: tuple[tuple[nn.Module, str], ...] = ()
    """The other cores that feed it, each with a hash of the weights by which it did."""

    @property
    def forgets(self) -> bool:
        """Whether each of several calls is one step, and none goes on where another one ended."""
        return self.received is not None and self.calls > 1 and len(self.received.values) == 1

    @property
    def start(self) -> str:
        """Where its sequences start from, in words."""
        given = None if self.received is None else self.received.state
        return "a state of its own" if given is not None and any(bool(part.any()) for part in given) else "zeros"

    @property
    def shown(self) -> str:
        """Its name, in words where it has none."""
        return shown(self.name)

    @property
    def kind(self) -> str:
        """Its type and sizes."""
        module = self.module
        if self.piece is not None:
            kind, sizes = type(module.module), " + ".join(str(leaf[0].numel()) for leaf in self.piece.state)
            return f"{kind.__module__}.{kind.__qualname__} as a step, state {sizes}"
        parts = [f"{module.input_size} -> {module.hidden_size}"]
        if isinstance(module, LAYERS):
            parts += [f"projected to {module.proj_size}"] if module.proj_size else []
            parts += [f"{module.num_layers} layers"] if module.num_layers > 1 else []
            parts += ["bidirectional"] if module.bidirectional else []
        return f"{kind_of(module).__name__}({', '.join(parts)})"


def shown(name: str) -> str:
    """The name of a module as it is printed."""
    return name or "(the model itself)"


def plain_name(name: str) -> str:
    """A name of `named_modules()` without what `torch.compile` puts into it."""
    return ".".join(part for part in name.split(".") if part != "_orig_mod")
