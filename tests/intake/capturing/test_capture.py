"""A core in a user's model has the spectrum of that core on the inputs it really receives; the model is as it was."""

import copy
import random
import re

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

import lyapunov
from cases import drawn
from lyapunov.intake.capturing.directions import layers_of
from lyapunov.systems import GRU, LSTM, IndependentLayers
from models import (
    BATCH,
    FEATURES,
    INPUTS,
    MODELS,
    PAIR,
    STEPS,
    SYMBOLS,
    TOKENS,
    UNITS,
    UNSORTED,
    Case,
    CellLoop,
    OneStepDecoder,
    Tagger,
    TimeMajor,
    layer,
)
from tolerances import ROUNDING, same

RUN = {"settle": 8, "align": 8, "k": 2}
SHORT = {"settle": 8, "align": 8}
FULL = {"settle": 8, "align": 8, "qr_every": 1}


def bare(core: nn.Module, case: Case) -> lyapunov.Spectrum:
    return lyapunov.spectrum(core, case.inputs(), state=case.state, lengths=case.lengths, **RUN)


@pytest.mark.parametrize("name", MODELS)
def test_a_captured_core_has_the_spectrum_of_the_core_on_what_it_receives(name: str) -> None:
    case = MODELS[name]
    captured = lyapunov.capture(case.model, *case.args, **case.kwargs)
    assert captured.names == (case.core,)
    owner = getattr(case.model, "__self__", case.model)
    core = dict((getattr(owner, "_orig_mod", owner)).named_modules())[case.core.replace("inner.", "inner._orig_mod.")]
    assert captured.module is core
    found, expected = lyapunov.spectrum(captured, **RUN), bare(core, case)
    assert same(found.exponents, expected.exponents)
    assert same(found.per_sequence, expected.per_sequence)
    pieces = lyapunov.spectrum(captured.module, captured.inputs, state=captured.state, lengths=captured.lengths, **RUN)
    assert same(found.exponents, pieces.exponents)
    assert found.settings == pieces.settings
    assert torch.equal(captured.core(case.core).inputs, captured.inputs)


def test_captured_inputs_are_those_of_the_hand_to_the_bit() -> None:
    for case in MODELS.values():
        captured = lyapunov.capture(case.model, *case.args, **case.kwargs)
        inside = case.inputs()
        if case.lengths is not None:
            inside = inside * (torch.arange(STEPS) < case.lengths.unsqueeze(-1)).unsqueeze(-1)
        assert torch.equal(captured.inputs, inside)
        assert (captured.lengths is None) == (case.lengths is None)
        assert (captured.state is None) == (case.state is None)


# Two directions.


def one_way(module: nn.GRU, at: int, suffix: str) -> nn.GRU:
    """A one-directional module from the weights."""
    single = layer(nn.GRU, FEATURES if at == 0 else 2 * UNITS, UNITS, batch_first=True)
    single.load_state_dict({f"{name}_l0": getattr(module, f"{name}_l{at}{suffix}") for name in WEIGHTS})
    return single


WEIGHTS = ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
START = drawn(4, BATCH, UNITS, seed=90, scale=0.5)


class BothWays(nn.Module):
    def __init__(self, layers: int, *, packed: bool = False) -> None:
        super().__init__()
        self.gru = layer(nn.GRU, FEATURES, UNITS, num_layers=layers, batch_first=True, bidirectional=True)
        self.packed = packed

    def forward(self, x: Tensor, lengths: Tensor) -> Tensor:
        if not self.packed:
            return self.gru(x, START[: 2 * self.gru.num_layers])[0]
        packed = pack_padded_sequence(x, lengths, batch_first=True, enforce_sorted=False)
        return pad_packed_sequence(self.gru(packed, START[: 2 * self.gru.num_layers])[0], batch_first=True)[0]


def backwards(values: Tensor, lengths: Tensor) -> Tensor:
    flipped = torch.zeros_like(values)
    for at, length in enumerate(lengths.tolist()):
        flipped[at, :length] = values[at, :length].flip(0)
    return flipped


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("direction", ["forward", "backward"])
def test_a_direction_is_the_one_directional_module_with_its_weights(direction: str, packed: bool) -> None:
    model, lengths = BothWays(1, packed=packed), UNSORTED if packed else torch.tensor([STEPS] * BATCH)
    at = int(direction == "backward")
    single = one_way(model.gru, 0, "_reverse" * at)
    inputs = backwards(INPUTS, lengths) if at else INPUTS
    captured = lyapunov.capture(model, INPUTS, lengths).core("gru", direction=direction)
    expected = lyapunov.spectrum(single, inputs, state=START[at : at + 1], lengths=lengths if packed else None, **RUN)
    assert same(lyapunov.spectrum(captured, **RUN).exponents, expected.exponents)
    pieces = lyapunov.spectrum(captured.module, captured.inputs, state=captured.state, lengths=captured.lengths, **RUN)
    assert same(pieces.exponents, expected.exponents)
    assert f"{direction} direction" in repr(captured)


