"""Models as users build them around a recurrent layer or cell, each beside what that core receives, worked out by hand."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils.parametrizations import weight_norm
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from cases import drawn, seeded

BATCH, STEPS, SYMBOLS, FEATURES, UNITS = 3, 40, 7, 4, 5
TOKENS = torch.randint(0, SYMBOLS, (BATCH, STEPS), generator=torch.Generator().manual_seed(80))
INPUTS = drawn(BATCH, STEPS, FEATURES, seed=81)
UNSORTED, SORTED = torch.tensor([31, 40, 36]), torch.tensor([40, 36, 31])


def layer(kind: type[nn.Module], *args: Any, **kwargs: Any) -> nn.Module:
    return seeded(kind, *args, scale=1.5, **kwargs)


class Tagger(nn.Module):
    """An embedding in front, dropout between, a readout behind."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__()
        self.embedding = layer(nn.Embedding, SYMBOLS, FEATURES)
        self.dropout = nn.Dropout(0.5)
        self.lstm = layer(nn.LSTM, FEATURES, UNITS, batch_first=True, **kwargs)
        self.readout = layer(nn.Linear, self.lstm.proj_size or UNITS, SYMBOLS)

    def forward(self, tokens: Tensor) -> Tensor:
        return self.readout(self.dropout(self.lstm(self.dropout(self.embedding(tokens)))[0]))


class WithReadout(nn.Module):
    """A layer with a linear map behind."""

    def __init__(self, features: int, units: int) -> None:
        super().__init__()
        self.core = seeded(nn.LSTM, features, units, batch_first=True)
        self.readout = seeded(nn.Linear, units, 2)

    def forward(self, x: Tensor) -> Tensor:
        return self.readout(self.core(x)[0])


class Leaky(nn.Module):
    """A cell of one's own."""

    def __init__(self, features: int, units: int) -> None:
        super().__init__()
        self.mix = seeded(nn.Linear, units + features, units)

    def forward(self, h: Tensor, x: Tensor) -> Tensor:
        return 0.5 * h + 0.5 * torch.tanh(self.mix(torch.cat([h, x], dim=-1)))


