"""A subclass of a layer is that layer where it returns the same, and is refused where it returns something else."""

import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

import lyapunov
from cases import drawn
from models import BATCH, FEATURES, INPUTS, STEPS, UNITS, UNSORTED, layer
from tolerances import same

RUN = {"settle": 8, "align": 8, "k": 2}


class ByLengths(nn.LSTM):
    """Packs where it is told lengths."""

    def forward(self, x, hx=None, lengths=None):
        if lengths is None:
            return super().forward(x, hx)
        packed = pack_padded_sequence(x, lengths, batch_first=True, enforce_sorted=False)
        out, state = super().forward(packed, hx)
        return pad_packed_sequence(out, batch_first=True)[0], state


class Renamed(nn.GRU):
    """The same with other names, and the output alone."""

    def forward(self, sequence, start=None):
        return super().forward(sequence, start)[0]


class Written(nn.RNNCell):
    """The same, written out."""

    def forward(self, input, hx=None):
        hx = torch.zeros(len(input), self.hidden_size).to(input) if hx is None else hx
        weights = self.weight_ih, self.weight_hh
        return torch.tanh(input @ weights[0].T + self.bias_ih + hx @ weights[1].T + self.bias_hh)


class Doubled(nn.LSTM):
    def forward(self, input, hx=None):
        out, state = super().forward(input, hx)
        return 2 * out, state


class Residual(nn.GRUCell):
    def forward(self, input, hx=None):
        return super().forward(input, hx) + (0 if hx is None else 0.1 * hx)


class Prepared(nn.GRU):
    def forward(self, input, hx=None):
        return super().forward(input / 2, hx)


class Fading(nn.GRUCell):
    """Changes what it is given, not what it returns."""

    def forward(self, input, hx=None):
        return super().forward(input, None if hx is None else 0.5 * hx)


class Clipping(nn.LSTMCell):
    """Returns another memory beside the same output."""

    def forward(self, input, hx=None):
        h, c = super().forward(input, hx)
        return h, c.clamp(-0.1, 0.1)


class ClippingLate(nn.RNNCell):
    """Does the same for some steps."""

    def forward(self, input, hx=None):
        return super().forward(input, hx).clamp(-0.5, 0.5)


class Learned(nn.GRU):
    """Starts from a state of its own."""

    def forward(self, input, hx=None):
        return super().forward(input, torch.full((1, len(input), self.hidden_size), 0.5).to(input) if hx is None else hx)


class Around(nn.Module):
    def __init__(self, core: nn.Module) -> None:
        super().__init__()
        self.core = core

    def forward(self, x: Tensor, *more: Tensor):
        if not isinstance(self.core, nn.RNNCellBase):
            return self.core(x, *more)
        h = None
        for u in x.unbind(1):
            h = self.core(u) if h is None else self.core(u, h)
        return h


def plain(core: nn.Module) -> nn.Module:
    kind = next(kind for kind in type(core).__mro__ if kind.__module__ == "torch.nn.modules.rnn")
    options = {"batch_first": True} if isinstance(core, nn.RNNBase) else {}
    other = layer(kind, FEATURES, UNITS, **options)
    other.load_state_dict(core.state_dict())
    return other


SAME = [layer(ByLengths, FEATURES, UNITS, batch_first=True), layer(Renamed, FEATURES, UNITS, batch_first=True)]
SAME += [layer(Written, FEATURES, UNITS)]


@pytest.mark.parametrize("core", SAME, ids=lambda core: type(core).__name__)
def test_one_that_returns_the_same_is_the_plain_layer(core: nn.Module) -> None:
    right = lyapunov.spectrum(plain(core), INPUTS, **RUN)
    captured = lyapunov.capture(Around(core), INPUTS)
    for found in (lyapunov.spectrum(core, INPUTS, **RUN), lyapunov.spectrum(captured, **RUN)):
        assert same(found.exponents, right.exponents)
    assert next(captured.module.parameters(), None) is None or captured.module is not core
    weight = captured.module.weight_hh if isinstance(core, nn.RNNCellBase) else captured.module.weight_hh_l0
    assert weight.data_ptr() == next(p for name, p in core.named_parameters() if "weight_hh" in name).data_ptr()


def test_lengths_that_it_packs_by_are_seen() -> None:
    core = SAME[0]

    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.lstm = core

        def forward(self, x, n):
            return self.lstm(x, lengths=n)[0]

    captured = lyapunov.capture(Net(), INPUTS, UNSORTED)
    assert sorted(captured.lengths.tolist()) == sorted(UNSORTED.tolist())
    right = lyapunov.spectrum(plain(core), INPUTS, lengths=UNSORTED, **RUN)
    assert same(lyapunov.spectrum(captured, **RUN).exponents, right.exponents)