@pytest.mark.parametrize(
    "core",
    [
        layer(nn.LSTM, FEATURES, UNITS, num_layers=2, bidirectional=True, proj_size=3, dropout=0.5),
        layer(nn.LSTM, FEATURES, UNITS, num_layers=3, bidirectional=True, bias=False),
        layer(nn.RNN, FEATURES, UNITS, num_layers=2, bidirectional=True, nonlinearity="relu"),
    ],
    ids=["LSTM-proj", "LSTM-no-bias", "RNN-relu"],
)
def test_the_top_layers_of_both_directions_give_the_output(core: nn.RNNBase) -> None:
    """With dropout off, from no state, time first."""
    x = INPUTS.transpose(0, 1)
    captured = lyapunov.capture(core, x)
    expected = copy.deepcopy(core).eval()(x)[0].detach()
    tops = [layers_of(core, captured.cores[0].received, backward)[-1] for backward in (False, True)]
    ahead, behind = (piece.module(piece.inputs)[0].detach() for piece in tops)
    torch.testing.assert_close(torch.cat([ahead, behind.flip(0)], -1), expected, rtol=0, atol=ROUNDING)
    assert core.training


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("direction", ["forward", "backward"])
def test_the_layers_of_a_direction_are_driven_by_both_directions_below(direction: str, packed: bool) -> None:
    model, lengths = BothWays(2, packed=packed), UNSORTED if packed else torch.tensor([STEPS] * BATCH)
    at = int(direction == "backward")
    singles = [[one_way(model.gru, number, suffix) for suffix in ("", "_reverse")] for number in range(2)]
    below = [singles[0][way](backwards(INPUTS, lengths) if way else INPUTS, START[way : way + 1])[0] for way in (0, 1)]
    between = torch.cat([below[0], backwards(below[1], lengths)], dim=-1).detach()
    inside = (torch.arange(STEPS) < lengths.unsqueeze(-1)).unsqueeze(-1)
    driven = [backwards(values, lengths) if at else values * inside for values in (INPUTS, between)]
    layers = [GRU(**{name: getattr(one[at], f"{name}_l0") for name in WEIGHTS}) for one in singles]
    expected = lyapunov.spectrum(
        IndependentLayers(layers), tuple(driven), state=(START[at], START[2 + at]), lengths=lengths if packed else None, **FULL
    )
    captured = lyapunov.capture(model, INPUTS, lengths).core(direction=direction)
    found = lyapunov.spectrum(captured, **FULL)
    assert same(found.exponents, expected.exponents)
    assert set(found.layer.tolist()) == {0, 1}
    for number in range(2):
        alone = lyapunov.spectrum(
            singles[number][at],
            driven[number],
            state=START[2 * number + at][None],
            lengths=lengths if packed else None,
            **FULL,
        )
        own = found.exponents[found.layer == number]
        assert float(own.sum()) == pytest.approx(float(alone.exponents.sum()), abs=1e-10)
        if number == 0:
            torch.testing.assert_close(own, alone.exponents, rtol=0, atol=ROUNDING)
    with pytest.raises(lyapunov.Unsupported, match="driven by both directions below") as caught:
        captured.inputs  # noqa: B018
    assert_form(str(caught.value))


def test_the_layers_of_both_directions_are_what_pytorch_computes() -> None:
    """The outputs of the first layer, put together again, give the second layer's own output."""
    model = BothWays(2)
    expected = model.gru(INPUTS, START)[0].detach()
    captured = lyapunov.capture(model, INPUTS, torch.tensor([STEPS] * BATCH))
    for backward in (False, True):
        piece = layers_of(model.gru, captured.cores[0].received, backward)[1]
        output = piece.module(piece.inputs, piece.state)[0]
        output = output.flip(1) if backward else output
        torch.testing.assert_close(output, expected[..., UNITS * backward : UNITS * (1 + backward)], rtol=0, atol=1e-12)


# Several cores.


class Normed(nn.Module):
    """Two layers with a norm and dropout between, and a readout."""

    def __init__(self) -> None:
        super().__init__()
        self.above = layer(nn.LSTM, UNITS, 4, num_layers=2)
        self.below = layer(nn.GRU, FEATURES, UNITS)
        self.norm, self.dropout = nn.LayerNorm(UNITS, dtype=torch.float64), nn.Dropout(0.5)

    def between(self, x: Tensor) -> Tensor:
        return self.norm(self.below(x.transpose(0, 1))[0])

    def forward(self, x: Tensor) -> Tensor:
        return self.above(self.dropout(self.between(x)))[0].mean(0)


