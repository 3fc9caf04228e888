"""A file that is written atomically is there as a whole, or as it was before."""

import os
from pathlib import Path

import pytest

from lyapunov._atomic import write_atomically


def test_text_bytes_and_a_function_write_a_file(tmp_path: Path) -> None:
    file = tmp_path / "page.html"
    for content in ("a – b", "a – b".encode(), lambda partial: partial.write_text("a – b", encoding="utf-8")):
        write_atomically(file, content)
        assert file.read_bytes() == "a – b".encode()
        file.unlink()


def test_the_old_file_stays_until_the_new_one_is_complete(tmp_path: Path) -> None:
    file = tmp_path / "table.csv"
    file.write_text("old")

    def write(partial: Path) -> None:
        partial.write_text("ne")
        assert partial.name == f"table.csv.{os.getpid()}.partial"
        assert file.read_text() == "old"
        partial.write_text("new")

    write_atomically(file, write)
    assert [path.name for path in tmp_path.iterdir()] == ["table.csv"]
    assert file.read_text() == "new"


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
def test_an_error_leaves_the_old_file_and_no_part_of_the_new_one(tmp_path: Path, error: type[BaseException]) -> None:
    file = tmp_path / "table.csv"
    file.write_text("old")

    def write(partial: Path) -> None:
        partial.write_text("ne")
        raise error("full")

    with pytest.raises(error, match="full"):
        write_atomically(file, write)
    assert [path.name for path in tmp_path.iterdir()] == ["table.csv"]
    assert file.read_text() == "old"


def test_a_folder_that_is_missing_is_named_by_the_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="missing"):
        write_atomically(tmp_path / "missing" / "table.csv", "text")
