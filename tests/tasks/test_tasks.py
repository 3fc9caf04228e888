"""Text, model, training loop and the demo's order of things."""

import dataclasses
from pathlib import Path

import pytest
import torch

import lyapunov
from lyapunov.intake import load_checkpoint
from lyapunov.tasks import (
    Trainer,
    Training,
    corpus,
    demo_corpus,
    new_model,
    python_reference,
    require_enough,
    run_demo,
    start_directory,
    windows,
)
from lyapunov.training import Run

TEXT = "the quick brown fox jumps over the lazy dog. " * 700
TINY = Training(hidden=6, epochs=1, batch=4, window=32)


def test_a_corpus_is_split_in_order_and_decodes_to_its_text() -> None:
    data = corpus("pangram", TEXT)
    symbols = torch.cat([data.train, data.valid, data.test])
    assert "".join(data.vocabulary[at] for at in symbols.tolist()) == TEXT
    assert len(data.valid) == pytest.approx(0.1 * len(TEXT), abs=1)
    with pytest.raises(lyapunov.InvalidInput, match="at least 1000"):
        corpus("short", "abc")
    with pytest.raises(lyapunov.InvalidInput, match=r"at least 20000 symbols.*got 2000 in short"):
        require_enough(corpus("short", TEXT[:2000]))


def test_the_demo_reads_what_cpython_ships_or_what_the_variable_points_at(monkeypatch, tmp_path) -> None:
    monkeypatch.delenv("LYAPUNOV_DATA_DIR", raising=False)
    assert demo_corpus().name == "the Python language reference"
    assert len(python_reference()) > 300_000
    monkeypatch.setenv("LYAPUNOV_DATA_DIR", str(tmp_path))
    with pytest.raises(lyapunov.InvalidInput, match="no such file"):
        demo_corpus()
    (tmp_path / "war_and_peace").mkdir()
    (tmp_path / "war_and_peace" / "input.txt").write_text(TEXT + "~")
    data = demo_corpus(limit=2000)
    assert data.name == "War and Peace"
    assert "~" in data.vocabulary
    assert len(data.train) == 1600


def test_windows_cover_the_streams_and_targets_are_what_follows() -> None:
    symbols = torch.arange(101)
    pairs = list(windows(symbols, batch=2, length=10))
    assert len(pairs) == 5
    for inputs, targets in pairs:
        assert torch.equal(targets, inputs + 1)
    assert torch.equal(torch.cat([inputs for inputs, _ in pairs], dim=1), torch.arange(100).view(2, 50))


def test_training_learns_and_is_seeded() -> None:
    data, losses = corpus("pangram", TEXT), []
    for _ in range(2):
        trainer = Trainer(new_model(data, TINY), data, TINY)
        before = trainer.held_out_loss()
        steps = list(trainer.steps())
        assert [done for done, _, _ in steps] == list(range(1, steps[0][1] + 1))
        losses.append(trainer.held_out_loss())
        assert losses[-1] < before
    assert losses[0] == losses[1]


def test_a_run_is_never_started_where_there_is_one(tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("demo", "demo-2", "demo-3"):
        place = start_directory(None)
        assert place == Path("runs") / name
        (place / "history.jsonl").write_text(name)
    with pytest.raises(lyapunov.InvalidInput, match=r"got runs/demo-2, which holds a run already. Choose another --directory"):
        start_directory(Path("runs/demo-2"))
    assert (tmp_path / "runs" / "demo" / "history.jsonl").read_text() == "demo"
    (tmp_path / "new").mkdir()
    (tmp_path / "new" / ".lock").touch()  # left by a process that was killed before it had written
    assert start_directory(Path("new")) == Path("new")


def test_a_folder_of_other_things_is_not_written_into(tmp_path) -> None:
    (tmp_path / "checkpoint.safetensors").write_text("mine")
    with pytest.raises(lyapunov.InvalidInput, match="with other files"):
        start_directory(tmp_path)
    assert (tmp_path / "checkpoint.safetensors").read_text() == "mine"


def test_the_demo_keeps_each_epoch_before_it_shows_it(tmp_path) -> None:
    data, said = corpus("pangram", TEXT), []
    for seen, reading in enumerate(run_demo(data, dataclasses.replace(TINY, epochs=2), tmp_path, say=said.append)):
        run = Run.load(tmp_path)
        assert [kept.epoch for kept in run.readings] == list(range(seen + 1))
        assert run.readings[-1].max == reading.max
        kept = run.spectra()[reading.step]
        assert kept.max == reading.max
        assert kept.is_full == (seen in (0, 2))
        saved = load_checkpoint(tmp_path / "checkpoint.safetensors")
        assert saved.vocabulary == data.vocabulary
    assert seen == 2
    assert reading.step == 2 * len(list(windows(data.train, batch=TINY.batch, length=TINY.window)))
    assert reading.losses["train"] > 0
    assert any("step 1 of" in line for line in said)
    assert any("the whole spectrum" in line for line in said)