def layers_of_lstm(module: nn.LSTM) -> list[LSTM]:
    return [LSTM(**{name: getattr(module, f"{name}_l{at}") for name in WEIGHTS}) for at in range(module.num_layers)]


def test_cores_in_a_chain_are_layers_beside_each_other() -> None:
    model = Normed()
    captured = lyapunov.capture(model, INPUTS)
    found = lyapunov.spectrum(captured, **FULL)
    between = model.between(INPUTS).detach()
    alone = [
        lyapunov.spectrum(model.below, INPUTS.transpose(0, 1), **FULL),
        lyapunov.spectrum(model.above, between, **FULL),
    ]
    torch.testing.assert_close(found.exponents[found.layer == 0], alone[0].exponents, rtol=0, atol=ROUNDING)
    above = found.exponents[found.layer > 0]
    assert len(above) == len(alone[1].exponents) == 16
    assert float(above.sum()) == pytest.approx(float(alone[1].exponents.sum()), abs=1e-10)
    assert set(found.layer.tolist()) == {0, 1, 2}
    assert found.settings.system == "GRU + LSTM (full state) x 2 layers"
    assert captured.names == ("above", "below")
    assert same(lyapunov.spectrum(captured.core("above"), **RUN).exponents, alone_of(model.above, between))


def alone_of(core: nn.Module, inputs: Tensor) -> Tensor:
    return lyapunov.spectrum(core, inputs, **RUN).exponents


class StackedCells(nn.Module):
    """Two cells in one loop; `across`: the upper one's output comes back to the lower one."""

    def __init__(self, *, across: bool = False) -> None:
        super().__init__()
        self.lower, self.upper = layer(nn.GRUCell, FEATURES, UNITS), layer(nn.LSTMCell, UNITS, FEATURES)
        self.across = across

    def forward(self, x: Tensor) -> Tensor:
        low, up = x.new_zeros(len(x), UNITS), (x.new_zeros(len(x), FEATURES), x.new_zeros(len(x), FEATURES))
        for t in range(x.shape[1]):
            low = self.lower(x[:, t] + (up[0] if self.across else 0), low)
            up = self.upper(low, up)
        return up[0]


def test_stacked_cells_in_a_loop_are_a_stack_along_what_they_received() -> None:
    model = StackedCells()
    found = lyapunov.spectrum(lyapunov.capture(model, INPUTS), **FULL)
    low, passed = INPUTS.new_zeros(BATCH, UNITS), []
    for t in range(STEPS):
        low = model.lower(INPUTS[:, t], low)
        passed.append(low.detach())
    layers = [
        kind(**{name: getattr(cell, name) for name in WEIGHTS}) for kind, cell in ((GRU, model.lower), (LSTM, model.upper))
    ]
    expected = lyapunov.spectrum(IndependentLayers(layers), (INPUTS, torch.stack(passed, 1)), **FULL)
    assert same(found.exponents, expected.exponents)


