"""Which system a monitor measures, and along which inputs: the user's, or those of the next batch."""

import warnings
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import PackedSequence

from lyapunov import _checks
from lyapunov._trees import tree_map
from lyapunov.errors import InvalidInput, LyapunovError, LyapunovWarning, Unsupported
from lyapunov.intake import Captured, SystemInputs, capture, cores_of, is_captured, only_watches, require_whole, unwrapped

_PATIENCE = 20
"""Training steps without a call of the core, after which a word is said."""


class Probe:
    """The system, and the inputs of a measurement.

    `given`: for a core, a step or a System its inputs; for a model with cores inside the arguments it is called with (a tuple
    of them, a dictionary of keywords, or one value); None: what the core receives in the next batch, its first `sequences`.
    """

    def __init__(self, system: Any, given: Any, system_inputs: SystemInputs, *, core: str | None, sequences: int) -> None:
        self._system, self._core, self._given = unwrapped(system), core, given
        if isinstance(self._system, nn.Module):
            require_whole(self._system)
        self._inside = system_inputs.state is None and is_captured(self._system)
        self.waits = given is None and system_inputs.steps is None and not isinstance(system, Captured)
        self._system_inputs = system_inputs if self._inside or self.waits else replace(system_inputs, inputs=given)
        self._sequences = _checks.whole_number(sequences, "sequences", least=1)
        self._caught: SystemInputs | None = None
        self._hook: Any = None
        self._waited = 0
        if self.waits:
            self._system = self._layer()
        elif core is not None and not self._inside:
            raise InvalidInput(
                f"Expected `core` with a model that has cores inside, got it with {type(system).__name__}. Drop it."
            )

    def ready(self) -> bool:
        """Whether there are inputs; where they come with the next batch, from now on it is waited for."""
        if not self.waits or self._caught is not None:
            return True
        if self._hook is None:
            self._hook = self._system.register_forward_pre_hook(self._catch, with_kwargs=True)
            self._waited = 0
        self._waited += 1
        if self._waited == _PATIENCE:
            warnings.warn(
                f"Expected {type(self._system).__name__} to be called in training, got no call of it in {_PATIENCE} steps: "
                "there are no inputs to measure along. Pass the `probe` yourself (compiled models do not see hooks).",
                LyapunovWarning,
                stacklevel=4,
            )
        return False

    def take(self) -> tuple[Any, SystemInputs]:
        """The system of this measurement, and what is passed to it."""
        if self.waits:
            caught, self._caught = self._caught, None
            if caught is None:
                raise InvalidInput("Expected `ready()` to have said so before `take()`, got no inputs yet. Ask it first.")
            return self._system, caught
        if not self._inside:
            return self._system, self._system_inputs
        args, kwargs = _arguments(self._given)
        try:
            captured = capture(self._system, *args, core=self._core, **kwargs)
        except (LyapunovError, torch.OutOfMemoryError) as error:
            error.add_note(f"This was while {type(self._system).__name__} was called with the `probe` of a lyapunov.Monitor.")
            raise
        except Exception as error:
            lines = str(error).strip().splitlines() or [""]
            raise InvalidInput(
                f"Expected a `probe` that {type(self._system).__name__} can be called with, got {type(error).__name__}: "
                f"{lines[0].rstrip('.')}. Pass what it is called with in training; several arguments as one tuple: "
                "Monitor(model, (tokens, targets))."
            ) from error
        return (captured if self._core is None else captured.core(self._core)), self._system_inputs

    def _layer(self) -> nn.Module:
        """The one layer whose next call is waited for."""
        if not isinstance(self._system, nn.Module):
            raise InvalidInput(
                f"Expected a `probe` with {type(self._system).__name__}, got none: only modules are called in training. "
                "Pass inputs."
            )
        cores = cores_of(self._system)
        if not cores:
            raise Unsupported(
                f"Expected a recurrent layer or cell in {type(self._system).__name__} to wait for, got none. Pass a `probe`."
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
    def _catch(self, module: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        if not module.training:  # a validation in between is not a training batch
            return
        self._hook.remove()
        self._hook = None
        inputs = args[0] if args else kwargs["input"]
        state = args[1] if len(args) > 1 else kwargs.get("hx")
        packed = isinstance(inputs, PackedSequence)  # its sequences lie apart in no axis: all of them are taken
        self._caught = replace(
            self._system_inputs,
            inputs=inputs if packed else _first(inputs, self._sequences, axis=0 if module.batch_first else 1),
            state=_first(state, len(inputs.data) if packed else self._sequences, axis=1),
        )


def _first(value: Any, sequences: int, *, axis: int) -> Any:
    """Copies of the first sequences; what is unbatched whole."""

    def cut(leaf: Tensor) -> Tensor:
        whole = leaf.detach()
        return (whole.narrow(axis, 0, min(sequences, whole.shape[axis])) if whole.dim() > 2 else whole).clone()

    return None if value is None else tree_map(cut, value)


def _arguments(given: Any) -> tuple[tuple[Any, ...], Mapping[str, Any]]:
    if isinstance(given, Mapping):
        return (), given
    return (tuple(given) if isinstance(given, tuple) else (given,)), {}
