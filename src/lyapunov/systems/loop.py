"""A block looped in depth, `h = block(h, e)`: the state as a whole, or token by token."""

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import jvp, vjp, vmap

from lyapunov._shapes import Frames, Input, State
from lyapunov.systems.faults import explained
from lyapunov.systems.step import AT_ONCE, Step
from lyapunov.systems.system import Label, System, total_size


@dataclass(frozen=True, eq=False)
class Loop:
    """A block that is applied again and again to its own output, as the core of a looped transformer.

    h_(t+1) = block(h_t, e), one step per loop, e the same at every loop. Pass it like a layer:
    `lyapunov.spectrum(Loop(block, state, e), steps=16, k=8)`, and needs no inputs.

    Args:
        block: a module or function `block(h, e) -> h`, everything batch first; without `injected`, `block(h) -> h`. Where
            `inputs` (batch, loops, ...) are given, such as an embedding of the loop's number, each loop's comes last:
            `block(h, e, x)`.
        state: h before the first loop, (batch, tokens, width) or any pytree of tensors; what counts as the initial state.
        injected: e, a tensor or pytree of them (embedded tokens, and a mask beside them, say). It is cast to the precision of
            the run. `lyapunov.exponent_sum` differentiates what it was computed from, so a prelude is trained as well.
        by_token: False: one spectrum of the whole state. True, or some positions: for each of these tokens the exponents of
            its own block of the Jacobian, d h_(t+1)[i] / d h_t[i], along the trajectory that all tokens really take;
            `spectrum.layer` is the token's position. Under a causal mask the union over all tokens is the spectrum of the
            whole. Without one these are conditional exponents: a token's, while all others stay on their course. Each
            direction of each token takes a pass through the block of its own.

    Example:
        >>> import torch, lyapunov
        >>> block = torch.nn.TransformerEncoderLayer(8, 2, 16, batch_first=True, norm_first=False)
        >>> e = torch.randn(2, 5, 8)
        >>> loop = lyapunov.Loop(lambda h, e: block(0.3 * h + e), torch.zeros(2, 5, 8), e)
        >>> spectrum = lyapunov.spectrum(loop, steps=50, k=3)

    References:
        Pecora & Carroll 1990 for conditional exponents.
    """

    block: Any
    state: State
    injected: Any = None
    by_token: Any = False


class TokenStep(System):
    """A looped block with one frame per token: the diagonal blocks of its Jacobian, all others left out.

    The state is one tensor (batch, tokens, ...); `tokens` are those that are looked at. A perturbation enters at one token and
    is read there, so every column of every token is a forward-mode product of its own.
    """

    def __init__(self, whole: Step, example: Tensor, tokens: Sequence[int]) -> None:
        self._whole, self._tokens, self._count = whole, tuple(tokens), example.shape[1]
        self.name, self.device = whole.name, whole.device

    @property
    def block_sizes(self) -> tuple[int, ...]:
        """The entries of each token."""
        return (total_size(self._whole) // self._count,) * len(self._tokens)

    @property
    def labels(self) -> tuple[Label, ...]:
        """Token by token, its position in the place of a layer's number."""
        return tuple(Label(token, "token", unit) for token in self._tokens for unit in range(self.block_sizes[0]))

    @property
    def modules(self) -> tuple[nn.Module, ...]:
        """Those that the block reaches."""
        return self._whole.modules

    def initial_state(self, batch: int, like: Tensor) -> State:
        """That of all tokens."""
        return self._whole.initial_state(batch, like)

    def step(self, state: State, x: Input) -> State:
        """One loop of all tokens."""
        return self._whole.step(state, x)

    def running(self) -> AbstractContextManager[None]:
        """With the weights of the moment, in evaluation mode; the modules are as before afterwards."""
        return self._whole.running()

    def vectors(self, state: Tensor) -> tuple[Tensor, ...]:
        """One vector per token."""
        return tuple(state[:, token].flatten(1) for token in self._tokens)

    def with_vectors(self, state: Tensor, vectors: tuple[Tensor, ...]) -> Tensor:
        """These tokens replaced, the others as they are."""
        rows = list(state.unbind(1))
        for token, new in zip(self._tokens, vectors, strict=True):
            rows[token] = new.reshape(rows[token].shape)
        return torch.stack(rows, dim=1)

    def push(self, state: Tensor, x: Input, frames: Frames) -> tuple[Tensor, Frames]:
        """Each token's frame by its own block of the Jacobian."""

        def along(column: Tensor, mine: Tensor) -> Tensor:
            change = self._placed(column, mine, state)
            pushed: Any = jvp(lambda h: self.step(h, x), (state,), (change,))
            return self._read(torch.zeros_like(state) + pushed[1], mine)

        return self.step(state, x), self._by_token(along, state, frames)

    def pull(self, state: Tensor, x: Input, frames: Frames) -> Frames:
        """Each token's frame by the transpose of its own block."""

        def along(column: Tensor, mine: Tensor) -> Tensor:
            back = vjp(lambda h: self.step(h, x), state)[1](self._placed(column, mine, state))[0]
            return self._read(back, mine)

        return self._by_token(along, state, frames)

    def _by_token(self, along: Callable[..., Tensor], state: Tensor, frames: Frames) -> Frames:
        """`along(column, where)` of every column of every token, several at once."""
        columns = torch.cat([part.permute(2, 0, 1) for part in frames])
        counts = [part.shape[-1] for part in frames]
        at = torch.tensor(self._tokens, device=state.device).repeat_interleave(torch.tensor(counts, device=state.device))
        where = torch.eye(self._count, dtype=state.dtype, device=state.device)[at]
        few = max(1, AT_ONCE // max(state.numel(), 1))
        with explained(state):
            moved = [vmap(along)(*some) for some in zip(columns.split(few), where.split(few), strict=True)]
        return tuple(part.permute(1, 2, 0) for part in torch.cat(moved).split(counts))

    def _placed(self, column: Tensor, mine: Tensor, state: Tensor) -> Tensor:
        """(batch, tokens, ...): the column at its own token, zero elsewhere."""
        return (mine.unsqueeze(-1) * column.unsqueeze(1)).reshape(state.shape)

    @staticmethod
    def _read(change: Tensor, mine: Tensor) -> Tensor:
        """(batch, entries) of one token."""
        return torch.einsum("t,bte->be", mine, change.flatten(2))
