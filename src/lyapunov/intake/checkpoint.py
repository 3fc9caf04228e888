"""A checkpoint file as a recurrent module: architecture from the parameters' names and shapes, nothing unpickled."""

import json
import pickle
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn

from lyapunov import _checks
from lyapunov.errors import InvalidInput, Unsupported
from lyapunov.intake.file_kinds import foreign_kind, is_npz, is_safetensors
from lyapunov.intake.files import require_file
from lyapunov.intake.in_front import Front, Map, front_of
from lyapunov.intake.kinds import KINDS, layer_names
from lyapunov.intake.vocabulary import Vocabulary, in_checkpoint

Nonlinearity = Literal["tanh", "relu"]
_FIRST = re.compile(r"^(?:(?P<core>.+)\.)?weight_ih(?P<layer>_l0)?$")
_WHOLE = "(top level)"


@dataclass(frozen=True)
class Checkpoint:
    """A module with the file's weights (batch_first), the name of the core it came from, and what else the file says.

    noted: the vocabulary, if the file has one. front: the embedding before the core, or what may stand there. recipe: four
    lines that capture the core inside the user's own model.
    """

    module: nn.RNNBase
    core: str
    noted: Vocabulary | None
    front: Front
    recipe: str

    @property
    def vocabulary(self) -> list[str] | None:
        """The symbols in their order, where the file has them."""
        return None if self.noted is None else list(self.noted.symbols)


@dataclass(frozen=True)
class _File:
    """Tensors by dotted name, everything else likewise, and the expression that loads the weights again."""

    tensors: Mapping[str, Tensor]
    entries: Mapping[str, Any]
    loader: str


def load_checkpoint(path: str | Path, *, core: str | None = None, nonlinearity: Nonlinearity | None = None) -> Checkpoint:
    """Reads a file of safetensors, numpy.savez, or any other with `torch.load(weights_only=True)`.

    `core` names the recurrent part where the file holds several; `nonlinearity` is asked for where the part is a vanilla RNN,
    whose weights do not tell it. Raises InvalidInput or Unsupported.
    """
    path = Path(path)
    kind = foreign_kind(path) if path.exists() else None
    if kind is not None:
        raise Unsupported(f"Expected a checkpoint of PyTorch weights, got {path.name}, {kind.name}. {kind.remedy}")
    path = require_file(path, "a checkpoint")
    file = _safetensors(path) if is_safetensors(path) else _npz(path) if is_npz(path) else _torch_file(path)
    name, suffix = _choose_core(file.tensors, core, path)
    own = _of_core(file.tensors, name)
    if not suffix:
        own = {key + "_l0": value for key, value in own.items()}
    module = _module(own, name, nonlinearity)
    front = _front(file.tensors, name, module.input_size)
    return Checkpoint(module, name, in_checkpoint(file.entries), front, _recipe(file, name))


def _prefix(core: str) -> str:
    return "" if core == _WHOLE else core + "."


def _of_core(tensors: Mapping[str, Tensor], core: str) -> dict[str, Tensor]:
    """The parameters of a core by their own names."""
    prefix = _prefix(core)
    return {
        key.removeprefix(prefix): value
        for key, value in tensors.items()
        if key.startswith(
            (prefix + "weight_ih", prefix + "weight_hh", prefix + "weight_hr", prefix + "bias_ih", prefix + "bias_hh")
        )
    }


def _front(tensors: Mapping[str, Tensor], core: str, size: int) -> Front:
    """What may stand before the core: tensors of no core, and the other cores."""
    names = [match["core"] or _WHOLE for key in tensors if (match := _FIRST.match(key))]
    taken = {_prefix(name) + key for name in names for key in _of_core(tensors, name)}
    others = {key: value for key, value in tensors.items() if key not in taken}
    return front_of("" if core == _WHOLE else core, size, others, [_as_map(tensors, name) for name in names if name != core])


def _as_map(tensors: Mapping[str, Tensor], name: str) -> Map:
    """Another core, from the width of its inputs to that of its outputs."""
    own = _of_core(tensors, name)
    first = next(value for key, value in own.items() if key.startswith("weight_ih"))
    out = next((value.shape[0] for key, value in own.items() if key.startswith("weight_hr")), None)
    hidden = next((value.shape[1] for key, value in own.items() if key.startswith("weight_hh")), first.shape[0])
    width = out or hidden
    both = 2 * width if any(key.endswith("_reverse") for key in own) else width
    return Map(f"the core {name}", tuple(first.shape), ((first.shape[1], both),))


def _recipe(file: _File, core: str) -> str:
    part = "captured" if sum(bool(_FIRST.match(key)) for key in file.tensors) == 1 else f"captured.core({core!r})"
    return (
        "\n    model = Model(...)  # yours, as it was trained"
        f"\n    model.load_state_dict({file.loader})"
        "\n    captured = lyapunov.capture(model, tokens)  # as your model is called"
        f"\n    print(lyapunov.spectrum({part}))"
    )


