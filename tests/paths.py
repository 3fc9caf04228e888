"""The ways a frame can go, each forced on small systems that would not take it by themselves."""

import pytest
import torch

from lyapunov.systems import closed
from lyapunov.tangent import orthonormal, propagation
from lyapunov.tangent.rollout import _Run

PATHS = ("usual", "eliminated", "eliminated, dealt out", "Cholesky", "dealt out, with Jacobians")


def force(path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """`path` for every system of a test."""
    if path.startswith("eliminated"):
        monkeypatch.setattr(_Run, "_method", lambda *_: "lu")
    if path == "Cholesky":
        monkeypatch.setattr(_Run, "_method", lambda *_: "cholesky")
    if "dealt out" in path:
        monkeypatch.setattr(orthonormal, "WIDE", 1)
        monkeypatch.setattr(orthonormal, "LARGE", 1)
        monkeypatch.setattr(propagation, "WORTH_THREADS", 0)
        monkeypatch.setattr(torch, "get_num_threads", lambda: 2)
    if "Jacobians" in path:
        monkeypatch.setattr(closed, "DENSE", 1)
