"""Blocks looped in depth: exponents of the whole state and by token, against dense Jacobians and eigenvalues."""

import copy
import math

import pytest
import torch
from torch import Tensor, nn
from torch.func import jacrev
from torch.nn import functional
from torch.nn.attention import SDPBackend, sdpa_kernel

import lyapunov
from cases import drawn, seeded
from lyapunov.analysis.training import adjoint
from lyapunov.systems import Step, System, TokenStep
from lyapunov.systems import step as steps
from lyapunov.tangent import random_frame
from tolerances import DENSE, EXACT_RUN, GRADIENTS, NAIVE, ROUNDING, same

BATCH, TOKENS, WIDTH, LOOPS = 2, 4, 6, 5
SIZE = TOKENS * WIDTH
INJECTED = drawn(BATCH, TOKENS, WIDTH, seed=4)
START = 0.3 * drawn(BATCH, TOKENS, WIDTH, seed=5)


class Grouped(nn.Module):
    """Attention with two heads that share one pair of keys and values, through PyTorch's own call; state halved and added."""

    def __init__(self, *, causal: bool) -> None:
        super().__init__()
        self.query, self.pair = nn.Linear(WIDTH, WIDTH), nn.Linear(WIDTH, WIDTH)
        self.norm, self.outward, self.causal = nn.RMSNorm(WIDTH), nn.Linear(WIDTH, WIDTH), causal

    def forward(self, h: Tensor, e: Tensor) -> Tensor:
        x = self.norm(h + e)
        query = self.query(x).unflatten(-1, (2, 3)).transpose(1, 2)
        key, value = (part.unsqueeze(1) for part in self.pair(x).chunk(2, -1))
        attended = functional.scaled_dot_product_attention(query, key, value, is_causal=self.causal, enable_gqa=True)
        return 0.5 * h + self.outward(attended.transpose(1, 2).flatten(2))


class Encoder(nn.Module):
    """PyTorch's own layer, with dropout, in training mode; after the norm, or before it."""

    def __init__(self, *, causal: bool, first: bool) -> None:
        super().__init__()
        self.layer = nn.TransformerEncoderLayer(WIDTH, 2, 8, dropout=0.3, batch_first=True, norm_first=first)
        self.mask = nn.Transformer.generate_square_subsequent_mask(TOKENS) if causal else None

    def forward(self, h: Tensor, e: Tensor) -> Tensor:
        mask = None if self.mask is None else self.mask.to(h.dtype)
        return self.layer(0.5 * h + e, src_mask=mask, is_causal=mask is not None)


BLOCKS = {
    "grouped, causal": seeded(Grouped, causal=True),
    "grouped": seeded(Grouped, causal=False),
    "encoder, causal": seeded(Encoder, causal=True, first=False),
    "encoder": seeded(Encoder, causal=False, first=True),
}

CALM = {causal: seeded(Grouped, causal=causal, scale=1.4) for causal in (True, False)}
"""Those that come to rest; the others go round in cycles."""


def in_double(block: nn.Module):
    """The block in float64 and evaluation mode, with attention that has derivatives, as a function of one sequence."""
    twin = copy.deepcopy(block).eval().requires_grad_(False)

    def one(h: Tensor, e: Tensor) -> Tensor:
        with sdpa_kernel(SDPBackend.MATH):
            return twin(h.view(1, TOKENS, WIDTH), e.unsqueeze(0)).flatten()

    return one


def dense_jacobians(block: nn.Module, count: int = LOOPS) -> Tensor:
    """(batch, loops, n, n): of every loop, along the trajectory."""
    one, found = in_double(block), []
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        for start, e in zip(START, INJECTED, strict=True):
            h = start.flatten()
            for _ in range(count):
                found.append(jacrev(one)(h, e))
                h = one(h, e)
    finally:
        torch.backends.mha.set_fastpath_enabled(True)
    return torch.stack(found).unflatten(0, (BATCH, count))


def naive(jacobians: Tensor, frame: Tensor) -> Tensor:
    """(columns,): mean ln |diag R| over loops and sequences, by a QR at each."""
    grown = torch.zeros(frame.shape[-1], dtype=torch.float64)
    for matrices, columns in zip(jacobians, frame, strict=True):
        for matrix in matrices:
            columns, factor = torch.linalg.qr(matrix @ columns)
            grown += factor.diagonal().abs().log()
    return grown / (jacobians.shape[0] * jacobians.shape[1])


def frame_of(size: int, k: int, block: int = 0) -> Tensor:
    return random_frame(size, k, batch=BATCH, seed=0, block=block, like=torch.empty(0, dtype=torch.float64))


