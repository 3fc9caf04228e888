"""Runs of `snapshot.py` on whole models: captured ones, language models of transformers, layers of another framework."""

import os
from collections.abc import Callable
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

import snapshot_calls as calls
from snapshot_calls import Values, spectrum
from snapshot_spectra import BATCH, FEATURES, GRU, INPUTS, LENGTHS, STEPS, SYMBOLS, TOKENS, UNITS, drawn, layer, module


class Tagger(nn.Module):
    """An embedding, dropout, an LSTM of packed sequences, a readout."""

    def __init__(self, *, packs: bool = False) -> None:
        super().__init__()
        self.embedding, self.dropout = module(nn.Embedding, SYMBOLS, FEATURES), nn.Dropout(0.5)
        self.lstm, self.readout, self.packs = layer(nn.LSTM), module(nn.Linear, UNITS, SYMBOLS), packs

    def forward(self, tokens: Tensor) -> Tensor:
        embedded = self.dropout(self.embedding(tokens))
        if self.packs:
            packed = pack_padded_sequence(embedded, LENGTHS, batch_first=True, enforce_sorted=False)
            return self.readout(pad_packed_sequence(self.lstm(packed)[0], batch_first=True)[0])
        return self.readout(self.lstm(embedded)[0])


class Loop(nn.Module):
    """A cell, step by step."""

    def __init__(self) -> None:
        super().__init__()
        self.cell = module(nn.LSTMCell, FEATURES, UNITS)

    def forward(self, x: Tensor) -> Tensor:
        state, outputs = None, []
        for at in range(x.shape[1]):
            state = self.cell(x[:, at], state)
            outputs.append(state[0])
        return torch.stack(outputs, 1)


class Deep(nn.Module):
    """Two cores, one above the other."""

    def __init__(self) -> None:
        super().__init__()
        self.below, self.norm = layer(nn.GRU), nn.LayerNorm(UNITS, dtype=torch.float64)
        self.above = module(nn.LSTM, UNITS, 4, batch_first=True)

    def forward(self, x: Tensor) -> Tensor:
        return self.above(self.norm(self.below(x)[0]))[0]


def language_model(name: str) -> Any:
    """A tiny random one of transformers."""
    import transformers

    config, kind = (getattr(transformers, f"{name}{end}") for end in ("Config", "ForCausalLM"))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(9)
        return kind(config(vocab_size=SYMBOLS, **LANGUAGE_MODELS[name])).eval()


LANGUAGE_MODELS: dict[str, dict[str, int]] = {
    "Mamba": {"state_size": 2, "expand": 1, "hidden_size": 4, "num_hidden_layers": 2},
    "Mamba2": {
        "hidden_size": 4,
        "state_size": 2,
        "num_hidden_layers": 2,
        "num_heads": 4,
        "head_dim": 2,
        "n_groups": 1,
        "chunk_size": 4,
    },
    "Rwkv": {"attention_hidden_size": 4, "hidden_size": 4, "num_hidden_layers": 2},
    "xLSTM": {"hidden_size": 8, "embedding_dim": 8, "num_hidden_layers": 2, "num_blocks": 2, "num_heads": 2},
    "RecurrentGemma": {
        "hidden_size": 8,
        "lru_width": 8,
        "num_hidden_layers": 3,
        "num_attention_heads": 2,
        "intermediate_size": 16,
        "attention_window_size": 8,
        "pad_token_id": 0,
    },
}
"""Their sizes, as small as they can be."""


def keras_layer() -> Any:
    """Of Keras on PyTorch, with the weights of our own."""
    os.environ |= {"KERAS_BACKEND": "torch", "KERAS_HOME": str(Path.cwd())}
    import keras

    with keras.device("cpu"):
        made = keras.layers.LSTM(UNITS, return_sequences=True, dtype="float64")
        made.build((BATCH, STEPS, FEATURES))
        for at, weight in enumerate(made.trainable_weights):
            weight.assign(drawn(*weight.shape, seed=40 + at, scale=0.5))
        return made


def models() -> dict[str, Callable[[], Values]]:
    """What is captured from a model, and language models."""
    both = partial(module, nn.GRU, FEATURES, 5, num_layers=2, bidirectional=True, batch_first=True)

    def captured(build: Callable[[], Any], *args: Any, **given: Any) -> Callable[[], Values]:
        return lambda: calls.of_captured(calls.capture(build(), *args), **given)

    def one_of(build: Callable[[], Any], name: str | None, direction: str | None = None) -> Callable[[], Values]:
        return lambda: calls.of_captured(calls.core(calls.capture(build(), INPUTS), name, direction))

    def language(name: str, **given: Any) -> Callable[[], Values]:
        return lambda: calls.of_spectrum(spectrum(language_model(name), TOKENS[:3, :60], **given))

    runs: dict[str, Callable[[], Values]] = {
        "models/embedding, LSTM, readout": captured(Tagger, TOKENS),
        "models/padded": captured(Tagger, TOKENS, lengths=LENGTHS, k=4),
        "models/packed": captured(partial(Tagger, packs=True), TOKENS, k=4),
        "models/cell in a loop": captured(Loop, INPUTS, k=4),
        "models/two cores": captured(Deep, INPUTS),
        "models/one of two": one_of(Deep, "above"),
        "models/forward": one_of(both, None, "forward"),
        "models/backward": one_of(both, None, "backward"),
        "models/scripted": lambda: calls.of_spectrum(spectrum(torch.jit.script(GRU()), INPUTS, k=4)),
    }
    if find_spec("transformers") is not None:
        runs |= {f"models/{name}": language(name) for name in LANGUAGE_MODELS}
        runs["models/Mamba, frames"] = language("Mamba", method="qr", k=4)
        runs["models/Mamba, coupled frames"] = language("Mamba", method="qr", k=2, coupled=True)
    if find_spec("keras") is not None:
        runs["models/Keras"] = lambda: calls.of_spectrum(spectrum(keras_layer(), INPUTS, k=4))
    return runs
