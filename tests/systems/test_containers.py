"""A step may refill the containers it is given and return them: its numbers are those of one that makes new ones."""

from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import pytest
import torch
from torch import Tensor, nn

import lyapunov
from cases import drawn
from lyapunov._trees import tree_flatten, tree_map
from lyapunov.systems import System
from tolerances import SAME

pytestmark = pytest.mark.usefixtures("shapes_unchecked")
BATCH, STEPS, UNITS = 3, 60, 4
W = [drawn(UNITS, UNITS, seed=1, scale=0.45), drawn(UNITS, UNITS, seed=2, scale=0.45)]
INPUTS = drawn(BATCH, STEPS, UNITS, seed=3)
RUNS = {
    "found": {},
    "given": {"settle": 10, "align": 10},
    "from reset": {"from_initial_state": True},
    "chunks": {"chunks": 2, "settle": 10},
}


def layer(at: int, h: Tensor, x: Tensor) -> Tensor:
    return torch.tanh(h @ W[at].to(h).mT + x)


class Pair(NamedTuple):
    one: Any
    two: Any


def pure(state: Any, x: Tensor) -> tuple[Tensor, Tensor]:
    low = layer(0, state[0], x)
    return low, layer(1, state[1], low)


def refilled_list(state: list[Tensor], x: Tensor) -> list[Tensor]:
    for at in range(2):
        state[at] = x = layer(at, state[at], x)
    return state


def emptied_list(state: list[Tensor], x: Tensor) -> list[Tensor]:
    low, high = state.pop(0), state.pop(0)
    state.append(layer(0, low, x))
    state.append(layer(1, high, state[0]))
    return state


def refilled_dictionary(state: dict[str, Tensor], x: Tensor) -> dict[str, Tensor]:
    state["a"] = layer(0, state["a"], x)
    state["b"] = layer(1, state["b"], state["a"])
    return state


def refilled_inside(state: Pair, x: Tensor) -> Pair:
    state.one["h"] = layer(0, state.one["h"], x)
    state.two[0] = layer(1, state.two[0], state.one["h"])
    return state


def zeros() -> Tensor:
    return torch.zeros(BATCH, UNITS, dtype=torch.float64)


REFILLING: dict[str, tuple[Callable[..., Any], Callable[[], Any]]] = {
    "list": (refilled_list, lambda: [zeros(), zeros()]),
    "emptied list": (emptied_list, lambda: [zeros(), zeros()]),
    "dictionary": (refilled_dictionary, lambda: {"a": zeros(), "b": zeros()}),
    "ordered dictionary": (refilled_dictionary, lambda: OrderedDict(a=zeros(), b=zeros())),
    "nested": (refilled_inside, lambda: Pair({"h": zeros()}, [zeros()])),
}


class Kept:
    """A step that fills a list of its own, whatever it is given, and returns it each time."""

    def __init__(self) -> None:
        self.cache = [zeros(), zeros()]

    def __call__(self, state: list[Tensor], x: Tensor) -> list[Tensor]:
        self.cache[0] = layer(0, state[0], x)
        self.cache[1] = layer(1, state[1], self.cache[0])
        return self.cache


class Refilling(nn.Module):
    """The same as a module with weights."""

    def __init__(self) -> None:
        super().__init__()
        self.weights = nn.ParameterList(W)

    def forward(self, state: list[Tensor], x: Tensor) -> list[Tensor]:
        for at, weight in enumerate(self.weights):
            state[at] = x = torch.tanh(state[at] @ weight.mT + x)
        return state


REFILLING["kept list"] = (Kept(), lambda: [zeros(), zeros()])
REFILLING["module"] = (Refilling(), lambda: [zeros(), zeros()])


def untouched_zeros(state: Any) -> bool:
    leaves = tree_flatten(state)[0]
    return len(leaves) == 2 and all(bool((leaf == 0).all()) for leaf in leaves)


