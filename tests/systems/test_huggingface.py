"""Recurrent language models of transformers, built small from configurations: against their decays written out by hand."""

import math
from dataclasses import dataclass
from typing import Any

import pytest
import torch
from torch.nn.functional import logsigmoid, softplus

import lyapunov
from lyapunov.intake import problem, recognize
from lyapunov.systems import jacobians
from tolerances import CLOSED_FORM, ROUNDING, SAME, Z, same

transformers = pytest.importorskip("transformers")
TOKENS, BATCH, STEPS, SETTLE, ALIGN = 20, 4, 220, 20, 80


def tokens(batch: int = BATCH, steps: int = STEPS):
    generator = torch.Generator().manual_seed(7)
    return torch.randint(1, TOKENS, (batch, steps), generator=generator)


def built(kind: type, config: Any):
    """Large random weights, so that decays differ between units and move with the tokens."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(3)
        model = kind(config)
        with torch.no_grad():
            for name, weight in model.named_parameters():
                if "norm" not in name and "A_log" not in name and "recurrent_param" not in name and "time_" not in name:
                    weight.copy_(torch.randn_like(weight) * (0.8 if weight.dim() < 2 else 1.2 / math.sqrt(weight.shape[-1])))
    return model.eval()


def mamba():
    config = transformers.MambaConfig(vocab_size=TOKENS, hidden_size=4, state_size=2, num_hidden_layers=2, expand=1)
    return built(transformers.MambaForCausalLM, config)


def mamba2():
    config = transformers.Mamba2Config(
        vocab_size=TOKENS, hidden_size=4, state_size=2, num_hidden_layers=2, num_heads=4, head_dim=2, n_groups=1, chunk_size=4
    )
    return built(transformers.Mamba2ForCausalLM, config)


def rwkv():
    config = transformers.RwkvConfig(vocab_size=TOKENS, hidden_size=4, num_hidden_layers=2, attention_hidden_size=4)
    model = built(transformers.RwkvForCausalLM, config)
    with torch.no_grad():
        for at, block in enumerate(model.rwkv.blocks):
            block.attention.time_decay.copy_(torch.tensor([-3.0, -1.5, -0.5, 0.2]) + 0.3 * at)
    return model


def xlstm():
    config = transformers.xLSTMConfig(
        vocab_size=TOKENS, hidden_size=8, embedding_dim=8, num_hidden_layers=2, num_blocks=2, num_heads=2
    )
    return built(transformers.xLSTMForCausalLM, config)


def recurrent_gemma():
    config = transformers.RecurrentGemmaConfig(
        vocab_size=TOKENS,
        hidden_size=8,
        lru_width=8,
        num_hidden_layers=3,
        num_attention_heads=2,
        intermediate_size=16,
        attention_window_size=8,
        pad_token_id=0,
    )
    model = built(transformers.RecurrentGemmaForCausalLM, config)
    with torch.no_grad():
        for layer in model.model.layers[:2]:
            layer.temporal_block.rg_lru.recurrent_param.copy_(torch.linspace(-4.0, 0.5, 8))
    return model


def mamba_decays(model, seen):
    """-softplus(dt) exp(A_log) of every channel and state; dt from what the layer's projection received."""
    found = []
    for block in model.backbone.layers:
        mixer = block.mixer
        (projected,) = seen[mixer.x_proj]
        rank = mixer.time_step_rank
        size = projected[..., :rank] @ mixer.dt_proj.weight.double().mT + mixer.dt_proj.bias.double()
        found.append((-softplus(size).unsqueeze(-1) * mixer.A_log.double().exp()).flatten(2))
    return found


def mamba2_decays(model, seen):
    """-softplus(dt) exp(A_log) of every head, for all of its entries."""
    found = []
    for block in model.backbone.layers:
        mixer = block.mixer
        (projected,) = seen[mixer.in_proj]
        size = softplus(projected[..., -mixer.num_heads :] + mixer.dt_bias.double())
        decays = -size * mixer.A_log.double().exp()
        found.append(decays.repeat_interleave(mixer.head_dim * mixer.ssm_state_size, dim=-1))
    return found


