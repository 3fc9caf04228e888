"""Where a row of a batch starts anew, it is a sequence of its own; where it is handed on, it goes on, whatever row it is in."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pad_sequence

import lyapunov
from cases import drawn
from models import FEATURES, UNITS, layer
from tolerances import same

ROWS, STEPS = 3, 90
INPUTS = drawn(ROWS, STEPS, FEATURES, seed=51)
STARTS = torch.zeros(ROWS, STEPS, dtype=torch.bool)
STARTS[0, 35] = STARTS[2, 50] = STARTS[2, 51] = True  # the second episode of the last row is one step long
EPISODES = [INPUTS[0, :35], INPUTS[1], INPUTS[2, :50], INPUTS[0, 35:], INPUTS[2, 51:]]
RUN = {"settle": 5, "align": 10, "k": 2}


class Policy(nn.Module):
    """One call for each step, the state reset where an episode starts."""

    def __init__(self, kind: type[nn.Module], reset: Callable[[Tensor, Tensor], Tensor], start: float = 0.0) -> None:
        super().__init__()
        self.is_layer = issubclass(kind, nn.RNNBase)
        self.core = layer(kind, FEATURES, UNITS, **({"batch_first": True} if self.is_layer else {}))
        self.reset, self.start, self.pair = reset, start, kind in (nn.LSTM, nn.LSTMCell)

    def forward(self, x: Tensor, starts: Tensor) -> Tensor:
        h = torch.full((len(x), UNITS), self.start).double()
        state = (h, h) if self.pair else h
        for u, anew in zip(x.unbind(1), starts.unbind(1), strict=True):
            parts = [self.reset(part, anew.unsqueeze(-1)) for part in (state if self.pair else (state,))]
            if self.is_layer:
                parts = [part.unsqueeze(0) for part in parts]
                state = self.core(u.unsqueeze(1), tuple(parts) if self.pair else parts[0])[1]
                state = tuple(part[0] for part in state) if self.pair else state[0]
            else:
                state = self.core(u, tuple(parts) if self.pair else parts[0])
        return state


def _assigned(h: Tensor, anew: Tensor) -> Tensor:
    h = h.clone()
    h[anew.squeeze(-1)] = 0
    return h


RESETS = {
    "multiplied": lambda h, anew: h * (~anew),
    "chosen": lambda h, anew: torch.where(anew, torch.zeros_like(h), h),
    "assigned": _assigned,
}


@pytest.mark.parametrize("how", RESETS)
@pytest.mark.parametrize("kind", [nn.LSTM, nn.GRU, nn.LSTMCell, nn.RNNCell])
def test_an_episode_is_a_sequence_of_its_own(kind: type[nn.Module], how: str) -> None:
    model = Policy(kind, RESETS[how])
    captured = lyapunov.capture(model, INPUTS, STARTS)
    assert captured.lengths.tolist() == [35, 90, 50, 55, 39]  # as they begin; the single step is no sequence
    given = {"inputs": pad_sequence(EPISODES, batch_first=True), "lengths": torch.tensor([len(one) for one in EPISODES])}
    right = lyapunov.spectrum(model.core, **given, **RUN)
    found = lyapunov.spectrum(captured, **RUN)
    assert same(found.exponents, right.exponents)
    assert found.settings.count == right.settings.count


def test_a_learned_initial_state_starts_an_episode_too() -> None:
    model = Policy(nn.GRUCell, lambda h, anew: torch.where(anew, torch.full_like(h, 0.25), h), start=0.25)
    captured = lyapunov.capture(model, INPUTS, STARTS)
    assert captured.lengths.tolist() == [35, 90, 50, 55, 39]
    assert torch.equal(captured.state, torch.full_like(captured.state, 0.25))


def test_a_row_that_changes_its_place_goes_on() -> None:
    """Beams that are sorted anew, environments that are dropped."""

    class Sorted(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.cell = layer(nn.LSTMCell, FEATURES, UNITS)

        def forward(self, x: Tensor) -> None:
            state = None
            for t, u in enumerate(x.unbind(1)):
                h, c = self.cell(u[: 3 - (t > 60)], state)
                keep = torch.tensor([2, 0, 1]) if t < 60 else torch.tensor([1, 0])
                state = h[keep], c[keep]

    model = Sorted()
    captured = lyapunov.capture(model, INPUTS)
    # Before each call but the first, the rows are turned: sequence s is in row (s + t) % 3 until step 60.
    rows = [[(number + t) % ROWS for t in range(61)] for number in range(ROWS)]
    assert torch.equal(captured.inputs[0, :61], torch.stack([INPUTS[rows[0][t], t] for t in range(61)]))
    assert sorted(captured.lengths.tolist()) == [61, 90, 90]
    state = None
    by_hand = []
    for u in captured.inputs[captured.lengths == 90].unbind(1):
        state = model.cell(u, state)
        by_hand.append(state[0])
    assert all(step.isfinite().all() for step in by_hand)
    spectrum = lyapunov.spectrum(captured, **RUN)
    again = lyapunov.spectrum(model.cell, captured.inputs, lengths=captured.lengths, **RUN)
    assert same(spectrum.exponents, again.exponents)


def test_rows_of_zeros_are_taken_for_their_own_past_only() -> None:
    """A dead ReLU network ends in zeros; another row that starts from zeros does not go on there."""

    class Dead(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.cell = layer(nn.RNNCell, FEATURES, UNITS, nonlinearity="relu")
            nn.init.constant_(self.cell.bias_ih, -100.0)

        def forward(self, x: Tensor, starts: Tensor) -> None:
            h = torch.zeros(len(x), UNITS).double()
            for t, u in enumerate(x.unbind(1)):
                h = self.cell(u, h * ~starts[:, t, None])

    captured = lyapunov.capture(Dead(), INPUTS, STARTS)
    assert torch.equal(captured.inputs, INPUTS)


@pytest.mark.parametrize(("kind", "given"), [(nn.LSTMCell, False), (nn.GRU, True)])
def test_a_state_that_is_thrown_away_is_no_memory(kind: type[nn.Module], given: bool) -> None:
    class Forgetful(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.core = layer(kind, FEATURES, UNITS, **({"batch_first": True} if kind is nn.GRU else {}))

        def forward(self, x: Tensor) -> None:
            for u in x.unbind(1):
                self.core(u.unsqueeze(1), torch.ones(1, len(x), UNITS).double()) if given else self.core(u)

    captured = lyapunov.capture(Forgetful(), INPUTS)
    start = "a state of its own" if given else "zeros"
    assert f"90 calls, each from {start}: no state is passed on, so this network has no memory" in repr(captured)
    with pytest.raises(lyapunov.Unsupported, match=f"called 90 times, each time from {start}: no state .* no memory"):
        lyapunov.spectrum(captured)


class Masked(nn.Module):
    """Steps whose result is thrown away where a mask says so: the state waits."""

    def __init__(self, kind: type[nn.Module]) -> None:
        super().__init__()
        self.cell, self.pair = layer(kind, FEATURES, UNITS), kind is nn.LSTMCell

    def forward(self, x: Tensor, on: Tensor) -> None:
        h = torch.zeros(len(x), UNITS).double()
        state = (h, h) if self.pair else h
        for t, u in enumerate(x.unbind(1)):
            new, mask = self.cell(u, state), on[:, t, None]
            if self.pair:
                state = tuple(torch.where(mask, one, other) for one, other in zip(new, state, strict=True))
            else:
                state = torch.where(mask, new, state)


LENGTHS = torch.tensor([90, 60, 45])
ON = {
    "padding": torch.arange(STEPS) < LENGTHS.unsqueeze(-1),
    "pauses of all": (torch.arange(STEPS) % 20 < 15).expand(ROWS, -1),
    "pauses of one": torch.stack([torch.arange(STEPS) % (7 + row) != 3 for row in range(ROWS)]),
}


@pytest.mark.parametrize("how", ON)
@pytest.mark.parametrize("kind", [nn.LSTMCell, nn.GRUCell])
def test_a_step_that_was_thrown_away_is_no_step(kind: type[nn.Module], how: str) -> None:
    model = Masked(kind)
    captured = lyapunov.capture(model, INPUTS, ON[how])
    kept = [x[on] for x, on in zip(INPUTS, ON[how], strict=True)]
    found = captured.lengths if captured.lengths is not None else torch.full((ROWS,), captured.inputs.shape[1])
    if how == "padding":
        assert found.tolist() == LENGTHS.tolist()
    for row, x, length in zip(captured.inputs, kept, found.tolist(), strict=True):
        assert len(x) - 1 <= length <= len(x)  # whether the last step was thrown away as well, no later one tells
        assert torch.equal(row[:length], x[:length])


def test_a_single_step_that_is_left_out_is_said() -> None:
    class Pieces(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.gru = layer(nn.GRU, FEATURES, UNITS, batch_first=True)

        def forward(self, *pieces: Tensor) -> None:
            for piece in pieces:
                self.gru(piece)

    captured = lyapunov.capture(Pieces(), INPUTS[:1, :30], INPUTS[:1, 30:31], INPUTS[:1, 31:])
    assert repr(captured).endswith("2 sequences x 30 to 59 steps, 3 calls, 1 of a single step left out")