@pytest.mark.parametrize("run", RUNS)
@pytest.mark.parametrize("name", REFILLING)
def test_a_step_that_refills_its_container_has_the_numbers_of_one_that_does_not(name: str, run: str) -> None:
    step, start = REFILLING[name]
    expected = lyapunov.spectrum(pure, INPUTS, state=(zeros(), zeros()), k=3, **RUNS[run])
    for check in (True, False):
        given = start()
        found = lyapunov.spectrum(step, INPUTS, state=given, k=3, check=check, **RUNS[run])
        torch.testing.assert_close(found.exponents, expected.exponents, rtol=0, atol=SAME)
        assert found.settings.settle == expected.settings.settle
        assert untouched_zeros(given)


@pytest.mark.parametrize("check", [True, False])
@pytest.mark.parametrize("name", REFILLING)
def test_every_analysis_hands_a_step_containers_of_its_own(name: str, check: bool) -> None:
    step, start = REFILLING[name]
    analyses: dict[str, Callable[..., Tensor]] = {
        "local": lambda f, s: lyapunov.local_exponents(f, INPUTS, k=2, state=s, check=check).exponents,
        "gradient": lambda f, s: lyapunov.gradient_exponents(f, INPUTS, lags=5, starts=2, state=s, check=check).exponents,
        "covariant": lambda f, s: lyapunov.covariant_vectors(f, INPUTS, k=2, state=s, check=check).exponents,
        "exponent_sum": lambda f, s: lyapunov.exponent_sum(f, INPUTS, 2, state=s, check=check),
    }
    for analysis, of in analyses.items():
        given = start()
        found, expected = of(step, given), of(pure, (zeros(), zeros()))
        torch.testing.assert_close(found, expected, rtol=0, atol=SAME, msg=analysis)
        assert untouched_zeros(given)


@pytest.mark.parametrize("check", [True, False])
def test_what_is_carried_may_be_refilled(check: bool) -> None:
    def plain(h: Tensor, x: Tensor, carried: dict[str, Tensor]) -> tuple[Tensor, dict[str, Tensor]]:
        mean = 0.9 * carried["mean"] + 0.1 * h.detach()
        return layer(0, h, x - carried["mean"]), {"mean": mean, "count": carried["count"] + 1}

    def refilling(h: list[Tensor], x: Tensor, carried: dict[str, Tensor]) -> Any:
        before, carried["mean"] = carried["mean"], 0.9 * carried["mean"] + 0.1 * h[0].detach()
        carried["count"] = carried["count"] + 1
        h[0] = layer(0, h[0], x - before)
        return h, carried

    def start() -> dict[str, Tensor]:
        return {"mean": zeros(), "count": torch.zeros(BATCH, dtype=torch.long)}

    given, options = start(), {"from_initial_state": True, "k": 2, "check": check}
    expected = lyapunov.spectrum(plain, INPUTS, state=zeros(), carried=start(), **options)
    found = lyapunov.spectrum(refilling, INPUTS, state=[zeros()], carried=given, **options)
    torch.testing.assert_close(found.exponents, expected.exponents, rtol=0, atol=SAME)
    assert not given["count"].any()
    assert not given["mean"].any()


@pytest.mark.parametrize("check", [True, False])
def test_inputs_may_be_taken_out_of_their_dictionary(check: bool) -> None:
    given = {"x": INPUTS, "mask": torch.ones(BATCH, STEPS, 1, dtype=torch.float64)}
    found = lyapunov.spectrum(
        lambda h, x: layer(0, h, x.pop("x") * x.pop("mask")), given, state=zeros(), k=2, from_initial_state=True, check=check
    )
    expected = lyapunov.spectrum(lambda h, x: layer(0, h, x), INPUTS, state=zeros(), k=2, from_initial_state=True)
    torch.testing.assert_close(found.exponents, expected.exponents, rtol=0, atol=SAME)
    assert set(given) == {"x", "mask"}


IN_PLACE = {
    "state": lambda h, x: h.mul_(0.5).add_(x),
    "state that stays zero": lambda h, x: torch.tanh(h.mul_(0.5) + x),
    "input": lambda h, x: torch.tanh(x.add_(h)),
    "input by nothing": lambda h, x: torch.tanh(x.add_(0.0) + 0.5 * h),
    "part of a state": lambda h, x: writing(h, x),
}


def writing(h: Tensor, x: Tensor) -> Tensor:
    h[:, 0] = x[:, 0]
    return h


