"""Where recurrent language models of transformers keep their state between tokens, each kind behind the same few methods."""

import copy
from abc import ABC, abstractmethod
from collections.abc import Callable, Generator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.func import vmap

from lyapunov.errors import Unsupported
from lyapunov.systems.casting import eval_mode

Leaves = tuple[Tensor, ...]
Call = Callable[..., Any]
"""The model's own forward, its weights cast."""


@dataclass(frozen=True)
class Leaf:
    """A differentiated part of the state: which layer's, its name, the shape of one sequence's.

    decays: whether each entry decays by a factor of its own; else it is a shift register, and what enters leaves after a few
    steps. scale: the number of the carried tensor m in whose units exp(m) it is kept, or None.
    """

    layer: int
    part: str
    shape: tuple[int, ...]
    decays: bool
    scale: int | None = None


class RecurrentCache(ABC):
    """The state of one model: `leaves` are differentiated, the carried tensors are not. All are batch first."""

    leaves: tuple[Leaf, ...]
    triangular: bool = True
    """Whether what decays does so entry by entry, given the layer's inputs."""
    grows: bool = False
    """Whether what is carried becomes longer with time, as an attention cache does."""

    def __init__(self, model: Any) -> None:
        self._model, self._config = model, model.config

    def start(self, batch: int, like: Tensor) -> tuple[Leaves, Leaves]:
        """Zeros, and what is carried at first."""
        return tuple(like.new_zeros(batch, *leaf.shape) for leaf in self.leaves), self._carried(batch, like)

    @abstractmethod
    def _carried(self, batch: int, like: Tensor) -> Leaves:
        """What is carried at first."""

    @abstractmethod
    def advance(self, call: Call, token: dict[str, Tensor], leaves: Leaves, carried: Leaves) -> tuple[Leaves, Leaves]:
        """One token further; nothing given is changed."""

    @contextmanager
    def running(self) -> Generator[None, None, None]:
        """Around a run: attention and experts in plain operations, which forward mode can follow, and what the kind needs."""
        attention = _replaced(self._config, "_attn_implementation_internal", "eager")
        experts = _replaced(self._config, "_experts_implementation_internal", "eager")
        with attention, experts, self._prepared():
            yield

    def _prepared(self) -> AbstractContextManager[object]:
        return nullcontext()


class TransformersCache(RecurrentCache):
    """A `transformers.Cache`: Mamba, Mamba-2 and the hybrids built of them. Keys and values of attention are carried."""

    _positioned = False
    """Whether it must be told the position of a token even where no cache of attention counts them."""

    def __init__(self, model: object) -> None:
        super().__init__(model)
        self._template = self._probed()
        layers = list(enumerate(self._template.layers))
        self._attention = [at for at, layer in layers if isinstance(getattr(layer, "keys", None), Tensor)]
        self._places = [
            (at, name, number)
            for at, layer in layers
            for name in ("conv_states", "recurrent_states")
            for number, value in sorted(getattr(layer, name, {}).items())
            if isinstance(value, Tensor)
        ]
        self.leaves = self._found()
        if not self.leaves:
            raise Unsupported(
                f"Expected a language model with a recurrent state, got {type(model).__name__}, whose cache has none (keys and "
                "values of attention, or nothing). Pass Mamba, RWKV, xLSTM, RecurrentGemma, or a hybrid of such."
            )
        self.grows = bool(self._attention)
        self.triangular = self._config.model_type in _DIAGONAL

    def _probed(self) -> Any:
        """The cache after one token."""
        from transformers import DynamicCache

        cache = DynamicCache(config=self._config)
        token = torch.zeros(1, 1, dtype=torch.long, device=next(self._model.parameters()).device)
        try:
            with eval_mode(self._model), torch.no_grad():
                self._model(input_ids=token, cache=cache, use_cache=True)
        except (TypeError, ValueError) as error:
            line = (str(error).strip().splitlines() or [""])[0].rstrip(".")
            raise Unsupported(
                f"Expected a language model that takes input_ids and a cache, got {type(self._model).__name__}, which raised "
                f"{type(error).__name__}: {line}. Pass one step of it as step(state, x)."
            ) from error
        return cache

    def _found(self) -> tuple[Leaf, ...]:
        """What the cache keeps besides attention."""
        held = [(at, name, _held(self._template.layers[at], name, number)) for at, name, number in self._places]
        return tuple(Leaf(at, name.split("_")[0], tuple(value.shape[1:]), name != "conv_states") for at, name, value in held)

    def _carried(self, batch: int, like: Tensor) -> Leaves:
        caches = [getattr(self._template.layers[at], name) for at in self._attention for name in ("keys", "values")]
        empty = [like.new_zeros(batch, cache.shape[1], 0, cache.shape[3]) for cache in caches]
        return (torch.ones(batch, dtype=torch.long, device=like.device), *empty)

    def advance(self, call: Call, token: dict[str, Tensor], leaves: Leaves, carried: Leaves) -> tuple[Leaves, Leaves]:
        """A copy of the cache filled with the state, and read out again."""
        position = carried[0]
        cache = copy.copy(self._template)
        cache.layers = [_emptied(layer, int(position[0]) - 1) for layer in cache.layers]
        for (at, name, number), leaf in zip(self._places, leaves, strict=True):
            getattr(cache.layers[at], name)[number] = leaf.clone()
        for at, keys, values in zip(self._attention, carried[1::2], carried[2::2], strict=True):
            cache.layers[at].keys, cache.layers[at].values = keys, values
        if self.grows or self._positioned:
            token = {**token, "position_ids": position[:1].unsqueeze(0)}
        call(**token, cache=cache, use_cache=True)
        new = tuple(_held(cache.layers[at], name, number) for at, name, number in self._places)
        kept = (getattr(cache.layers[at], name) for at in self._attention for name in ("keys", "values"))
        return new, (position + 1, *kept)


