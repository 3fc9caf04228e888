"""Laws that every System obeys, each asked of every one: what a new system must pass."""

import pytest
import torch
from torch import Tensor, nn
from torch.func import jvp, vmap

from cases import ALL, BATCH, COUPLED, MODULES, STACKS, Case, drawn
from lyapunov._trees import tree_flatten, tree_map
from lyapunov.intake import CastProblem
from lyapunov.systems import IndependentLayers, Stack, Step, System, TokenStep, forward_mode_push
from lyapunov.tangent import NOISE_LIMIT_FIXED, RolloutOptions, random_frame, rollout
from tolerances import CLOSED_FORM, FIRST_COLUMNS, ROUNDING, SINGLE

DOUBLE, SINGLE_DTYPE = torch.float64, torch.float32
KNOWN_DOUBLE_ONLY = {"gaussian_tanh"}
every_module = pytest.mark.parametrize("case", [*MODULES, *STACKS, *COUPLED], ids=repr, indirect=True)


@pytest.fixture(params=ALL, ids=repr)
def case(request) -> Case:
    return request.param


@pytest.fixture
def problem(case: Case):
    problem = case.build(DOUBLE)
    with problem.system.running():
        yield problem


def frames(system: System, columns: int, dtype: torch.dtype = DOUBLE, seed: int = 30):
    return tuple(drawn(BATCH, size, columns, seed=seed + at).to(dtype) for at, size in enumerate(system.block_sizes))


def dense(system: System, state, x):
    """The Jacobian of each block."""
    identities = tuple(torch.eye(size, dtype=DOUBLE).expand(BATCH, -1, -1) for size in system.block_sizes)
    return system.push(state, x, identities)[1]


def one_of(tree, at: int):
    """One sequence of a batch."""
    return None if tree is None else tree_map(lambda leaf: leaf[at : at + 1], tree)


def flat(tree) -> Tensor:
    leaves = [torch.view_as_real(leaf) if leaf.is_complex() else leaf for leaf in tree_flatten(tree)[0]]
    return torch.cat([leaf.reshape(-1) for leaf in leaves])


def test_push_is_forward_mode(problem: CastProblem) -> None:
    system, state, x = problem.system, problem.state, problem.sequences.at(0)
    frame = frames(system, 4)
    moved = system.push(state, x, frame)[1]
    for block, own, (layer, its_state, its_input) in zip(moved, frame, alone(system, state, x), strict=True):
        (pushed,) = forward_mode_push(layer, its_state, its_input, (own,))[1]
        torch.testing.assert_close(block, pushed, rtol=0, atol=CLOSED_FORM)


def alone(system: System, state, x) -> list[tuple[System, object, object]]:
    """Each independent block's own system, with its state and input."""
    if isinstance(system, IndependentLayers):
        parts = zip(system.parts, state, x, strict=True)
        return [layer for part, own, given in parts for layer in alone(part, own, given)]
    if isinstance(system, TokenStep):
        vectors = system.vectors(state)
        tokens = (Step(one_token(system, state, at), own, dtype=DOUBLE) for at, own in enumerate(vectors))
        return [(step, own, x) for step, own in zip(tokens, vectors, strict=True)]
    if not isinstance(system, Stack):
        return [(system, state, x)]
    found = []
    for layer, own in zip(system.layers, state, strict=True):
        found.append((layer, own, x))
        x = layer.output(layer.step(own, x))
    return found


def one_token(system: TokenStep, state, at: int):
    """A token's own step, with all others held where they are."""

    def step(own: Tensor, x) -> Tensor:
        vectors = list(system.vectors(state))
        vectors[at] = own
        return system.vectors(system.step(system.with_vectors(state, tuple(vectors)), x))[at]

    return step


def module_step(module: nn.Module, vector: Tensor, problem: CastProblem, x: Tensor) -> Tensor:
    """PyTorch's own step on the differentiated coordinates of all layers, layer by layer; dropout off."""
    state = problem.system.with_vectors(problem.state, vector.split(problem.system.block_sizes, dim=-1))
    layers = state if hasattr(problem.system, "layers") else (state,)
    is_lstm = isinstance(module, nn.LSTM | nn.LSTMCell)
    parts = list(zip(*layers, strict=True)) if is_lstm else [layers]
    module.eval()
    if isinstance(module, nn.RNNCellBase):
        new = module(x, layers[0])
        news = [new] if is_lstm else [(new,)]
    else:
        stacked = tuple(torch.stack(part) for part in parts)
        time = x.unsqueeze(1) if module.batch_first else x.unsqueeze(0)
        new = module(time, stacked if is_lstm else stacked[0])[1]
        news = list(zip(*(new if is_lstm else (new,)), strict=True))
    states = [tuple(own) if is_lstm else own[0] for own in news]
    new_state = tuple(states) if hasattr(problem.system, "layers") else states[0]
    return torch.cat(problem.system.vectors(new_state), dim=-1)


