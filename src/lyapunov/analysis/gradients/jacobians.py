"""Jacobians of single steps, as a stream."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from lyapunov import _checks
from lyapunov._shapes import Input, State
from lyapunov._shown import Parts, Shown
from lyapunov.errors import InvalidInput, Unsupported
from lyapunov.intake import problem, recognize
from lyapunov.systems import Linearization, System, check_contract
from lyapunov.systems import jacobians as blocks_of_step
from lyapunov.tangent import diverged_error, is_finite_state


@dataclass(frozen=True, eq=False)
class StepJacobian(Shown):
    """d state_(t+1) / d state_t of every sequence, at the state it really has.

    Attributes:
        step: t, the number of steps made before it; input t drives it.
        matrix: (batch, n, n); row i is the derivative of entry i of the next state. Entries are in the order of
            `System.labels`: an LSTM has h, then c; a stack goes layer by layer.

    Example:
        >>> first = next(iter(lyapunov.jacobians(torch.nn.LSTM(2, 3, batch_first=True), torch.zeros(4, 5, 2))))
        >>> first.step, tuple(first.matrix.shape)
        (0, (4, 6, 6))
    """

    step: int
    matrix: Tensor

    @cached_property
    def eigenvalues(self) -> Tensor:
        """(batch, n): complex, in no order."""
        return torch.linalg.eigvals(self.matrix)

    @cached_property
    def singular_values(self) -> Tensor:
        """(batch, n): in descending order; the largest is the most that a small change can grow in this step."""
        return torch.linalg.svdvals(self.matrix)

    def _parts(self) -> Parts:
        batch, size = self.matrix.shape[:2]
        pairs = zip(self.eigenvalues.abs().amax(-1).tolist(), self.singular_values.amax(-1).tolist(), strict=True)
        rows = [(str(at), f"{radius:.4g}", f"{most:.4g}") for at, (radius, most) in enumerate(pairs)]
        title = f"Jacobians of step {self.step}: {batch} sequence{'s' * (batch > 1)}, {size} x {size}"
        return Parts([title], [("sequence", "spectral radius", "largest singular value"), *rows])


def jacobians(
    system: object,
    inputs: object = None,
    *,
    state: object = None,
    carried: object = None,
    steps: int | None = None,
    linearization: Linearization = "full",
    settle: int = 0,
    dtype: torch.dtype = torch.float64,
    check: bool = True,
) -> Iterator[StepJacobian]:
    """The Jacobian of every step along the inputs, one at a time: what is not kept is freed.

    J_t = d state_(t+1) / d state_t, in closed form for layers and cells, by forward mode for a step. Between two of them the
    system is as it was: weights that change meanwhile are read again if the system is a step.

    Args:
        system, inputs, state, carried, steps, linearization, dtype, check: as for `lyapunov.spectrum`; sequences of one length,
            a stack with all its layers together.
        settle: steps to pass over before the first Jacobian.

    Returns:
        An iterator of `StepJacobian`: `step`, `matrix` (batch, n, n), and on request `eigenvalues` and `singular_values`.

    Raises:
        InvalidInput, Unsupported, BadSystem: at once, for what cannot be run. Diverged: at the step where the state is no
            longer finite.

    Example:
        >>> rnn = torch.nn.RNN(2, 3, batch_first=True)
        >>> [tuple(one.matrix.shape) for one in lyapunov.jacobians(rnn, torch.zeros(4, 2, 2))]
        [(4, 3, 3), (4, 3, 3)]

    References:
        docs/theory.md has the Jacobian of each cell.
    """
    skipped = _checks.whole_number(settle, "settle", least=0)
    with torch.inference_mode(False), torch.no_grad():
        asked = problem(system, inputs, state=state, carried=carried, steps=steps, linearization=linearization)
        cast = recognize(asked.replaced(coupled=True), dtype)
        one, sequences = cast.system, cast.sequences
        if sequences.lengths is not None:
            raise InvalidInput("Expected sequences of one length here, got `lengths`. Pass those of one length, or cut them.")
        if len(one.block_sizes) > 1:
            raise Unsupported(
                "Expected one core whose layers drive each other as they are, got several with something between them. Pick "
                "one: captured.core(name)."
            )
        stop = sequences.steps + (skipped if sequences.values is None else 0)
        if skipped >= stop:
            raise InvalidInput(
                f"Expected `inputs` longer than settle = {skipped}, got {stop} steps. Pass longer ones, or a smaller settle."
            )
        with _running(one):
            if _checks.flag(check, "check"):
                check_contract(one, cast.state, sequences.at(0), sequences.at(1))
    return _stream(one, cast.state, sequences.at, range(stop), skipped)


def _stream(system: System, state: State, at: Callable[[int], Input], steps: range, skipped: int) -> Iterator[StepJacobian]:
    for t in steps:
        with _running(system):
            if t < skipped:
                state, found = system.step(state, at(t)), None
            else:
                state, found = _one(system, state, at(t))
        if not is_finite_state(state):
            raise diverged_error("state", t)
        if found is not None:
            yield StepJacobian(t, found)


def _one(system: System, state: State, x: Input) -> tuple[State, Tensor]:
    new, (dense,) = blocks_of_step(system, state, x)
    return new, dense


@contextmanager
def _running(system: System) -> Iterator[None]:
    """For one step: nothing of it is left in place while the caller looks at the Jacobian."""
    with ExitStack() as stack:
        stack.enter_context(torch.inference_mode(False))
        stack.enter_context(torch.no_grad())
        stack.enter_context(system.running())
        stack.enter_context(torch.autocast(system.device.type, enabled=False))
        yield
