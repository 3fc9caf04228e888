"""Effective Remembrance and effective state size, against their definitions written out."""

import pytest
import torch
from torch import Tensor, nn

import lyapunov
from cases import drawn, seeded

TOKENS = torch.randint(7, (4, 20), generator=torch.Generator().manual_seed(5))


class Language(nn.Module):
    """A recurrent language model."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding, self.core = seeded(nn.Embedding, 7, 3), seeded(nn.GRU, 3, 5, batch_first=True)
        self.readout = seeded(nn.Linear, 5, 7)

    def forward(self, tokens: Tensor) -> Tensor:
        return self.readout(self.core(self.embedding(tokens))[0])


def test_it_is_the_total_variation_of_two_predictions() -> None:
    model = Language()
    found = lyapunov.effective_remembrance(model, TOKENS, dropped=(1, 12, 19))
    whole = model(TOKENS)[:, -1].softmax(-1)
    for at, t in enumerate((1, 12, 19)):
        cut = model(TOKENS[:, t:])[:, -1].softmax(-1)
        torch.testing.assert_close(found.distances[at], (whole - cut).abs().sum(-1).detach() / 2, rtol=1e-12, atol=1e-15)
    assert bool((found.distances >= 0).all())
    assert bool((found.distances <= 1).all())
    assert found.mean[-1] > found.mean[0]  # what a recurrent model has seen last matters most
    assert "20 tokens" in repr(found)
    assert float(found.standard_errors[0]) == pytest.approx(float(found.distances[0].std() / 2))


class Classifier(Language):
    """Of the last token alone, with as many classes as there are tokens."""

    def __init__(self) -> None:
        super().__init__()
        self.readout = seeded(nn.Linear, 5, 20)

    def forward(self, tokens: Tensor) -> Tensor:
        return super().forward(tokens)[:, -1]


def test_as_many_classes_as_tokens_are_classes() -> None:
    model = Classifier()
    found = lyapunov.effective_remembrance(model, TOKENS, dropped=(12,))
    expected = (model(TOKENS).softmax(-1) - model(TOKENS[:, 12:]).softmax(-1)).abs().sum(-1).detach() / 2
    torch.testing.assert_close(found.distances[0], expected, rtol=1e-12, atol=1e-15)


def test_a_transformer_is_taken_as_it_is() -> None:
    transformers = pytest.importorskip("transformers")
    config = {"vocab_size": 7, "n_positions": 32, "n_embd": 8, "n_layer": 1, "n_head": 2, "bos_token_id": 0, "eos_token_id": 0}
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = transformers.GPT2LMHeadModel(transformers.GPT2Config(attn_implementation="eager", **config))
    found = lyapunov.effective_remembrance(model, TOKENS)
    assert found.distances.shape == (10, 4)
    model.eval()
    with torch.no_grad():
        outputs = model(TOKENS, output_attentions=True)
        cut = model(TOKENS[:, 1:]).logits[:, -1].double().softmax(-1)
    expected = (outputs.logits[:, -1].double().softmax(-1) - cut).abs().sum(-1) / 2
    torch.testing.assert_close(found.distances[0], expected, rtol=1e-9, atol=1e-12)
    sizes = lyapunov.effective_state_size(outputs.attentions[0])
    assert sizes.shape == (4, 2, 19)
    assert bool((sizes >= 1).all())
    assert bool((sizes <= torch.minimum(torch.arange(1, 20), torch.arange(19, 0, -1))).all())


def test_a_linear_recurrence_has_as_many_as_its_state() -> None:
    size, steps = 3, 12
    decays, enter, leave = torch.tensor([0.9, 0.5, -0.7]).double(), drawn(size, seed=1), drawn(size, seed=2)
    lags = torch.arange(steps).view(-1, 1) - torch.arange(steps)
    operator = (leave * enter * decays ** lags.clamp(min=0).unsqueeze(-1)).sum(-1).tril()
    i = torch.arange(1, steps)
    expected = torch.minimum(torch.minimum(i, steps - i), torch.tensor(size))
    assert lyapunov.effective_state_size(operator).tolist() == expected.tolist()


def test_equal_attention_keeps_one_number_and_a_full_matrix_all() -> None:
    equal = torch.ones(8, 8).tril() / torch.arange(1, 9).unsqueeze(-1)
    full = drawn(8, 8, seed=3).tril()
    assert lyapunov.effective_state_size(torch.stack([equal.double(), full])).tolist() == [[1] * 7, [1, 2, 3, 4, 3, 2, 1]]
    assert lyapunov.effective_state_size(torch.eye(4)).tolist() == [0, 0, 0]


def test_the_state_size_by_entropy_counts_equal_directions_as_many_and_faint_ones_as_few() -> None:
    """Two inputs copied to the outputs with gains 1 and g: singular values 1 and g, in closed form."""
    for gain in (1.0, 0.5, 1e-3, 0.0):
        operator = torch.zeros(4, 4).double()
        operator[2, 0], operator[3, 1] = 1.0, gain
        p = torch.tensor([1.0, gain]).double() / (1.0 + gain)
        expected = (-(p * p.clamp(min=1e-300).log()).sum()).exp()
        sizes = lyapunov.effective_state_size(operator, by="entropy")
        torch.testing.assert_close(sizes, torch.stack([sizes.new_tensor(1.0), expected, sizes.new_tensor(float(gain > 0))]))
    drawn_at_random = drawn(2, 8, 8, seed=5).tril()
    sizes, ranks = (lyapunov.effective_state_size(drawn_at_random, by=by) for by in ("entropy", "rank"))
    assert bool((sizes <= ranks.double() + 1e-12).all())
    assert bool((sizes >= 1 - 1e-12).all())
    assert lyapunov.effective_state_size(torch.eye(4), by="entropy").tolist() == [0, 0, 0]


def test_what_does_not_fit_is_refused() -> None:
    with pytest.raises(lyapunov.InvalidInput, match="causal"):
        lyapunov.effective_state_size(torch.ones(3, 3))
    with pytest.raises(lyapunov.InvalidInput, match="time, time"):
        lyapunov.effective_state_size(torch.ones(3, 4))
    with pytest.raises(lyapunov.InvalidInput, match="from 1 to 19"):
        lyapunov.effective_remembrance(Language(), TOKENS, dropped=(20,))
    with pytest.raises(lyapunov.InvalidInput, match="at least 2 steps"):
        lyapunov.effective_remembrance(Language(), TOKENS[:, :1])