@pytest.mark.parametrize("run", RUNS)
@pytest.mark.parametrize("check", [True, False])
@pytest.mark.parametrize("name", IN_PLACE)
def test_a_tensor_changed_in_place_is_refused_and_the_users_stay(name: str, check: bool, run: str) -> None:
    inputs, state = INPUTS.clone(), zeros()
    with pytest.raises(lyapunov.BadSystem, match=r"in place.* Use new tensors"):
        lyapunov.spectrum(IN_PLACE[name], inputs, state=state, k=2, check=check, **RUNS[run])
    assert torch.equal(inputs, INPUTS)
    assert not state.any()


@pytest.mark.parametrize("check", [True, False])
def test_a_carried_tensor_changed_in_place_is_refused(check: bool) -> None:
    def counting(h: Tensor, x: Tensor, count: Tensor) -> tuple[Tensor, Tensor]:
        count += 1
        return layer(0, h, x), count

    carried = torch.zeros(BATCH, dtype=torch.long)
    with pytest.raises(lyapunov.BadSystem, match="in place"):
        lyapunov.spectrum(counting, INPUTS, state=zeros(), carried=carried, check=check)
    assert not carried.any()


@dataclass
class Cache:
    h: Tensor


def test_a_state_that_is_no_pytree_is_refused_with_the_remedy() -> None:
    def step(cache: Cache, x: Tensor) -> Cache:
        cache.h = layer(0, cache.h, x)
        return cache

    with pytest.raises(lyapunov.InvalidInput, match=r"got Cache.*as a tuple or a dictionary"):
        lyapunov.spectrum(step, INPUTS, state=Cache(zeros()))


class RefillingSystem(System):
    """A user's own System whose step does not leave its state alone."""

    block_sizes = (UNITS,)

    def initial_state(self, batch: int, like: Tensor) -> list[Tensor]:
        return [like.new_zeros(batch, UNITS)]

    def vectors(self, state: list[Tensor]) -> tuple[Tensor]:
        return (state[0],)

    def with_vectors(self, state: list[Tensor], vectors: tuple[Tensor]) -> list[Tensor]:
        return list(vectors)

    def step(self, state: list[Tensor], x: Tensor) -> list[Tensor]:
        state[0] = layer(0, state[0], x)
        return state


def test_a_system_of_ones_own_that_refills_its_state_is_refused() -> None:
    with pytest.raises(lyapunov.BadSystem, match=r"into the container it was given. Return a new list"):
        lyapunov.spectrum(RefillingSystem(), INPUTS, k=2)


class Decoder(nn.Module):
    """A model that refills a cache it is given: a list, a dictionary or an object."""

    def __init__(self) -> None:
        super().__init__()
        self.below, self.above = nn.GRUCell(UNITS, UNITS).double(), nn.GRUCell(UNITS, UNITS).double()

    def forward(self, inputs: Tensor, cache: Any) -> Tensor:
        held = cache if isinstance(cache, list) else cache["h"] if isinstance(cache, dict) else cache.h
        for x in inputs.unbind(1):
            held[0] = self.below(x, held[0])
            held[1] = self.above(held[0], held[1])
        return held[1]


@pytest.mark.parametrize("form", [list, lambda held: {"h": held}, Cache], ids=["list", "dictionary", "object"])
def test_capturing_leaves_a_cache_as_it_was_given(form: Any) -> None:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = Decoder()
    start = [drawn(BATCH, UNITS, seed=5), drawn(BATCH, UNITS, seed=6)]
    cache = form(list(start))
    captured = lyapunov.capture(model, INPUTS, cache)
    held = cache if isinstance(cache, list) else cache["h"] if isinstance(cache, dict) else cache.h
    assert all(one is two for one, two in zip(held, start, strict=True))
    assert torch.equal(captured.core("below").state, start[0])
    found = lyapunov.spectrum(captured, k=4, from_initial_state=True)

    def step(state: Any, x: Tensor) -> Any:
        low = model.below(x, state[0])
        return low, model.above(low, state[1])

    expected = lyapunov.spectrum(step, INPUTS, state=tuple(start), k=4, from_initial_state=True)
    torch.testing.assert_close(found.exponents[0], expected.exponents[0], rtol=0, atol=0.05)
    assert tree_map(lambda leaf: leaf.shape, held) == tree_map(lambda leaf: leaf.shape, start)
