"""Checkpoints: the architecture comes from names and shapes, and nothing is unpickled."""

import json
import pickle
import warnings
import zipfile

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import nn

import lyapunov
from cases import drawn, seeded
from lyapunov.intake import load_checkpoint
from tolerances import same

MODULES = {
    "RNN": seeded(nn.RNN, 3, 4, num_layers=2),
    "RNN relu": seeded(nn.RNN, 3, 4, nonlinearity="relu", bias=False),
    "GRU": seeded(nn.GRU, 3, 4, batch_first=True),
    "LSTM": seeded(nn.LSTM, 3, 4, num_layers=2, bias=False),
    "LSTM projected": seeded(nn.LSTM, 3, 5, num_layers=2, proj_size=2),
}


def save(module: nn.Module, path, prefix: str = "") -> None:
    tensors = {prefix + name: value.contiguous() for name, value in module.state_dict().items()}
    if path.suffix == ".safetensors":
        save_file(tensors, path)
    else:
        torch.save({"model": tensors, "epoch": 3, "optimizer": {"lr": 0.1}}, path)


@pytest.mark.parametrize("name", MODULES)
@pytest.mark.parametrize("suffix", [".safetensors", ".pt"])
def test_the_loaded_module_has_the_same_spectrum(name: str, suffix: str, tmp_path) -> None:
    module, path = MODULES[name], tmp_path / f"checkpoint{suffix}"
    save(module, path, "encoder.core.")
    nonlinearity = getattr(module, "nonlinearity", None) if isinstance(module, nn.RNN) else None
    found = load_checkpoint(path, nonlinearity=nonlinearity)
    assert found.core == ("encoder.core" if suffix == ".safetensors" else "model.encoder.core")
    inputs = drawn(2, 40, 3, seed=80)
    expected = lyapunov.spectrum(module, inputs if module.batch_first else inputs.transpose(0, 1))
    assert same(lyapunov.spectrum(found.module, inputs).exponents, expected.exponents)


def test_a_cell_is_found_too(tmp_path) -> None:
    cell = seeded(nn.LSTMCell, 3, 4)
    save(cell, tmp_path / "cell.safetensors")
    found = load_checkpoint(tmp_path / "cell.safetensors")
    inputs = drawn(2, 40, 3, seed=80)
    assert same(lyapunov.spectrum(found.module, inputs).exponents, lyapunov.spectrum(cell, inputs).exponents)


def test_half_precision_weights_are_taken(tmp_path) -> None:
    save(seeded(nn.GRU, 3, 4).half(), tmp_path / "half.safetensors")
    spectrum = lyapunov.spectrum(load_checkpoint(tmp_path / "half.safetensors").module, drawn(2, 40, 3, seed=80))
    assert spectrum.settings.source_dtype == "float16"
    assert spectrum.settings.dtype == "float64"


def test_the_vocabulary_comes_along(tmp_path) -> None:
    tensors = {name: value.contiguous() for name, value in MODULES["GRU"].state_dict().items()}
    save_file(tensors, tmp_path / "a.safetensors", metadata={"vocabulary": json.dumps(["x", "y", "z"])})
    assert load_checkpoint(tmp_path / "a.safetensors").vocabulary == ["x", "y", "z"]


def test_one_of_several_cores_must_be_named(tmp_path) -> None:
    path = tmp_path / "two.safetensors"
    both = nn.ModuleDict({"encoder": MODULES["GRU"], "decoder": MODULES["LSTM"]})
    save(both, path)
    with pytest.raises(lyapunov.InvalidInput, match="decoder, encoder"):
        load_checkpoint(path)
    with pytest.raises(lyapunov.InvalidInput, match="'middle'"):
        load_checkpoint(path, core="middle")
    assert isinstance(load_checkpoint(path, core="encoder").module, nn.GRU)


class Malicious:
    def __reduce__(self):
        return (print, ("this must never run",))