class RecurrentGemmaCache(TransformersCache):
    """RecurrentGemma keeps the state of its recurrent blocks in the modules themselves, beside the cache of its attention."""

    _positioned = True

    def __init__(self, model: Any) -> None:
        self._blocks = [
            (at, layer.temporal_block) for at, layer in enumerate(model.layers) if hasattr(layer.temporal_block, "rg_lru")
        ]
        super().__init__(model)

    def _probed(self) -> Any:
        with self._left_alone():
            return super()._probed()

    def _found(self) -> tuple[Leaf, ...]:
        width, taps = self._config.lru_width, self._config.conv1d_width
        return tuple(
            leaf
            for at, _ in self._blocks
            for leaf in (Leaf(at, "conv", (width, taps - 1), False), Leaf(at, "recurrent", (width,), True))
        )

    def advance(self, call: Call, token: dict[str, Tensor], leaves: Leaves, carried: Leaves) -> tuple[Leaves, Leaves]:
        """The state in the modules for the time of the call."""
        with self._left_alone():
            for (_, block), conv, recurrent in zip(self._blocks, leaves[::2], leaves[1::2], strict=True):
                block.conv1d_state, block.rg_lru.recurrent_states = conv, recurrent
            _, carried = super().advance(call, token, (), carried)
            new = tuple(part for _, block in self._blocks for part in (block.conv1d_state, block.rg_lru.recurrent_states))
        return new, carried

    @contextmanager
    def _left_alone(self) -> Generator[None, None, None]:
        before = [(block, block.conv1d_state, block.rg_lru.recurrent_states) for _, block in self._blocks]
        try:
            yield
        finally:
            for block, conv, recurrent in before:
                block.conv1d_state, block.rg_lru.recurrent_states = conv, recurrent

    @contextmanager
    def _prepared(self) -> Generator[None, None, None]:
        """Its square root with a clipped derivative, made for training in half precision, has no forward mode."""
        from transformers.models.recurrent_gemma import modeling_recurrent_gemma as code

        with _replaced(code.SqrtBoundDerivative, "apply", torch.sqrt):
            yield


