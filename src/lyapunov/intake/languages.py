"""Recurrent language models of transformers, with tokens as a tokenizer gives them."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from lyapunov import _checks
from lyapunov.errors import InvalidInput, Unsupported
from lyapunov.intake.problem import CastProblem, Problem, compute_device, sequences_of
from lyapunov.systems import LanguageModel


def is_language_model(module: object) -> bool:
    """Whether it is a `PreTrainedModel` of transformers; imports nothing."""
    return any(
        kind.__name__ == "PreTrainedModel" and kind.__module__.startswith("transformers") for kind in type(module).__mro__
    )


def language_problem(model: nn.Module, problem: Problem, dtype: torch.dtype) -> CastProblem:
    """The model token by token.

    Inputs are tokens (batch, time), what a tokenizer returned (padding at the end becomes lengths), or embeddings (batch,
    time, features).
    """
    if problem.state is not None:
        raise InvalidInput(
            "Expected `state` left out with a language model, got one. Put the context before the tokens: settle "
            "passes it over."
        )
    device: torch.device = next(model.parameters()).device
    if compute_device(device, dtype) != device:
        raise Unsupported(f"Expected a language model where there is {dtype}, got {device}. Move it: model.to('cpu').")
    values, lengths = _tokens(problem)
    _checks.same_device(values, device, "inputs")
    _within_vocabulary(values, model)
    system = LanguageModel(model, dtype=dtype, coupled=problem.coupled)
    if lengths is not None and system.grows:
        raise Unsupported(
            "Expected sequences of one length with a model whose attention cache grows, got `lengths`. Cut them to the same "
            "length, or run them one by one."
        )
    sequences = sequences_of(values.transpose(0, 1), lengths, problem, dtype, device, batch=len(values))
    state = system.initial_state(sequences.batch, torch.empty(0, dtype=dtype, device=device))
    return CastProblem(system, sequences, state, next(model.parameters()).dtype)


def _within_vocabulary(values: Tensor, model: Any) -> None:
    """Tokens are rows of the model's embedding."""
    size = model.get_input_embeddings().num_embeddings
    if not values.is_floating_point() and not 0 <= int(values.min()) <= int(values.max()) < size:
        raise InvalidInput(
            f"Expected tokens from 0 to {size - 1}, the model's vocabulary, got {int(values.min())} to {int(values.max())}. "
            "Tokenize with the model's own tokenizer, and give padding through the attention mask, not as -100."
        )


def _tokens(problem: Problem) -> tuple[Tensor, Any]:
    values, lengths = problem.inputs, problem.lengths
    if isinstance(values, Mapping) or hasattr(values, "input_ids"):  # what a tokenizer returns is like a mapping
        mask = values.get("attention_mask")
        if mask is not None and lengths is None and not bool(mask.all()):
            lengths = mask.sum(-1)
            if not bool((mask.long().diff(dim=-1) <= 0).all()):
                raise InvalidInput(
                    "Expected padding at the end of every sequence, got it elsewhere. Set tokenizer.padding_side = 'right'."
                )
        values = values["input_ids"]
    if values is None:
        raise InvalidInput("Expected `inputs` with a language model, got none. Pass tokens (batch, time).")
    values = _checks.tensor(values, "inputs")
    axes = ("batch", "time", "features") if values.is_floating_point() else ("batch", "time")
    _checks.shape(values, axes, "inputs", "Pass tokens as whole numbers, or embeddings with a features axis.")
    return values, lengths