@every_module
def test_push_is_forward_mode_through_pytorchs_own_module(case: Case, problem: CastProblem) -> None:
    system, x = problem.system, problem.sequences.at(0)
    point = torch.cat(system.vectors(problem.state), dim=-1)
    identity = torch.eye(point.shape[-1], dtype=DOUBLE)

    def along(direction: Tensor) -> Tensor:
        return jvp(lambda v: module_step(case.module, v, problem, x), (point,), (direction.expand_as(point),))[1]

    with torch.no_grad():
        jacobian = vmap(along, out_dims=-1)(identity)
    at = 0
    for block in dense(system, problem.state, x):
        size = block.shape[-1]
        torch.testing.assert_close(block, jacobian[:, at : at + size, at : at + size], rtol=0, atol=CLOSED_FORM)
        at += size


@every_module
def test_steps_are_the_modules_own(case: Case, problem: CastProblem) -> None:
    system, x = problem.system, problem.sequences.at(0)
    point = torch.cat(system.vectors(problem.state), dim=-1)
    with torch.no_grad():
        expected = module_step(case.module, point, problem, x)
    stepped = torch.cat(system.vectors(system.step(problem.state, x)), dim=-1)
    torch.testing.assert_close(stepped, expected, rtol=0, atol=ROUNDING)


def test_pushed_state_is_the_stepped_state(problem: CastProblem) -> None:
    system, state, x = problem.system, problem.state, problem.sequences.at(0)
    pushed = system.push(state, x, frames(system, 2))[0]
    torch.testing.assert_close(flat(pushed), flat(system.step(state, x)), rtol=0, atol=ROUNDING)


def test_push_is_linear_in_the_frame(problem: CastProblem) -> None:
    system, state, x = problem.system, problem.state, problem.sequences.at(0)
    one, two = frames(system, 3), frames(system, 3, seed=40)
    mixed = tree_map(lambda a, b: 2 * a - 0.5 * b, one, two)
    apart = [system.push(state, x, frame)[1] for frame in (one, two)]
    for got, a, b in zip(system.push(state, x, mixed)[1], *apart, strict=True):
        torch.testing.assert_close(got, 2 * a - 0.5 * b, rtol=ROUNDING, atol=ROUNDING)


def test_sequences_are_independent(problem: CastProblem) -> None:
    system, state, x = problem.system, problem.state, problem.sequences.at(0)
    frame = frames(system, 3)
    together = system.push(state, x, frame)
    for at in range(BATCH):
        alone = system.push(*(one_of(part, at) for part in (state, x, frame)))
        expected = one_of(together, at)
        torch.testing.assert_close(flat(alone), flat(expected), rtol=ROUNDING, atol=ROUNDING)


def test_float32_keeps_its_dtype_and_agrees(case: Case, problem: CastProblem) -> None:
    double, single = case.build(DOUBLE), case.build(SINGLE_DTYPE)
    if case in ALL and case.name in KNOWN_DOUBLE_ONLY:
        pytest.skip("a known map holds float64 constants")
    frame = frames(double.system, 3)
    state, moved = single.system.push(single.state, single.sequences.at(0), tree_map(lambda part: part.to(SINGLE_DTYPE), frame))
    assert all(leaf.dtype in (SINGLE_DTYPE, SINGLE_DTYPE.to_complex()) for leaf in tree_flatten((state, moved))[0])
    expected = problem.system.push(problem.state, problem.sequences.at(0), frame)
    torch.testing.assert_close(flat((state, moved)).double(), flat(expected), rtol=SINGLE, atol=SINGLE)