class RwkvCache(RecurrentCache):
    """RWKV-4: two token shifts, and numerator and denominator in units of exp(m), m the largest exponent so far.

    One token of several sequences at once comes out wrong in transformers (a sequence's shift is mixed with all others'), so
    each sequence is a batch of its own.
    """

    _PARTS = (("feed-forward shift", False), ("attention shift", False), ("numerator", True), ("denominator", True))

    def __init__(self, model: object) -> None:
        super().__init__(model)
        size = (self._config.hidden_size,)
        self.leaves = tuple(
            Leaf(layer, part, size, decays, layer if decays else None)
            for layer in range(self._config.num_hidden_layers)
            for part, decays in self._PARTS
        )

    def _carried(self, batch: int, like: Tensor) -> Leaves:
        """m = 0, which leaves an empty sum empty as much as the model's own -1e30."""
        return tuple(like.new_zeros(batch, self._config.hidden_size) for _ in range(self._config.num_hidden_layers))

    def advance(self, call: Call, token: dict[str, Tensor], leaves: Leaves, carried: Leaves) -> tuple[Leaves, Leaves]:
        """Map the model over single sequences: given several at once, it mixes their shifts."""

        def one_sequence(token: dict[str, Tensor], leaves: Leaves, carried: Leaves) -> tuple[Leaves, Leaves]:
            anchor = 0.0 * leaves[0].sum()  # what is written into m may have a tangent: let it have one before
            parts = [torch.stack(leaves[at::4], dim=-1).unsqueeze(0) for at in range(4)]
            state = [*parts, (torch.stack(carried, dim=-1) + anchor).unsqueeze(0)]
            call(**{name: value.unsqueeze(0) for name, value in token.items()}, state=state, use_cache=True)
            layers = [part.squeeze(0).unbind(-1) for part in state]
            return tuple(part for layer in zip(*layers[:4], strict=True) for part in layer), layers[4]

        return vmap(one_sequence)(token, leaves, carried)

    def _prepared(self) -> AbstractContextManager[object]:
        """Weights not yet rescaled for inference stay so: the model would rescale them in place."""
        return nullcontext() if self._model.layers_are_rescaled else _replaced(self._config, "rescale_every", 0)


class XLstmCache(RecurrentCache):
    """xLSTM: the matrix memory C and its normaliser n of every head, in units of exp(m)."""

    def __init__(self, model: Any) -> None:
        super().__init__(model)
        heads = self._config.num_heads
        keys = int(self._config.hidden_size * self._config.qk_dim_factor) // heads
        values = int(self._config.hidden_size * self._config.v_dim_factor) // heads
        self._scale = (heads, 1)
        self.leaves = tuple(
            leaf
            for layer in range(len(model.blocks))
            for leaf in (Leaf(layer, "C", (heads, keys, values), True, layer), Leaf(layer, "n", (heads, keys), True, layer))
        )

    def _carried(self, batch: int, like: Tensor) -> Leaves:
        return tuple(like.new_zeros(batch, *self._scale) for _ in self.leaves[::2])

    def advance(self, call: Call, token: dict[str, Tensor], leaves: Leaves, carried: Leaves) -> tuple[Leaves, Leaves]:
        """A cache of its own class filled with the state, and read out again."""
        from transformers.models.xlstm.modeling_xlstm import xLSTMCache

        anchor = 0.0 * leaves[0].flatten(1).sum(-1)[:, None, None]
        cache = xLSTMCache(self._config, len(leaves[0]))
        triples = zip(leaves[::2], leaves[1::2], carried, strict=True)
        cache.rnn_state = {layer: (c.clone(), n.clone(), m + anchor) for layer, (c, n, m) in enumerate(triples)}
        call(**token, cache=cache, use_cache=True)
        states = [cache.rnn_state[layer] for layer in range(len(carried))]
        return tuple(part for c, n, _ in states for part in (c, n)), tuple(m for _, _, m in states)


_KINDS = {"rwkv": RwkvCache, "xlstm": XLstmCache, "recurrent_gemma": RecurrentGemmaCache}
_DIAGONAL = {
    "recurrent_gemma",
    "mamba",
    "mamba2",
    "falcon_mamba",
    "jamba",
    "bamba",
    "falcon_h1",
    "zamba",
    "zamba2",
    "nemotron_h",
    "granitemoehybrid",
}
"""Kinds with a cache whose recurrent state decays entry by entry."""


def cache_of(model: Any) -> RecurrentCache:
    """How a model of transformers (without its head) keeps its state."""
    return _KINDS.get(model.config.model_type, TransformersCache)(model)


@contextmanager
def _replaced(owner: object, name: str, value: object) -> Generator[None, None, None]:
    """An attribute with another value for a while."""
    missing = object()
    before = vars(owner).get(name, missing)
    setattr(owner, name, value)
    try:
        yield
    finally:
        if before is missing:
            delattr(owner, name)
        else:
            setattr(owner, name, before)


def _held(layer: object, name: str, number: int) -> Tensor:
    return getattr(layer, name)[number]


def _emptied(layer: Any, position: int) -> Any:
    """A copy of one layer's cache, whose tensors can be replaced without reaching the original's, so many tokens later."""
    new = copy.copy(layer)
    for name in ("conv_states", "recurrent_states", "has_previous_state"):
        if hasattr(new, name):
            setattr(new, name, dict(getattr(new, name)))
    if hasattr(new, "cumulative_length"):
        new.cumulative_length = position
    return new