def rwkv_decays(model, seen):
    """-exp(time_decay), twice: numerator and denominator."""
    decays = [-block.attention.time_decay.double().exp() for block in model.rwkv.blocks]
    return [decay.repeat(2).expand(BATCH, STEPS, -1) for decay in decays]


def xlstm_decays(model, seen):
    """ln sigmoid of the capped forget gate of every head, for C and n."""
    found = []
    for block in model.backbone.blocks:
        layer = block.mlstm_layer
        (gate,) = seen[layer.fgate_preact]
        cap = model.config.gate_soft_cap
        decay = logsigmoid(cap * torch.tanh(gate / cap))
        heads, keys, values = 2, layer.qk_dim // 2, layer.v_dim // 2
        found.append(torch.cat([decay.repeat_interleave(keys * values, -1), decay.repeat_interleave(keys, -1)], dim=-1))
        assert found[-1].shape[-1] == heads * keys * (values + 1)
    return found


def recurrent_gemma_decays(model, seen):
    """-8 sigmoid(gate) softplus(recurrent_param)."""
    found = []
    for layer in model.model.layers[:2]:
        unit = layer.temporal_block.rg_lru
        (entered,) = seen[unit]
        heads = entered.unflatten(-1, (2, -1))
        gate = torch.einsum("bthi,hij->bthj", heads, unit.recurrent_gate_weight.double()) + unit.recurrent_gate_bias.double()
        found.append(-8 * torch.sigmoid(gate.flatten(2)) * softplus(unit.recurrent_param.double()))
    return found


@dataclass(frozen=True)
class Kind:
    build: Any
    decays: Any
    watched: tuple[tuple[str, bool], ...]
    """Modules whose output (or input: True) the formula needs, by the end of their names."""
    registers: int
    """Entries of one layer that only pass through."""


KINDS = {
    "Mamba": Kind(mamba, mamba_decays, (("x_proj", False),), 4 * 4),
    "Mamba-2": Kind(mamba2, mamba2_decays, (("in_proj", False),), (8 + 2 * 2) * 4),
    "RWKV": Kind(rwkv, rwkv_decays, (), 2 * 4),
    "xLSTM": Kind(xlstm, xlstm_decays, (("fgate_preact", False),), 0),
    "RecurrentGemma": Kind(recurrent_gemma, recurrent_gemma_decays, (("rg_lru", True),), 8 * 3),
}


@pytest.fixture(params=KINDS)
def kind(request) -> Kind:
    return KINDS[request.param]


def written_out(kind: Kind, model, sequences):
    """The decays of every layer along the sequences, from one pass of a float64 copy over whole sequences."""
    import copy

    model = copy.deepcopy(model).double()
    seen: dict[Any, Any] = {}
    for name, module in model.named_modules():
        for end, takes_input in kind.watched:
            if name.endswith(end):
                module.register_forward_hook(
                    lambda m, args, out, takes_input=takes_input: seen.__setitem__(m, (args[0] if takes_input else out,))
                )
    if "rwkv" in type(model).__name__.lower():
        return kind.decays(model, seen)
    with torch.no_grad():
        model(input_ids=sequences, use_cache=False, **from_position_one(model, STEPS))
        return kind.decays(model, seen)


def from_position_one(model, steps: int):
    """RecurrentGemma forgets at position 0, by design; the system starts behind it."""
    return {"position_ids": torch.arange(1, steps + 1).unsqueeze(0)} if "Gemma" in type(model).__name__ else {}


def test_the_closed_form_is_the_decays_written_out(kind: Kind) -> None:
    model, sequences = kind.build(), tokens()
    result = lyapunov.spectrum(model, sequences, settle=SETTLE, align=0)
    assert result.settings.method == "closed"
    layers = written_out(kind, model, sequences)
    wanted = torch.cat([decays[:, SETTLE:].mean((0, 1)) for decays in layers]).sort(descending=True).values
    finite = result.exponents[result.exponents.isfinite()]
    torch.testing.assert_close(finite, wanted, rtol=0, atol=FLOAT32_INSIDE)
    assert len(result.exponents) == len(wanted) + kind.registers * len(layers)
    assert result.rank == len(wanted)


