"""What is to be run, what the user asked for, and the ways to it that all kinds share."""

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from typing import Any, get_args

import torch
from torch import Tensor

from lyapunov import _checks
from lyapunov._shapes import State
from lyapunov._trees import tree_flatten, tree_map
from lyapunov.errors import InvalidInput
from lyapunov.intake.inputs import PaddedSequences, autonomous, cast, padded_sequences, without_padding
from lyapunov.systems import Linearization, System


@dataclass(frozen=True, eq=False, repr=False)
class Problem:
    """What `lyapunov.problem` makes: what is stepped, along what, and from where. Its objects are the caller's own, uncast.

    Attributes:
        system, inputs, state, carried, steps, lengths, linearization, coupled, dt: as they were passed to `lyapunov.problem`.

    Methods take:
        given: what replaces it, by name.

    Example:
        >>> lyapunov.problem(torch.nn.GRU(2, 6), torch.randn(40, 3, 2), dt=0.1)
        Problem(system=GRU, inputs=Tensor(40, 3, 2), dt=0.1)
    """

    system: Any
    inputs: Any = None
    state: Any = None
    carried: Any = None
    steps: int | None = None
    lengths: Any = None
    linearization: Linearization = "full"
    coupled: bool = False
    dt: float = 1.0

    def __post_init__(self) -> None:
        _checks.one_of(self.linearization, get_args(Linearization), "linearization")
        _checks.flag(self.coupled, "coupled")
        _checks.positive(self.dt, "dt")
        if self.steps is not None:
            _checks.whole_number(self.steps, "steps", least=2)

    def completed(self, given: Mapping[str, Any]) -> "Problem":
        """The same with what it leaves open. Raises InvalidInput where it says another thing already."""
        for name in given:
            if not _is_open(name, self._own(name)):
                raise InvalidInput(
                    f"Expected `{name}` left out with a problem that has its own, got it. Make another problem: "
                    f"lyapunov.problem(system, inputs, {name}=...)."
                )
        return self.replaced(**given)

    def _own(self, name: str) -> Any:
        return getattr(self, name)

    def replaced(self, **given: Any) -> "Problem":
        """The same but for what is given."""
        return replace(self, **given)

    def parts(self) -> tuple[Any, Any, dict[str, Any]]:
        """The system, its inputs, and as keywords the rest of what is said."""
        rest = {name: getattr(self, name) for name in _OPEN if name != "inputs"}
        return self.system, self.inputs, {name: value for name, value in rest.items() if not _is_open(name, value)}

    def __repr__(self) -> str:
        said = {each.name: getattr(self, each.name) for each in fields(self)}
        words = [f"{name}={_in_short(value)}" for name, value in said.items() if name == "system" or not _is_open(name, value)]
        return f"{type(self).__name__}({', '.join(words)})"


_OPEN = {each.name: each.default for each in fields(Problem) if each.name != "system"}
"""What a problem says of what it leaves open."""


def _is_open(name: str, value: Any) -> bool:
    default = _OPEN[name]
    return value is default or (isinstance(value, str | int | float) and value == default)


