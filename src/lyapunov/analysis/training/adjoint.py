"""What a volume's growth depends on, back in time: every Jacobian, and through them the weights and the states."""

from collections.abc import Sequence
from dataclasses import replace
from functools import partial

import torch
from torch import Tensor

from lyapunov._shapes import Frame, State
from lyapunov._trees import tree_flatten, tree_map, tree_unflatten
from lyapunov.systems import System, explained
from lyapunov.tangent import InputSequences, Segment, still_running, triangularise

AT_ONCE = 2**18
"""Entries of the frames, over steps and columns, whose graph is there at once where a user's step is large: it keeps
hundreds of times as many numbers."""


class Sensitivity:
    """d Lambda / d (J_t Q_(t-1)), step by step backwards, of a weighted sum of volumes that the first columns span.

    For the first j columns it is C_t (C_t^T J_t Q_(t-1))^-T, C being what a QR makes of `last_frame` = Q_T pulled back; the
    first j columns of C depend on the first j of `last_frame` alone, so all sums share them.
    """

    def __init__(self, last_frame: Frame, sums: Sequence[int], shares: Tensor) -> None:
        self._frame, self._sums, self._shares = last_frame, tuple(sums), shares

    def pull_back(self, segment: Segment, stop: int) -> Frame:
        """(stop x batch, n, k) of the first `stop` steps of a segment; the next call is for the segment before."""
        ahead: list[Frame] = []
        for at in reversed(range(stop)):
            ahead.append(self._frame)
            self._frame = triangularise(segment.pull(at, self._frame))[0]
        columns, factor = torch.cat(ahead[::-1]), torch.cat(segment.factors[:stop])
        across = columns.mT @ torch.cat(segment.frames[1 : stop + 1])
        total = torch.zeros_like(columns)
        for cotangent, count in zip(self._shares, self._sums, strict=True):
            # C^T J Q = (C^T Q') R, so its inverse is that of R after that of C^T Q' = U S
            turned, upper = torch.linalg.qr(across[:, :count, :count])
            solved = torch.linalg.solve_triangular(upper, turned.mT @ columns[..., :count].mT, upper=True)
            total[..., :count] += cotangent * torch.linalg.solve_triangular(factor[:, :count, :count], solved, upper=True).mT
        return total


class Adjoint:
    """Gradients by the weights of what depends on the Jacobians along a trajectory, gathered by segments, the last one first.

    `fixed`: by way of the Jacobians at given states alone; else also by way of the states, in one ordinary backward pass per
    segment, whose start hands on to the one before.
    """

    def __init__(self, system: System, inputs: InputSequences, weights: Sequence[Tensor], *, fixed: bool) -> None:
        self._system, self._inputs, self._weights, self._fixed = system, inputs, tuple(weights), fixed
        self._lengths = None if inputs.lengths is None else inputs.lengths.to(system.device)
        self._after: list[Tensor | None] = []
        self.gradients = [torch.zeros_like(weight) for weight in self._weights]

    def pull_back(self, segment: Segment, sensitivity: Tensor | None, volumes: Tensor | None) -> None:
        """`sensitivity` (steps x batch, n, k) to J Q at every step; `volumes` (steps x batch,) to ln |det J|."""
        if sensitivity is None or sensitivity.numel() <= self._system.graph_entries:
            self._after = self._through(segment, sensitivity, volumes, self._after)
            return
        for at, by in reversed(list(enumerate(sensitivity.split(self._inputs.batch)))):
            self._after = self._by_columns(segment, at, by)

    def _by_columns(self, segment: Segment, at: int, by: Tensor) -> list[Tensor | None]:
        """One step of a segment, a few columns at a time."""
        frame, after = segment.frames[at], self._after
        few = max(1, AT_ONCE // (frame.shape[0] * frame.shape[1]))
        total: list[Tensor | None] = []
        for columns, mine in zip(frame.split(few, dim=-1), by.split(few, dim=-1), strict=True):
            states, inputs = segment.states[at : at + 2], segment.inputs[at : at + 1]
            part = replace(segment, first=segment.first + at, inputs=inputs, states=states, frames=[columns])
            found = self._through(part, mine, None, after)
            total = [_added(one, other) for one, other in zip(total, found, strict=True)] if total else found
            after = []  # the state is followed once
        return total

    def _through(
        self, segment: Segment, sensitivity: Tensor | None, volumes: Tensor | None, after: Sequence[Tensor | None]
    ) -> list[Tensor | None]:
        """Adds to the gradients, given how all depends on the state `after` the segment; returns it for the state before."""
        leaves, structure = tree_flatten(tree_map(self._followed, segment.states[0]))
        end, total = self._value(segment, tree_unflatten(leaves, structure), sensitivity, volumes)
        for leaf, by in zip(tree_flatten(end)[0], after, strict=False):
            if by is not None and leaf.requires_grad:
                total = total + (leaf * by.conj()).real.sum()
        if not isinstance(total, Tensor) or not total.requires_grad:
            return list(after)
        followed = [leaf for leaf in leaves if leaf.requires_grad]
        # what the weights were made from has its graph once, for all segments
        with explained(segment.states[0]):
            grads = torch.autograd.grad(total, [*followed, *self._weights], allow_unused=True, retain_graph=True)
        for mine, grad in zip(self.gradients, grads[len(followed) :], strict=True):
            if grad is not None:
                mine.add_(grad)
        by_state = iter(grads[: len(followed)])
        return [next(by_state) if leaf.requires_grad else None for leaf in leaves]

    def _followed(self, leaf: Tensor) -> Tensor:
        real = leaf.is_floating_point() or leaf.is_complex()
        return leaf.detach().requires_grad_(real and not self._fixed)

    def _value(
        self, segment: Segment, start: State, sensitivity: Tensor | None, volumes: Tensor | None
    ) -> tuple[State, Tensor | float]:
        """The state after the segment, and the growth to first order in everything that it depends on."""
        keep = partial(self._alive_after, first=segment.first)
        if self._fixed:
            trace = self._system.trace_along(segment.states, segment.inputs, keep)
        else:
            trace = self._system.trace(start, segment.inputs, keep)
        value: Tensor | float = 0.0
        if sensitivity is not None:
            value = trace.contracted([(frame,) for frame in segment.frames[: segment.steps]], (sensitivity,))
        elif volumes is not None and (volume := trace.log_volume()) is not None:
            value = (torch.where(volumes != 0, volume, 0.0) * volumes).sum()
        return trace.states[-1], value

    def _alive_after(self, new: State, old: State, at: int, *, first: int) -> State:
        return self._alive(new, old, first + at)

    def _alive(self, new: State, old: State, t: int) -> State:
        return still_running(new, old, self._lengths, t)


def _added(one: Tensor | None, other: Tensor | None) -> Tensor | None:
    """Of two sensitivities, None being zero."""
    return other if one is None else one if other is None else one + other


def leaves_of(values: object) -> list[Tensor]:
    """The tensors that require a gradient and that values were made from, in the order in which they are met."""
    found: dict[int, Tensor] = {}
    seen: set[object] = set()
    waiting = [leaf.grad_fn for leaf in tree_flatten(values)[0] if isinstance(leaf, Tensor)]
    while waiting:
        node = waiting.pop()
        if node is None or node in seen:
            continue
        seen.add(node)
        if hasattr(node, "variable"):
            found[id(node.variable)] = node.variable
        waiting += [following for following, _ in node.next_functions]
    return list(found.values())