def _safetensors(path: Path) -> _File:
    try:
        with safe_open(path, framework="pt") as file:
            tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
            entries = {key: _decoded(value) for key, value in (file.metadata() or {}).items()}
    except (SafetensorError, OSError) as error:
        raise InvalidInput(f"Expected a safetensors checkpoint at {path}, got: {error}. Save it again.") from error
    return _File(tensors, entries, f"safetensors.torch.load_file({path.name!r})")


def _decoded(value: str) -> Any:
    """What a header says, as JSON where it is some."""
    try:
        return json.loads(value)
    except json.JSONDecodeError:
        return value


def _npz(path: Path) -> _File:
    try:
        with np.load(path, allow_pickle=False) as file:
            arrays = {name.replace("/", "."): file[name] for name in file.files}
    except (ValueError, OSError, EOFError) as error:
        raise InvalidInput(
            f"Expected arrays of numbers in {path.name}, got: {error} It was not unpickled. Save them with numpy.savez."
        ) from error
    numbers = {name: torch.from_numpy(value) for name, value in arrays.items() if value.dtype.kind in "fiub" and value.ndim}
    words = {name: value.tolist() for name, value in arrays.items() if value.dtype.kind == "U"}
    return _File(numbers, words, f"{{name: torch.from_numpy(each) for name, each in numpy.load({path.name!r}).items()}}")


def _torch_file(path: Path) -> _File:
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
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
    tensors, entries = _flatten(content)
    return _File(tensors, entries, f"torch.load({path.name!r}, weights_only=True){_inside(content)}")


def _inside(content: object) -> str:
    """The entry of a larger checkpoint that has the weights."""
    if not isinstance(content, Mapping):
        return ""
    return next((f"[{key!r}]" for key, value in content.items() if any(map(_FIRST.match, _flatten(value)[0]))), "")


def _wanted(path: Path) -> str:
    """The functions and classes that opening the file would call."""
    try:
        return ", ".join(torch.serialization.get_unsafe_globals_in_checkpoint(path))
    except Exception:  # not a checkpoint that can be listed
        return ""


def _flatten(content: object, prefix: str = "") -> tuple[dict[str, Tensor], dict[str, Any]]:
    """The tensors of nested dictionaries, but for optimizers, and everything else in them, by dotted path."""
    place = prefix.removesuffix(".")
    if isinstance(content, Tensor):
        return {place: content}, {}
    if not isinstance(content, Mapping) or _is_optimizer(content):
        return {}, {place: content}
    tensors: dict[str, Tensor] = {}
    entries: dict[str, Any] = {place: content}
    for key, value in content.items():
        below = _flatten(value, f"{prefix}{key}.")
        tensors.update(below[0])
        entries.update(below[1])
    return tensors, entries


def _is_optimizer(content: Mapping[Any, Any]) -> bool:
    """Whether it is what `state_dict` of an optimizer gives: settings of groups, and for each parameter some tensors."""
    state = content.get("state")
    return "param_groups" in content and isinstance(state, Mapping) and all(isinstance(one, Mapping) for one in state.values())


def _choose_core(tensors: Mapping[str, Tensor], core: str | None, path: Path) -> tuple[str, str]:
    found: dict[str, str] = {}
    for key in tensors:
        if match := _FIRST.match(key):
            found[match["core"] or _WHOLE] = match["layer"] or ""
    if not found:
        some = ", ".join(list(tensors)[:5]) or "no tensors"
        raise Unsupported(
            f"Expected the parameters of an {layer_names()} (weight_ih_l0, weight_hh_l0, ...) in {path.name}, got {some}. "
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
        raise InvalidInput(f"Expected weight_hh next to weight_ih in {name}, got {', '.join(weights)}. Save the whole layer.")
    first, hidden = weights["weight_ih_l0"], weights["weight_hh_l0"]
    projected = weights.get("weight_hr_l0")
    cells = hidden.shape[1] if projected is None else projected.shape[1]
    found = next((one for one in KINDS if one.layer and one.system.gates == hidden.shape[0] // cells), None)
    if found is None or found.layer is None:
        *some, last = (str(one.system.gates) for one in KINDS if one.layer)
        raise Unsupported(
            f"Expected weight_hh of {', '.join(some)} or {last} gates in {name}, got shape {tuple(hidden.shape)}. It is no "
            f"{layer_names()}."
        )
    kind: Callable[..., nn.RNNBase] = found.layer
    known = found.system.options
    options: dict[str, Any] = {"bias": "bias_ih_l0" in weights, "batch_first": True}
    options["num_layers"] = sum(key.startswith("weight_ih_l") for key in weights)
    if "proj_size" in known:
        options["proj_size"] = 0 if projected is None else projected.shape[0]
    if "nonlinearity" in known:
        options["nonlinearity"] = _asked(nonlinearity, name)
    with torch.random.fork_rng(devices=[]):
        module = kind(first.shape[1], cells, **options).to(first.dtype)
    try:
        module.load_state_dict(dict(weights))
    except RuntimeError as error:
        reason = " ".join(str(error).split())
        raise InvalidInput(
            f"Expected the parameters of one {found.layer.__name__} in {name}, got: {reason}. Save the layer whole."
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