def problem(
    system: Any,
    inputs: Any = None,
    *,
    state: Any = None,
    carried: Any = None,
    steps: int | None = None,
    lengths: Any = None,
    linearization: Linearization = "full",
    coupled: bool = False,
    dt: float = 1.0,
) -> Problem:
    """What is stepped, along what, and from where: functions take it in the place of a system and its inputs.

    It holds the objects that it is given, uncast. Weights that move later move in the problem, too.

    Args:
        system: `nn.RNN`, `nn.GRU`, `nn.LSTM` or a cell of theirs; a function (or module) `step(state, x) -> state` with a
            tensor or pytree state, batch first; a `Loop`, which brings its state; a `System`; or a loop of
            `lyapunov.closed_loop`. A problem, as `lyapunov.capture` returns one, is completed by what it leaves open.
        inputs: for a layer as the layer takes them; else (batch, time, ...) or a pytree of those. None: autonomous.
        state: where to start, as the module takes it; a step needs one. None: the system's own.
        carried: of a `step(state, x, carried) -> (state, carried)`, what goes along undifferentiated.
        steps: how many steps to count, without inputs.
        lengths: (batch,), the valid steps of padded sequences.
        linearization: of an LSTM; "full" differentiates (h, c), "hidden" h alone with the recorded c held fixed.
        coupled: one frame over all layers of a stack instead of one each.
        dt: the time of one step; exponents are divided by it.

    Returns:
        The problem, which does not change.

    Raises:
        InvalidInput: where a word, flag or number is none that it knows, or where a problem says another thing already.

    Example:
        >>> lstm, tokens = torch.nn.LSTM(3, 8, batch_first=True), torch.randn(4, 200, 3)
        >>> along = lyapunov.problem(lstm, tokens)
        >>> spectrum, memory = lyapunov.spectrum(along, k=2), lyapunov.memory(along)
    """
    given = Problem(system, inputs, state, carried, steps, lengths, linearization, coupled, dt)
    if isinstance(system, Problem):
        rest = {name: getattr(given, name) for name in _OPEN}
        return system.completed({name: value for name, value in rest.items() if not _is_open(name, value)})
    return given


def require_full(asked: Problem) -> Problem:
    """The same, where an analysis differentiates all of an LSTM's state."""
    if asked.linearization != "full":
        raise InvalidInput(f"Expected linearization='full' here, got {asked.linearization!r}. Leave it out.")
    return asked


def _in_short(value: Any) -> str:
    """A word or number as it is, an array by its shape, anything else by its class."""
    if isinstance(value, str | bool | int | float | None):
        return repr(value)
    shape = getattr(value, "shape", None)
    return type(value).__name__ if shape is None else f"{type(value).__name__}{tuple(shape)}"


@dataclass(frozen=True)
class CastProblem:
    """A problem as it is run: the system that was recognized, with its sequences and its state, in the dtype of the run."""

    system: System
    sequences: PaddedSequences
    state: State
    precision: torch.dtype
    """Of the user's weights or state, before the cast."""
    called: str = ""
    """A hash of what a model was called with, whose core this is."""
    constant: Any = None
    """What drives every step alike, besides the inputs: part of what a run is known by."""


def compute_device(device: torch.device, dtype: torch.dtype) -> torch.device:
    """The module's device, or the CPU where that device has no float64."""
    return torch.device("cpu") if device.type == "mps" and dtype == torch.float64 else device


def sequences_of(
    values: Any, lengths: Any, problem: Problem, dtype: torch.dtype, device: torch.device, *, batch: int
) -> PaddedSequences:
    """Checked and cast, from a pytree of (time, batch, ...); None: so many steps as were asked for."""
    if values is None:
        return autonomous(problem.steps, batch)
    sequences = padded_sequences(values, lengths)
    if sequences.lengths is None:
        _checks.finite_tree(problem.inputs, "inputs")
    else:
        values = without_padding(values, sequences.lengths)
        _checks.finite_tree(tree_map(lambda leaf: leaf.transpose(0, 1), values), "inputs")
    return PaddedSequences(cast(values, dtype, device), sequences.batch, sequences.steps, sequences.lengths)


def state_batch(state: object, axis: int) -> int:
    """How many sequences a state is for, along its batch axis."""
    leaves = [leaf for leaf in tree_flatten(state)[0] if isinstance(leaf, Tensor)]
    return leaves[0].shape[axis] if leaves and leaves[0].dim() > axis else 1


def same_device(problem: Problem, device: torch.device) -> None:
    """Inputs, state and what is carried are where the module is."""
    _checks.same_device(problem.inputs, device, "inputs")
    _checks.same_device(problem.state, device, "state")
    _checks.same_device(problem.carried, device, "carried")
