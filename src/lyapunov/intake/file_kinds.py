"""What a file is, by its first bytes: those of other frameworks are named, with the way from there to here."""

import zipfile
from pathlib import Path
from typing import NamedTuple

_TORCH_BEFORE_ZIP = b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19."
"""How files of torch.save began before they were archives."""


class Kind(NamedTuple):
    """What a file is, in words, and how weights get from there into a checkpoint."""

    name: str
    remedy: str


_FROM_THE_MODEL = "Go back to the model that it was made from: torch.save(model.state_dict(), 'weights.pt')."
_SCRIPT = Kind(
    "a TorchScript archive (torch.jit.save)",
    "Save its weights alone: torch.save(torch.jit.load({path!r}).state_dict(), 'weights.pt'), and pass that file.",
)
_EXPORTED = Kind(
    "an exported program (torch.export.save)",
    "Save its weights alone: torch.save(dict(torch.export.load({path!r}).state_dict), 'weights.pt'), and pass that file.",
)
_KERAS = Kind(
    "a Keras model",
    "Load it with Keras on PyTorch (KERAS_BACKEND=torch) and pass its recurrent layer with what that receives: "
    "lyapunov.spectrum(keras.saving.load_model({path!r}).get_layer('lstm'), inputs).",
)
_HDF5 = Kind(
    "an HDF5 file, as Keras saves models and weights",
    "Load it with Keras on PyTorch (KERAS_BACKEND=torch), keras.saving.load_model({path!r}) or model.load_weights({path!r}), "
    "and pass its recurrent layer: lyapunov.spectrum(model.get_layer('lstm'), inputs).",
)
_ONNX = Kind("an ONNX graph, in which gates stand in another order", _FROM_THE_MODEL)
_TENSORFLOW = Kind("a TensorFlow model", "Rebuild its layer in PyTorch or in Keras on PyTorch, and copy the weights.")
_PICKLE = Kind(
    "a pickle, which can run any code when it is opened (it was not)",
    "Open it where you trust it, and save the weights alone: torch.save(model.state_dict(), 'weights.pt').",
)
_ARRAY = Kind("an array of numpy.save, as inputs are", "Pass the checkpoint first, and the array after --inputs.")
_BY_START = (
    (b"\x89HDF\r\n\x1a\n", _HDF5),
    (b"GGUF", Kind("a GGUF model of llama.cpp", "Pass the model of transformers that it was made from, in Python.")),
    (b"\x93NUMPY", _ARRAY),
    (b"MATLAB 5.0", Kind("a MATLAB file", "Save its arrays with numpy.savez, under PyTorch's parameter names.")),
    (b"\x1f\x8b", Kind("a compressed file (gzip)", "Unpack it first.")),
    (b"\x28\xb5\x2f\xfd", Kind("a compressed file (zstd)", "Unpack it first.")),
)
_BY_SUFFIX = {
    ".onnx": _ONNX,
    ".ort": _ONNX,
    ".keras": _KERAS,
    ".h5": _HDF5,
    ".hdf5": _HDF5,
    ".jit": _SCRIPT,
    ".ptl": _SCRIPT,
    ".pt2": _EXPORTED,
    ".pb": _TENSORFLOW,
    ".tflite": _TENSORFLOW,
    ".index": _TENSORFLOW,
    ".pkl": _PICKLE,
    ".pickle": _PICKLE,
    ".joblib": _PICKLE,
    ".msgpack": Kind("a file of Flax", "Save its arrays with numpy.savez, under PyTorch's parameter names."),
    ".json": Kind("a JSON file", "Pass the weights file that goes with it."),
}


def foreign_kind(path: Path) -> Kind | None:
    """What a file is that is neither safetensors nor of torch.save nor of numpy.savez; None where it may be one of these."""
    if path.is_dir():
        return _folder(path)
    with path.open("rb") as file:
        head = file.read(64)
    found = _of_archive(path) if zipfile.is_zipfile(path) else _of_bytes(head, path.suffix.lower())
    return None if found is None else Kind(found.name, found.remedy.format(path=path.name))


def is_npz(path: Path) -> bool:
    """Whether a file is an archive of numpy.savez."""
    if not zipfile.is_zipfile(path):
        return False
    names = zipfile.ZipFile(path).namelist()
    return bool(names) and all(name.endswith(".npy") for name in names)


def is_safetensors(path: Path) -> bool:
    """Whether a file begins as one of safetensors, or is called so: eight bytes of a length, then JSON."""
    with path.open("rb") as file:
        return path.suffix == ".safetensors" or file.read(10)[8:9] == b"{"


def _of_archive(path: Path) -> Kind | None:
    names = zipfile.ZipFile(path).namelist()
    inside = {name.partition("/")[2] for name in names}
    if "config.json" in names and any(name.endswith(".weights.h5") for name in names):
        return _KERAS
    if any(name.startswith("code/") for name in inside) or ("constants.pkl" in inside and "data.pkl" in inside):
        return _SCRIPT
    if "archive_format" in inside or "serialized_exported_program.json" in names:
        return _EXPORTED
    if "data.pkl" in inside or is_npz(path):
        return None
    shown = ", ".join(names[:3]) or "nothing"
    return Kind(f"a zip archive of {shown}", "Unpack it, and pass the file of weights in it.")


def _of_bytes(head: bytes, suffix: str) -> Kind | None:
    if head.startswith(_TORCH_BEFORE_ZIP) or head[8:9] == b"{":
        return None
    for start, kind in _BY_START:
        if head.startswith(start):
            return kind
    if head[4:8] == b"TFL3":
        return _TENSORFLOW
    if head[:1] == b"\x08" and (b"pytorch" in head or b"onnx" in head):
        return _ONNX
    if suffix not in _BY_SUFFIX and head[:1] == b"\x80" and head[1:2] in (b"\x02", b"\x03", b"\x04", b"\x05"):
        return _PICKLE
    return _BY_SUFFIX.get(suffix)


def _folder(path: Path) -> Kind:
    if (path / "saved_model.pb").exists():
        return _TENSORFLOW
    inside = sorted(file.name for file in path.iterdir() if file.suffix in (".safetensors", ".pt", ".pth", ".ckpt", ".bin"))
    remedy = f"Pass the file in it: {path / inside[0]}." if inside else "Pass a file."
    return Kind("a folder", remedy.replace("{", "{{").replace("}", "}}"))