def looped(block: nn.Module, **settings) -> lyapunov.Loop:
    return lyapunov.Loop(block, START, INJECTED, **settings)


@pytest.mark.parametrize("name", BLOCKS)
def test_exponents_of_a_looped_block_are_those_of_dense_jacobians(name: str) -> None:
    block = BLOCKS[name].train()
    found = lyapunov.spectrum(looped(block), steps=LOOPS, k=5, from_initial_state=True)
    expected = naive(dense_jacobians(block), frame_of(SIZE, 5))
    torch.testing.assert_close(found.exponents, expected.sort(descending=True).values, rtol=0, atol=NAIVE)
    assert found.verdict.kinds[0] == "finite-time"
    assert block.training


@pytest.mark.filterwarnings("ignore::lyapunov.LyapunovWarning")
@pytest.mark.parametrize("name", BLOCKS)
def test_exponents_by_token_are_those_of_the_diagonal_blocks(name: str) -> None:
    block, jacobians = BLOCKS[name], dense_jacobians(BLOCKS[name])
    found = lyapunov.spectrum(looped(block, by_token=True), steps=LOOPS, k=SIZE, from_initial_state=True)
    blocks = jacobians.unflatten(2, (TOKENS, WIDTH)).unflatten(4, (TOKENS, WIDTH))
    assert ("causal" in name) == (float(blocks[:, :, 0, :, 1:].abs().max()) == 0)
    for token in range(TOKENS):
        mine = naive(blocks[:, :, token, :, token], frame_of(WIDTH, WIDTH, token)).sort(descending=True).values
        resolved = mine > -8  # post-norm layers lose the mean of every token
        torch.testing.assert_close(found.exponents[found.layer == token][resolved], mine[resolved], rtol=0, atol=NAIVE)
    some = lyapunov.spectrum(looped(block, by_token=(1, 3)), steps=LOOPS, k=2 * WIDTH, from_initial_state=True)
    assert set(some.layer.tolist()) == {1, 3}


def test_under_a_causal_mask_the_tokens_have_the_spectrum_of_the_whole_and_without_one_they_do_not() -> None:
    """At the equilibrium: ln of the moduli of the eigenvalues. Sums over a token do not depend on how frames align."""
    settled = {"steps": 20, "settle": 100, "align": 20}
    for causal in (True, False):
        block = CALM[causal]
        last = dense_jacobians(block, 120)[:, -1]
        whole = torch.linalg.eigvals(last).abs().log().sum(-1).mean()
        found = lyapunov.spectrum(looped(block, by_token=True), k=SIZE, **settled)
        assert (abs(float(found.exponents.sum() - whole)) < EXACT_RUN) == causal
        blocks = last.unflatten(1, (TOKENS, WIDTH)).unflatten(3, (TOKENS, WIDTH))
        for token in range(TOKENS):
            mine = torch.linalg.slogdet(blocks[:, token, :, token]).logabsdet.mean()
            assert float(found.exponents[found.layer == token].sum()) == pytest.approx(float(mine), abs=EXACT_RUN)


def test_a_loop_that_reaches_its_equilibrium_has_the_eigenvalues_there() -> None:
    """A deep equilibrium model. Sums up to where the moduli are furthest apart do not turn with the frame."""
    block = CALM[False]
    eigenvalues = torch.linalg.eigvals(dense_jacobians(block, 100)[0, -1]).abs().log().sort(descending=True).values
    k = int(eigenvalues[:4].diff().argmin()) + 1
    one = lyapunov.Loop(block, START[:1], INJECTED[:1])
    found = lyapunov.spectrum(one, steps=10, k=k, settle=80, align=200)
    assert float(found.exponents.sum()) == pytest.approx(float(eigenvalues[:k].sum()), abs=EXACT_RUN)
    assert found.max < 0


def test_the_number_of_the_loop_comes_in_as_an_input() -> None:
    """As in a universal transformer; the same block with the sum of both as its one input is the reference."""
    block, number = BLOCKS["encoder"], drawn(BATCH, LOOPS, TOKENS, WIDTH, seed=6)
    settings = {"k": 3, "from_initial_state": True}
    found = lyapunov.spectrum(lyapunov.Loop(lambda h, e, x: block(h, e + x), START, INJECTED), number, **settings)
    summed = INJECTED.unsqueeze(1) + number
    expected = lyapunov.spectrum(block, summed, state=START, **settings)
    torch.testing.assert_close(found.exponents, expected.exponents, rtol=0, atol=ROUNDING)
    alone = lyapunov.spectrum(lyapunov.Loop(block, START), number, **settings)
    again = lyapunov.spectrum(block, number, state=START, **settings)
    assert same(alone.exponents, again.exponents)


