"""Quantities that others publish about the memory of sequence models: Effective Remembrance and effective state size."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

from lyapunov import _checks
from lyapunov._shown import Parts, Shown
from lyapunov.analysis.lag_decay import starting_times
from lyapunov.analysis.whole_model import WholeModel
from lyapunov.errors import InvalidInput
from lyapunov.estimate import number
from lyapunov.intake import preserving_state


@dataclass(frozen=True, eq=False, repr=False)
class EffectiveRemembrance(Shown):
    """EffRem_T(t): the distance between predictions at the end of T tokens with and without the first t of them.

    Attributes:
        dropped: (dropped,), t, in tokens.
        distances: (dropped, batch), total variation, from 0 (the first t tokens do not matter) to 1.
        steps: T.
        model: what predicted.

    Example:
        >>> model = torch.nn.Sequential(torch.nn.Embedding(5, 4), torch.nn.Linear(4, 5))  # looks at the last token alone
        >>> lyapunov.effective_remembrance(model, torch.zeros(2, 9, dtype=torch.long), dropped=(3, 8)).distances.shape[0]
        2
    """

    dropped: Tensor
    distances: Tensor
    steps: int
    model: str

    @property
    def mean(self) -> Tensor:
        """(dropped,): the mean over all sequences."""
        return self.distances.mean(1)

    @property
    def standard_errors(self) -> Tensor:
        """(dropped,): of `mean`, over sequences; NaN with one."""
        count = self.distances.shape[1]
        return self.distances.std(1) / count**0.5 if count > 1 else torch.full_like(self.distances[:, 0], torch.nan)

    def _parts(self) -> Parts:
        batch = self.distances.shape[1]
        title = f"Effective Remembrance of {self.model}: {batch} sequence{'s' * (batch > 1)} x {self.steps} tokens"
        pairs = zip(self.dropped.tolist(), self.mean.tolist(), self.standard_errors.tolist(), strict=True)
        rows = [("dropped", "total variation", "± error"), *((str(t), number(value), number(wide)) for t, value, wide in pairs)]
        return Parts([title], rows)


def effective_remembrance(model: nn.Module, tokens: Tensor, *, dropped: Sequence[int] | None = None) -> EffectiveRemembrance:
    """How much the prediction at the end still depends on the first t tokens: EffRem_T(t) = TV(q(.|x_0:T), q(.|x_t:T)).

    TV is the total variation distance, half the sum of |q - q'| over the vocabulary. The model is run again on what is left
    after the first t tokens are dropped, from its own initial state.

    Args:
        model: a causal language model, of transformers or not, that returns logits (batch, time, vocabulary). It runs in
            evaluation mode and is left as it was.
        tokens: (batch, time), or what the model takes in their place with a time axis second.
        dropped: the numbers t of tokens to drop, ascending, each below the time. None: ten, spread over all.

    Returns:
        An `EffectiveRemembrance`: `mean` and `standard_errors` by t; it prints as a table.

    Raises:
        InvalidInput: for tokens or t that do not fit.

    Example:
        >>> model = torch.nn.Sequential(torch.nn.Embedding(5, 4), torch.nn.Linear(4, 5))  # looks at the last token alone
        >>> lyapunov.effective_remembrance(model, torch.zeros(2, 9, dtype=torch.long), dropped=(3, 8)).mean.max() < 1e-6
        tensor(True)

    References:
        Buitrago Ruiz and Gu 2025, arXiv 2507.02782.
    """
    tokens = _checks.tensor(tokens, "tokens")
    if tokens.dim() < 2 or tokens.shape[1] < 2:
        raise InvalidInput(
            f"Expected `tokens` (batch, time) of at least 2 steps, got {tuple(tokens.shape)}. Pass more of them."
        )
    steps = tokens.shape[1]
    asked = starting_times(1, steps - 1, 10) if dropped is None else list(dropped)
    asked = list(_checks.ascending([_checks.whole_number(t, "dropped", least=1, most=steps - 1) for t in asked], "dropped"))
    _checks.require_nonempty(tuple(asked), "dropped", "dropped=(1, 10)")

    def predicted(given: Tensor) -> Tensor:
        return WholeModel(model, given).outputs()[:, -1].double().softmax(-1).cpu()

    with torch.inference_mode(False), preserving_state(model, tokens):
        whole = predicted(tokens)
        distances = torch.stack([(predicted(tokens[:, t:]) - whole).abs().sum(-1) / 2 for t in asked])
    return EffectiveRemembrance(torch.tensor(asked), distances, steps, type(model).__name__)


def effective_state_size(operator: Tensor, *, by: Literal["rank", "entropy"] = "rank", tolerance: float = 1e-6) -> Tensor:
    """The size of the state that a causal operator y = T u needs at every step i, from the singular values of T[i:, :i].

    By rank it is the smallest number of state variables with which the outputs from step i on can be computed. By entropy it
    is exp(-sum p ln p) with p the singular values over their sum: state variables count by how much they pass on, and no
    tolerance is needed. For attention, T is the matrix of weights of a head
    (`model(tokens, output_attentions=True).attentions`); for a linear recurrence, T_ts is what the output at t takes of the
    input at s.

    Args:
        operator: (..., time, time), rows are outputs; any axes before, such as batch and heads.
        by: "rank", or "entropy" of the singular values.
        tolerance: the rank counts singular values above this fraction of the largest of the same block.

    Returns:
        (..., time - 1), for i = 1 to time - 1: whole numbers by rank; by entropy, real numbers from 1 to the rank, or 0 where
        nothing is passed on.

    Raises:
        InvalidInput: for a tensor that is not square in its last axes, or not causal.

    Example:
        >>> decay = 0.9 ** (torch.arange(6.0).view(-1, 1) - torch.arange(6.0)).clamp(min=0)
        >>> lyapunov.effective_state_size(decay.tril()).tolist()  # a leaky integrator has one number to keep
        [1, 1, 1, 1, 1]

    References:
        Parnichkun et al. 2025, arXiv 2504.19561; the entropy is the effective rank of Roy and Vetterli 2007.
    """
    _checks.one_of(by, ("rank", "entropy"), "by")
    operator = _checks.tensor(operator, "operator")
    if operator.dim() < 2 or operator.shape[-1] != operator.shape[-2] or operator.shape[-1] < 2:
        raise InvalidInput(f"Expected `operator` (..., time, time), got {tuple(operator.shape)}. Pass one row per output step.")
    if bool((operator.triu(1) != 0).any()):
        raise InvalidInput("Expected a causal `operator`, zero above its diagonal, got one that is not. Pass rows as outputs.")
    _checks.finite(operator, "operator")
    wanted, matrix = _checks.fraction(tolerance, "tolerance"), operator.detach().double()
    blocks = [torch.linalg.svdvals(matrix[..., i:, :i]) for i in range(1, matrix.shape[-1])]
    return torch.stack([_rank(values, wanted) if by == "rank" else _effective_rank(values) for values in blocks], dim=-1)


def _rank(values: Tensor, tolerance: float) -> Tensor:
    return ((values > tolerance * values[..., :1]) & (values > 0)).sum(-1)


def _effective_rank(values: Tensor) -> Tensor:
    total = values.sum(-1, keepdim=True)
    size = torch.special.entr(values / total.where(total > 0, 1.0)).sum(-1).exp()
    return size.where(total.squeeze(-1) > 0, 0.0)
