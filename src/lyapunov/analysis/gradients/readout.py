"""A readout as a function of the state, linearised where the state is."""

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Literal

import torch
from torch import Tensor, nn
from torch.func import vjp, vmap

from lyapunov import _checks
from lyapunov._shapes import Frame, State
from lyapunov.analysis.trajectory import Trajectory
from lyapunov.errors import InvalidInput
from lyapunov.systems import CastCall

Readout = nn.Module | Tensor | Callable[[State], Tensor] | Literal["hidden", "state"]
"""A module or function of a system's output, a matrix (outputs, units) on it, that output itself, or all of the state."""


class LinearizedReadout:
    """A readout as a function of a system's state. `outputs`: how many numbers it gives of one sequence."""

    def __init__(self, readout: Readout, along: Trajectory) -> None:
        self._system = along.system
        self._call: CastCall | None = None
        self._read = self._chosen(readout, along)
        with self.running():
            shown = self._first(along.state)
        batch = along.inputs.batch
        if not isinstance(shown, Tensor) or shown.dim() != 2 or len(shown) != batch or not shown.is_floating_point():
            got = tuple(shown.shape) if isinstance(shown, Tensor) else type(shown).__name__
            raise InvalidInput(
                f"Expected a `readout` that gives a tensor ({batch}, outputs) of a state of {batch} sequences, got {got}. Pass "
                "the layer that reads one step, such as model.readout; of one unit, keep the axis: h[:, :1]."
            )
        self.outputs = shown.shape[1]

    def running(self) -> AbstractContextManager[None]:
        """Around its use: a module in evaluation mode, its weights cast."""
        return nullcontext() if self._call is None else self._call.running()

    def _first(self, state: State) -> Tensor:
        """The first call, with a word on what the readout was given, where it fails."""
        try:
            return self._read(state)
        except (RuntimeError, TypeError, AttributeError, IndexError) as error:
            given = self._system.output(state)
            form = f"a tensor {tuple(given.shape)}" if isinstance(given, Tensor) else f"a {type(given).__name__}, its state"
            raise InvalidInput(
                f"Expected a `readout` of what {self._system.name} puts out, {form}, got {type(error).__name__}: {error}. Pass "
                "a function that takes that."
            ) from error

    def frame(self, state: State) -> tuple[Frame, Tensor]:
        """U (batch, n, r) and diag s (batch, r, r), with W^T = U diag(s) V^T and W = d readout / d vector(state)."""

        def read(vector: Tensor) -> Tensor:
            return self._read(self._system.with_vectors(state, (vector,)))

        shown, backward, *_ = vjp(read, *self._system.vectors(state))
        outputs = torch.eye(self.outputs, dtype=shown.dtype, device=shown.device)
        transposed = vmap(lambda output: backward(output.expand_as(shown))[0], out_dims=-1)(outputs)
        u, s, _ = torch.linalg.svd(transposed, full_matrices=False)
        return u, torch.diag_embed(s)

    def _chosen(self, readout: Readout, along: Trajectory) -> Callable[[State], Tensor]:
        if isinstance(readout, str):
            _checks.one_of(readout, ("hidden", "state"), "readout")
            return self._coordinates if readout == "state" else self._output
        if isinstance(readout, Tensor):
            matrix = readout.detach().to(along.like)
            _checks.shape(matrix, ("outputs", self._output(along.state).shape[1]), "readout", "Its columns are the units.")
            return lambda state: self._output(state) @ matrix.mT
        if not callable(readout):
            raise InvalidInput(
                f"Expected `readout` to be a module, a function, a matrix, 'hidden' or 'state', got {type(readout).__name__}. "
                "Pass one of those."
            )
        call = self._call = CastCall(readout, along.like.dtype, along.like.device)
        return lambda state: call(self._system.output(state))

    def _coordinates(self, state: State) -> Tensor:
        return self._system.vectors(state)[0]

    def _output(self, state: State) -> Tensor:
        """What a step hands to others, as rows of numbers."""
        output = self._system.output(state)
        is_real = isinstance(output, Tensor) and not output.is_complex()
        return output.flatten(1) if is_real else self._coordinates(state)
