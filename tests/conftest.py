"""One thread, no leftovers in the global random state."""

import jaxtyping
import pytest
import torch

import rounding
import slow

CORE = {"test_known.py", "test_laws.py", "conformance.py", "test_kinds.py"}
"""Known answers, laws, what every system promises, every kind of network against whole Jacobians: `make core`."""
torch.set_num_threads(1)


@pytest.fixture(autouse=True)
def _global_random_state_is_left_alone():
    before = torch.random.get_rng_state()
    yield
    assert torch.equal(before, torch.random.get_rng_state()), "the global random state moved"


@pytest.fixture
def shapes_unchecked(monkeypatch):
    """For long runs: checking every annotation doubles their time, and the laws in conformance.py already do it."""
    monkeypatch.setattr(jaxtyping.config, "jaxtyping_disable", True)


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--other-rounding",
        action="store_true",
        help="round states and frames anew at every step, as another processor may: no test may hang on last digits",
    )

    parser.addoption(
        "--first-cases",
        action="store_true",
        help="of a test with several cases the first one alone: enough where types are asked for, not numbers",
    )


def pytest_configure(config: pytest.Config) -> None:
    if config.getoption("--other-rounding"):
        rounding.install()


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    met = set()
    for item in items:
        case = item.nodeid.removeprefix("tests/")
        name = case.partition("[")[0]
        listed = bool({name, case} & slow.EVERY_CASE)
        if listed or (name in slow.ALL_BUT_THE_FIRST_CASE and name in met):
            item.add_marker(pytest.mark.slow)
        elif item.path.name in CORE:
            item.add_marker(pytest.mark.core)
        if not listed:
            met.add(name)
    if config.getoption("--first-cases"):
        quick = [item for item in items if not item.get_closest_marker("slow")]
        kept = set({item.nodeid.partition("[")[0]: item for item in reversed(quick)}.values())
        config.hook.pytest_deselected(items=[item for item in items if item not in kept])
        items[:] = [item for item in items if item in kept]
    if config.getoption("--other-rounding"):
        for item in items:
            if item.get_closest_marker("bits"):
                item.add_marker(pytest.mark.skip(reason="asks for the same digits"))
