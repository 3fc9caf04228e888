"""One thread, no leftovers in the global random state."""

import jaxtyping
import pytest
import torch

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