@pytest.mark.parametrize("columns", [1, 3])
def test_first_columns_do_not_depend_on_how_many_there_are(columns: int, problem: CastProblem) -> None:
    """Before sorting, at the same orthonormalisations, wherever the arithmetic resolves the columns."""
    few, full = grown(problem, columns), grown(problem, max(problem.system.block_sizes))
    for block in range(len(problem.system.block_sizes)):
        a = few.log_growth[..., few.block == block]
        b = full.log_growth[..., full.block == block][..., : a.shape[-1]]
        resolved = (few.noise[few.block == block] < NOISE_LIMIT_FIXED) | (few.lost_at[few.block == block] >= 0)
        assert bool(resolved[0])
        torch.testing.assert_close(a[..., resolved], b[..., resolved], rtol=0, atol=FIRST_COLUMNS)


def grown(problem: CastProblem, columns: int):
    """A short run with at most so many columns in each block."""
    sizes = problem.system.block_sizes
    like = torch.empty(0, dtype=DOUBLE)
    frames = tuple(
        random_frame(size, min(columns, size), batch=BATCH, seed=5, block=at, like=like) for at, size in enumerate(sizes)
    )
    return rollout(
        problem.system, problem.sequences, problem.state, frames, RolloutOptions(steps=10, settle=2, align=2, qr_every=2)
    )


@pytest.mark.parametrize("columns", [2, 70], ids=["narrow", "wide"])
def test_pull_is_the_transpose_of_push(columns: int, problem: CastProblem) -> None:
    system, state, x = problem.system, problem.state, problem.sequences.at(0)
    right, left = frames(system, columns), frames(system, columns, seed=50)
    pushed, pulled = system.push(state, x, right)[1], system.pull(state, x, left)
    for u, j_v, v, jt_u in zip(left, pushed, right, pulled, strict=True):
        torch.testing.assert_close(u.mT @ j_v, jt_u.mT @ v, rtol=CLOSED_FORM, atol=CLOSED_FORM)


def test_paths_add_up_to_the_push(problem: CastProblem) -> None:
    """Each alone is less than the whole, where there are several."""
    system, state, x = problem.system, problem.state, problem.sequences.at(0)
    frame = frames(system, 2)
    found, pushed = system.paths(state, x, frame), system.push(state, x, frame)[1]
    for at, whole in enumerate(pushed):
        torch.testing.assert_close(sum(part[at] for part in found.values()), whole, rtol=0, atol=CLOSED_FORM)


def test_an_output_is_made_of_the_states_coordinates(problem: CastProblem) -> None:
    system, state = problem.system, problem.state
    vector = torch.cat(system.vectors(state), dim=-1)
    output = flat(system.output(state))
    assert torch.isin(output, vector).all()


def test_log_volume_is_the_log_determinant(problem: CastProblem) -> None:
    system, state, x = problem.system, problem.state, problem.sequences.at(0)
    volume = system.log_volume(state, x)
    if volume is None:
        assert system.volume_cost == "none"
        pytest.skip("has no determinant, and says so")
    expected = torch.stack([torch.linalg.slogdet(block).logabsdet for block in dense(system, state, x)], dim=-1)
    torch.testing.assert_close(volume.reshape(BATCH, -1), expected, rtol=CLOSED_FORM, atol=CLOSED_FORM)


def test_the_log_diagonal_is_the_growth_of_invariant_axes_and_planes(problem: CastProblem) -> None:
    system, state, inputs = problem.system, problem.state, [problem.sequences.at(t) for t in range(3)]
    if not system.triangular:
        pytest.skip("mixes its directions")
    states, factors = system.log_diagonal(state, inputs, lambda new, old, at: new)
    for at, x in enumerate(inputs):
        (jacobian,) = dense(system, states[at], x)
        growth = torch.linalg.eigvals(jacobian).abs().log()
        torch.testing.assert_close(factors[at].sort(-1).values, growth.sort(-1).values, rtol=0, atol=CLOSED_FORM)
        torch.testing.assert_close(flat(states[at + 1]), flat(system.step(states[at], x)), rtol=0, atol=ROUNDING)


def test_labels_name_every_row(problem: CastProblem) -> None:
    system = problem.system
    assert len(system.labels) == sum(system.block_sizes)
    assert len(set(system.labels)) == len(system.labels)


def test_initial_state_has_the_form_of_a_state(problem: CastProblem) -> None:
    initial = problem.system.initial_state(BATCH, torch.empty(0, dtype=DOUBLE))
    shapes = [leaf.shape for leaf in tree_flatten(initial)[0]]
    assert shapes == [leaf.shape for leaf in tree_flatten(problem.state)[0]]