FLOAT32_INSIDE = 1e-6
"""transformers computes whole sequences partly in float32 whatever the weights: so good is the reference."""


def test_qr_agrees_with_the_closed_form_within_error_bars(kind: Kind) -> None:
    model, sequences = kind.build(), tokens()
    exact = lyapunov.spectrum(model, sequences, settle=SETTLE, align=ALIGN)
    by_qr = lyapunov.spectrum(model, sequences, method="qr", settle=SETTLE, align=ALIGN)
    assert by_qr.settings.method == "qr"
    finite = exact.exponents.isfinite()
    torch.testing.assert_close(by_qr.exponents.isfinite(), finite, rtol=0, atol=0)  # shift registers: true -inf
    gap = (exact.exponents - by_qr.exponents)[finite].abs()
    errors = torch.maximum(exact.standard_errors, by_qr.standard_errors)[finite]
    assert bool((gap <= Z * errors + ROUNDING).all()), gap / errors
    assert by_qr.rank == exact.rank
    torch.testing.assert_close(by_qr.exponents[finite].mean(), exact.exponents[finite].mean(), rtol=0, atol=2e-3)


def test_layers_cut_from_each_other_have_the_union_of_a_coupled_frame(kind: Kind) -> None:
    model, sequences = kind.build(), tokens(2, 200)
    apart = lyapunov.spectrum(model, sequences, method="qr", settle=SETTLE, align=100, k=3)
    coupled = lyapunov.spectrum(model, sequences, method="qr", settle=SETTLE, align=100, k=3, coupled=True)
    full = lyapunov.spectrum(model, sequences, settle=SETTLE, align=100)
    sizes = [row.count for row in full.by_layer()]
    assert [row.layer for row in full.by_layer()] == [0, 1]
    assert len(set(sizes)) == 1
    assert sum(sizes) == full.settings.size
    assert set(apart.layer.tolist()) <= {0, 1}
    # one large frame aligns more slowly than two small ones
    torch.testing.assert_close(apart.exponents, coupled.exponents, rtol=0, atol=0.05)
    closed = lyapunov.spectrum(model, sequences, settle=SETTLE, align=100, k=3, coupled=True)
    torch.testing.assert_close(
        closed.exponents, lyapunov.spectrum(model, sequences, settle=SETTLE, align=100, k=3).exponents, rtol=0, atol=ROUNDING
    )


@pytest.mark.parametrize("coupled", [False, True])
def test_push_is_the_jacobian_of_the_step(kind: Kind, coupled: bool) -> None:
    """Every entry by central differences; `pull` is its transpose."""
    cast = recognize(problem(kind.build(), tokens(1, 8), coupled=coupled), torch.float64)
    system, state, x = cast.system, cast.state, cast.sequences.at(7)
    with torch.no_grad(), system.running():
        for t in range(7):
            state = system.step(state, cast.sequences.at(t))
        points = system.vectors(state)
        eyes = tuple(torch.eye(point.shape[-1], dtype=torch.float64).unsqueeze(0) for point in points)
        pushed, pulled = system.push(state, x, eyes)[1], system.pull(state, x, eyes)
        for at, point in enumerate(points):
            for entry in range(point.shape[-1]):
                width = 1e-5 * max(1.0, float(point[0, entry].abs()))

                def moved(sign: float, at=at, entry=entry, width=width):
                    nudged = points[at] + sign * width * eyes[at][:, entry]
                    new = system.step(system.with_vectors(state, (*points[:at], nudged, *points[at + 1 :])), x)
                    return system.vectors(new)[at]

                measured = (moved(1.0) - moved(-1.0)) / (2 * width)
                torch.testing.assert_close(pushed[at][..., entry], measured, rtol=1e-6, atol=1e-7)
            torch.testing.assert_close(pulled[at], pushed[at].mT, rtol=0, atol=CLOSED_FORM)