def test_what_wants_to_unpickle_is_refused_and_named(tmp_path, capsys) -> None:
    torch.save({"weight_ih_l0": Malicious()}, tmp_path / "bad.pt")
    with pytest.raises(lyapunov.InvalidInput, match=r"print.*not opened.*state_dict") as caught:
        load_checkpoint(tmp_path / "bad.pt")
    assert "\n" not in str(caught.value)
    assert "never run" not in capsys.readouterr().out


@pytest.mark.parametrize("suffix", [".safetensors", ".pt"])
def test_a_file_of_something_else_is_refused(suffix: str, tmp_path) -> None:
    path = tmp_path / f"noise{suffix}"
    path.write_bytes(b"this is no checkpoint at all, whatever its name says")
    with pytest.raises(lyapunov.InvalidInput, match="Expected a"):
        load_checkpoint(path)


def test_a_missing_file_is_named() -> None:
    with pytest.raises(lyapunov.InvalidInput, match="no such file"):
        load_checkpoint("nowhere.pt")


def test_a_checkpoint_without_recurrence_is_refused(tmp_path) -> None:
    save(nn.LayerNorm(3), tmp_path / "norm.safetensors")
    with pytest.raises(lyapunov.Unsupported, match=r"got (weight|bias)"):
        load_checkpoint(tmp_path / "norm.safetensors")


def test_a_bidirectional_core_is_refused(tmp_path) -> None:
    save(seeded(nn.GRU, 3, 4, bidirectional=True), tmp_path / "both.safetensors")
    with pytest.raises(lyapunov.Unsupported, match="_reverse"):
        load_checkpoint(tmp_path / "both.safetensors")


def test_a_vanilla_network_is_asked_for_its_nonlinearity(tmp_path) -> None:
    save(MODULES["RNN"], tmp_path / "rnn.safetensors")
    with pytest.raises(lyapunov.InvalidInput, match="tanh or relu"):
        load_checkpoint(tmp_path / "rnn.safetensors")


@pytest.mark.parametrize("broken", ["weight_hh_l0", "bias_hh_l0"])
def test_an_incomplete_core_is_refused(broken: str, tmp_path) -> None:
    tensors = {name: value.contiguous() for name, value in MODULES["GRU"].state_dict().items() if name != broken}
    save_file(tensors, tmp_path / "part.safetensors")
    with pytest.raises(lyapunov.InvalidInput, match=r"whole|Save"):
        load_checkpoint(tmp_path / "part.safetensors")


def test_a_strange_number_of_gates_is_refused(tmp_path) -> None:
    save_file({"weight_ih_l0": torch.zeros(10, 3), "weight_hh_l0": torch.zeros(10, 5)}, tmp_path / "odd.safetensors")
    with pytest.raises(lyapunov.Unsupported, match="1, 3 or 4 gates"):
        load_checkpoint(tmp_path / "odd.safetensors")


def test_weights_of_numpy_are_taken_and_never_unpickled(tmp_path, capsys) -> None:
    module = MODULES["GRU"]
    arrays = {f"encoder/core/{name}": value.numpy() for name, value in module.state_dict().items()}
    np.savez(tmp_path / "gru.npz", **arrays)
    found, inputs = load_checkpoint(tmp_path / "gru.npz"), drawn(2, 40, 3, seed=80)
    assert found.core == "encoder.core"
    assert same(lyapunov.spectrum(found.module, inputs).exponents, lyapunov.spectrum(module, inputs).exponents)
    np.savez(tmp_path / "bad.npz", weight_ih_l0=np.array([Malicious()], dtype=object))
    with pytest.raises(lyapunov.InvalidInput, match=r"arrays of numbers in bad.npz.*not unpickled"):
        load_checkpoint(tmp_path / "bad.npz")
    assert "never run" not in capsys.readouterr().out


def test_a_safetensors_file_of_any_name_is_taken(tmp_path) -> None:
    save(MODULES["GRU"], tmp_path / "gru.safetensors")
    (tmp_path / "gru.safetensors").rename(tmp_path / "gru.bin")
    assert isinstance(load_checkpoint(tmp_path / "gru.bin").module, nn.GRU)


def archive(*names: str):
    def write(path) -> None:
        with zipfile.ZipFile(path, "w") as file:
            for name in names:
                file.writestr(name, "")

    return write


