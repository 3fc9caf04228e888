"""A cell of the user's own in a model is the step that it takes, with the state and the inputs its calls show."""

import pytest
import torch
from torch import Tensor, nn

import lyapunov
from cases import seeded
from models import FEATURES, INPUTS, STEPS, UNITS
from tolerances import same

RUN = {"settle": 8, "align": 8, "k": 2}


class LSTMCell(nn.Module):
    """Of PyTorch's name, and not PyTorch's: (x, (h, c)) as ncps, torchrl and speechbrain have it."""

    def __init__(self) -> None:
        super().__init__()
        self.i, self.r = nn.Linear(FEATURES, 4 * UNITS), nn.Linear(UNITS, 4 * UNITS, bias=False)

    def forward(self, x, hc):
        i, f, g, o = (self.i(x) + self.r(hc[0])).chunk(4, -1)
        c = f.sigmoid() * hc[1] + i.sigmoid() * g.tanh()
        return o.sigmoid() * c.tanh(), c


class Leaky(nn.Module):
    """The state by keyword, none at first, beside a constant rate; the output is another than the state."""

    def __init__(self) -> None:
        super().__init__()
        self.mix = nn.Linear(FEATURES + UNITS, UNITS)

    def forward(self, x, *, rate, memory=None):
        memory = torch.zeros(len(x), UNITS).to(x) if memory is None else memory
        memory = (1 - rate) * memory + rate * torch.tanh(self.mix(torch.cat([x, memory], -1)))
        return {"spikes": memory.relu(), "memory": memory}