def test_steps_are_the_model_itself(kind: Kind) -> None:
    """The state after a prompt gives the next tokens' outputs: those of the whole sequence at once."""
    model, sequences = kind.build(), tokens(2, 12)
    cast = recognize(problem(model, sequences), torch.float64)
    seen = []
    backbone = getattr(model, model.base_model_prefix)
    last = [module for name, module in backbone.named_children() if "norm" in name or "ln_out" in name][-1]
    hook = last.register_forward_hook(lambda m, args, out: seen.append(out[:, 0].clone()))
    state = cast.state
    with torch.no_grad(), cast.system.running():
        for t in range(12):
            state = cast.system.step(state, cast.sequences.at(t))
    hook.remove()
    if "Rwkv" in type(model).__name__:
        pytest.skip("one sequence is one call within vmap: its outputs cannot be kept; the test of push covers the step")
    with torch.no_grad():
        whole = backbone(input_ids=sequences, use_cache=False, **from_position_one(model, 12)).last_hidden_state
    torch.testing.assert_close(torch.stack(seen, 1).float(), whole, rtol=0, atol=2e-5)


def test_a_batch_is_its_sequences(kind: Kind) -> None:
    model, sequences = kind.build(), tokens(3, 40)
    together = lyapunov.spectrum(model, sequences, settle=5, align=0)
    alone = [lyapunov.spectrum(model, sequences[at : at + 1], settle=5, align=0, k=4) for at in range(3)]
    for at, result in enumerate(alone):
        mine = together.per_sequence[at].sort(descending=True).values[:4]
        torch.testing.assert_close(mine, result.exponents, rtol=0, atol=ROUNDING)


def test_the_model_is_left_as_it_was(kind: Kind) -> None:
    model = kind.build().train()
    model.get_input_embeddings().eval()
    flags = [part.training for part in model.modules()]
    weights = {name: weight.clone() for name, weight in model.state_dict().items()}
    attributes = {name: dict(vars(part)) for name, part in model.named_modules()}
    config = dict(vars(getattr(model, model.base_model_prefix).config))
    random = torch.random.get_rng_state()
    lyapunov.spectrum(model, tokens(2, 30), settle=5, align=5, k=2, method="qr")
    assert [part.training for part in model.modules()] == flags
    assert all(torch.equal(weight, weights[name]) for name, weight in model.state_dict().items())
    assert torch.equal(torch.random.get_rng_state(), random)
    assert dict(vars(getattr(model, model.base_model_prefix).config)) == config
    for name, part in model.named_modules():
        now = vars(part)
        assert set(now) == set(attributes[name])
        assert not now["_forward_pre_hooks"]
        for key, value in attributes[name].items():
            if not isinstance(value, dict):
                assert now[key] is value, (name, key)


def test_rwkv_is_not_rescaled_in_place_and_is_the_same_where_it_was() -> None:
    """transformers divides weights by powers of two on the first pass in evaluation mode; LayerNorm takes that back."""
    model = rwkv()
    model.rwkv.config.rescale_every = 1
    weights = {name: weight.clone() for name, weight in model.state_dict().items()}
    before = lyapunov.spectrum(model.train(), tokens(2, 40), settle=5, align=5, method="qr", k=4)
    assert all(torch.equal(weight, weights[name]) for name, weight in model.state_dict().items())
    assert not model.rwkv.layers_are_rescaled
    with torch.no_grad():
        model.eval()(tokens(1, 2))
    assert model.rwkv.layers_are_rescaled
    after = lyapunov.spectrum(model, tokens(2, 40), settle=5, align=5, method="qr", k=4)
    torch.testing.assert_close(before.exponents, after.exponents, rtol=0, atol=1e-3)


