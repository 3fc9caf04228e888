"""Recurrent language models of transformers: token by token, with the cache as their state."""

from collections.abc import Generator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import jvp, vmap
from torch.nn.functional import pad

from lyapunov._shapes import Frames, Input, Rows, State, Vectors
from lyapunov.systems.casting import CastCall, Widened
from lyapunov.systems.language.caches import Leaf, cache_of
from lyapunov.systems.system import Label, System, jacobians
from lyapunov.systems.trace import Keep


class LanguageModel(System):
    """Mamba, Mamba-2, RWKV, xLSTM, RecurrentGemma and hybrids of them, driven by tokens (or by embeddings).

    The state is what the model hands from token to token, in physical coordinates: what it keeps in units of exp(m), m a
    running maximum, counts as value times exp(m), for the units alone would look like growth. Keys and values of attention
    are carried: the exponents are those of the recurrent state for a given context. Given the tokens, layers are driven each
    by the one below, so the spectrum is the union of the layers'; `coupled=True` pushes one frame over all of them.

    model: a `PreTrainedModel`, with or without its head. Everything runs in `dtype`, also what the model's code does in
    float32 by name, in evaluation mode; the model is left as it was.
    """

    differentiable = False

    def __init__(self, model: Any, *, dtype: torch.dtype, coupled: bool = False) -> None:
        backbone = getattr(model, model.base_model_prefix, model)
        self.name = type(model).__name__
        self.device = next(backbone.parameters()).device
        self._cache = cache_of(backbone)
        self.triangular, self.grows = self._cache.triangular, self._cache.grows
        self._backbone, self._dtype, self._coupled, self._cutting = backbone, dtype, coupled, not coupled
        self._call = CastCall(backbone, dtype, self.device)
        self._layers = sorted({leaf.layer for leaf in self._cache.leaves})

    @property
    def block_sizes(self) -> tuple[int, ...]:
        """The entries of each layer's state, or of all of them together."""
        return (sum(self._sizes),) if self._coupled else self._sizes

    @property
    def _sizes(self) -> tuple[int, ...]:
        return tuple(sum(_count(leaf) for leaf in self._of_layer(layer)) for layer in self._layers)

    @property
    def labels(self) -> tuple[Label, ...]:
        """Layer by layer, part by part."""
        leaves = [leaf for layer in self._layers for leaf in self._of_layer(layer)]
        return tuple(Label(leaf.layer, leaf.part, unit) for leaf in leaves for unit in range(_count(leaf)))

    def initial_state(self, batch: int, like: Tensor) -> State:
        """Nothing seen yet; positions start at 1, for at 0 some models forget by design."""
        return self._cache.start(batch, like)

    def step(self, state: State, x: Input) -> State:
        """One token, or one embedding, further."""
        token = {"inputs_embeds" if x.is_floating_point() else "input_ids": x.unsqueeze(1)}
        with Widened(self._dtype):
            return self._cache.advance(self._call, token, *state)

    @property
    def endless(self) -> bool:
        """Not with positions and caches."""
        return False

    def vectors(self, state: State) -> Vectors:
        """Each layer's state in physical coordinates."""
        leaves, carried = state
        rows: dict[int, list[Tensor]] = {layer: [] for layer in self._layers}
        for leaf, value in zip(self._cache.leaves, leaves, strict=True):
            physical = value if leaf.scale is None else value * _unit(carried[leaf.scale], value)
            rows[leaf.layer].append(physical.flatten(1))
        found = tuple(torch.cat(parts, dim=-1) for parts in rows.values())
        return (torch.cat(found, dim=-1),) if self._coupled else found

    def with_vectors(self, state: State, vectors: Vectors) -> State:
        """Back in the units the model keeps it in."""
        leaves, carried = state
        rows = vectors[0].split(self._sizes, dim=-1) if self._coupled else vectors
        parts = {
            layer: iter(part.split([_count(leaf) for leaf in self._of_layer(layer)], dim=-1))
            for layer, part in zip(self._layers, rows, strict=True)
        }
        new = []
        for leaf, value in zip(self._cache.leaves, leaves, strict=True):
            physical = next(parts[leaf.layer]).reshape(value.shape)
            new.append(physical if leaf.scale is None else physical / _unit(carried[leaf.scale], value))
        return tuple(new), carried

    def push(self, state: State, x: Input, frames: Frames) -> tuple[State, Frames]:
        """One forward-mode product per column, of all layers at once: what one layer hands to the next has no tangent."""
        columns = [part.shape[-1] for part in frames]
        padded = tuple(pad(part, (0, max(columns) - part.shape[-1])) for part in frames)
        unmapped: Any = None
        moved, new = vmap(lambda *column: self._along(state, x, column), in_dims=-1, out_dims=(-1, unmapped))(*padded)
        return new, tuple(part[..., :count] for part, count in zip(moved, columns, strict=True))

    def pull(self, state: State, x: Input, frames: Frames) -> Frames:
        """J^T @ frame from the whole Jacobian: reverse mode cannot follow caches that are written in place."""
        dense = jacobians(self, state, x)[1]
        return tuple(jacobian.mT @ part for jacobian, part in zip(dense, frames, strict=True))

    def log_diagonal(self, state: State, inputs: Sequence[Input], keep: Keep) -> tuple[list[State], Tensor]:
        """From one forward-mode product: every entry that is kept decays by itself; shift registers lose everything."""
        cutting, self._cutting = self._cutting, True
        decays = [torch.full((_count(leaf),), float(leaf.decays)) for layer in self._layers for leaf in self._of_layer(layer)]
        wanted = torch.cat(decays).to(self.device, self._dtype)
        states, found = [state], []
        try:
            for at, x in enumerate(inputs):
                vectors = self.vectors(state)
                sizes = [part.shape[-1] for part in vectors]
                ones = tuple(part.expand(len(v), -1) for part, v in zip(wanted.split(sizes), vectors, strict=True))
                moved, new = self._along(state, x, ones)
                found.append((torch.cat(moved, dim=-1) * wanted).abs().log())
                state = keep(new, state, at)
                states.append(state)
        finally:
            self._cutting = cutting
        return states, torch.stack(found)

    @contextmanager
    def running(self) -> Generator[None, None, None]:
        """In evaluation mode, with eager attention, and with the layers cut from each other where tangents go."""
        with ExitStack() as stack:
            stack.enter_context(self._call.running())
            stack.enter_context(self._cache.running())
            for layer in self._model_layers():
                stack.callback(layer.register_forward_pre_hook(self._cut, with_kwargs=True).remove)
            yield

    def _along(self, state: State, x: Input, direction: tuple[Rows, ...]) -> tuple[tuple[Rows, ...], State]:
        def moved(*vectors: Rows) -> tuple[tuple[Rows, ...], State]:
            new = self.step(self.with_vectors(state, vectors), x)
            return self.vectors(new), new

        pushed: Any = jvp(moved, self.vectors(state), direction, has_aux=True)
        return tuple(torch.zeros_like(old) + new for old, new in zip(direction, pushed[1], strict=True)), pushed[2]

    def _cut(self, _: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Before a layer: its input without a tangent."""
        if not self._cutting:
            return None
        if args:
            return (args[0].detach(), *args[1:]), kwargs
        return args, {**kwargs, "hidden_states": kwargs["hidden_states"].detach()}

    def _model_layers(self) -> nn.ModuleList:
        """The model's layers, from the bottom up."""
        lists = [part for part in self._backbone.children() if isinstance(part, nn.ModuleList)]
        return max(lists, key=len)

    def _of_layer(self, layer: int) -> list[Leaf]:
        return [leaf for leaf in self._cache.leaves if leaf.layer == layer]


def _count(leaf: Leaf) -> int:
    return torch.Size(leaf.shape).numel()


def _unit(scale: Tensor, value: Tensor) -> Tensor:
    """exp(m), in the shape of the value."""
    return scale.exp().reshape(*scale.shape, *[1] * (value.dim() - scale.dim()))