class TimeMajor(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.gru = layer(nn.GRU, FEATURES, UNITS)

    def forward(self, x: Tensor) -> Tensor:
        return self.gru(x.transpose(0, 1))[0].mean(0)


class Packed(nn.Module):
    def __init__(self, *, enforce_sorted: bool, start: bool = False) -> None:
        super().__init__()
        self.rnn, self.enforce_sorted, self.start = layer(nn.LSTM, FEATURES, UNITS, batch_first=True), enforce_sorted, start

    def forward(self, x: Tensor, lengths: Tensor) -> Tensor:
        packed = pack_padded_sequence(x, lengths, batch_first=True, enforce_sorted=self.enforce_sorted)
        state = (START[None], 2 * START[None]) if self.start else None
        return pad_packed_sequence(self.rnn(packed, state)[0], batch_first=True)[0]


class CellLoop(nn.Module):
    def __init__(self, kind: type[nn.Module]) -> None:
        super().__init__()
        self.cell, self.readout = layer(kind, FEATURES, UNITS), layer(nn.Linear, UNITS, 2)

    def forward(self, x: Tensor) -> Tensor:
        state, outputs = None, []
        for t in range(x.shape[1]):
            state = self.cell(x[:, t], state)
            outputs.append(self.readout(state[0] if isinstance(state, tuple) else state))
        return torch.stack(outputs, 1)


class OneStepDecoder(nn.Module):
    """A layer called step by step (or piece by piece) on the true symbols, from a state that an encoder might have made."""

    def __init__(self, at_once: int = 1) -> None:
        super().__init__()
        self.embedding = layer(nn.Embedding, SYMBOLS, FEATURES)
        self.decoder = layer(nn.LSTM, FEATURES, UNITS, num_layers=2, batch_first=True, dropout=0.5)
        self.readout, self.at_once = layer(nn.Linear, UNITS, SYMBOLS), at_once

    def forward(self, tokens: Tensor, hidden: tuple[Tensor, Tensor]) -> Tensor:
        outputs = []
        for part in self.embedding(tokens).split(self.at_once, dim=1):
            output, hidden = self.decoder(part, hidden)
            hidden = tuple(one.detach() for one in hidden)
            outputs.append(self.readout(output))
        return torch.cat(outputs, 1)


class LearnedStart(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.start = nn.Parameter(START[:1].clone())
        self.rnn = layer(nn.RNN, FEATURES, UNITS, batch_first=True)

    def forward(self, *, x: Tensor, scale: float = 1.0) -> Tensor:
        return self.rnn(hx=self.start.expand(1, len(x), -1).contiguous(), input=scale * x)[1]


class First(nn.Module):
    def forward(self, pair: tuple[Tensor, Any]) -> Tensor:
        return pair[0]


class Alone(nn.Module):
    """One sequence, without a batch axis."""

    def __init__(self, core: nn.Module) -> None:
        super().__init__()
        self.core = core

    def forward(self, x: Tensor) -> Tensor:
        if isinstance(self.core, nn.RNNBase):
            return self.core(x, x.new_ones(1, UNITS))[0]
        h = None
        for row in x:
            h = self.core(row, h)
        return h


class Twice(nn.Module):
    """One encoder for two texts of different length."""

    def __init__(self) -> None:
        super().__init__()
        self.encoder = layer(nn.GRU, FEATURES, UNITS, batch_first=True)

    def forward(self, one: Tensor, other: Tensor) -> Tensor:
        return (self.encoder(one)[1] * self.encoder(other, START[None, :2])[1][:, :1]).sum(-1)


class Shrinking(nn.Module):
    """Captions, longest first: a step has only those sequences that go on."""

    def __init__(self) -> None:
        super().__init__()
        self.cell = layer(nn.LSTMCell, FEATURES, UNITS)

    def forward(self, x: Tensor, lengths: Tensor) -> Tensor:
        h = c = torch.zeros(len(x), UNITS, dtype=x.dtype)
        for t in range(int(lengths.max())):
            on = int((lengths > t).sum())
            h, c = self.cell(x[:on, t], (h[:on], c[:on]))
        return h


class Compiled(nn.Module):
    """Compiled inside."""

    def __init__(self) -> None:
        super().__init__()
        self.inner = torch.compile(TimeMajor(), backend="eager")

    def forward(self, x: Tensor) -> Tensor:
        return self.inner(x) + 1


class Unkept(TimeMajor):
    @torch.inference_mode()
    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x)


class Overwriting(TimeMajor):
    """Hands over a tensor that it changes afterwards."""

    def forward(self, x: Tensor) -> Tensor:
        x = x.transpose(0, 1).contiguous()
        output = self.gru(x)[0]
        x.zero_()
        output.zero_()
        return output


def normed() -> nn.Module:
    model = TimeMajor()
    with torch.no_grad():
        weight_norm(model.gru, "weight_hh_l0").parametrizations.weight_hh_l0.original0.mul_(1.3)
    return model


START = drawn(BATCH, UNITS, seed=82, scale=0.5)
PAIR = (drawn(2, BATCH, UNITS, seed=83, scale=0.5), drawn(2, BATCH, UNITS, seed=84, scale=0.5))


@dataclass(frozen=True)
class Case:
    """A model and its arguments; of its core the name, and what that receives."""

    model: Any
    args: tuple[Any, ...]
    core: str
    inputs: Callable[[], Any]
    state: Any = None
    lengths: Any = None
    kwargs: dict[str, Any] = field(default_factory=dict)


def embedded(model: nn.Module) -> Callable[[], Tensor]:
    return lambda: model.embedding(TOKENS).detach()


def _plain(model: nn.Module, core: str = "gru") -> Case:
    return Case(model, (INPUTS,), core, lambda: INPUTS.transpose(0, 1))


_TAGGER, _DEEP, _DECODER, _CHUNKED, _COMPILED = Tagger(), Tagger(num_layers=3, proj_size=3), OneStepDecoder(), None, Tagger()
_DEEP.lstm.dropout = 0.4
_CHUNKED = OneStepDecoder(at_once=7)
_METHOD = Tagger()
MODELS = {
    "embedding, LSTM, readout": Case(_TAGGER, (TOKENS,), "lstm", embedded(_TAGGER)),
    "projected layers with dropout": Case(_DEEP, (TOKENS,), "lstm", embedded(_DEEP)),
    "GRU, time first": _plain(TimeMajor()),
    "packed, unsorted": Case(Packed(enforce_sorted=False), (INPUTS, UNSORTED), "rnn", lambda: INPUTS, lengths=UNSORTED),
    "packed, sorted": Case(Packed(enforce_sorted=True), (INPUTS, SORTED), "rnn", lambda: INPUTS, lengths=SORTED),
    "packed, unsorted, with a state": Case(
        Packed(enforce_sorted=False, start=True),
        (INPUTS, UNSORTED),
        "rnn",
        lambda: INPUTS,
        state=(START[None], 2 * START[None]),
        lengths=UNSORTED,
    ),
    "GRUCell in a loop": Case(CellLoop(nn.GRUCell), (INPUTS,), "cell", lambda: INPUTS),
    "LSTMCell in a loop": Case(CellLoop(nn.LSTMCell), (INPUTS,), "cell", lambda: INPUTS),
    "LSTM step by step": Case(_DECODER, (TOKENS, PAIR), "decoder", embedded(_DECODER), state=PAIR),
    "LSTM piece by piece": Case(_CHUNKED, (TOKENS, PAIR), "decoder", embedded(_CHUNKED), state=PAIR),
    "keywords only, learned state": Case(
        LearnedStart(),
        (),
        "rnn",
        lambda: 0.5 * INPUTS,
        state=START[:1].expand(1, BATCH, -1),
        kwargs={"x": INPUTS, "scale": 0.5},
    ),
    "torch.compile around": Case(torch.compile(_COMPILED, backend="eager"), (TOKENS,), "lstm", embedded(_COMPILED)),
    "torch.compile inside": _plain(Compiled(), "inner.gru"),
    "parametrized": _plain(normed()),
    "Sequential": Case(
        nn.Sequential(nn.Dropout(0.3), layer(nn.RNN, FEATURES, UNITS, batch_first=True), First(), layer(nn.Linear, UNITS, 2)),
        (INPUTS,),
        "1",
        lambda: INPUTS,
    ),
    "nested deep": _plain(
        nn.Sequential(nn.ModuleDict({"a": nn.Identity()})["a"], nn.Sequential(nn.Sequential(TimeMajor()))), "1.0.0.gru"
    ),
    "DataParallel": _plain(nn.DataParallel(TimeMajor()), "module.gru"),
    "a method": Case(_METHOD.forward, (TOKENS,), "lstm", embedded(_METHOD)),
    "unbatched": Case(
        Alone(layer(nn.GRU, FEATURES, UNITS)), (INPUTS[0],), "core", lambda: INPUTS[0], torch.ones(1, UNITS).double()
    ),
    "unbatched cell": Case(Alone(layer(nn.RNNCell, FEATURES, UNITS)), (INPUTS[0],), "core", lambda: INPUTS[:1]),
    "one for two": Case(
        Twice(),
        (INPUTS[:1], INPUTS[1:, :30]),
        "encoder",
        lambda: torch.cat([INPUTS[:1], nn.functional.pad(INPUTS[1:, :30], (0, 0, 0, 10))]),
        state=torch.cat([torch.zeros(1, 1, UNITS), START[None, :2]], dim=1),
        lengths=torch.tensor([40, 30, 30]),
    ),
    "shrinking batch": Case(
        Shrinking(),
        (INPUTS, SORTED),
        "cell",
        lambda: INPUTS,
        state=(torch.zeros(BATCH, UNITS).double(),) * 2,
        lengths=SORTED,
    ),
    "the layer itself": Case(
        layer(nn.LSTM, FEATURES, UNITS, batch_first=True),
        (INPUTS, (START[None], START[None])),
        "",
        lambda: INPUTS,
        state=(START[None], START[None]),
    ),
    "in inference mode": _plain(Unkept()),
    "overwritten afterwards": _plain(Overwriting()),
}