SMALL = {"vocab_size": TOKENS, "hidden_size": 16, "intermediate_size": 16, "num_attention_heads": 2, "num_key_value_heads": 2}
SPECIAL = {"pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2}
HEADS = {"mamba_n_heads": 4, "mamba_d_head": 8, "mamba_d_state": 2, "mamba_expand": 2, "mamba_n_groups": 1}
EXPERTS = {"num_experts": 2, "num_experts_per_tok": 1}
HYBRIDS = {
    "Bamba": {"num_hidden_layers": 2, "attn_layer_indices": [1], **HEADS},
    "Jamba": {
        "num_hidden_layers": 2,
        "attn_layer_period": 2,
        "attn_layer_offset": 1,
        "expert_layer_period": 2,
        "expert_layer_offset": 1,
        "mamba_d_state": 2,
        "mamba_expand": 1,
        "mamba_dt_rank": 2,
        **EXPERTS,
    },
    "FalconH1": {"num_hidden_layers": 2, "mamba_d_ssm": 16, "head_dim": 8, **HEADS, "mamba_d_head": 4},
    "Qwen3Next": {
        "num_hidden_layers": 2,
        "layer_types": ["linear_attention", "full_attention"],
        "linear_num_value_heads": 2,
        "linear_num_key_heads": 2,
        "linear_key_head_dim": 4,
        "linear_value_head_dim": 4,
        "head_dim": 8,
        "moe_intermediate_size": 8,
        "shared_expert_intermediate_size": 8,
        **EXPERTS,
    },
}


@pytest.mark.parametrize("name", HYBRIDS)
def test_hybrids_carry_their_attention(name: str) -> None:
    """Steps are the model itself; where the closed form is taken, frames in the same state agree with it."""
    config = getattr(transformers, f"{name}Config")(**SMALL, **SPECIAL, **HYBRIDS[name])
    model = built(getattr(transformers, f"{name}Model"), config)
    sequences = tokens(2, 12)
    cast = recognize(problem(model, sequences), torch.float64)
    system, state, seen = cast.system, cast.state, []
    assert system.grows
    norms = [module for part, module in model.named_children() if "norm" in part]
    hook = norms[-1].register_forward_hook(lambda m, args, out: seen.append(out[:, 0].clone()))
    with torch.no_grad(), system.running():
        for t in range(12):
            state = system.step(state, cast.sequences.at(t))
        if system.triangular:
            x = cast.sequences.at(0)
            factors = system.log_diagonal(state, [x], lambda new, old, at: new)[1][0]
            dense = [block.diagonal(dim1=1, dim2=2).abs().log() for block in jacobians(system, state, x)[1]]
            torch.testing.assert_close(factors, torch.cat(dense, dim=-1), rtol=0, atol=CLOSED_FORM)
    hook.remove()
    assert system.triangular == (name != "Qwen3Next")
    with torch.no_grad():
        whole = model(input_ids=sequences, use_cache=False).last_hidden_state
    torch.testing.assert_close(torch.stack(seen[:12], 1).float(), whole, rtol=0, atol=5e-5)


def test_what_a_tokenizer_returns() -> None:
    model, sequences = mamba(), tokens(3, 60)
    mask = torch.ones_like(sequences)
    mask[1, 45:] = 0
    encoded = transformers.BatchEncoding({"input_ids": sequences, "attention_mask": mask})
    result = lyapunov.spectrum(model, encoded, settle=5, align=0, k=4)
    by_lengths = lyapunov.spectrum(model, sequences, lengths=torch.tensor([60, 45, 60]), settle=5, align=0, k=4)
    assert same(result.exponents, by_lengths.exponents)
    assert result.history_steps.sum(0).tolist() == [55, 40, 55]


def test_embeddings_are_inputs_as_well() -> None:
    model, sequences = mamba(), tokens(2, 40)
    with torch.no_grad():
        embedded = model.get_input_embeddings()(sequences)
    by_tokens = lyapunov.spectrum(model, sequences, settle=5, align=0, k=4)
    by_embeddings = lyapunov.spectrum(model, embedded, settle=5, align=0, k=4)
    torch.testing.assert_close(by_tokens.exponents, by_embeddings.exponents, rtol=0, atol=ROUNDING)


def test_everything_runs_in_the_dtype_asked_for() -> None:
    """The step is smooth to float64's precision: a float32 inside would move a central difference by 1e-7 / nudge."""
    nudge = 1e-7
    cast = recognize(problem(mamba(), tokens(1, 8), coupled=True), torch.float64)
    system = cast.system
    with torch.no_grad(), system.running():
        state = system.step(cast.state, cast.sequences.at(0))
        (point,) = system.vectors(state)
        after, before = (
            system.vectors(system.step(system.with_vectors(state, (point + offset,)), cast.sequences.at(1)))[0]
            for offset in (nudge, -nudge)
        )
        pushed = system.push(state, cast.sequences.at(1), (torch.ones(1, point.shape[-1], 1).double(),))[1][0]
    assert after.dtype == torch.float64
    torch.testing.assert_close((after - before) / (2 * nudge), pushed.squeeze(-1), rtol=1e-6, atol=1e-6)


def test_an_error_within_the_model_leaves_it_as_it_was() -> None:
    model = mamba().train()
    calls = []

    def fail(*_) -> None:
        calls.append(1)
        if len(calls) == 20:
            raise ValueError("mine")

    handle = model.backbone.layers[1].register_forward_hook(fail)
    attention = vars(model.backbone.config).get("_attn_implementation_internal")
    with pytest.raises(ValueError, match="mine"):
        lyapunov.spectrum(model, tokens(2, 30), settle=5, align=5)
    handle.remove()
    assert model.training
    assert not model.backbone.layers[0]._forward_pre_hooks
    assert vars(model.backbone.config).get("_attn_implementation_internal") == attention


def test_capture_says_to_pass_a_language_model_by_itself() -> None:
    with pytest.raises(lyapunov.Unsupported, match=r"got 0 \(transformers\..*\.MambaForCausalLM\)"):
        lyapunov.capture(torch.nn.Sequential(mamba()), tokens())


def refused(model, *args, **kwargs) -> str:
    with pytest.raises(lyapunov.LyapunovError) as caught:
        lyapunov.spectrum(model, *args, **kwargs)
    return str(caught.value)


def test_what_is_refused_says_what_to_do() -> None:
    config = transformers.GPT2Config(vocab_size=TOKENS, n_embd=8, n_layer=1, n_head=2, bos_token_id=1, eos_token_id=1)
    assert "recurrent state" in refused(built(transformers.GPT2Model, config), tokens())
    assert "Pass tokens" in refused(mamba())
    assert "context before the tokens" in refused(mamba(), tokens(), state=torch.zeros(4, 2))
    assert "own tokenizer" in refused(mamba(), tokens() + TOKENS)
    assert "features axis" in refused(mamba(), tokens().unsqueeze(-1))
    assert "same length" in refused(recurrent_gemma(), tokens(2, 30), lengths=torch.tensor([30, 20]))
    assert "chunks" in refused(recurrent_gemma(), tokens(2, 300), chunks=2)
    padded_left = {"input_ids": tokens(2, 30), "attention_mask": torch.arange(30).expand(2, -1) > 3}
    assert "padding_side" in refused(mamba(), padded_left)


@pytest.mark.parametrize("build", [mamba, rwkv], ids=lambda build: build.__name__)
def test_a_system_built_once_runs_with_the_weights_of_the_moment(build: Any) -> None:
    def exponents(system: Any) -> torch.Tensor:
        return lyapunov.spectrum(system, tokens(2, 40), k=2, settle=5, align=5, check=False).exponents

    model = build()
    once = recognize(problem(model, tokens(2, 40)), torch.float64).system
    before = exponents(once)
    with torch.no_grad():
        for weight in model.parameters():
            weight.mul_(0.8)
    again = exponents(once)
    assert (again - before).abs().max() > 1e-3
    torch.testing.assert_close(again, exponents(model), rtol=0, atol=SAME)