def test_a_block_without_an_injected_input_is_autonomous() -> None:
    block = nn.Sequential(seeded(nn.Linear, WIDTH, WIDTH), nn.Tanh())
    settings = {"steps": LOOPS, "k": 2, "from_initial_state": True}
    found = lyapunov.spectrum(lyapunov.Loop(block, START), **settings)
    expected = lyapunov.spectrum(lambda h, _: block(h), state=START, **settings)
    assert same(found.exponents, expected.exponents)


def test_singular_values_over_the_loops_that_a_model_runs() -> None:
    block = BLOCKS["grouped"]
    found = lyapunov.gradient_exponents(
        looped(block), readout=lambda h: h.flatten(1), steps=LOOPS, lags=(LOOPS,), starts=1, settle=0, k=3
    )
    products = torch.stack([torch.linalg.multi_dot(list(one.flip(0))) for one in dense_jacobians(block)])
    expected = torch.linalg.svdvals(products)[:, :3].log().mean(0) / LOOPS
    torch.testing.assert_close(found.exponents[0], expected, rtol=0, atol=DENSE)


def test_the_sum_of_exponents_reaches_the_block_and_what_the_injected_input_was_made_from(monkeypatch) -> None:
    block, prelude = seeded(Grouped, causal=True), seeded(nn.Linear, WIDTH, WIDTH)
    weights = [*block.parameters(), *prelude.parameters()]

    def ours() -> list[Tensor]:
        loop = lyapunov.Loop(block, START, prelude(INJECTED))
        found.append(lyapunov.exponent_sum(loop, steps=LOOPS, k=3))
        return list(torch.autograd.grad(found[-1], weights, allow_unused=True))

    found: list[Tensor] = []
    whole = ours()
    with sdpa_kernel(SDPBackend.MATH):
        expected = through_the_product(block, prelude)
        dense = torch.autograd.grad(expected, weights, allow_unused=True)
    assert float(found[0].detach()) == pytest.approx(float(expected.detach()), abs=NAIVE)
    monkeypatch.setattr(System, "graph_entries", 1)
    monkeypatch.setattr(adjoint, "AT_ONCE", BATCH * SIZE * 2)
    for mine, parts, theirs in zip(whole, ours(), dense, strict=True):
        theirs = torch.zeros_like(mine) if theirs is None else theirs
        torch.testing.assert_close(mine, theirs, rtol=GRADIENTS, atol=GRADIENTS)
        torch.testing.assert_close(parts, theirs, rtol=GRADIENTS, atol=GRADIENTS)
    assert float(whole[-2].abs().max()) > 1e-3  # the prelude's


def through_the_product(block: nn.Module, prelude: nn.Module) -> Tensor:
    """1/2 ln det P^T P / T, P the product of dense Jacobians and a frame: autograd sees everything."""
    total: Tensor | float = 0.0
    for at, frame in enumerate(frame_of(SIZE, 3)):
        e, h = prelude(INJECTED[at]).unsqueeze(0), START[at].flatten()
        for _ in range(LOOPS):
            matrix = jacrev(lambda flat, e=e: block(flat.view(1, TOKENS, WIDTH), e).flatten())(h)
            frame, h = matrix @ frame, block(h.view(1, TOKENS, WIDTH), e).flatten()
        total = total + torch.linalg.slogdet(frame.mT @ frame).logabsdet / 2
    return total / (BATCH * LOOPS)


def test_a_few_columns_at_a_time_grow_as_all_of_them(monkeypatch) -> None:
    settings = {"steps": LOOPS, "k": 5, "from_initial_state": True}
    for by_token in (False, True):
        loop = looped(BLOCKS["grouped"], by_token=by_token)
        together = lyapunov.spectrum(loop, **settings)
        with monkeypatch.context() as patch:
            patch.setattr(steps, "AT_ONCE", 1)
            patch.setattr("lyapunov.systems.loop.AT_ONCE", 1)
            apart = lyapunov.spectrum(loop, **settings)
        torch.testing.assert_close(together.exponents, apart.exponents, rtol=0, atol=ROUNDING)


