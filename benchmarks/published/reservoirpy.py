"""reservoirpy: an echo state network in NumPy with a sparse reservoir."""

from typing import Any

import numpy as np
import torch
from torch import Tensor

import lyapunov
from _dense import Dense, run
from published._inputs import series

PACKAGE, K = "reservoirpy", 6
WHAT = "`Reservoir`, 60 leaky units, in NumPy"
HOW = "its update in PyTorch, its weights"
REMEDY = "Done: the update is one line of PyTorch with the weights of the node."


def prepared() -> tuple[Any, ...]:
    from reservoirpy.nodes import Reservoir

    node = Reservoir(60, lr=0.5, sr=1.25, input_dim=2, seed=1)
    driven = series(2, 300, 2).numpy()
    node.run(driven[0])
    return node, driven


def refused(node: Any, driven: np.ndarray) -> None:
    lyapunov.spectrum(lambda h, x: node._step({"out": h[0]}, x[0])["out"][None], driven[:1], state=np.zeros((1, 60)))


def handed_over(node: Any, driven: np.ndarray, **settings: Any) -> lyapunov.Spectrum:
    weight, into = torch.from_numpy(node.W.toarray()), torch.from_numpy(node.Win.toarray())

    def step(h: Tensor, x: Tensor) -> Tensor:
        return (1 - node.lr) * h + node.lr * torch.tanh(h @ weight.T + x @ into.T + node.bias)

    return lyapunov.spectrum(step, driven, state=torch.zeros(2, 60), **settings)


def reference(node: Any, driven: np.ndarray) -> list[Dense]:
    weight, into = torch.from_numpy(node.W.todense()), torch.from_numpy(node.Win.todense())

    def step(h: Tensor, x: Tensor) -> Tensor:
        return 0.5 * h + 0.5 * torch.tanh(weight @ h + into @ x)

    inputs, start = torch.from_numpy(driven).double(), torch.zeros(2, 60)
    node.reset()
    np.testing.assert_allclose(run(step, start[0].double(), inputs[0]), node.run(driven[0]), atol=1e-6)
    return [Dense(step, start, list(inputs))]
