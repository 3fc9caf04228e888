"""The compiled trainer: `trainer.c`, built once by the machine's C compiler, and a network that it trains.

PyTorch takes several times as long for networks of this size: nearly all of that is overhead per operation. The tests hold
losses and gradients to those of `network.CellNetwork`.
"""

import ctypes
import hashlib
import os
import shutil
import subprocess
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from experiments.cells.network import CellNetwork
from experiments.cells.recipes import INPUT, NEW, OLD, OPERATIONS
from experiments.commands import SCRATCH
from lyapunov import Unsupported

SOURCE = Path(__file__).with_name("trainer.c")
FLAGS = ("-O3", "-march=native", "-fno-math-errno", "-fno-trapping-math", "-ffp-contract=fast", "-fPIC", "-shared")
MOST_INPUTS, FROM_INPUT, FROM_OLD = 4, 1000, 2000
BLOCK = 16
"""The width is a multiple of this."""
Floats = NDArray[np.float32]
Ints = NDArray[np.int32]


class _Plan(ctypes.Structure):
    _fields_ = [
        (name, ctypes.c_int)
        for name in ("nodes", "states", "layers", "width", "batch", "steps", "inputs", "outputs", "continuous", "squares")
    ] + [(name, ctypes.c_void_p) for name in ("operation", "count", "reads", "new_states")]


def library() -> ctypes.CDLL:
    """The compiled trainer; built where it is not there yet."""
    digest = hashlib.sha256(SOURCE.read_bytes() + " ".join(FLAGS).encode()).hexdigest()[:12]
    file = (SCRATCH.parent / f"trainer-{digest}.so").absolute()
    if not file.exists():
        compiler = os.environ.get("CC") or shutil.which("cc")
        if not compiler:
            raise Unsupported("Expected a C compiler to train cells, got none. Install one, or set CC.")
        file.parent.mkdir(parents=True, exist_ok=True)
        partial = file.with_suffix(f".{os.getpid()}.so")
        subprocess.run([compiler, *FLAGS, "-o", str(partial), str(SOURCE), "-lm"], check=True)
        partial.replace(file)
    found = ctypes.CDLL(str(file))
    found.window.restype = found.adam.restype = ctypes.c_double
    found.adam.argtypes = [ctypes.c_long, *[ctypes.c_void_p] * 4, ctypes.c_int, ctypes.c_float, ctypes.c_float]
    found.window.argtypes = [ctypes.c_void_p] * 8
    return found


class CompiledNetwork:
    """The weights of a network in single precision, trained by the compiled trainer.

    Args:
        network: what it starts as; left as it is.
        squares: whether the loss is the mean squared error of outputs instead of the cross-entropy of classes.
    """

    def __init__(self, network: CellNetwork, *, squares: bool = False) -> None:
        self._library = library()
        self.weights = flat(network)
        self.gradient, self._mean, self._square = (np.zeros_like(self.weights) for _ in range(3))
        recipe = network.recipe
        self._steps_done, self._network, self._squares = 0, network, squares
        places = {node.name: at for at, node in enumerate(recipe.nodes)}
        kinds = list(OPERATIONS.values())
        self._operation = np.array([kinds.index(node.operation) for node in recipe.nodes], dtype=np.int32)
        self._count = np.array([len(node.inputs) for node in recipe.nodes], dtype=np.int32)
        self._reads = np.zeros((len(recipe.nodes), MOST_INPUTS), dtype=np.int32)
        for at, node in enumerate(recipe.nodes):
            self._reads[at, : len(node.inputs)] = [_place(name, places) for name in node.inputs]
        self._new = np.array([places[f"{NEW}{at}"] for at in range(recipe.states)], dtype=np.int32)

    def states(self, batch: int) -> Floats:
        """Zeros."""
        return np.zeros((len(self._network.cells), len(self._new), batch, self._network.width), dtype=np.float32)

    def loss(self, inputs: NDArray[np.generic], targets: NDArray[np.generic], states: Floats, *, learn: bool = False) -> float:
        """Of one window, (time, batch, ...); `states` become those after it. With `learn`, the gradient is added up."""
        steps, batch = inputs.shape[:2]
        continuous = self._network.continuous
        plan = _Plan(
            len(self._count), len(self._new), len(self._network.cells), self._network.width, batch, steps,
            len(self._network.embedding), len(self._network.readout), continuous, self._squares,
            *(array.ctypes.data for array in (self._operation, self._count, self._reads, self._new)),
        )  # fmt: skip
        given = np.ascontiguousarray(inputs, dtype=np.float32 if continuous else np.int32)
        wanted = np.ascontiguousarray(targets, dtype=np.float32 if self._squares else np.int32)
        return self._library.window(
            ctypes.addressof(plan),
            self.weights.ctypes.data,
            self.gradient.ctypes.data if learn else None,
            states.ctypes.data,
            None if continuous else given.ctypes.data,
            given.ctypes.data if continuous else None,
            None if self._squares else wanted.ctypes.data,
            wanted.ctypes.data if self._squares else None,
        )

    def update(self, rate: float, clip: float) -> float:
        """One step of Adam along the gradient that was added up; the norm of that."""
        self._steps_done += 1
        arrays = (self.weights, self.gradient, self._mean, self._square)
        return self._library.adam(self.weights.size, *(one.ctypes.data for one in arrays), self._steps_done, rate, clip)


def flat(network: CellNetwork) -> Floats:
    """Embedding, cells layer by layer, readout and its bias, one after the other."""
    cells = [parameter for cell in network.cells for parameter in cell.parameters()]
    parts = [network.embedding, *cells, network.readout, network.bias]
    return torch.cat([part.detach().flatten() for part in parts]).float().numpy()


def _place(name: str, places: dict[str, int]) -> int:
    if name == INPUT:
        return FROM_INPUT
    return places[name] if name in places else FROM_OLD + int(name.removeprefix(OLD))
