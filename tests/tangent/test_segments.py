"""A trajectory gone through backwards is the one that was gone through forwards."""

import pytest
import torch
from torch import nn

from cases import BATCH, cast_problem, drawn, seeded
from lyapunov import Diverged
from lyapunov.intake import CastProblem
from lyapunov.tangent import CheckpointedTrajectory, random_frame
from tolerances import ROUNDING

STEPS = 23
INPUTS = drawn(STEPS, BATCH, 4, seed=2)
LIKE = torch.empty(0, dtype=torch.float64)


def problem_of(kind: str, lengths=None) -> CastProblem:
    if kind == "step":
        mix = drawn(6, 6, seed=3)
        start = drawn(BATCH, 6, seed=4)
        inputs = INPUTS.transpose(0, 1)
        return cast_problem(lambda s, x: torch.tanh(s @ mix + x.sum(-1, keepdim=True)), inputs, start, torch.float64)
    return cast_problem(seeded(nn.LSTM, 4, 3), INPUTS, None, torch.float64, lengths=lengths, coupled=True)


def trajectory(problem: CastProblem, segment: int, *, framed: bool = True) -> CheckpointedTrajectory:
    frame = random_frame(*problem.system.block_sizes, 2, batch=BATCH, seed=0, block=0, like=LIKE) if framed else None
    return CheckpointedTrajectory(problem.system, problem.sequences, problem.state, range(STEPS), frame=frame, segment=segment)


@pytest.mark.parametrize("kind", ["LSTM", "step"])
@pytest.mark.parametrize("segment", [5, STEPS, 100])
def test_the_way_back_is_the_way_there(kind: str, segment: int) -> None:
    whole = trajectory(problem_of(kind), segment)
    there = list(whole.forward())
    back = list(whole.backward())
    assert [one.first for one in back] == [one.first for one in there][::-1]
    for one, two in zip(there, reversed(back), strict=True):
        assert (one.stop, one.steps) == (two.stop, two.steps)
        for before, after in zip([*one.frames, *one.factors], [*two.frames, *two.factors], strict=True):
            assert torch.equal(before, after)


def test_segments_of_any_length_are_the_same_course() -> None:
    problem = problem_of("LSTM")
    short, long = (
        [factor for one in trajectory(problem, segment).forward() for factor in one.factors] for segment in (4, STEPS)
    )
    for one, two in zip(short, long, strict=True):
        torch.testing.assert_close(one, two, rtol=0, atol=ROUNDING)


def test_frames_are_what_the_jacobians_make_of_each_other() -> None:
    problem = problem_of("LSTM")
    for segment in trajectory(problem, 6).forward():
        for at, x in enumerate(segment.inputs):
            (moved,) = problem.system.push(segment.states[at], x, (segment.frames[at],))[1]
            torch.testing.assert_close(segment.frames[at + 1] @ segment.factors[at], moved, rtol=0, atol=ROUNDING)
            (pulled,) = problem.system.pull(segment.states[at], x, (segment.frames[at],))
            torch.testing.assert_close(segment.pull(at, segment.frames[at]), pulled, rtol=0, atol=ROUNDING)


def test_sequences_that_have_ended_stay_as_they_are() -> None:
    lengths = torch.tensor([STEPS, 7, 12])
    whole = trajectory(problem_of("LSTM", lengths), 5)
    for segment in whole.forward():
        for at, factor in enumerate(segment.factors):
            running = whole.running(segment.first + at)
            assert running.tolist() == (lengths > segment.first + at).tolist()
            identity = torch.eye(2, dtype=torch.float64).expand(int((~running).sum()), -1, -1)
            torch.testing.assert_close(factor[~running], identity, rtol=0, atol=ROUNDING)
            frame = segment.frames[at + 1]
            torch.testing.assert_close(segment.pull(at, frame)[~running], frame[~running], rtol=0, atol=0)


def test_without_a_frame_the_state_goes_alone() -> None:
    problem = problem_of("step")
    alone, framed = ([*trajectory(problem, 5, framed=one).forward()] for one in (False, True))
    assert all(not segment.frames and not segment.frames_at(segment.first) for segment in alone)
    for one, two in zip(alone, framed, strict=True):
        torch.testing.assert_close(one.states[-1], two.states[-1], rtol=0, atol=0)


def test_few_states_are_kept() -> None:
    """The root of the length, not the length."""
    problem = problem_of("step")
    long = CheckpointedTrajectory(problem.system, _Repeated(problem), problem.state, range(10_000))
    for _ in long.forward():
        pass
    assert len(long._kept) == 100


def test_large_frames_make_short_segments() -> None:
    problem = problem_of("LSTM")
    frame = torch.zeros(BATCH, 2**10, 2**9, dtype=torch.float64)
    long = CheckpointedTrajectory(problem.system, problem.sequences, problem.state, range(400), frame=frame)
    assert long._size == 20  # the root of the length; 64 for small frames
    assert (
        CheckpointedTrajectory(problem.system, problem.sequences, problem.state, range(400), frame=frame[..., :1])._size == 64
    )


class _Repeated:
    """The first input over and over."""

    lengths = None

    def __init__(self, problem: CastProblem) -> None:
        self._x, self.batch = problem.sequences.at(0), BATCH

    def at(self, t: int):
        return self._x


def test_a_state_that_does_not_stay_finite_is_named() -> None:
    problem = cast_problem(lambda s, x: s.square(), None, 10 * torch.ones(1, 1).double(), torch.float64, steps=30)
    lost = CheckpointedTrajectory(problem.system, problem.sequences, problem.state, range(30), segment=16)
    with pytest.raises(Diverged, match=r"finite state.* by step 8 ") as caught:
        list(lost.forward())
    assert caught.value.step == 8