class WithLSTMCell(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.front, self.cell = nn.Linear(FEATURES, FEATURES), LSTMCell()

    def forward(self, x: Tensor) -> Tensor:
        state = torch.zeros(len(x), UNITS).to(x), torch.zeros(len(x), UNITS).to(x)
        for u in x.unbind(1):
            state = self.cell(self.front(u), state)
        return state[0]


class WithLeaky(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.neuron, self.lstm = Leaky(), None

    def forward(self, x: Tensor, rate: Tensor) -> Tensor:
        memory = None
        for u in x.unbind(1):
            out = self.neuron(u, rate=rate, memory=memory)
            memory = out["memory"]
        return out["spikes"]


class Speaking(WithLSTMCell):
    """Fed by its own output."""

    def forward(self, x: Tensor) -> Tensor:
        u, state = x[:, 0], (torch.zeros(len(x), UNITS).to(x), torch.zeros(len(x), UNITS).to(x))
        for _ in range(STEPS):
            state = self.cell(u, state)
            u = state[0][:, :FEATURES]
        return u


class Twice(WithLSTMCell):
    """Two halves, each from zeros."""

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x[:, :25]) + super().forward(x[:, 25:])


def built(kind: type[nn.Module]) -> nn.Module:
    with torch.random.fork_rng():
        torch.manual_seed(8)
        return kind().double().eval()


@pytest.mark.parametrize("named", [True, False])
def test_a_cell_in_a_model_is_the_step_that_it_takes(named: bool) -> None:
    model = built(WithLSTMCell)
    captured = lyapunov.capture(model, INPUTS, **({"core": "cell"} if named else {}))
    assert f"cell: {__name__}.LSTMCell as a step, state {UNITS} + {UNITS}, 3 sequences x {STEPS} steps" in repr(captured)
    start = torch.zeros(3, UNITS).double(), torch.zeros(3, UNITS).double()
    right = lyapunov.spectrum(lambda s, u: model.cell(u, s), model.front(INPUTS).detach(), state=start, **RUN)
    assert same(lyapunov.spectrum(captured, **RUN).exponents, right.exponents)
    assert captured.core("cell").names == ("cell",)


def test_a_state_among_keywords_that_is_none_at_first() -> None:
    model, rate = built(WithLeaky), torch.tensor(0.3).double()
    found = lyapunov.spectrum(lyapunov.capture(model, INPUTS, rate), **RUN)
    start = model.neuron(INPUTS[:, 0], rate=rate)["memory"].detach()  # the first call had no state

    def step(s, u):
        return model.neuron(u, rate=rate.to(s), memory=s)["memory"]

    right = lyapunov.spectrum(step, INPUTS[:, 1:], state=start, **RUN)
    assert same(found.exponents, right.exponents)


def test_a_cell_that_starts_anew_has_sequences_of_their_own() -> None:
    model = built(Twice)
    captured = lyapunov.capture(model, INPUTS)
    assert "6 sequences x 15 to 25 steps" in repr(captured)
    driven = model.front(INPUTS).detach()
    halves = torch.cat([driven[:, :25], nn.functional.pad(driven[:, 25:], (0, 0, 0, 10))])
    start = torch.zeros(6, UNITS).double(), torch.zeros(6, UNITS).double()
    lengths = torch.tensor([25] * 3 + [STEPS - 25] * 3)
    right = lyapunov.spectrum(lambda s, u: model.cell(u, s), halves, state=start, lengths=lengths, settle=3, align=3, k=2)
    assert same(lyapunov.spectrum(captured, settle=3, align=3, k=2).exponents, right.exponents)


def test_a_cell_beside_a_layer_is_taken_by_its_name() -> None:
    class Both(WithLSTMCell):
        def __init__(self) -> None:
            super().__init__()
            self.gru = nn.GRU(FEATURES, 3, batch_first=True)

        def forward(self, x: Tensor) -> Tensor:
            return super().forward(x) + self.gru(x)[0].sum()

    model = built(Both)
    assert lyapunov.capture(model, INPUTS).names == ("gru",)
    assert lyapunov.capture(model, INPUTS, core="cell").names == ("cell",)
    with pytest.raises(lyapunov.InvalidInput, match=r"one of its parts, got 'cel'\. Pass 'gru'"):
        lyapunov.capture(model, INPUTS, core="cel")


def test_a_cell_in_a_closed_loop_is_told() -> None:
    with pytest.raises(lyapunov.Unsupported, match="got cell, fed by its own output"):
        lyapunov.spectrum(lyapunov.capture(built(Speaking), INPUTS))


def test_a_part_that_hands_nothing_on_is_refused() -> None:
    model = built(WithLSTMCell)
    with pytest.raises(lyapunov.Unsupported, match=r"got front, called 40 times, of which no argument is what the call before"):
        lyapunov.capture(model, INPUTS, core="front")


def test_two_cells_are_named() -> None:
    class Two(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.one, self.two = WithLSTMCell(), WithLSTMCell()

        def forward(self, x: Tensor) -> Tensor:
            return self.one(x) + self.two(x)

    model = built(Two)
    with pytest.raises(lyapunov.InvalidInput, match=r"got one\.cell, two\.cell, each .*core='one\.cell'"):
        lyapunov.capture(model, INPUTS)
    assert lyapunov.capture(model, INPUTS, core="two.cell").names == ("two.cell",)


def test_a_monitor_watches_a_cell_of_the_users_own(tmp_path) -> None:
    model = built(WithLSTMCell)
    for number, core in enumerate((None, "cell")):
        options, place = lyapunov.RunOptions(dtype=torch.float64), tmp_path / str(number)
        monitor = lyapunov.Monitor(model, (INPUTS,), core=core, k=2, options=options, directory=place)
        expected = lyapunov.spectrum(lyapunov.capture(model, INPUTS), k=2)
        assert same(monitor.read(0).exponents, expected.exponents)


class Resetting(WithLSTMCell):
    """A row starts anew where it is told; something happens to the state at every step."""

    def __init__(self, change=lambda h, t: h) -> None:
        super().__init__()
        self.change = change

    def forward(self, x: Tensor, starts: Tensor) -> None:
        state = torch.zeros(len(x), UNITS).to(x), torch.zeros(len(x), UNITS).to(x)
        for t, u in enumerate(x.unbind(1)):
            state = tuple(self.change(part * ~starts[:, t, None], t) for part in state)
            state = self.cell(self.front(u), state)


STARTS = torch.zeros(3, STEPS, dtype=torch.bool)
STARTS[0, 15] = STARTS[2, 22] = True


def test_rows_of_a_cell_start_anew_one_by_one() -> None:
    model = built(Resetting)
    captured = lyapunov.capture(model, INPUTS, STARTS)
    driven = model.front(INPUTS).detach()
    episodes = [driven[0, :15], driven[1], driven[2, :22], driven[0, 15:], driven[2, 22:]]
    lengths = torch.tensor([len(one) for one in episodes])
    start = torch.zeros(5, UNITS).double(), torch.zeros(5, UNITS).double()
    padded = nn.utils.rnn.pad_sequence(episodes, batch_first=True)
    right = lyapunov.spectrum(lambda s, u: model.cell(u, s), padded, state=start, lengths=lengths, settle=3, align=3, k=2)
    assert same(lyapunov.spectrum(captured, settle=3, align=3, k=2).exponents, right.exponents)


@pytest.mark.parametrize(
    "change",
    [lambda h, t: 0.01 * h if t % 10 == 9 else h, lambda h, t: h.clamp(-0.05, 0.05), lambda h, t: (h + h.flip(0)) / 2],
    ids=["faded", "clipped", "mixed"],
)
def test_a_state_of_a_cell_that_is_changed_between_calls_is_refused(change) -> None:
    model = built(lambda: Resetting(change))
    with pytest.raises(
        lyapunov.Unsupported, match=r"whose state is changed between calls|of which no argument is what the call"
    ):
        lyapunov.spectrum(lyapunov.capture(model, INPUTS, STARTS, core="cell"))


def test_a_constant_of_each_sequence_goes_along_with_it() -> None:
    class Told(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.mix = nn.Linear(FEATURES + UNITS + 2, UNITS)

        def forward(self, x, h, context):
            return torch.tanh(self.mix(torch.cat([x, h, context], -1)))

    class Telling(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.cell = Told()

        def forward(self, x, context, starts):
            h = torch.zeros(len(x), UNITS).to(x)
            for t, u in enumerate(x.unbind(1)):
                h = self.cell(u, h * ~starts[:, t, None], context)

    model, context = built(Telling), torch.arange(6.0).view(3, 2).double() / 5
    found = lyapunov.spectrum(lyapunov.capture(model, INPUTS, context, STARTS), settle=3, align=3, k=2)
    rows = [0, 1, 2, 0, 2]
    episodes = [INPUTS[0, :15], INPUTS[1], INPUTS[2, :22], INPUTS[0, 15:], INPUTS[2, 22:]]
    lengths = torch.tensor([len(one) for one in episodes])
    padded = nn.utils.rnn.pad_sequence(episodes, batch_first=True)
    along = context[rows].unsqueeze(1).expand(-1, padded.shape[1], -1)
    right = lyapunov.spectrum(
        lambda s, u: model.cell(u[0], s, u[1]),
        (padded, along),
        state=torch.zeros(5, UNITS).double(),
        lengths=lengths,
        settle=3,
        align=3,
        k=2,
    )
    assert same(found.exponents, right.exponents)


def test_a_mask_among_arguments_is_asked_for_in_numbers() -> None:
    class Switched(LSTMCell):
        def forward(self, x, hc, mask):
            return super().forward(x, tuple(part * mask[:, None] for part in hc))

    class Switching(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.cell = Switched()

        def forward(self, x, starts):
            state = torch.zeros(len(x), UNITS).to(x), torch.zeros(len(x), UNITS).to(x)
            for t, u in enumerate(x.unbind(1)):
                state = self.cell(u, state, ~starts[:, t])

    with pytest.raises(lyapunov.Unsupported, match=r"a tensor of torch\.bool \(3,\) that changes.*mask\.float\(\)"):
        lyapunov.capture(built(Switching), INPUTS, STARTS)


def test_a_captured_cell_has_its_own_name() -> None:
    assert lyapunov.spectrum(lyapunov.capture(built(WithLSTMCell), INPUTS), **RUN).settings.system == "LSTMCell"


def test_a_cell_around_one_of_pytorchs_is_named() -> None:
    class Normalised(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.gru, self.norm = nn.GRUCell(FEATURES, UNITS), nn.LayerNorm(UNITS)

        def forward(self, x, h):
            return self.norm(self.gru(x, h))

    class Around(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.cell = Normalised()

        def forward(self, x):
            h = torch.zeros(len(x), UNITS).to(x)
            for u in x.unbind(1):
                h = self.cell(u, h)

    model = built(Around)
    captured = lyapunov.capture(model, INPUTS)
    assert "no memory" not in repr(captured)
    with pytest.raises(lyapunov.Unsupported, match=r"core='cell'\)\. Write"):
        lyapunov.spectrum(captured)
    found = lyapunov.spectrum(lyapunov.capture(model, INPUTS, core="cell"), **RUN)
    right = lyapunov.spectrum(lambda h, u: model.cell(u, h), INPUTS, state=torch.zeros(3, UNITS).double(), **RUN)
    assert same(found.exponents, right.exponents)


def test_what_is_no_name_and_what_is_no_loop_is_said(shapes_unchecked) -> None:
    model = built(WithLSTMCell)
    with pytest.raises(lyapunov.InvalidInput, match="`core` as one name, got list"):
        lyapunov.capture(model, INPUTS, core=["cell"])
    with pytest.raises(lyapunov.Unsupported, match=r"got function.* as a method of a module"):
        lyapunov.capture(lambda x: model(x), INPUTS)
    gru = nn.Sequential(seeded(nn.GRU, FEATURES, UNITS, batch_first=True))
    with pytest.raises(lyapunov.Unsupported, match=r"got one step of 0.*capture the method"):
        lyapunov.spectrum(lyapunov.capture(gru, INPUTS[:, :1]))
