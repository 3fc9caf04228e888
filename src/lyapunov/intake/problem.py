"""What is to be run, what the user asked for, and the ways to it that all kinds share."""

from dataclasses import dataclass
from typing import Any, get_args

import torch
from torch import Tensor

from lyapunov import _checks
from lyapunov._shapes import State
from lyapunov._trees import tree_flatten, tree_map
from lyapunov.intake.inputs import PaddedSequences, autonomous, cast, padded_sequences, without_padding
from lyapunov.systems import Linearization, System


@dataclass(frozen=True)
class Problem:
    """What is to be run: a system, what drives it, and where it starts."""

    system: System
    sequences: PaddedSequences
    state: State
    source_dtype: torch.dtype
    """The dtype the user's weights or state had before the cast."""
    called: str = ""
    """A hash of what a model was called with, whose core this is."""
    constant: Any = None
    """What drives every step alike, besides the inputs: part of what a run is known by."""


@dataclass(frozen=True)
class SystemInputs:
    """What the user passed besides the system itself. Raises InvalidInput for words that it does not know."""

    inputs: Any
    state: Any
    steps: int | None
    lengths: Any
    linearization: Linearization
    coupled: bool
    dtype: torch.dtype
    carried: Any = None

    def __post_init__(self) -> None:
        _checks.one_of(self.linearization, get_args(Linearization), "linearization")
        _checks.flag(self.coupled, "coupled")
        if self.steps is not None:
            _checks.whole_number(self.steps, "steps", least=2)


def compute_device(device: torch.device, dtype: torch.dtype) -> torch.device:
    """The module's device, or the CPU where that device has no float64."""
    return torch.device("cpu") if device.type == "mps" and dtype == torch.float64 else device


def sequences_of(
    values: Any, lengths: Any, system_inputs: SystemInputs, device: torch.device, *, batch: int
) -> PaddedSequences:
    """Checked and cast, from a pytree of (time, batch, ...); None: so many steps as were asked for."""
    if values is None:
        return autonomous(system_inputs.steps, batch)
    sequences = padded_sequences(values, lengths)
    if sequences.lengths is None:
        _checks.finite_tree(system_inputs.inputs, "inputs")
    else:
        values = without_padding(values, sequences.lengths)
        _checks.finite_tree(tree_map(lambda leaf: leaf.transpose(0, 1), values), "inputs")
    return PaddedSequences(cast(values, system_inputs.dtype, device), sequences.batch, sequences.steps, sequences.lengths)


def state_batch(state: Any, axis: int) -> int:
    """How many sequences a state is for, along its batch axis."""
    leaves = [leaf for leaf in tree_flatten(state)[0] if isinstance(leaf, Tensor)]
    return leaves[0].shape[axis] if leaves and leaves[0].dim() > axis else 1


def same_device(system_inputs: SystemInputs, device: torch.device) -> None:
    """Inputs, state and what is carried are where the module is."""
    _checks.same_device(system_inputs.inputs, device, "inputs")
    _checks.same_device(system_inputs.state, device, "state")
    _checks.same_device(system_inputs.carried, device, "carried")
