"""A checkpoint file as a recurrent module: architecture from the parameters' names and shapes, nothing unpickled."""

import json
import pickle
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn

from lyapunov import _checks
from lyapunov.errors import InvalidInput, Unsupported
from lyapunov.intake.files import require_file

Nonlinearity = Literal["tanh", "relu"]
_GATES = {1: nn.RNN, 3: nn.GRU, 4: nn.LSTM}
_FIRST = re.compile(r"^(?:(?P<core>.+)\.)?weight_ih(?P<layer>_l0)?$")
_WHOLE = "(top level)"


@dataclass(frozen=True)
class Checkpoint:
    """A module with the file's weights (batch_first), the name of the core it came from, and the file's vocabulary if any."""

    module: nn.RNNBase
    core: str
    vocabulary: list[str] | None


def load_checkpoint(path: str | Path, *, core: str | None = None, nonlinearity: Nonlinearity | None = None) -> Checkpoint:
    """Reads a .safetensors file, or any other with `torch.load(weights_only=True)`.

    `core` names the recurrent part where the file holds several; `nonlinearity` is asked for where the part is a vanilla RNN,
    whose weights do not tell it. Raises InvalidInput or Unsupported.
    """
    path = require_file(path, "a checkpoint")
    tensors, metadata = _safetensors(path) if path.suffix == ".safetensors" else (_torch_file(path), {})
    name, suffix = _choose_core(tensors, core, path)
    prefix = "" if name == _WHOLE else name + "."
    own = {
        key.removeprefix(prefix): value
        for key, value in tensors.items()
        if key.startswith(prefix + "weight_") or key.startswith(prefix + "bias_")
    }
    if not suffix:
        own = {key + "_l0": value for key, value in own.items()}
    vocabulary = json.loads(metadata["vocabulary"]) if "vocabulary" in metadata else None
    return Checkpoint(_module(own, name, nonlinearity), name, vocabulary)


def _safetensors(path: Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    try:
        with safe_open(path, framework="pt") as file:
            return {key: file.get_tensor(key) for key in file.keys()}, file.metadata() or {}  # noqa: SIM118
    except (SafetensorError, OSError) as error:
        raise InvalidInput(f"Expected a safetensors checkpoint at {path}, got: {error}. Save it again.") from error


def _torch_file(path: Path) -> dict[str, Tensor]:
    try:
        return _flatten(torch.load(path, map_location="cpu", weights_only=True))
    except Exception as error:  # a file of something else fails in any way at all inside the reader
        wanted = _wanted(path) if isinstance(error, pickle.UnpicklingError) else ""
        if wanted:
            raise InvalidInput(
                f"Expected a checkpoint of tensors only, got {path.name}, which wants to run {wanted}. It was not opened. "
                "Save the weights alone: torch.save(model.state_dict(), path)."
            ) from error
        raise InvalidInput(
            f"Expected a checkpoint written by torch.save or safetensors, got {path.name}, which cannot be read as one "
            f"({type(error).__name__}). Save it again."
        ) from error


def _wanted(path: Path) -> str:
    """The functions and classes that opening the file would call."""
    try:
        return ", ".join(torch.serialization.get_unsafe_globals_in_checkpoint(path))
    except Exception:  # not a checkpoint that can be listed
        return ""


def _flatten(content: Any, prefix: str = "") -> dict[str, Tensor]:
    """The tensors of nested dictionaries, by dotted path."""
    if isinstance(content, Tensor):
        return {prefix.removesuffix("."): content}
    if not isinstance(content, Mapping):
        return {}
    found: dict[str, Tensor] = {}
    for key, value in content.items():
        found.update(_flatten(value, f"{prefix}{key}."))
    return found


def _choose_core(tensors: Mapping[str, Tensor], core: str | None, path: Path) -> tuple[str, str]:
    found: dict[str, str] = {}
    for key in tensors:
        if match := _FIRST.match(key):
            found[match["core"] or _WHOLE] = match["layer"] or ""
    if not found:
        some = ", ".join(list(tensors)[:5]) or "no tensors"
        raise Unsupported(
            f"Expected the parameters of an RNN, GRU or LSTM (weight_ih_l0, weight_hh_l0, ...) in {path.name}, got {some}. "
            "Pass a checkpoint of a model with such a layer."
        )
    if core is None and len(found) == 1:
        core = next(iter(found))
    ending = [name for name in found if name.endswith(f".{core}")]
    if core not in found and len(ending) == 1:
        core = ending[0]
    if core not in found:
        got = "several" if core is None else repr(core)
        raise InvalidInput(
            f"Expected one recurrent core of {path.name} by name, got {got}. Choose one of: {', '.join(sorted(found))}."
        )
    return core, found[core]


def _module(weights: Mapping[str, Tensor], name: str, nonlinearity: Nonlinearity | None) -> nn.RNNBase:
    if any(key.endswith("_reverse") for key in weights):
        raise Unsupported(
            f"Expected a one-directional core, got {name} with weights of a backward direction (_reverse). Analyse each "
            "direction by itself: load the weights into the model, then lyapunov.capture(model, ...).core(direction='forward')."
        )
    if "weight_hh_l0" not in weights:
        raise InvalidInput(f"Expected weight_hh beside weight_ih in {name}, got {', '.join(weights)}. Save the whole layer.")
    first, hidden = weights["weight_ih_l0"], weights["weight_hh_l0"]
    projected = weights.get("weight_hr_l0")
    cells = hidden.shape[1] if projected is None else projected.shape[1]
    kind = _GATES.get(hidden.shape[0] // cells)
    if kind is None:
        raise Unsupported(
            f"Expected weight_hh of 1, 3 or 4 gates in {name}, got shape {tuple(hidden.shape)}. It is no RNN, GRU or LSTM."
        )
    options: dict[str, Any] = {"bias": "bias_ih_l0" in weights, "batch_first": True}
    options["num_layers"] = sum(key.startswith("weight_ih_l") for key in weights)
    if kind is nn.LSTM:
        options["proj_size"] = 0 if projected is None else projected.shape[0]
    if kind is nn.RNN:
        options["nonlinearity"] = _asked(nonlinearity, name)
    with torch.random.fork_rng(devices=[]):
        module = kind(first.shape[1], cells, **options).to(first.dtype)
    try:
        module.load_state_dict(dict(weights))
    except RuntimeError as error:
        reason = " ".join(str(error).split())
        raise InvalidInput(
            f"Expected the parameters of one {kind.__name__} in {name}, got: {reason}. Save the layer whole."
        ) from error
    return module


def _asked(nonlinearity: Nonlinearity | None, name: str) -> Nonlinearity:
    if nonlinearity is None:
        raise InvalidInput(
            f"Expected the nonlinearity of {name}, a vanilla RNN whose weights do not tell it, got none. Say tanh or relu "
            "(--nonlinearity tanh)."
        )
    _checks.one_of(nonlinearity, get_args(Nonlinearity), "nonlinearity")
    return nonlinearity