OTHER = [layer(Doubled, FEATURES, UNITS, batch_first=True), layer(Residual, FEATURES, UNITS)]
OTHER += [layer(Prepared, FEATURES, UNITS, batch_first=True)]


@pytest.mark.parametrize("kind", [Fading, Clipping, ClippingLate, Learned])
def test_a_state_of_its_own_making_is_something_else(kind: type[nn.Module]) -> None:
    core = layer(kind, FEATURES, UNITS, **({"batch_first": True} if kind is Learned else {}))
    with pytest.raises(lyapunov.Unsupported, match=rf"got {__name__}.{kind.__name__}, which returned something else"):
        lyapunov.spectrum(core, INPUTS)
    if kind is not Learned:
        with pytest.raises(lyapunov.Unsupported, match=r"changed between calls|something else"):
            lyapunov.spectrum(lyapunov.capture(Around(core), INPUTS))
        return
    captured = lyapunov.capture(Around(core), INPUTS)  # where it starts is seen here
    right = lyapunov.spectrum(plain(core), INPUTS, state=torch.full((1, BATCH, UNITS), 0.5).double(), **RUN)
    assert same(lyapunov.spectrum(captured, **RUN).exponents, right.exponents)


@pytest.mark.parametrize("core", OTHER, ids=lambda core: type(core).__name__)
def test_one_that_returns_something_else_is_refused_with_that_reason(core: nn.Module) -> None:
    name = f"{__name__}.{type(core).__name__}"
    pattern = rf"one that returns the same, got {name}, which returned something else \(off by 0\.\d+\)\. Pass it as a step"
    for ask in (lambda: lyapunov.spectrum(core, INPUTS), lambda: lyapunov.spectrum(lyapunov.capture(Around(core), INPUTS))):
        with pytest.raises(lyapunov.Unsupported, match=pattern):
            ask()
    assert "with a forward of its own" in repr(lyapunov.capture(Around(core), INPUTS))


@pytest.mark.parametrize("layers", [1, 2])
@pytest.mark.parametrize("batch_first", [True, False])
@pytest.mark.parametrize("kind", [Doubled, Prepared, Residual])
def test_the_step_that_a_refusal_prints_works(kind: type[nn.Module], batch_first: bool, layers: int) -> None:
    options = {} if kind is Residual else {"batch_first": batch_first, "num_layers": layers}
    core = layer(kind, FEATURES, UNITS, **options)
    with pytest.raises(lyapunov.Unsupported, match="something else") as caught:
        lyapunov.spectrum(core, INPUTS if kind is Residual or batch_first else INPUTS.transpose(0, 1))
    code = str(caught.value).partition("Pass it as a step: ")[2].removesuffix(".")
    shape = (BATCH, UNITS) if kind is Residual or layers == 1 else (BATCH, layers, UNITS)
    one = torch.zeros(shape).double()
    state = (one, one) if kind is Doubled else one
    found = lyapunov.spectrum(eval(code, {"layer": core, "cell": core}), INPUTS, state=state, **RUN)
    if kind is Doubled:  # which changes its output alone
        other = layer(nn.LSTM, FEATURES, UNITS, **options)
        other.load_state_dict(core.state_dict())
        right = lyapunov.spectrum(other, INPUTS if batch_first else INPUTS.transpose(0, 1), coupled=layers > 1, **RUN)
        torch.testing.assert_close(found.exponents, right.exponents, rtol=0, atol=0.1)  # from other first frames
    assert torch.isfinite(found.exponents).all()


def test_one_that_cannot_be_called_as_a_layer_says_so() -> None:
    class Needy(nn.LSTM):
        def forward(self, input, hx, mask):
            return super().forward(input * mask, hx)

    with pytest.raises(
        lyapunov.Unsupported, match=r"called as nn\.LSTM is, got one .* missing 2 required .* capture the model"
    ):
        lyapunov.spectrum(layer(Needy, FEATURES, UNITS, batch_first=True), INPUTS)


def test_trying_one_leaves_it_as_it_was() -> None:
    core = layer(ByLengths, FEATURES, UNITS, batch_first=True).train()
    before = {name: value.clone() for name, value in core.state_dict().items()}
    seed = torch.get_rng_state()
    lyapunov.spectrum(core, drawn(BATCH, STEPS, FEATURES, seed=3), **RUN)
    assert core.training
    assert not core._forward_hooks
    assert torch.equal(torch.get_rng_state(), seed)
    assert all(torch.equal(before[name], value) for name, value in core.state_dict().items())
