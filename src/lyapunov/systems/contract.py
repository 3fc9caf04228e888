"""What a system promises, asked of it in two steps before a run: the same answer twice, its own shape, a true derivative."""

import torch
from torch import Tensor

from lyapunov._shapes import Input, State
from lyapunov._trees import tree_flatten, tree_map
from lyapunov.errors import BadSystem
from lyapunov.systems.arguments import refusing_swapped
from lyapunov.systems.faults import changed_in_place, explained, same_form, versions_of
from lyapunov.systems.system import System


def check_contract(system: System, state: State, first: Input, second: Input) -> None:
    """Two steps: finite, of the same shape, deterministic, sequences independent, and one finite-difference direction.

    Raises `BadSystem` with what was expected, what the step did, and what to change.
    """
    first = tree_map(lambda leaf: leaf.clone() if isinstance(leaf, Tensor) else leaf, first)
    with explained(state):
        new = _first_step(system, state, first)
        same_form(state, new, grows=system.grows)
        _finite(new)
        _deterministic(new, system.step(state, first))
        same_form(state, system.step(new, second), grows=system.grows)
        point = _generic_point(system, state)
        with refusing_swapped(system.modules, point, first):
            system.step(point, first)
        _independent(system, point, first)
        _derivative(system, point, first)


def _first_step(system: System, state: State, x: Input) -> State:
    held, form = tree_flatten((state, x))
    given = [leaf for leaf in held if isinstance(leaf, Tensor)]
    before, versions = [leaf.clone() for leaf in given], versions_of(given)
    new = system.step(state, x)
    now, new_form = tree_flatten((state, x))
    if form != new_form or any(one is not other for one, other in zip(held, now, strict=True)):
        raise BadSystem(
            "Expected a step that leaves its state and input as they are, got one that puts new tensors into the container it "
            "was given. Return a new list or dictionary."
        )
    if any(not torch.equal(*pair) for pair in zip(before, given, strict=True)) or versions_of(given) != versions:
        raise changed_in_place((state, x), versions)
    return new


def _finite(new: State) -> None:
    if not all(bool(torch.isfinite(leaf).all()) for leaf in tree_flatten(new)[0]):
        raise BadSystem(
            "Expected a finite state after the first step, got NaN or infinity. Check the weights and the initial state."
        )


def _deterministic(once: State, again: State) -> None:
    for one, other in zip(tree_flatten(once)[0], tree_flatten(again)[0], strict=True):
        if not torch.equal(one, other):
            gap = (one.cdouble() - other.cdouble()).abs().max().item()
            raise BadSystem(
                f"Expected a deterministic step, but two calls with the same state and input differ by {gap:.2g}. Switch off "
                "dropout and noise (module.eval()), or pass the noise as inputs."
            )


def _generic_point(system: System, state: State) -> State:
    """A point beside the state, away from the kinks that a state of zeros may lie on."""
    generator = torch.Generator().manual_seed(20201)
    nudged = (vector + 1e-3 * (1 + vector.abs()) * _noise(vector, generator) for vector in system.vectors(state))
    return system.with_vectors(state, tuple(nudged))


def _independent(system: System, state: State, x: Input) -> None:
    vectors = system.vectors(state)
    batch = vectors[0].shape[0]
    if batch < 2:
        return
    moved = tuple(torch.cat([vector[:1] + 1e-2, vector[1:]]) for vector in vectors)
    other = system.with_vectors(state, moved)
    driven = tree_map(_first_moved, x)
    new = tree_flatten(system.step(state, x))[0]
    for what, of_others in (("state", system.step(other, x)), ("input", system.step(state, driven))):
        for one, two in zip(new, tree_flatten(of_others)[0], strict=True):
            near = 1e3 * torch.finfo(one.dtype).eps if one.is_floating_point() or one.is_complex() else 0.0
            if not torch.allclose(one[1:], two[1:], rtol=near, atol=near):
                raise _mixed(what, state, batch)


def _mixed(what: str, state: State, batch: int) -> BadSystem:
    remedy = "Remove what mixes the batch (batch normalisation in training mode, reductions over axis 0)"
    shapes = [tuple(leaf.shape) for leaf in tree_flatten(state)[0]]
    axis = next((shape.index(batch, 1) for shape in shapes if batch in shape[1:]), None)
    if axis is not None:
        remedy += "; where the sequences are along another axis of the state, move it to the front on the way in and out: "
        remedy += f"s.movedim({axis}, 0)"
    return BadSystem(
        f"Expected sequences that do not see each other, but changing the first one's {what} changed the next state of "
        f"others. {remedy}."
    )


def _first_moved(leaf: object) -> object:
    """The inputs with another one in the first sequence; symbols stay, of which it is not known what others there are."""
    if not isinstance(leaf, Tensor) or not leaf.is_floating_point() or leaf.dim() < 1:
        return leaf
    return torch.cat([leaf[:1] + 1e-2, leaf[1:]])


def _derivative(system: System, state: State, x: Input) -> None:
    generator = torch.Generator().manual_seed(20202)
    vectors = system.vectors(state)
    directions = tuple(_noise(vector, generator) for vector in vectors)
    pushed = system.push(state, x, tuple(direction.unsqueeze(-1) for direction in directions))[1]
    for at, direction in enumerate(directions):
        _compare(system, state, x, at, direction, pushed[at].squeeze(-1))


def _compare(system: System, state: State, x: Input, at: int, direction: Tensor, pushed: Tensor) -> None:
    vectors = system.vectors(state)
    unit = torch.finfo(direction.dtype).eps
    width = unit ** (1 / 3)

    def moved(sign: float) -> Tensor:
        shifted = (*vectors[:at], vectors[at] + sign * width * direction, *vectors[at + 1 :])
        return system.vectors(system.step(system.with_vectors(state, shifted), x))[at]

    plus, minus = moved(1.0), moved(-1.0)
    measured = (plus - minus) / (2 * width)
    allowed = 100 * width * (measured.norm() + pushed.norm()) + 100 * unit / width * (1 + plus.norm())
    gap = (measured - pushed).norm()
    if not bool(gap <= allowed):
        raise BadSystem(
            f"Expected the derivative of the step to agree with finite differences, got {pushed.norm().item():.3g} beside "
            f"{measured.norm().item():.3g} (apart by {gap.item():.2g}). Remove .detach(), .data, torch.no_grad or "
            "inference_mode from the path of the state: they drop the derivative silently."
        )


def _noise(like: Tensor, generator: torch.Generator) -> Tensor:
    return torch.randn(like.shape, dtype=torch.float64, generator=generator).to(like)