def test_several_cores_that_are_no_chain_are_named() -> None:
    class Two(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.encoder, self.decoder = layer(nn.GRU, FEATURES, UNITS), layer(nn.GRUCell, FEATURES, UNITS)

        def forward(self, x: Tensor) -> Tensor:
            state = self.encoder(x.transpose(0, 1))[1][0]
            for t in range(x.shape[1]):
                state = self.decoder(x[:, t], state)
            return state

    captured = lyapunov.capture(Two(), INPUTS)
    for ask in (lambda: lyapunov.spectrum(captured), captured.core, lambda: captured.inputs, lambda: captured.module):
        refused(ask, r"encoder \(GRU\(4 -> 5\)\), decoder .*captured\.core\('encoder'\)", lyapunov.InvalidInput)
    core = captured.core("decoder")
    state = captured.core("encoder").module(INPUTS.transpose(0, 1))[1][0].detach()
    assert torch.equal(core.state, state)
    expected = lyapunov.spectrum(core.module, INPUTS, state=state, **RUN)
    assert same(lyapunov.spectrum(core, **RUN).exponents, expected.exponents)


def test_a_chain_that_changes_its_pace_is_named() -> None:
    class Pyramid(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.fine, self.coarse = layer(nn.GRU, FEATURES, UNITS), layer(nn.GRU, UNITS, UNITS)

        def forward(self, x: Tensor) -> Tensor:
            return self.coarse(self.fine(x.transpose(0, 1))[0][::2])[0]

    captured = lyapunov.capture(Pyramid(), INPUTS)
    refused(lambda: lyapunov.spectrum(captured), "other sequences or steps", lyapunov.InvalidInput)
    assert len(lyapunov.spectrum(captured.core("coarse"), k=2).exponents) == 2


# Closed loops.


class Generating(nn.Module):
    """A decoder: `feed` is what reaches its input besides the true symbols."""

    def __init__(self, feed: str, core: str = "cell") -> None:
        super().__init__()
        self.embedding, self.readout = layer(nn.Embedding, SYMBOLS, FEATURES), layer(nn.Linear, UNITS, SYMBOLS)
        size = FEATURES + (UNITS if feed == "input feeding" else 0)
        self.core = layer(nn.LSTMCell, size, UNITS) if core == "cell" else layer(nn.LSTM, size, UNITS, batch_first=True)
        self.feed = feed

    def one_step(self, x: Tensor, state: tuple[Tensor, Tensor] | None) -> tuple[Tensor, tuple[Tensor, Tensor]]:
        if isinstance(self.core, nn.LSTM):
            output, state = self.core(x.unsqueeze(1), state)
            return output[:, 0], state
        state = self.core(x, state)
        return state[0], state

    def forward(self, tokens: Tensor) -> Tensor:
        token, output, state, logits = tokens[:, 0], torch.zeros(len(tokens), UNITS).double(), None, []
        for t in range(tokens.shape[1]):
            x = self.embedding(token)
            x = torch.cat([x, output], -1) if self.feed == "input feeding" else x
            output, state = self.one_step(x, state)
            logits.append(self.readout(output))
            token = tokens[:, min(t + 1, tokens.shape[1] - 1)]
            if self.feed == "greedy":
                token = logits[-1].argmax(-1)
            if self.feed == "sampling":
                token = torch.multinomial(logits[-1].softmax(-1), 1)[:, 0]
            if self.feed == "until the end" and t > 20 and int(logits[-1][0].argmax()) == 3:
                break
        return torch.stack(logits, 1)


@pytest.mark.parametrize("core", ["cell", "layer"])
@pytest.mark.parametrize("feed", ["input feeding", "greedy", "sampling", "until the end"])
def test_a_core_fed_by_its_own_output_is_refused_and_can_be_looked_at_all_the_same(feed: str, core: str) -> None:
    captured = lyapunov.capture(Generating(feed, core), TOKENS)
    assert "fed by its own output" in repr(captured)
    message = refused(lambda: lyapunov.spectrum(captured), "core, fed by its own output: .*step\\(state, x, carried\\)")
    assert "core = captured.core('core')" in message
    one = captured.core("core")
    looked = lyapunov.spectrum(one.module, one.inputs, state=one.state, lengths=one.lengths, **RUN)
    assert len(looked.exponents) == 2


@pytest.mark.parametrize("core", ["cell", "layer"])
def test_true_symbols_are_no_feedback(core: str) -> None:
    captured = lyapunov.capture(Generating("teacher", core), TOKENS)
    assert "fed by" not in repr(captured)
    assert lyapunov.spectrum(captured, **RUN).settings.count > 0


def test_a_loop_through_another_core_names_it() -> None:
    captured = lyapunov.capture(StackedCells(across=True), INPUTS)
    assert repr(captured).splitlines()[1].endswith("40 calls, fed by upper and its own output")
    refused(lambda: lyapunov.spectrum(captured.core("lower")), "lower, fed by its own output through upper: ")
    refused(lambda: lyapunov.spectrum(captured), "lower, fed by its own output through upper: ")


def test_a_model_that_raises_over_other_outputs_counts_as_fed_by_them() -> None:
    class Fragile(CellLoop):
        def forward(self, x: Tensor) -> Tensor:
            h = torch.zeros(len(x), UNITS).double()
            for t in range(x.shape[1]):
                if h.abs().max() > 1:
                    raise ValueError("too large.\nReally.")
                h = self.cell(x[:, t], h)
            return h

    captured = lyapunov.capture(Fragile(nn.GRUCell), INPUTS)
    refused(lambda: lyapunov.spectrum(captured), r"own output \(when it returned .* raised ValueError: too large\): its")


def test_a_loop_that_other_outputs_would_keep_going_ends() -> None:
    class Waiting(CellLoop):
        def forward(self, x: Tensor) -> Tensor:
            h, t = self.cell(x[:, 0]), 0
            while t < 30 or not torch.equal(h, self.seen):
                t += 1
                h = self.cell(x[:, t % STEPS], h)
                if t == 30 and not hasattr(self, "seen"):
                    self.seen = h
            return h

    model = Waiting(nn.GRUCell)
    model(INPUTS)
    captured = lyapunov.capture(model, INPUTS)
    assert repr(captured).endswith("31 steps, 31 calls, fed by its own output")


def test_cores_fed_by_a_packed_one_are_its_layers() -> None:
    class Tower(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.below, self.above = layer(nn.GRU, FEATURES, UNITS), layer(nn.RNN, UNITS, UNITS, nonlinearity="relu")

        def forward(self, x: Tensor, lengths: Tensor) -> Tensor:
            packed = pack_padded_sequence(x, lengths, batch_first=True, enforce_sorted=False)
            return self.above(self.below(packed)[0])[1]

    captured = lyapunov.capture(Tower(), INPUTS, UNSORTED)
    assert repr(captured).endswith("above: RNN(5 -> 5), 3 sequences x 31 to 40 steps, 1 call, fed by below")
    assert set(lyapunov.spectrum(captured, k=8, **SHORT).layer.tolist()) == {0, 1}
    above, sent = captured.core("above"), captured.core("below")
    expected = sent.module(pack_padded_sequence(INPUTS, UNSORTED, True, False))[0]
    assert torch.equal(above.inputs, pad_packed_sequence(expected)[0].detach())


def test_a_layer_used_again_on_its_own_output_is_fed_by_it() -> None:
    class Again(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.gru = layer(nn.GRU, UNITS, UNITS)

        def forward(self, x: Tensor) -> Tensor:
            return self.gru(self.gru(x)[0])[0]

    refused(lambda: lyapunov.spectrum(lyapunov.capture(Again(), drawn(STEPS, BATCH, UNITS, seed=91))), "fed by its own")


@pytest.mark.parametrize("change", ["faded", "normalised", "dropped out", "mixed with another"])
def test_a_state_changed_between_calls_is_refused(change: str) -> None:
    class Changing(CellLoop):
        def forward(self, x: Tensor) -> Tensor:
            h = torch.zeros(len(x), UNITS).double()
            for t in range(x.shape[1]):
                h = self.cell(x[:, t], h)
                if change == "faded" and t % 5 == 4:
                    h = h * (0.5 + 0.5 * (t < UNSORTED)).unsqueeze(-1)
                if change == "normalised":
                    h = nn.functional.layer_norm(h, (UNITS,))
                if change == "dropped out":
                    h = nn.functional.dropout(h, 0.5)
                if change == "mixed with another":
                    h = (h + h.flip(0)) / 2
            return h

    captured = lyapunov.capture(Changing(nn.GRUCell), INPUTS)
    assert repr(captured).endswith("its state changed between calls")
    for ask in (lambda: lyapunov.spectrum(captured), lambda: captured.inputs):
        refused(ask, "cell, whose state is changed between calls")
    assert isinstance(captured.module, nn.GRUCell)


def test_a_memory_changed_between_calls_is_refused_where_the_output_is_not() -> None:
    class Clipped(CellLoop):
        def forward(self, x: Tensor) -> Tensor:
            state = self.cell(x[:, 0])
            for t in range(1, x.shape[1]):
                state = self.cell(x[:, t], (state[0], state[1].clamp(-0.1, 0.1)))
            return state[0]

    refused(lambda: lyapunov.spectrum(lyapunov.capture(Clipped(nn.LSTMCell), INPUTS)), "changed between calls")


def test_a_mask_that_masks_nothing_changes_nothing() -> None:
    class Masked(CellLoop):
        def forward(self, x: Tensor, mask: Tensor) -> Tensor:
            h = torch.zeros(len(x), UNITS).double()
            for t in range(x.shape[1]):
                h = self.cell(x[:, t], h) * mask[:, t, None]
            return h

    model = Masked(nn.GRUCell)
    found = lyapunov.spectrum(lyapunov.capture(model, INPUTS, torch.ones(BATCH, STEPS)), **RUN)
    assert same(found.exponents, lyapunov.spectrum(model.cell, INPUTS, **RUN).exponents)


def test_a_hook_of_the_user_that_changes_the_state_is_seen() -> None:
    model = CellLoop(nn.GRUCell)
    model.cell.register_forward_hook(lambda module, args, output: 0.9 * output)
    refused(lambda: lyapunov.spectrum(lyapunov.capture(model, INPUTS)), "changed between calls")


def test_calls_that_start_from_one_state_are_sequences_of_their_own() -> None:
    class Candidates(nn.Module):
        """Several continuations, each from where the first piece ended."""

        def __init__(self) -> None:
            super().__init__()
            self.gru = layer(nn.GRU, FEATURES, UNITS, batch_first=True)

        def forward(self, first: Tensor, *others: Tensor) -> None:
            state = self.gru(first)[1]
            for other in others:
                self.gru(other, state)

    captured = lyapunov.capture(Candidates(), INPUTS[:, :20], INPUTS[:, 20:], -INPUTS[:, 20:])
    assert captured.lengths.tolist() == [40, 40, 40, 20, 20, 20]
    assert torch.equal(captured.inputs[:3], INPUTS)
    assert torch.equal(captured.inputs[3:, :20], -INPUTS[:, 20:])
    assert torch.equal(captured.state[:, 3:], captured.module(INPUTS[:, :20])[1].detach())
    assert not captured.state[:, :3].any()


# What is left as it was.


class Messy(nn.Module):
    """Does to itself, and to the world, whatever a model can."""

    def __init__(self) -> None:
        super().__init__()
        self.gru = layer(nn.GRU, FEATURES, UNITS, batch_first=True)
        self.norm = nn.BatchNorm1d(UNITS, dtype=torch.float64)
        self.frozen = nn.Sequential(nn.Dropout(0.5)).eval()
        self.register_buffer("count", torch.zeros(()))
        self.register_buffer("last", torch.full((2,), torch.nan))
        self.weight, self.other = nn.Parameter(torch.ones(2)), nn.Parameter(torch.zeros(2))
        self.memory, self.log, self.noise = torch.zeros(1, BATCH, UNITS).double(), [], torch.Generator().manual_seed(3)
        self.plain, self.numbers = random.Random(4), np.random.default_rng(5)

    def forward(self, x: Tensor, *, fail: bool = False) -> Tensor:
        assert not any(part.training for part in self.modules())
        x = x.add_(torch.rand(x.shape) + torch.rand((), generator=self.noise) + random.random() + np.random.rand())
        x = x + self.plain.random() + self.numbers.random() + self.count + self.memory.sum() + len(self.log)
        self.count += 1
        self.last = torch.ones(3)
        self.weight.data.mul_(2)
        self.other.data = torch.ones(5)
        output, self.memory = self.gru(x, self.memory)
        self.log.append(output)
        self.extra = output
        with torch.enable_grad():
            (self.weight.sum() ** 2).backward()
        for t in range(3):
            self.gru(output[..., :FEATURES] + t)
        if fail:
            raise KeyError("mine")
        return self.frozen(output)


def everything(model: Messy, x: Tensor) -> list[object]:
    """A print of all that must stay."""
    tensors = [*model.state_dict().values(), model.memory, x, model.noise.get_state(), torch.get_rng_state()]
    hooks = [(name, list(value)) for part in model.modules() for name, value in vars(part).items() if "hook" in name and value]
    flags = [part.training for part in model.modules()]
    others = [model.plain.getstate(), model.numbers.bit_generator.state, random.getstate(), repr(np.random.get_state())]
    ids = [(name, id(value)) for part in model.modules() for name, value in vars(part).items() if name != "training"]
    grads = [
        (id(parameter.grad), None if parameter.grad is None else parameter.grad.tolist()) for parameter in model.parameters()
    ]
    return [repr([tensor.tolist() for tensor in tensors]), hooks, flags, others, ids, grads, list(model.log), list(vars(model))]


@pytest.mark.parametrize("fail", [False, True])
@pytest.mark.parametrize("training", [False, True])
def test_everything_is_as_before(fail: bool, training: bool, shapes_unchecked) -> None:
    """Without the checks of annotations: they draw from Python's random state."""
    model, x = Messy().train(training), INPUTS.clone()
    model.frozen.eval()
    model.weight.grad = torch.full((2,), 7.0)
    model.gru.register_forward_hook(lambda module, args, output: None)
    model.register_forward_pre_hook(lambda module, args: None)
    before = copy.deepcopy(everything(model, x))
    gradient = model.weight.grad
    if fail:
        with pytest.raises(KeyError, match="mine"):
            lyapunov.capture(model, x, fail=True)
    else:
        captured = lyapunov.capture(model, x)
        assert captured.core().cores[0].calls == 4
        assert "fed by its own output" in repr(captured)
    assert everything(model, x) == before
    assert model.weight.grad is gradient


def test_what_was_captured_does_not_change_with_the_model() -> None:
    model = TimeMajor()
    x = INPUTS.clone()
    captured = lyapunov.capture(model, x)
    x.zero_()
    assert torch.equal(captured.inputs, INPUTS.transpose(0, 1))
    assert not captured.inputs.requires_grad


def test_a_compiled_model_stays_compiled() -> None:
    model = TimeMajor()
    compiled = torch.compile(model, backend="eager")
    expected = compiled(INPUTS)
    assert lyapunov.capture(compiled, INPUTS).names == ("gru",)
    assert lyapunov.capture(compiled, INPUTS).core("_orig_mod.gru").names == ("gru",)
    assert torch.equal(compiled(INPUTS), expected)


def test_calls_that_were_compiled_before_are_seen() -> None:
    model = CellLoop(nn.GRUCell)
    compiled = torch.compile(model, backend="eager", fullgraph=True)
    compiled(INPUTS[:, :20])
    captured = lyapunov.capture(compiled, INPUTS[:, :20])
    assert repr(captured).endswith("20 steps, 20 calls")
    assert torch.equal(captured.inputs, INPUTS[:, :20])


# Refusals.


def assert_form(message: str) -> None:
    assert re.match(r"Expected .+(got|but):? .+\. [A-Z].+", message, re.DOTALL), message
    assert "\n" not in message


def refused(ask, pattern: str, kind: type[Exception] = lyapunov.Unsupported) -> str:
    with pytest.raises(kind, match=pattern) as caught:
        ask()
    assert_form(str(caught.value))
    return str(caught.value)


def test_a_model_without_a_core_lists_what_was_looked_at() -> None:
    class Seen(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            kinds = (nn.ReLU, nn.Tanh, nn.Sigmoid, nn.GELU, nn.SiLU, nn.Identity, nn.Softplus, nn.Mish)
            self.parts = nn.ModuleList(kind() for kind in kinds)

    refused(lambda: lyapunov.capture(nn.Sequential(nn.ReLU()), INPUTS), r"types Sequential, ReLU\. Pass .*step\(state, x\)")
    refused(lambda: lyapunov.capture(Seen(), INPUTS), r"Seen, ModuleList, ReLU, .* and 2 more\.")


def test_what_is_no_model_is_refused() -> None:
    refused(lambda: lyapunov.capture(3), "got int")
    refused(lambda: lyapunov.capture(nn.LSTM, INPUTS), "the class LSTM")
    refused(lambda: lyapunov.capture(torch.tanh, INPUTS), "a torch.nn.Module")
    refused(
        lambda: lyapunov.capture(Forecaster().predict, INPUTS),
        r"a method of Forecaster, which is none\. It holds \.net: capture",
    )
    refused(lambda: lyapunov.capture(Forecaster(), INPUTS), r"got Forecaster\. It holds \.net")
    lazy = nn.Sequential(layer(nn.GRU, FEATURES, UNITS), First(), nn.LazyLinear(2))
    refused(lambda: lyapunov.capture(lazy, INPUTS), "not initialised", lyapunov.InvalidInput)
    empty = nn.Sequential(layer(nn.GRU, FEATURES, UNITS)).to("meta")
    refused(lambda: lyapunov.capture(empty, INPUTS), "on the meta device", lyapunov.InvalidInput)


class Forecaster:
    """What many packages put around a module."""

    def __init__(self) -> None:
        self.net = nn.Sequential(layer(nn.GRU, FEATURES, UNITS))

    def predict(self, x):
        return self.net(x)


class First(nn.Module):
    def forward(self, pair):
        return pair[0]


def test_cores_that_are_not_called_are_said_to_be() -> None:
    class Idle(TimeMajor):
        def __init__(self) -> None:
            super().__init__()
            self.spare = layer(nn.LSTM, FEATURES, UNITS)

        def forward(self, x: Tensor, *, use: bool = True) -> Tensor:
            return super().forward(x) if use else self.gru.forward(x)[0]

    refused(lambda: lyapunov.capture(Idle(), INPUTS, use=False), r"calls 'gru' or 'spare', got one .*layer\.forward\(x\)")
    captured = lyapunov.capture(Idle(), INPUTS)
    assert repr(captured) == (
        "Captured: 2 recurrent cores\n  gru: GRU(4 -> 5), 3 sequences x 40 steps, 1 call\n  spare: LSTM(4 -> 5), never called"
    )
    assert captured.names == ("gru",)
    refused(lambda: captured.core("spare"), "spare, which was not called")
    assert torch.equal(captured.inputs, INPUTS.transpose(0, 1))


def test_names_and_directions_are_checked(shapes_unchecked) -> None:
    captured = lyapunov.capture(Tagger(), TOKENS)
    refused(lambda: captured.core("gru"), r"got 'gru'\. Choose among lstm \(LSTM", lyapunov.InvalidInput)
    refused(lambda: captured.core("lstm", direction="forward"), "bidirectional layer, got lstm", lyapunov.InvalidInput)
    refused(lambda: captured.core("lstm", direction="up"), "None, 'forward', 'backward', got 'up'", lyapunov.InvalidInput)


def test_a_bidirectional_core_needs_a_direction() -> None:
    captured = lyapunov.capture(BothWays(1), INPUTS, None)
    refused(lambda: lyapunov.spectrum(captured), r"core\(direction='forward'\)")
    assert "GRU(4 -> 5, bidirectional)" in repr(captured)

    class Pieces(BothWays):
        def forward(self, x: Tensor) -> Tensor:
            state = None
            for part in x.split(8, dim=1):
                state = self.gru(part, state)[1]
            return state

    captured = lyapunov.capture(Pieces(1), INPUTS).core(direction="backward")
    refused(lambda: lyapunov.spectrum(captured), "called once for each sequence")


@pytest.mark.parametrize("name", ["inputs", "state", "steps"])
def test_what_was_captured_brings_everything(name: str) -> None:
    values = {"inputs": INPUTS, "state": PAIR, "steps": 40}
    captured = lyapunov.capture(Tagger(), TOKENS)
    refused(lambda: lyapunov.spectrum(captured, **{name: values[name]}), f"`{name}` left out", lyapunov.InvalidInput)


def test_coupled_is_for_one_core() -> None:
    refused(lambda: lyapunov.spectrum(lyapunov.capture(Normed(), INPUTS), coupled=True), "coupled=False")
    both = lyapunov.capture(BothWays(2), INPUTS, None).core(direction="forward")
    refused(lambda: lyapunov.spectrum(both, coupled=True), "coupled=False")
    decoder = OneStepDecoder()
    found = lyapunov.spectrum(lyapunov.capture(decoder, TOKENS, PAIR), coupled=True, linearization="hidden", **RUN)
    inputs = decoder.embedding(TOKENS).detach()
    expected = lyapunov.spectrum(decoder.decoder, inputs, state=PAIR, coupled=True, linearization="hidden", **RUN)
    assert same(found.exponents, expected.exponents)


class OwnForward(nn.GRU):
    def forward(self, first, second):
        return super().forward(first + second)[0]


def test_layers_that_compute_something_else_are_refused_by_what_they_are() -> None:
    class Adding(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.gru = layer(OwnForward, FEATURES, UNITS)

        def forward(self, x: Tensor) -> Tensor:
            return self.gru(x, second=self.gru(x, x)[..., :FEATURES])

    captured = lyapunov.capture(Adding(), INPUTS)
    assert "2 calls" in repr(captured)
    for ask in (lambda: lyapunov.spectrum(captured.core("gru")), lambda: captured.inputs):
        refused(ask, "fed by its own output|forward of nn.GRU itself")
    hooked = TimeMajor()
    hooked.gru.register_forward_pre_hook(lambda module, args: (2 * args[0],))
    refused(lambda: lyapunov.spectrum(lyapunov.capture(hooked, INPUTS)), "without forward pre-hooks")


def test_a_model_that_makes_its_own_noise_is_refused() -> None:
    class Noisy(CellLoop):
        def __init__(self) -> None:
            super().__init__(nn.GRUCell)
            self.noise = iter(np.random.default_rng(0).normal(size=1000).tolist())

        def forward(self, x: Tensor) -> Tensor:
            return super().forward(x + next(self.noise))

    refused(lambda: lyapunov.capture(Noisy(), INPUTS), "the same from the same random state")


def test_lengths_are_the_users_where_the_model_pads_and_does_not_pack() -> None:
    model = Tagger()
    captured = lyapunov.capture(model, TOKENS)
    with torch.no_grad():
        embedded = model.embedding(TOKENS)
    found = lyapunov.spectrum(captured, lengths=UNSORTED, **RUN)
    assert same(found.exponents, lyapunov.spectrum(model.lstm, embedded, lengths=UNSORTED, **RUN).exponents)
    assert "in all)" in str(found)
    packed = next(case for case in MODELS.values() if case.lengths is not None)
    captured = lyapunov.capture(packed.model, *packed.args, **packed.kwargs)
    refused(
        lambda: lyapunov.spectrum(captured, lengths=UNSORTED, **RUN), "packed sequences bring theirs", lyapunov.InvalidInput
    )


class Outside(nn.Module):
    """A core whose weights are put in from outside, or changed before every step."""

    def __init__(self, how: str) -> None:
        super().__init__()
        self.how, self.cell = how, layer(nn.GRUCell, FEATURES, UNITS)

    def forward(self, x: Tensor) -> Tensor:
        h = torch.zeros(BATCH, UNITS, dtype=x.dtype)
        for part in x.unbind(1):
            if self.how == "changed":
                self.cell.weight_hh.mul_(1.01)
                h = self.cell(part, h)
            else:
                weights = {name: 3 * weight for name, weight in self.cell.named_parameters()}
                h = torch.func.functional_call(self.cell, weights, (part, h))
        return h


@pytest.mark.parametrize("how", ["put in", "changed"])
def test_a_core_that_computed_with_other_weights_is_refused(how: str) -> None:
    captured = lyapunov.capture(Outside(how), INPUTS)
    refused(lambda: lyapunov.spectrum(captured, **RUN), "the weights it holds")


def test_a_hook_that_changes_the_state_of_a_cell_is_refused_and_one_that_watches_is_not() -> None:
    cell = layer(nn.GRUCell, FEATURES, UNITS)
    plain = lyapunov.spectrum(cell, INPUTS, **RUN)
    seen = []
    watching = cell.register_forward_hook(lambda *call: seen.append(1))
    assert same(lyapunov.spectrum(cell, INPUTS, **RUN).exponents, plain.exponents)
    watching.remove()
    cell.register_forward_hook(lambda module, args, output: 0.1 * output)
    refused(lambda: lyapunov.spectrum(cell, INPUTS, **RUN), "only watch")
