"""Input files."""

from itertools import pairwise

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

import lyapunov
from lyapunov.intake import one_hot_sequences, read_inputs, read_text
from lyapunov.intake.files import windows


def test_arrays_come_back_as_they_were_saved(tmp_path) -> None:
    values = torch.arange(24.0).reshape(2, 4, 3)
    np.save(tmp_path / "a.npy", values.numpy())
    save_file({"inputs": values, "other": values[0].clone()}, tmp_path / "b.safetensors")
    save_file({"anything": values[0]}, tmp_path / "c.safetensors")
    assert torch.equal(read_inputs(tmp_path / "a.npy", size=3), values)
    assert torch.equal(read_inputs(tmp_path / "b.safetensors", size=3), values)
    assert torch.equal(read_inputs(tmp_path / "c.safetensors", size=3), values[:1])


@pytest.mark.parametrize(
    ("arrays", "taken"),
    [({"anything": 1}, 1), ({"inputs": 1, "x": 2}, 1), ({"y": 2, "x": 1}, 1), ({"targets": 2, "data": 1, "z": 3}, 1)],
)
def test_of_an_archive_the_array_with_the_usual_name_is_taken(arrays, taken: int, tmp_path) -> None:
    np.savez(tmp_path / "a.npz", **{name: np.full((2, 4, 3), value) for name, value in arrays.items()})
    assert torch.equal(read_inputs(tmp_path / "a.npz", size=3), torch.full((2, 4, 3), taken))


def test_text_becomes_one_hot_pieces_spread_over_it(tmp_path) -> None:
    (tmp_path / "t.txt").write_text("abcabcabcabc" + "b" * 8)
    inputs = read_inputs(tmp_path / "t.txt", size=3, sequences=2, steps=8)
    assert inputs.shape == (2, 8, 3)
    assert inputs.argmax(-1).tolist() == [[0, 1, 2, 0, 1, 2, 0, 1], [1] * 8]


def test_a_given_vocabulary_decides(tmp_path) -> None:
    (tmp_path / "t.txt").write_text("abab" * 5)
    inputs = read_inputs(tmp_path / "t.txt", size=3, vocabulary=["b", "a", "z"], sequences=1, steps=4)
    assert inputs.argmax(-1).tolist() == [[1, 0, 1, 0]]


def write_objects(path) -> None:
    np.save(path, np.array([{"a": 1}], dtype=object), allow_pickle=True)


REFUSED = {
    "other symbols": ("t.txt", lambda p: p.write_text("abcd" * 20), "3 different symbols.*got 4"),
    "too short": ("t.txt", lambda p: p.write_text("abc" * 900), "at least 3000 symbols.*got 2700"),
    "not UTF-8": ("t.txt", lambda p: p.write_bytes(b"\xff\xfe\x00abc"), "UTF-8"),
    "pickled objects": ("o.npy", write_objects, "array of numbers"),
    "not an array": ("n.npy", lambda p: p.write_text("hello"), "array of numbers"),
    "not safetensors": ("n.safetensors", lambda p: p.write_text("hello"), "safetensors file"),
    "several tensors": ("s.safetensors", lambda p: save_file({"a": torch.zeros(1), "b": torch.ones(1)}, p), "a, b"),
    "archive of several": ("a.npz", lambda p: np.savez(p, train=np.zeros(2), test=np.zeros(2)), "called `inputs`.*test, train"),
    "archive of objects": ("a.npz", lambda p: np.savez(p, inputs=np.array([{}], dtype=object)), "arrays of numbers"),
    "not an archive": ("a.npz", lambda p: p.write_text("hello"), "arrays of numbers"),
    "a graph": ("a.onnx", lambda p: p.write_bytes(b"\x08\x08\x12\x07pytorch"), "got a.onnx, an ONNX graph"),
    "another kind": ("x.csv", lambda p: p.write_text("1,2"), r"\.npy, \.safetensors or \.txt"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_files_that_cannot_be_used_are_refused(name: str, tmp_path) -> None:
    file, write, pattern = REFUSED[name]
    write(tmp_path / file)
    with pytest.raises(lyapunov.InvalidInput, match=pattern):
        read_inputs(tmp_path / file, size=3)


def test_a_symbol_outside_the_vocabulary_is_named_with_its_place(tmp_path) -> None:
    (tmp_path / "t.txt").write_text("abaQ" * 200)
    with pytest.raises(lyapunov.InvalidInput, match="'Q' at position 3"):
        read_inputs(tmp_path / "t.txt", size=3, vocabulary=["a", "b", "c"])


def test_missing_files_are_named() -> None:
    with pytest.raises(lyapunov.InvalidInput, match="no such file"):
        read_text("nowhere.txt")
    with pytest.raises(lyapunov.InvalidInput, match="no such file"):
        read_inputs("nowhere.npy", size=3)


def test_one_sequence_starts_at_the_beginning() -> None:
    assert one_hot_sequences(torch.arange(10), size=10, sequences=1, steps=4).argmax(-1).tolist() == [[0, 1, 2, 3]]


@pytest.mark.parametrize("length", [3000, 3001, 10_007, 2**24 + 3, 2**25 + 1, 10**8 + 19])
@pytest.mark.parametrize("sequences", [2, 7, 10, 30])
def test_pieces_reach_from_the_first_symbol_to_the_last_without_overlap(length: int, sequences: int, shapes_unchecked) -> None:
    steps = 100
    starts = [at * (length - steps) // (sequences - 1) for at in range(sequences)]
    assert starts[-1] + steps == length
    assert all(b - a >= steps for a, b in pairwise(starts))
    assert _Places(length).cut(sequences, steps) == starts


class _Places:
    """A text too long to be kept, whose symbols are their places."""

    def __init__(self, length: int) -> None:
        self._length = length

    def __len__(self) -> int:
        return self._length

    def __getitem__(self, places: torch.Tensor) -> torch.Tensor:
        assert 0 <= int(places.min()) <= int(places.max()) < self._length
        return places

    def cut(self, sequences: int, steps: int) -> list[int]:
        """Where the pieces start."""
        found = windows(self, sequences, steps)  # type: ignore[arg-type]
        assert torch.equal(found - found[:, :1], torch.arange(steps).expand(sequences, steps))
        return found[:, 0].tolist()