def test_pulling_back_by_token_is_the_transpose_of_pushing() -> None:
    block = BLOCKS["grouped"]
    system = TokenStep(Step(lambda h, _: block(h, INJECTED), START, dtype=torch.float64), START, (0, 2))
    one, other = (tuple(drawn(BATCH, WIDTH, 2, seed=seed + at) for at in range(2)) for seed in (8, 18))
    with system.running():
        pushed, pulled = system.push(START, None, one)[1], system.pull(START, None, other)
    for column, moved, row, back in zip(one, pushed, other, pulled, strict=True):
        torch.testing.assert_close(row.mT @ moved, back.mT @ column, rtol=0, atol=ROUNDING)


def test_how_attention_is_computed_is_as_before_afterwards() -> None:
    fused = torch.backends.cuda.flash_sdp_enabled()
    for steps_ in (LOOPS, 1):  # 1 is refused
        try:
            lyapunov.spectrum(looped(BLOCKS["encoder"]), steps=steps_, k=1, from_initial_state=True)
        except lyapunov.InvalidInput:
            assert steps_ == 1
        assert torch.backends.mha.get_fastpath_enabled()
        assert torch.backends.cuda.flash_sdp_enabled() == fused


def test_other_inputs_are_another_run() -> None:
    settings = {"steps": 4, "k": 1, "from_initial_state": True}
    runs = [lyapunov.spectrum(lyapunov.Loop(BLOCKS["grouped"], START, e), **settings) for e in (INJECTED, 2 * INJECTED)]
    assert runs[0].settings.inputs != runs[1].settings.inputs
    with pytest.raises(lyapunov.InvalidInput, match="inputs"):
        runs[0] - runs[1]


def test_a_mask_goes_along_beside_the_injected_input() -> None:
    """Minus infinity in it is no fault."""
    layer = BLOCKS["encoder, causal"].layer
    mask = nn.Transformer.generate_square_subsequent_mask(TOKENS)
    masked = lyapunov.Loop(lambda h, both: layer(0.5 * h + both[0], src_mask=both[1], is_causal=True), START, (INJECTED, mask))
    found = lyapunov.spectrum(masked, steps=LOOPS, k=3, from_initial_state=True)
    expected = lyapunov.spectrum(looped(BLOCKS["encoder, causal"]), steps=LOOPS, k=3, from_initial_state=True)
    torch.testing.assert_close(found.exponents, expected.exponents, rtol=0, atol=ROUNDING)
    assert math.isfinite(found.max)


def fused(h: Tensor, e: Tensor) -> Tensor:
    with sdpa_kernel(SDPBackend.FLASH_ATTENTION):
        return BLOCKS["grouped"](h, e)


REFUSED = {
    "a kernel of one's own": (lyapunov.Loop(fused, START, INJECTED), {}, "leave the kernel open"),
    "a state besides": (looped(BLOCKS["grouped"]), {"state": START}, "`state` left out with a Loop"),
    "what is carried": (looped(BLOCKS["grouped"]), {"carried": START}, "`carried` left out with a Loop"),
    "no block": (lyapunov.Loop(None, START), {}, "Expected a module or function as the `block`"),
    "a token that is not there": (
        looped(BLOCKS["grouped"], by_token=(9,)),
        {},
        r"from 0 to 3 \(the state has 4 tokens\), got 9",
    ),
    "no token": (looped(BLOCKS["grouped"], by_token=()), {}, "positions of tokens as `by_token`, got none"),
    "a bare position": (looped(BLOCKS["grouped"], by_token=2), {}, r"some positions of tokens, got 2\. Pass by_token=\(2,\)"),
    "position 0, bare": (looped(BLOCKS["grouped"], by_token=0), {}, "some positions of tokens, got 0"),
    "tokens in disorder": (looped(BLOCKS["grouped"], by_token=(2, 1)), {}, "`by_token` in ascending order"),
    "by token without an axis": (lyapunov.Loop(torch.tanh, START[:, 0], by_token=True), {}, r"got shape \(2, 6\)"),
    "chunks": (looped(BLOCKS["grouped"]), {"chunks": 2}, "`chunks` left out with a Loop"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_be_looped_is_refused_with_the_remedy(name: str) -> None:
    loop, settings, message = REFUSED[name]
    with pytest.raises(lyapunov.LyapunovError, match=message):
        lyapunov.spectrum(loop, **{"steps": 200, "k": 1, **settings})


def test_analyses_of_one_frame_do_not_take_a_loop_by_token() -> None:
    with pytest.raises(lyapunov.Unsupported, match="Leave by_token out"):
        lyapunov.exponent_sum(looped(BLOCKS["grouped"], by_token=True), steps=4, k=1)
