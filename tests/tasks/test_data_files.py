"""Data files: found where the environment says, fetched with their sha256 checked."""

import hashlib
from pathlib import Path

import pytest

from lyapunov import InvalidInput
from lyapunov.cli import main
from lyapunov.tasks import DATA_DIR, data_file, data_files, fetch


@pytest.fixture
def small_registry(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """Two files, served from a folder."""
    source = tmp_path / "served"
    source.mkdir()
    entries = {}
    for name in ("one.txt", "two.txt"):
        (source / name).write_text(name)
        entries[name] = ("sha256:" + hashlib.sha256(name.encode()).hexdigest(), f"http://localhost:9/{name}")
    monkeypatch.setattr(data_files, "registry", lambda: entries)
    monkeypatch.setenv(DATA_DIR, str(tmp_path / "data"))
    return source


def test_every_file_has_a_digest_and_a_pinned_address() -> None:
    found = data_files.registry()
    assert len(found) == 25
    for digest, address in found.values():
        assert len(digest) == len("sha256:") + 64
        assert any(len(part) == 40 and set(part) <= set("0123456789abcdef") for part in address.split("/"))


def test_a_file_is_where_the_environment_says(small_registry: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(DATA_DIR, str(small_registry))
    assert data_file("one.txt").read_text() == "one.txt"
    with pytest.raises(InvalidInput, match="lyapunov data fetch"):
        data_file("three.txt")


def test_files_that_are_there_and_right_are_not_fetched_again(small_registry: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(DATA_DIR, str(small_registry))
    said: list[str] = []
    assert [path.name for path in fetch(said.append)] == said == ["one.txt", "two.txt"]


def test_what_cannot_be_fetched_is_said(small_registry: Path) -> None:
    with pytest.raises(InvalidInput, match=r"Expected to fetch one\.txt .* by hand"):
        fetch(lambda name: None)


def test_the_command_names_every_file(small_registry: Path, monkeypatch: pytest.MonkeyPatch, capsys) -> None:
    monkeypatch.setenv(DATA_DIR, str(small_registry))
    with pytest.raises(SystemExit) as caught:
        main(["data", "fetch"])
    assert not caught.value.code
    said = capsys.readouterr().out.splitlines()
    assert said[:2] == ["one.txt", "two.txt"]
    assert f"2 files in {small_registry}" in said[2]
