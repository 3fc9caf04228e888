"""Tasks, and the one training loop: the right targets, nothing held out is trained on, a run goes on to the same numbers."""

import os
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor

from lyapunov import InvalidInput
from lyapunov.tasks import DATA_DIR, Adding, Learner, Network, NextCharacter, NextFrame, Recipe, Task, corpus, python_reference

TEXT = corpus("Python's reference", python_reference(), limit=20_000)
HAS_DATA = (Path(os.environ.get(DATA_DIR, "/nowhere")) / "cmu_mocap").is_dir()
needs_motion = pytest.mark.skipif(not HAS_DATA, reason="the motion capture files are not there (LYAPUNOV_DATA_DIR)")


def text_task() -> NextCharacter:
    return NextCharacter(TEXT, batch=8, steps=20, probe=(4, 60))


def adding_task() -> Adding:
    return Adding(steps=20, batch=10, batches=4, probe=6)


def motion_task() -> NextFrame:
    return NextFrame(batch=12, steps=25, batches=2, probe=(4, 60))


def tasks() -> list:
    return [text_task, adding_task, pytest.param(motion_task, marks=needs_motion)]


@pytest.mark.parametrize("build", tasks())
def test_batches_are_functions_of_seed_and_epoch(build) -> None:
    task: Task = build()
    first, again, later, other = (next(iter(task.batches(seed, epoch)))[0] for seed, epoch in ((0, 3), (0, 3), (0, 4), (1, 3)))
    assert torch.equal(first, again)
    assert not torch.equal(first, later)
    assert not torch.equal(first, other)


@pytest.mark.parametrize("build", tasks())
def test_a_network_takes_what_a_task_gives(build) -> None:
    task: Task = build()
    with torch.random.fork_rng():
        network = Network(Recipe(hidden=6), task.input_size, task.output_size)
    for inputs, targets in (next(iter(task.batches(0, 0))), next(iter(task.held_out())), task.probe()):
        losses = task.losses(network(task.encoded(inputs).float()), targets)
        assert losses.shape in (targets.shape[:2], targets.shape[:1])
        assert bool((losses >= 0).all())


def test_targets_of_text_are_the_characters_that_follow() -> None:
    """Never around the end, and the held-out text is none of the training's."""
    task = text_task()
    for inputs, targets in (*task.batches(0, 0), *task.held_out()):
        assert torch.equal(inputs[:, 1:], targets[:, :-1])
    text = "".join(TEXT.vocabulary[at] for at in TEXT.valid.tolist())
    inputs, targets = task.probe()
    for row, following in zip(inputs, targets, strict=True):
        window = "".join(TEXT.vocabulary[at] for at in [*row.tolist(), int(following[-1])])
        assert window in text
    covered = sum(inputs.numel() for inputs, _ in task.batches(0, 0))
    assert covered <= len(TEXT.train) < covered + 8 * 20


def test_the_sum_is_of_the_two_marked_numbers() -> None:
    inputs, targets = next(iter(adding_task().batches(0, 0)))
    numbers, marks = inputs.unbind(-1)
    assert torch.equal(marks.sum(-1), torch.full((10,), 2.0))
    assert bool((marks[:, :10].sum(-1) == 1).all())
    torch.testing.assert_close((numbers * marks).sum(-1), targets)
    constant = torch.ones(1000, 20, 1)
    held_out = next(iter(adding_task().held_out()))
    assert float(adding_task().losses(constant, held_out[1]).mean()) == pytest.approx(1 / 6, rel=0.1)


@needs_motion
def test_frames_are_standardised_by_the_training_recordings() -> None:
    task = motion_task()
    assert task.input_size == 20
    whole = torch.cat(task._train)
    torch.testing.assert_close(whole.mean(0), torch.zeros(20), rtol=0, atol=1e-3)
    torch.testing.assert_close(whole.std(0), torch.ones(20), rtol=0, atol=1e-3)
    for inputs, targets in task.held_out():
        assert inputs.shape[1:] == (25, 20)
        assert torch.equal(inputs[:, 1:], targets[:, :-1])


@pytest.mark.parametrize("kind", ["RNN", "GRU", "LSTM"])
def test_a_run_that_was_ended_goes_on_to_the_same_numbers(kind, tmp_path: Path) -> None:
    """With dropout, decay and Adam's moments."""
    recipe = Recipe(kind, hidden=6, dropout=0.3, learning_rate=1e-2, decay=0.5, decay_from=1, seed=3)
    whole, ended = Learner(text_task(), recipe), Learner(text_task(), recipe)
    expected = [whole.train() for _ in range(3)]
    found = [ended.train()]
    ended.save(tmp_path / "a.safetensors")
    later = Learner(text_task(), recipe)
    later.load(tmp_path / "a.safetensors")
    found += [later.train() for _ in range(2)]
    assert found == expected
    assert later.held_out_loss() == whole.held_out_loss()
    for one, other in zip(later.network.parameters(), whole.network.parameters(), strict=True):
        assert torch.equal(one, other)


def test_training_lowers_the_held_out_loss() -> None:
    learner = Learner(text_task(), Recipe(hidden=16, learning_rate=1e-2))
    before = learner.held_out_loss()
    learner.train()
    assert learner.held_out_loss() < before - 0.5
    assert learner.network.training  # evaluation leaves it as it was


def test_weights_are_spread_as_the_recipe_says() -> None:
    learner = Learner(text_task(), Recipe(hidden=16, bias=False, spread=0.02))
    assert max(float(weight.detach().abs().max()) for weight in learner.network.parameters()) <= 0.02
    assert not hasattr(learner.network.core, "bias_hh_l0")


def test_a_checkpoint_of_another_network_is_refused(tmp_path: Path) -> None:
    recipe = Recipe(hidden=6)
    Learner(text_task(), recipe).save(tmp_path / "a.safetensors")
    with pytest.raises(InvalidInput, match="Expected a checkpoint of"):
        Learner(text_task(), replace(recipe, seed=1)).load(tmp_path / "a.safetensors")


def test_a_text_too_short_for_its_probe_is_refused() -> None:
    with pytest.raises(InvalidInput, match="characters held out"):
        NextCharacter(TEXT, batch=8, steps=20, probe=(100, 60))


def test_losses_are_what_gradient_decay_takes() -> None:
    import lyapunov

    for task in (text_task(), adding_task()):
        learner = Learner(task, Recipe(hidden=6))
        found = lyapunov.gradient_decay(learner.network.double(), learner.losses, task.probe(), lags=10, starts=3)
        assert isinstance(found.slope(2, 10).value, float)
        assert isinstance(found.log_norms, Tensor)
