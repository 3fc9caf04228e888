"""Which system a monitor measures, and along which inputs: the user's, or those of the next batch."""

from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import PackedSequence
from torch.utils.hooks import RemovableHandle

from lyapunov import _checks
from lyapunov._trees import tree_map
from lyapunov._warning import warn
from lyapunov.errors import InvalidInput, LyapunovError, Unsupported
from lyapunov.intake import Captured, Problem, capture, cores_of, is_captured, only_watches, require_whole, unwrapped

_PATIENCE = 20
"""Training steps without a call of the core, after which a word is said."""


class Probe:
    """The problem of a measurement.

    `asked`: of a core, a step or a System with its inputs, or what was captured; of a model with cores inside, with the
    arguments it is called with as inputs (a tuple of them, a dictionary of keywords, or one value). Without inputs: what the
    core receives in the next batch, its first `sequences`.
    """

    def __init__(self, asked: Problem, *, core: str | None, sequences: int) -> None:
        self._asked, self._core = asked, core
        captured = isinstance(asked, Captured)
        system = None if captured else unwrapped(asked.system)
        if isinstance(system, nn.Module):
            require_whole(system)
        self._inside = not captured and asked.state is None and is_captured(system)
        self.waits = not captured and asked.inputs is None and asked.steps is None
        if not captured:
            self._asked = asked.replaced(system=system)
        self._sequences = _checks.whole_number(sequences, "sequences", least=1)
        self._caught: Problem | None = None
        self._hook: RemovableHandle | None = None
        self._waited = 0
        if self.waits:
            self._asked = self._asked.replaced(system=self._layer(system))
        elif core is not None and not self._inside:
            raise InvalidInput(
                f"Expected `core` with a model that has cores inside, got it with {type(system or asked).__name__}. Drop it."
            )

    def ready(self) -> bool:
        """Whether there are inputs; where they come with the next batch, from now on it is waited for."""
        if not self.waits or self._caught is not None:
            return True
        layer = self._asked.system
        if self._hook is None:
            self._hook = layer.register_forward_pre_hook(self._catch, with_kwargs=True)
            self._waited = 0
        self._waited += 1
        if self._waited == _PATIENCE:
            warn(
                f"Expected {type(layer).__name__} to be called in training, got no call of it in {_PATIENCE} steps: "
                "there are no inputs to measure along. Pass the `probe` yourself (compiled models do not see hooks)."
            )
        return False

    def take(self) -> Problem:
        """The problem of this measurement."""
        if self.waits:
            caught, self._caught = self._caught, None
            if caught is None:
                raise InvalidInput("Expected `ready()` to have said so before `take()`, got no inputs yet. Ask it first.")
            return caught
        if not self._inside:
            return self._asked
        model = self._asked.system
        args, kwargs = _arguments(self._asked.inputs)
        try:
            captured = capture(model, *args, core=self._core, **kwargs)
        except (LyapunovError, torch.OutOfMemoryError) as error:
            error.add_note(f"This was while {type(model).__name__} was called with the `probe` of a lyapunov.Monitor.")
            raise
        except Exception as error:
            lines = str(error).strip().splitlines() or [""]
            raise InvalidInput(
                f"Expected a `probe` that {type(model).__name__} can be called with, got {type(error).__name__}: "
                f"{lines[0].rstrip('.')}. Pass what it is called with in training; several arguments as one tuple: "
                "Monitor(model, (tokens, targets))."
            ) from error
        found = captured if self._core is None else captured.core(self._core)
        rest = self._asked.parts()[2]
        return found.replaced(**rest)

    def _layer(self, system: object) -> nn.Module:
        """The one layer whose next call is waited for."""
        if not isinstance(system, nn.Module):
            raise InvalidInput(
                f"Expected a `probe` with {type(system).__name__}, got none: only modules are called in training. Pass inputs."
            )
        cores = cores_of(system)
        if not cores:
            raise Unsupported(
                f"Expected a recurrent layer or cell in {type(system).__name__} to wait for, got none. Pass a `probe`."
            )
        core = next(iter(cores)) if self._core is None and len(cores) == 1 else self._core
        if core not in cores:
            raise InvalidInput(
                f"Expected `core` to be one of {', '.join(map(repr, cores))}, got {core!r}. Name one, or pass a `probe`."
            )
        if not isinstance(cores[core], nn.RNNBase):
            raise InvalidInput(
                f"Expected a `probe` with {type(cores[core]).__name__}, got none: a cell is called with one step at a time. "
                "Pass inputs (batch, time, features), or the arguments of the model around it."
            )
        return cores[core]

    @only_watches
    def _catch(self, module: nn.RNNBase, args: tuple[object, ...], kwargs: dict[str, object]) -> None:
        if not module.training:  # a validation in between is not a training batch
            return
        if self._hook is not None:
            self._hook.remove()
            self._hook = None
        inputs = args[0] if args else kwargs["input"]
        state = args[1] if len(args) > 1 else kwargs.get("hx")
        packed = isinstance(inputs, PackedSequence)  # its sequences lie apart in no axis: all of them are taken
        self._caught = self._asked.replaced(
            inputs=inputs if packed else _first(inputs, self._sequences, axis=0 if module.batch_first else 1),
            state=_first(state, len(inputs.data) if packed else self._sequences, axis=1),
        )


def _first(value: object, sequences: int, *, axis: int) -> object:
    """Copies of the first sequences; what is unbatched whole."""

    def cut(leaf: Tensor) -> Tensor:
        whole = leaf.detach()
        return (whole.narrow(axis, 0, min(sequences, whole.shape[axis])) if whole.dim() > 2 else whole).clone()

    return None if value is None else tree_map(cut, value)


def _arguments(given: object) -> tuple[tuple[object, ...], Mapping[str, object]]:
    if isinstance(given, Mapping):
        return (), given
    return (tuple(given) if isinstance(given, tuple) else (given,)), {}