FOREIGN = {
    "scripted.jit": (lambda p: torch.jit.save(scripted(), p), "a TorchScript archive.*torch.jit.load.'scripted.jit'"),
    "scripted.pt": (lambda p: torch.jit.save(scripted(), p), "a TorchScript archive.*torch.jit.load.'scripted.pt'"),
    "exported.pt2": (archive("a/data/weights/w", "a/archive_format", "a/models/model.json"), "an exported program"),
    "model.onnx": (lambda p: p.write_bytes(b"\x08\x08\x12\x07pytorch\x1a\x052.0.0"), "an ONNX graph"),
    "onnx.bin": (lambda p: p.write_bytes(b"\x08\x08\x12\x07pytorch\x1a\x052.0.0"), "an ONNX graph"),
    "model.keras": (archive("metadata.json", "config.json", "model.weights.h5"), "a Keras model.*KERAS_BACKEND=torch"),
    "model.h5": (lambda p: p.write_bytes(b"\x89HDF\r\n\x1a\n" + bytes(60)), "an HDF5 file, as Keras.*KERAS_BACKEND=torch"),
    "weights.bin": (lambda p: p.write_bytes(b"\x89HDF\r\n\x1a\n" + bytes(60)), "an HDF5 file, as Keras"),
    "model.tflite": (lambda p: p.write_bytes(b"\x1c\x00\x00\x00TFL3" + bytes(60)), "a TensorFlow model"),
    "model.gguf": (lambda p: p.write_bytes(b"GGUF" + bytes(60)), "a GGUF model"),
    "model.pkl": (lambda p: p.write_bytes(pickle.dumps(Malicious())), "a pickle, which can run any code"),
    "plain.bin": (lambda p: p.write_bytes(pickle.dumps({"a": 1})), "a pickle, which can run any code"),
    "inputs.npy": (lambda p: np.save(p, np.zeros((2, 3))), "an array of numpy.save.*after --inputs"),
    "stuff.zip": (archive("readme.txt"), "a zip archive of readme.txt"),
    "model.tar.gz": (lambda p: p.write_bytes(b"\x1f\x8b\x08" + bytes(60)), "a compressed file.*Unpack"),
    "folder": (lambda p: (p.mkdir(), save(MODULES["GRU"], p / "gru.safetensors")), "a folder.*gru.safetensors"),
    "saved_model": (lambda p: (p.mkdir(), (p / "saved_model.pb").touch()), "a TensorFlow model"),
}


def scripted() -> torch.jit.ScriptModule:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return torch.jit.script(MODULES["RNN relu"])


@pytest.mark.filterwarnings("ignore:`torch.jit:DeprecationWarning")
@pytest.mark.parametrize("name", FOREIGN)
def test_files_of_other_kinds_are_named_for_what_they_are(name: str, tmp_path, capsys) -> None:
    write, pattern = FOREIGN[name]
    write(tmp_path / name)
    with pytest.raises(lyapunov.Unsupported, match=f"Expected a checkpoint of PyTorch weights, got {name}, {pattern}"):
        load_checkpoint(tmp_path / name)
    assert "never run" not in capsys.readouterr().out


@pytest.mark.filterwarnings("ignore:`torch.jit:DeprecationWarning")
def test_the_way_from_a_script_works(tmp_path) -> None:
    torch.jit.save(scripted(), tmp_path / "scripted.jit")
    torch.save(torch.jit.load(tmp_path / "scripted.jit").state_dict(), tmp_path / "weights.pt")
    assert isinstance(load_checkpoint(tmp_path / "weights.pt", nonlinearity="relu").module, nn.RNN)


@pytest.mark.parametrize("old", [False, True])
def test_files_of_torch_save_of_any_age_are_taken(old: bool, tmp_path) -> None:
    torch.save(MODULES["GRU"].state_dict(), tmp_path / "gru.ckpt", _use_new_zipfile_serialization=not old)
    assert isinstance(load_checkpoint(tmp_path / "gru.ckpt").module, nn.GRU)
