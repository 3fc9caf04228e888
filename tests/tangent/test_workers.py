"""Threads: in order, one computation each, and nothing left behind."""

import pytest
import torch

from cases import drawn
from lyapunov.systems import known
from lyapunov.systems.closed import log_abs_det
from lyapunov.tangent import Workers


@pytest.fixture
def two_threads():
    """PyTorch as a user has it on two cores."""
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(1)


@pytest.mark.usefixtures("two_threads")
def test_items_come_back_in_order_and_each_worker_computes_on_one_thread() -> None:
    with Workers() as workers:
        if workers.count == 1:
            pytest.skip("this build of PyTorch has no MKL: nothing is dealt out")
        found = workers.map(lambda item: (item, torch.get_num_threads(), torch.is_grad_enabled()), range(20))
        inside = torch.get_num_threads()
    assert found == [(item, 1, False) for item in range(20)]
    assert inside == 1
    assert torch.get_num_threads() == 2


@pytest.mark.usefixtures("two_threads")
def test_an_error_in_a_worker_reaches_the_caller_and_the_threads_are_put_back() -> None:
    def fail(item: int) -> int:
        raise ValueError(f"item {item}")

    with pytest.raises(ValueError, match="item 0"), Workers() as workers:
        workers.map(fail, range(3))
    assert torch.get_num_threads() == 2


def test_one_sequence_or_a_users_step_is_computed_as_torch_is_set() -> None:
    assert Workers.suited_to(known.henon().system, 8).count == 1


def test_determinants_of_a_batch_are_right_whatever_the_number_of_threads() -> None:
    """After torch.set_num_threads(2), torch.linalg.slogdet of such a batch is wrong by 50 (MKL 2024.2)."""
    matrices = drawn(10, 300, 300, seed=7)
    truth = torch.linalg.svdvals(matrices).log().sum(-1)
    torch.set_num_threads(2)
    try:
        torch.testing.assert_close(log_abs_det(matrices), truth, rtol=1e-12, atol=0)
    finally:
        torch.set_num_threads(1)
